/** Against a real SPIRE: the doctor and what it tells an administrator, `inspect` and the server's own certificate. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { spiffeEdge } from "../support/programs.ts";
import { skipMissing } from "../support/skip.ts";
import { type Spire, spireMissing, startSpire } from "../support/spire.ts";

const missing = spireMissing();
/** A test that needs SPIRE. */
function spireTest(title: string, run: () => Promise<void>): void {
  it(title, skipMissing(title, missing), run);
}

interface Report {
  ok: boolean;
  checks: { check: string; status: string; detail: string; fix?: string; ids?: string[] }[];
}

describe("spiffe-edge doctor with a real SPIRE", () => {
  let spire: Spire;

  before(async () => {
    if (missing === undefined) spire = await startSpire({ entries: [] });
  });

  after(async () => {
    if (missing === undefined) await spire.stop();
  });

  const doctor = async (socket: string): Promise<Report> => {
    const ended = await spiffeEdge(["doctor", "--json"], { env: { SPIFFE_ENDPOINT_SOCKET: socket } });
    assert.equal(ended.stderr, "");
    return JSON.parse(ended.stdout) as Report;
  };

  spireTest("what it tells an administrator to run gives this process its identity", async () => {
    const denied = await doctor(spire.endpoint);
    const { status, detail, fix = "" } = denied.checks.find(({ check }) => check === "x509-svid")!;
    assert.deepEqual([denied.ok, status], [false, "failed"]);
    assert.match(detail, /PermissionDenied/);
    for (const name of ["header", "health"]) {
      assert.equal(denied.checks.find(({ check }) => check === name)?.status, "ok", name);
    }
    const command = fix.split("\n").find((line) => line.startsWith("spire-server entry create ")) ?? "";
    // The agent of these tests does not look at paths, which the lines beside the command speak of.
    assert.match(fix, /discover_workload_path = true/);
    const args = command
      .replace(/ -selector unix:path:\S+/, "")
      .replace("spiffe://TRUST_DOMAIN/AGENT", `spiffe://${spire.trustDomain}/node1`)
      .replace("spiffe://TRUST_DOMAIN/WORKLOAD", `spiffe://${spire.trustDomain}/told`)
      .split(" ")
      .slice(1);
    await spire.server(...args);
    await spire.waitForIds(["/told"]);
    const good = await doctor(spire.endpoint);
    assert.equal(good.ok, true, JSON.stringify(good.checks));
    assert.deepEqual(good.checks.find(({ check }) => check === "x509-svid")?.ids, [
      `spiffe://${spire.trustDomain}/told`,
    ]);
    assert.match(good.checks.find(({ check }) => check === "jwt-svid")?.detail ?? "", /and by the agent$/);
  });

  spireTest("it tells the agent's socket from the others", async () => {
    for (const socket of [spire.serverSocket, spire.adminSocket]) {
      const report = await doctor(`unix://${socket}`);
      const header = report.checks.find(({ check }) => check === "header");
      assert.deepEqual([report.ok, header?.status], [false, "failed"]);
      assert.match(header?.detail ?? "", /offers no Workload API/);
    }
  });

  spireTest("inspect shows and verifies what the server presents", async () => {
    const env = { SPIFFE_ENDPOINT_SOCKET: spire.endpoint };
    const ended = await spiffeEdge(["inspect", `127.0.0.1:${spire.serverPort}`], { env });
    assert.equal(ended.code, 0, ended.stdout);
    assert.match(ended.stdout, new RegExp(`\nverified {3}spiffe://${spire.trustDomain}/spire/server by `));
    const alone = await spiffeEdge(["inspect", `127.0.0.1:${spire.serverPort}`]);
    assert.match(alone.stdout, /\nnot verified: no bundle;/);
  });
});
