/** Against a real SPIRE: the command. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { spiffeEdge } from "../support/programs.ts";
import { skipMissing } from "../support/skip.ts";
import { type Spire, spireMissing, startSpire } from "../support/spire.ts";

const WEB = "spiffe://x0tta6bl4.local/web";

const missing = spireMissing();
/** A test that needs SPIRE. */
function spireTest(title: string, run: () => Promise<void>): void {
  it(title, skipMissing(title, missing), run);
}

describe("spiffe-edge with a real SPIRE", () => {
  let spire: Spire;
  const at = () => ({ env: { SPIFFE_ENDPOINT_SOCKET: spire.endpoint } });

  before(async () => {
    if (missing === undefined) spire = await startSpire({ entries: [{ path: "/web" }] });
  });

  after(async () => {
    if (missing === undefined) await spire.stop();
  });

  spireTest("dev takes the agent's identity and refuses who has no certificate", async () => {
    const ended = await spiffeEdge(["dev", "--once"], at());
    assert.equal(ended.code, 0, ended.stderr);
    assert.match(ended.stdout, /^spiffe-edge \S+ on .* trust domain x0tta6bl4\.local · identity of the real agent/);
    assert.ok(ended.stdout.includes(`\nWorkload API  ${spire.endpoint}  (a real agent,`));
    assert.match(ended.stdout, /\n {2}✓ 200 GET \/orders {2}as web +mTLS .*allowed by rule web-reads-orders/);
    assert.match(ended.stdout, /\n {2}✓ 200 GET \/orders {2}as web +JWT-SVID .*allowed by rule web-reads-orders/);
    assert.match(ended.stdout, /\n {2}✗ 401 GET \/orders {2}as nobody .*request\.no-credentials.*\(as intended\)\n/);
    assert.match(ended.stdout, /\nissuance +p99 \S+ ms of 50 by the real agent\n/);
    assert.equal(ended.stderr, "");
  });

  spireTest("fetch writes the SVID, and validate takes the token for its audience alone", async () => {
    const out = mkdtempSync(join(tmpdir(), "out-"));
    const written = await spiffeEdge(["fetch", "x509", "--out", out], at());
    assert.equal(written.code, 0, written.stderr);
    assert.deepEqual(readdirSync(out).sort(), ["bundle.pem", "key.pem", "svid.pem"]);
    rmSync(out, { recursive: true });
    const token = await spiffeEdge(["fetch", "jwt", "--audience", "orders", "--id", WEB], at());
    assert.equal(token.code, 0, token.stderr);
    const input = token.stdout;
    const right = await spiffeEdge(["validate", "jwt", "--audience", "orders"], { ...at(), input });
    assert.equal(right.code, 0, right.stderr);
    assert.equal((JSON.parse(right.stdout) as { id: string }).id, WEB);
    const wrong = await spiffeEdge(["validate", "jwt", "--audience", "reports"], { ...at(), input });
    assert.equal(wrong.code, 1, wrong.stdout);
    assert.match(wrong.stderr, /jwt\.audience/);
  });
});
