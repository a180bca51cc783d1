/** The socket as a file: is it there, whose is it, and may this process get to it? */
import { accessSync, constants, lstatSync, type Stats, statSync } from "node:fs";
import { dirname } from "node:path";
import { isDenoRefusal } from "../../runtime/deno-permission.ts";
import type { Endpoint } from "../../workload/index.ts";
import { type Finding, failed, noted, ok, skipped } from "./report.ts";

const STICKY = 0o1000;
const OTHERS_WRITE = 0o002;

/** Owner and mode, for people and for JSON. */
function rightsOf({ uid, gid, mode }: Stats): { uid: number; gid: number; mode: string } {
  return { uid, gid, mode: `0${(mode & 0o7777).toString(8)}` };
}

function inWords(stats: Stats): string {
  const { uid, gid, mode } = rightsOf(stats);
  return `owner uid ${uid}, gid ${gid}, mode ${mode}`;
}

/** The directories above a path, from the root down. */
function ancestors(path: string): string[] {
  const parent = dirname(path);
  return parent === path ? [] : [...ancestors(parent), parent];
}

/** Looks at the socket and at every directory above it. */
export function checkSocketFile(endpoint: Endpoint): Finding {
  if (endpoint.kind === "tcp") return skipped("a tcp address has no file");
  const { path } = endpoint;
  const open: string[] = [];
  let unseen: string | undefined;
  for (const directory of ancestors(path)) {
    try {
      const stats = statSync(directory);
      if (!stats.isDirectory()) return failed(`${directory} is not a directory`, `correct the path ${path}`);
      if ((stats.mode & OTHERS_WRITE) !== 0 && (stats.mode & STICKY) === 0) open.push(directory);
      if (!allowed(directory, constants.X_OK)) {
        const fix = `chmod o+x ${directory}, or run this process as a user or group that may search it`;
        return failed(`${directory} may not be searched by this user (${inWords(stats)})`, fix, { directory });
      }
    } catch (error) {
      // Deno lets a program see the socket without the directories above it.
      if (isDenoRefusal(error)) unseen ??= directory;
      else if (codeOf(error) !== "EACCES") {
        return failed(
          `${directory} is not there (${codeOf(error)})`,
          "start the agent, mount its socket, or correct the address",
        );
      }
    }
  }
  return lookAt(path, open, unseen);
}

function lookAt(path: string, open: readonly string[], unseen: string | undefined): Finding {
  let stats: Stats;
  try {
    stats = statSync(path);
  } catch (error) {
    const dangling = isLink(path) ? "; it is a link that leads nowhere" : "";
    return failed(
      `${path} is not there (${codeOf(error)})${dangling}`,
      "start the agent, mount its socket, or correct the address",
    );
  }
  const facts = { path, ...rightsOf(stats) };
  if (!stats.isSocket())
    return failed(`${path} is not a socket`, "correct the address: it names the agent's socket itself", facts);
  if (!allowed(path, constants.R_OK | constants.W_OK)) {
    const fix = `give this user read and write permission on ${path}, for example by the agent's group`;
    return failed(`${path} may not be opened by this user (${inWords(stats)})`, fix, facts);
  }
  const detail = `${path}, ${inWords(stats)}`;
  if (open[0] !== undefined) {
    const fix = `chmod o-w ${open[0]}: whoever may write there can put another socket in the place of the agent's`;
    return noted(`${detail}; everybody may write into ${open[0]}`, fix, { ...facts, writable: open });
  }
  if (unseen !== undefined)
    return ok(`${detail}; the directories above were not looked at (Deno: --allow-read)`, facts);
  return ok(detail, facts);
}

/** Asks the system itself, which knows of groups and access lists. Where it will not say, the connection will show. */
function allowed(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch (error) {
    return codeOf(error) !== "EACCES" && codeOf(error) !== "EPERM";
  }
}

function isLink(path: string): boolean {
  try {
    return lstatSync(path).isSymbolicLink();
  } catch {
    return false;
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}
