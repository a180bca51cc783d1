import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { FakeWorkloadApi, ManualClock, TestCa, type TestCertificateOptions } from "../authority/testing.ts";
import type { Reason } from "../base/index.ts";
import { X509SVIDResponseSchema, X509SVIDSchema } from "../gen/workload/workload_pb.js";
import { WorkloadApiClient } from "./client.ts";
import { JudgedSvids } from "./judged-svids.ts";
import { decodeX509Context } from "./x509-messages.ts";

const ID = "spiffe://example.org/web";
const NOW = Date.UTC(2026, 0, 1);
const HOUR = 3_600_000;

interface Wire {
  spiffeId: string;
  x509Svid: Uint8Array;
  x509SvidKey: Uint8Array;
  bundle: Uint8Array;
  hint?: string;
}

let ca: TestCa;
let otherCa: TestCa;
let web: Wire;
let api: Wire;

async function issue(options: TestCertificateOptions = {}, issuer = ca): Promise<Wire> {
  const { chainDer, privateKeyPkcs8 } = await issuer.issue({
    id: ID,
    notBefore: new Date(NOW - HOUR),
    notAfter: new Date(NOW + HOUR),
    ...options,
  });
  const spiffeId = options.id ?? ID;
  return { spiffeId, x509Svid: chainDer, x509SvidKey: privateKeyPkcs8, bundle: issuer.certificateDer };
}

/** One connection's memory: what it decodes, and the objects it gives out. */
function connection(clock = new ManualClock(NOW)) {
  const judged = new JudgedSvids();
  const decode = (...svids: Wire[]) => {
    // Each message comes with bytes of its own.
    const own = svids.map((svid) => create(X509SVIDSchema, structuredClone(svid)));
    return decodeX509Context(create(X509SVIDResponseSchema, { svids: own }), clock, judged);
  };
  return {
    clock,
    judged,
    async accepted(...svids: Wire[]) {
      const verdict = await decode(...svids);
      assert.ok(verdict.ok, verdict.ok ? "" : verdict.message);
      return verdict.value;
    },
    async refused(reason: Reason, ...svids: Wire[]) {
      const verdict = await decode(...svids);
      assert.equal(verdict.ok ? "accepted" : verdict.reason, reason);
    },
  };
}

before(async () => {
  const validity = { notBefore: new Date(NOW - HOUR), notAfter: new Date(NOW + 9 * HOUR) };
  ca = await TestCa.create({ trustDomain: "example.org", ...validity });
  otherCa = await TestCa.create({ trustDomain: "example.org", ...validity });
  web = await issue();
  api = await issue({ id: "spiffe://example.org/api" });
});

describe("SVIDs that come again", () => {
  it("[S-11] are the same objects while every byte of them is the same", async () => {
    const { accepted } = connection();
    const [first, second] = [await accepted(web, api), await accepted(web, api)];
    assert.equal(second.svids[0], first.svids[0]);
    assert.equal(second.svids[1]?.id.path, "/api");
    assert.equal(second.bundles.get("example.org"), first.bundles.get("example.org"));
    const other = await accepted(await issue(), api);
    assert.notEqual(other.svids[0], first.svids[0]);
  });

  for (const [what, change, reason] of [
    ["another key", () => ({ x509SvidKey: api.x509SvidKey }), "x509.key-mismatch"],
    ["another ID", () => ({ spiffeId: "spiffe://example.org/api" }), "x509.id-mismatch"],
    ["the certificate of another", () => ({ x509Svid: api.x509Svid }), "x509.key-mismatch"],
    ["a bundle that did not sign it", () => ({ bundle: otherCa.certificateDer }), "x509.no-path"],
  ] as [string, () => Partial<Wire>, Reason][]) {
    it(`[S-11] are judged anew with ${what}`, async () => {
      const { accepted, refused } = connection();
      await accepted(web, api);
      await refused(reason, { ...web, ...change() });
      await accepted(web, api);
    });
  }

  it("[S-11] are judged anew with another hint", async () => {
    const { accepted } = connection();
    await accepted(web);
    assert.equal((await accepted({ ...web, hint: "internal" })).svids[0]?.hint, "internal");
    assert.equal((await accepted(web)).svids[0]?.hint, undefined);
  });

  it("[S-11] are judged by the bundle of their own message, whatever vouched for them before", async () => {
    const both = Uint8Array.from([...ca.certificateDer, ...otherCa.certificateDer]);
    const other = await issue({ id: "spiffe://example.org/api" }, otherCa);
    const { accepted, refused } = connection();
    // The first SVID's bundle has vouched for the second, whose own would not.
    const foreign = { ...other, bundle: ca.certificateDer };
    await accepted({ ...web, bundle: both }, foreign);
    await refused("x509.no-path", foreign);
    assert.equal((await accepted(other)).bundles.get("example.org")?.authorities.length, 1);
  });

  it("[S-11] are judged by the bundle of the first of their trust domain, though their own vouched for them before", async () => {
    const both = Uint8Array.from([...ca.certificateDer, ...otherCa.certificateDer]);
    const first = await issue({ id: "spiffe://example.org/api" }, otherCa);
    const { accepted, refused } = connection();
    await accepted(web);
    await refused("x509.no-path", first, web);
    const { bundles } = await accepted({ ...first, bundle: both }, web);
    assert.equal(bundles.get("example.org")?.authorities.length, 2);
  });

  it("[S-17] are refused when their time is over, and before it", async () => {
    const { accepted, refused, clock } = connection();
    await accepted(web);
    clock.step(HOUR + 1_000);
    await refused("x509.expired", web);
    clock.step(-3 * HOUR);
    await refused("x509.not-yet-valid", web);
    clock.step(2 * HOUR - 1_000);
    await accepted(web);
  });

  it("[S-17] are refused when an authority above them is over", async () => {
    const brief = await TestCa.create({
      trustDomain: "example.org",
      notBefore: new Date(NOW - HOUR),
      notAfter: new Date(NOW + HOUR / 2),
    });
    const svid = await issue({}, brief);
    const { accepted, refused, clock } = connection();
    await accepted(svid);
    clock.step(HOUR / 2 + 1_000);
    await refused("x509.expired", svid);
  });

  it("are forgotten with their keys after a redaction, and when the client is closed", async () => {
    await using fake = await FakeWorkloadApi.start({ identities: [{ id: ID }] });
    const client = new WorkloadApiClient({ socket: fake.socket });
    const first = await client.fetchX509Context();
    assert.equal((await client.fetchX509Context()).svids[0], first.svids[0]);
    fake.redact();
    await assert.rejects(client.fetchX509Context(), { code: "ERR_SPIFFE_NO_IDENTITY" });
    fake.heal();
    assert.notEqual((await client.fetchX509Context()).svids[0], first.svids[0]);
    await client.close();
  });
});
