/** The examination: every check in its order, each only when what it needs was found. */
import type { Endpoint } from "../../workload/index.ts";
import { formatEndpoint, WorkloadApiClient } from "../../workload/index.ts";
import { checkAddress, checkPermissions, checkVariable } from "./address.ts";
import { checkJwtBundles, checkJwtSvid, checkX509Bundles } from "./bundles.ts";
import { type CheckName, type Finding, failure, type Report, skipped } from "./report.ts";
import { checkSocketFile } from "./socket-file.ts";
import { thisProcess } from "./this-process.ts";
import { checkConnect, checkHeader, checkHealth } from "./wire.ts";
import { checkChain, checkClock, checkFirstSvid, checkKey } from "./x509.ts";

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
  const failedSoFar = new Set<CheckName>();

  /** Runs one check unless one of those before it that it rests on found nothing to rest on. */
  async function check<T extends { finding: Finding }>(
    name: CheckName,
    needs: readonly CheckName[],
    run: () => T | Promise<T>,
  ): Promise<T | undefined> {
    const lacking = needs.find((need) => failedSoFar.has(need));
    let found: T | undefined;
    let finding = skipped(`needs ${lacking}`);
    if (lacking === undefined) {
      try {
        found = await run();
        ({ finding } = found);
      } catch (error) {
        finding = failure(error);
      }
    }
    if (finding.status === "failed" || lacking !== undefined) failedSoFar.add(name);
    checks.push({ check: name, ...finding });
    return found;
  }
  const only = (run: () => Finding | Promise<Finding>) => async () => ({ finding: await run() });

  const given = await check("variable", [], () => checkVariable(socket));
  const address = await check("address", ["variable"], () => checkAddress(given?.value ?? ""));
  const endpoint = address?.endpoint as Endpoint;
  await check(
    "permissions",
    ["address"],
    only(() => checkPermissions(endpoint)),
  );
  await check(
    "socket",
    ["permissions"],
    only(() => checkSocketFile(endpoint)),
  );
  await check(
    "connect",
    ["socket"],
    only(() => checkConnect(endpoint, timeoutMs)),
  );
  await check(
    "header",
    ["connect"],
    only(() => checkHeader(endpoint, timeoutMs)),
  );
  await check(
    "health",
    ["connect"],
    only(() => checkHealth(endpoint, timeoutMs)),
  );
  // Where there is no address, what follows is skipped.
  const client = endpoint && new WorkloadApiClient({ socket: formatEndpoint(endpoint), timeoutMs });
  try {
    const first = await check("x509-svid", ["connect"], () => checkFirstSvid(client, caller));
    const svids = first?.svids ?? [];
    const id = svids[0]?.wire.spiffeId ?? "";
    await check(
      "chain",
      ["x509-svid"],
      only(() => checkChain(svids)),
    );
    await check(
      "key",
      ["x509-svid"],
      only(() => checkKey(svids)),
    );
    await check(
      "clock",
      ["x509-svid"],
      only(() => checkClock(svids)),
    );
    await check(
      "x509-bundles",
      ["x509-svid"],
      only(() => checkX509Bundles(client, id)),
    );
    const jwt = await check("jwt-bundles", ["x509-svid"], () => checkJwtBundles(client, id));
    await check(
      "jwt-svid",
      ["jwt-bundles"],
      only(() => checkJwtSvid(client, jwt?.bundles ?? new Map())),
    );
    return { ok: checks.every(({ status }) => status !== "failed"), process: caller, checks };
  } finally {
    await client?.close();
  }
}
