import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { sayAndStay, WorkloadServer, type X509Answer } from "../../test/support/workload-server.ts";
import { TestCa, type TestCertificateOptions } from "../authority/testing.ts";
import { type Reason, SpiffeError } from "../base/index.ts";
import { WorkloadApiClient } from "./client.ts";
import type { X509Context } from "./snapshot.ts";
import { sameX509Context } from "./x509-messages.ts";

type Svid = NonNullable<X509Answer["svids"]>[number] & { x509Svid: Uint8Array; x509SvidKey: Uint8Array };

const ID = "spiffe://example.org/web";
const bytes = (...parts: Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]));

let ca: TestCa;
let otherCa: TestCa;
let partnerCa: TestCa;
let good: Svid;
let second: Svid;
let server: WorkloadServer;
let client: WorkloadApiClient;
let answer: X509Answer;
let bundles: Record<string, Uint8Array>;

async function svid(options: TestCertificateOptions = {}, issuer: TestCa = ca): Promise<Svid> {
  const { chainDer, privateKeyPkcs8 } = await issuer.issue({ id: ID, ...options });
  return { spiffeId: options.id ?? ID, x509Svid: chainDer, x509SvidKey: privateKeyPkcs8, bundle: ca.certificateDer };
}

async function fetched(given: X509Answer) {
  answer = given;
  return client.fetchX509Context();
}

async function refused(given: X509Answer, reason: Reason): Promise<SpiffeError> {
  try {
    await fetched(given);
  } catch (error) {
    assert.ok(error instanceof SpiffeError);
    assert.equal(error.code, "ERR_SPIFFE_WORKLOAD_API");
    assert.equal(error.reason, reason, error.message);
    return error;
  }
  throw new assert.AssertionError({ message: `it was accepted, expected ${reason}` });
}

before(async () => {
  ca = await TestCa.create({ trustDomain: "example.org" });
  otherCa = await TestCa.create({ trustDomain: "example.org" });
  partnerCa = await TestCa.create({ trustDomain: "partner.example" });
  good = await svid();
  second = await svid({ id: "spiffe://example.org/second" });
  server = await WorkloadServer.start({
    fetchX509SVID: (_, context) => sayAndStay(answer, context),
    fetchX509Bundles: (_, context) => sayAndStay({ bundles }, context),
  });
  client = new WorkloadApiClient({ socket: server.socket });
});

after(async () => {
  await client.close();
  await server.close();
});

