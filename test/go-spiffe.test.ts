/** What the embedded authority issues, judged by go-spiffe. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { goPeers } from "../bench/lib/go-peers.ts";
import { Authority } from "../src/authority/index.ts";
import { skipMissing } from "./support/skip.ts";

interface Judged {
  x509: string[];
  jwt: string[];
  agent: string;
  otherBundle: string;
  otherAudience: string;
}

const peers = await goPeers();
const title =
  "[S-28] what the authority issues passes go-spiffe, and neither with another bundle nor for another audience";

describe("the embedded authority under go-spiffe", () => {
  let authority: Authority;
  const ids = ["spiffe://example.org/web", "spiffe://example.org/ns/a/sa/job"];

  before(async () => {
    const entries = ids.map((id, i) => ({ id, socket: "both", hint: `hint-${i}` }));
    authority = await Authority.start({ trustDomain: "example.org", entries });
  });

  after(() => authority.close());

  it(title, skipMissing(title, "missing" in peers ? peers.missing : undefined), async () => {
    assert.ok("path" in peers);
    const env = { ...process.env, SPIFFE_ENDPOINT_SOCKET: authority.socketFor("both") };
    const judge = async () =>
      JSON.parse((await promisify(execFile)(peers.path, ["judge"], { env, timeout: 60_000 })).stdout) as Judged;
    for (const rotate of [async () => {}, () => authority.rotate()]) {
      await rotate();
      const judged = await judge();
      assert.deepEqual(judged.x509, ids);
      assert.deepEqual(judged.jwt, ids);
      assert.equal(judged.agent, ids[0]);
      assert.match(judged.otherBundle, /x509svid: could not verify leaf certificate/);
      assert.match(judged.otherAudience, /expected audience in \["reports"\]/);
    }
  });
});
