/** This process as an agent sees it, and the entry that would give it an identity. */
import { readlinkSync } from "node:fs";
import process from "node:process";

/** What a workload attestor of SPIRE looks at. */
export interface ThisProcess {
  readonly pid: number;
  /** Absent where the runtime does not tell. */
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  readonly executable: string;
}

export function thisProcess(): ThisProcess {
  return {
    pid: process.pid,
    uid: told(() => process.getuid?.()),
    gid: told(() => process.getgid?.()),
    executable: executable(),
  };
}

/** The path by which the kernel knows the program, as an agent reads it. */
function executable(): string {
  return told(() => readlinkSync("/proc/self/exe")) ?? process.execPath;
}

/** Deno throws where a permission is missing. */
function told<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch {
    return undefined;
  }
}

/** What to do after PermissionDenied: who asks, and the command by which an administrator of SPIRE registers it. */
export function registration({ pid, uid, gid, executable }: ThisProcess): string {
  const selectors = [`unix:uid:${uid ?? "UID"}`, `unix:path:${executable}`].map((name) => `-selector ${quoted(name)}`);
  return [
    `register this process (pid ${pid}, uid ${uid ?? "unknown"}, gid ${gid ?? "unknown"}, executable ${executable}), for example`,
    `spire-server entry create -parentID spiffe://TRUST_DOMAIN/AGENT -spiffeID spiffe://TRUST_DOMAIN/WORKLOAD ${selectors.join(" ")}`,
    "spire-server agent list shows the parent; unix:path needs discover_workload_path = true in the agent's unix attestor",
  ].join("\n");
}

/** A word of a shell's command line. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
