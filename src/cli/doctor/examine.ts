/** The examination: every check in its order, each only when what it needs was found. */
import type { Endpoint } from "../../workload/index.ts";
import { formatEndpoint, WorkloadApiClient } from "../../workload/index.ts";
import { checkAddress, checkPermissions, checkVariable } from "./address.ts";
import { checkJwtBundles, checkJwtSvid, checkX509Bundles } from "./bundles.ts";
import { type CheckName, type Finding, failure, type Report, skipped } from "./report.ts";
import { checkSocketFile } from "./socket-file.ts";
import { thisProcess } from "./this-process.ts";
import { checkConnect, checkHeader, checkHealth } from "./wire.ts";
import { checkChain, checkClock, checkFirstSvid, checkKey, faultOf } from "./x509.ts";

/** What the examination is told. */
export interface ExamineOptions {
  /** The address, in place of the environment variable. */
  readonly socket: string | undefined;
  /** Milliseconds that each call may take. */
  readonly timeoutMs: number;
}

/** Runs all checks; never throws for what it finds. */
export async function examine({ socket, timeoutMs }: ExamineOptions): Promise<Report> {
  const caller = thisProcess();
  const checks: (Finding & { check: CheckName })[] = [];
  /** The checks that failed, and those that could not be made for want of another. */
  const unfounded = new Set<CheckName>();

  /** Runs one check, unless the one that it rests on found nothing to rest on. */
  async function check<T extends { finding: Finding }>(
    name: CheckName,
    need: CheckName | undefined,
    run: () => T | Promise<T>,
  ): Promise<T | undefined> {
    const lacking = need !== undefined && unfounded.has(need);
    let found: T | undefined;
    let finding = skipped(`needs ${need}`);
    if (!lacking) {
      try {
        found = await run();
        ({ finding } = found);
      } catch (error) {
        finding = failure(error);
      }
    }
    if (finding.status === "failed" || lacking) unfounded.add(name);
    checks.push({ check: name, ...finding });
    return found;
  }
  const look = (name: CheckName, need: CheckName, run: () => Finding | Promise<Finding>) =>
    check(name, need, async () => ({ finding: await run() }));

  const given = await check("variable", undefined, () => checkVariable(socket));
  const address = await check("address", "variable", () => checkAddress(given?.value ?? ""));
  const endpoint = address?.endpoint as Endpoint;
  await look("permissions", "address", () => checkPermissions(endpoint));
  await look("socket", "permissions", () => checkSocketFile(endpoint));
  await look("connect", "socket", () => checkConnect(endpoint, timeoutMs));
  await look("header", "connect", () => checkHeader(endpoint, timeoutMs));
  await look("health", "connect", () => checkHealth(endpoint, timeoutMs));
  // Where there is no address, what follows is skipped.
  const client = endpoint && new WorkloadApiClient({ socket: formatEndpoint(endpoint), timeoutMs });
  try {
    const first = await check("x509-svid", "connect", () => checkFirstSvid(client, caller));
    const svids = first?.svids ?? [];
    const id = svids[0]?.wire.spiffeId ?? "";
    await look("chain", "x509-svid", () => checkChain(svids));
    await look("key", "x509-svid", () => checkKey(svids));
    await look("clock", "x509-svid", () => checkClock(svids));
    const told = (["chain", "key", "clock"] as const).some((name) => unfounded.has(name));
    const fault = first?.message === undefined || told ? undefined : await faultOf(first.message);
    await look("x509-bundles", "x509-svid", () => checkX509Bundles(client, id, fault));
    const jwt = await check("jwt-bundles", "x509-svid", () => checkJwtBundles(client, id));
    await look("jwt-svid", "jwt-bundles", () => checkJwtSvid(client, jwt?.bundles ?? new Map()));
    return { ok: checks.every(({ status }) => status !== "failed"), process: caller, checks };
  } finally {
    await client?.close();
  }
}