describe("X.509 messages", () => {
  it("[WL-13] [WL-25] takes SVIDs in order and bundles by trust domain", async () => {
    const federatedBundles = { "spiffe://partner.example": partnerCa.certificateDer };
    const context = await fetched({ svids: [good, second], federatedBundles });
    assert.deepEqual(
      context.svids.map(({ id }) => id.uri),
      [ID, second.spiffeId],
    );
    assert.deepEqual([...context.bundles.keys()], ["example.org", "partner.example"]);
    assert.ok(context.bundles.get("partner.example")?.equals(partnerCa.x509Bundle()));
    assert.deepEqual(context.svids[0]?.privateKeyPkcs8(), good.x509SvidKey);
    assert.ok(Object.isFrozen(context) && Object.isFrozen(context.svids));
  });

  it("[WL-21] refuses a message without SVIDs", async () => {
    await refused({ svids: [], federatedBundles: {} }, "workload.no-svid");
    await fetched({ svids: [good] });
  });

  for (const field of ["spiffeId", "x509Svid", "x509SvidKey", "bundle"] as const) {
    it(`[WL-22] [WL-11] refuses the whole message when one SVID has an empty ${field}`, async () => {
      const empty = { ...second, [field]: field === "spiffeId" ? "" : new Uint8Array() };
      await refused({ svids: [good, empty] }, "workload.field-missing");
      await fetched({ svids: [good, second] });
    });
  }

  it("[S-11] refuses a key that is not the leaf's", async () => {
    await refused({ svids: [{ ...good, x509SvidKey: second.x509SvidKey }] }, "x509.key-mismatch");
    await fetched({ svids: [good] });
  });

  it("[S-11] refuses a spiffe_id that is not the leaf's SAN, or no SPIFFE ID", async () => {
    await refused({ svids: [{ ...good, spiffeId: "spiffe://example.org/admin" }] }, "x509.id-mismatch");
    await refused({ svids: [{ ...good, spiffeId: "spiffe://Example.org/web" }] }, "id.trust-domain-character");
    await fetched({ svids: [{ ...good, spiffeId: ID }] });
  });

  for (const [what, options, reason] of [
    ["is a CA", { ca: true, pathLength: 0, keyUsage: ["digitalSignature"] }, "x509.leaf-is-ca"],
    ["has keyCertSign", { keyUsage: ["digitalSignature", "keyCertSign"] }, "x509.leaf-key-usage"],
    ["has no digitalSignature", { keyUsage: ["keyAgreement"] }, "x509.leaf-key-usage"],
    ["has only one of both purposes", { extKeyUsage: ["clientAuth"] }, "x509.leaf-ext-key-usage"],
    ["has two URI SANs", { uriSans: [ID, "spiffe://example.org/b"] }, "x509.several-uri-sans"],
    ["has no URI SAN", { uriSans: [], dnsSans: ["web.example"] }, "x509.no-uri-san"],
    ["is expired", { notBefore: new Date(0), notAfter: new Date(1_000) }, "x509.expired"],
    ["is not yet valid", { notBefore: new Date(Date.now() + 1_800_000) }, "x509.not-yet-valid"],
    ["has a flipped signature bit", { tamper: "signature" }, "x509.signature"],
  ] as [string, TestCertificateOptions, Reason][]) {
    it(`[S-11] refuses an SVID whose leaf ${what}`, async () => {
      const { hint } = await refused({ svids: [await svid(options)] }, reason);
      // a clock that is wrong looks like an SVID that is
      assert.equal(/clock/.test(hint ?? ""), /expired|not-yet-valid/.test(reason));
      await fetched({ svids: [await svid()] });
    });
  }

  it("[S-11] refuses an SVID that does not chain to the bundle of its own message", async () => {
    const error = await refused({ svids: [{ ...good, bundle: otherCa.certificateDer }] }, "x509.no-path");
    assert.ok(error.message.includes(ID));
    const both = bytes(otherCa.certificateDer, ca.certificateDer);
    await fetched({ svids: [{ ...good, bundle: both }] });
  });

  it("[S-11] [A-7] a federated bundle does not vouch for the own trust domain", async () => {
    const foreign = { ...(await svid({}, partnerCa)), bundle: ca.certificateDer };
    const federatedBundles = { "spiffe://partner.example": partnerCa.certificateDer };
    await refused({ svids: [foreign], federatedBundles }, "x509.no-path");
    await fetched({ svids: [good], federatedBundles });
  });

  it("[S-11] [A-14] refuses left-over bytes after chain, key and bundle", async () => {
    const spoilt = (field: "x509Svid" | "x509SvidKey" | "bundle", byte: number) => {
      return { svids: [{ ...good, [field]: bytes(good[field] as Uint8Array, Uint8Array.of(byte)) }] };
    };
    for (const byte of [0x00, 0x30]) {
      await refused(spoilt("x509Svid", byte), "x509.malformed");
      await refused(spoilt("x509SvidKey", byte), "x509.key-mismatch");
      await refused(spoilt("bundle", byte), "bundle.malformed");
    }
    await fetched({ svids: [good] });
  });

  it("[WL-18] refuses PEM", async () => {
    const pem = new TextEncoder().encode(ca.certPem);
    await refused({ svids: [{ ...good, bundle: pem }] }, "bundle.malformed");
    await fetched({ svids: [{ ...good, bundle: ca.certificateDer }] });
  });

  it("[WL-25] [A-14] refuses an empty federated bundle and a key that is no trust domain's ID", async () => {
    const partner = partnerCa.certificateDer;
    const federated = (key: string, value: Uint8Array = partner) => {
      return { svids: [good], federatedBundles: Object.fromEntries([[key, value]]) };
    };
    await refused(federated("spiffe://partner.example", new Uint8Array()), "workload.field-missing");
    for (const key of ["partner.example", "spiffe://partner.example/", "spiffe://partner.example/x", "", "__proto__"]) {
      await refused(federated(key), "bundle.trust-domain");
    }
    const context = await fetched(federated("spiffe://partner.example"));
    assert.ok(context.bundles.has("partner.example"));
  });

  it("the SVID's own bundle wins over a federated entry of the same trust domain", async () => {
    const federatedBundles = { "spiffe://example.org": otherCa.certificateDer };
    const context = await fetched({ svids: [good], federatedBundles });
    assert.ok(context.bundles.get("example.org")?.equals(ca.x509Bundle()));
    assert.equal(context.bundles.size, 1);
  });

  it("every SVID of a trust domain has to chain to the bundle that is published for it", async () => {
    const others = await svid({ id: "spiffe://example.org/second" }, otherCa);
    await refused({ svids: [good, { ...others, bundle: otherCa.certificateDer }] }, "x509.no-path");
    await fetched({ svids: [good, second] });
  });

  it("[WL-15] takes the first SVID with a hint and drops the next; [WL-17] empty hints do not collide", async () => {
    const hints = async (...given: string[]) => {
      const svids = given.map((hint, index) => ({ ...(index === 0 ? good : second), hint }));
      return (await fetched({ svids })).svids.map(({ id, hint }) => `${id.path} ${hint}`);
    };
    assert.deepEqual(await hints("internal", "internal"), ["/web internal"]);
    assert.deepEqual(await hints("internal", "external"), ["/web internal", "/second external"]);
    assert.deepEqual(await hints("", ""), ["/web undefined", "/second undefined"]);
  });

  it("[WL-16] keeps a hint of 1024 bytes and not one of 1025", async () => {
    const hint = async (length: number) => (await fetched({ svids: [{ ...good, hint: "h".repeat(length) }] })).svids[0];
    assert.equal((await hint(1024))?.hint?.length, 1024);
    assert.equal((await hint(1025))?.hint, undefined);
  });

  it("takes 100 SVIDs and refuses 101", async () => {
    const many = (count: number) => ({ svids: Array.from({ length: count }, () => good) });
    await refused(many(101), "workload.too-large");
    assert.equal((await fetched(many(100))).svids.length, 100);
  });

  it("[S-11] tells a state in which anything changed from the one before, and from no other", async () => {
    const own = ca.certificateDer;
    const inner = await ca.intermediate({ trustDomain: "example.org" });
    const through = async (options: TestCertificateOptions = {}) => svid(options, inner);
    const [low, again] = [await through(), await through()];
    const federated = { "spiffe://partner.example": partnerCa.certificateDer };
    const more = { ...federated, "spiffe://other.example": partnerCa.certificateDer };
    const states: X509Answer[] = [
      { svids: [good, second], federatedBundles: federated },
      { svids: [second, good], federatedBundles: federated },
      { svids: [good], federatedBundles: federated },
      { svids: [await svid(), second], federatedBundles: federated },
      { svids: [good, await svid({ id: "spiffe://example.org/second" })], federatedBundles: federated },
      { svids: [{ ...good, hint: "internal" }, second], federatedBundles: federated },
      { svids: [good, second], federatedBundles: more },
      { svids: [good, second], federatedBundles: { "spiffe://other.example": partnerCa.certificateDer } },
      { svids: [good, second], federatedBundles: { "spiffe://partner.example": otherCa.certificateDer } },
      { svids: [good, second].map((one) => ({ ...one, bundle: bytes(own, otherCa.certificateDer) })) },
      { svids: [low] },
      { svids: [again] },
      { svids: [{ ...low, x509Svid: bytes(low.x509Svid, own) }] },
    ];
    const contexts: X509Context[] = [];
    for (const state of states) contexts.push(await fetched(state));
    for (const [i, context] of contexts.entries()) {
      for (const [j, other] of contexts.entries())
        assert.equal(sameX509Context(context, other), i === j, `states ${i} and ${j}`);
      assert.equal(sameX509Context(context, await fetched(states[i]!)), true, `state ${i}, fetched again`);
    }
  });

  it("[WL-26] reads over revocation lists, whatever stands in them", async () => {
    const context = await fetched({ svids: [good], crl: [Uint8Array.of(1, 2, 3), new Uint8Array()] });
    assert.deepEqual(
      context.svids.map(({ id }) => id.uri),
      [ID],
    );
  });

  it("[WL-30] takes bundles alone, and refuses none at all or one that is broken", async () => {
    const own = { "spiffe://example.org": ca.certificateDer };
    const expectRefusal = async (given: Record<string, Uint8Array>, reason: Reason) => {
      bundles = given;
      await assert.rejects(client.fetchX509Bundles(), { code: "ERR_SPIFFE_WORKLOAD_API", reason });
    };
    await expectRefusal({}, "workload.field-missing");
    await expectRefusal({ ...own, "spiffe://partner.example": new Uint8Array() }, "workload.field-missing");
    await expectRefusal({ "spiffe://example.org": ca.certificateDer.subarray(1) }, "bundle.malformed");
    bundles = own;
    const state = await client.fetchX509Bundles();
    assert.ok(state.bundles.get("example.org")?.equals(ca.x509Bundle()));
  });
});
