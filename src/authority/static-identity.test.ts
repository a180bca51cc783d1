import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { eventually } from "../../test/support/eventually.ts";
import { TrustDomain } from "../id/index.ts";
import { X509Svid } from "../x509/index.ts";
import { staticIdentity, TestCa, type TestSvid } from "./testing.ts";

const ORG = TrustDomain.parse("example.org");
const OTHER = TrustDomain.parse("other.test");

describe("staticIdentity", () => {
  let ca: TestCa;
  let web: TestSvid;
  let api: TestSvid;
  before(async () => {
    ca = await TestCa.create();
    web = await ca.issue({ id: "spiffe://example.org/web" });
    api = await ca.issue({ id: "spiffe://example.org/api" });
  });

  it("shows the SVID and the bundles it was given", async () => {
    const other = await TestCa.create({ trustDomain: "other.test" });
    const bundles = [ca.x509Bundle(), other.x509Bundle()];
    const identity = await staticIdentity({ svid: web, bundles });
    assert.equal(identity.x509.x509Svid().id.uri, "spiffe://example.org/web");
    assert.equal(identity.x509.x509BundleFor(ORG), bundles[0]);
    assert.equal(identity.x509.x509BundleFor(OTHER), bundles[1]);
    const parsed = await X509Svid.parse(api.chainDer, api.privateKeyPkcs8);
    const single = await staticIdentity({ svid: parsed, bundles: ca.x509Bundle() });
    assert.equal(single.x509.x509Svid(), parsed);
    assert.equal(single.x509.x509BundleFor(OTHER), undefined);
  });

  it("tells every update, and leaves alone what an update does not name", async () => {
    const identity = await staticIdentity({ svid: web, bundles: ca.x509Bundle() });
    const stop = new AbortController();
    const seen: string[] = [];
    const reader = (async () => {
      for await (const _ of identity.x509.updates(stop.signal)) seen.push(identity.x509.x509Svid().id.path);
    })();
    await identity.update({ svid: api });
    await eventually(() => seen.at(-1) === "/api");
    assert.ok(identity.x509.x509BundleFor(ORG));
    await identity.update({ bundles: [] });
    assert.equal(identity.x509.x509BundleFor(ORG), undefined);
    assert.equal(identity.x509.x509Svid().id.path, "/api");
    stop.abort();
    await reader;
  });

  it("throws ERR_SPIFFE_REVOKED once the SVID was taken away", async () => {
    const identity = await staticIdentity({ svid: web });
    assert.ok(identity.x509.x509Svid());
    await identity.update({ svid: null });
    assert.throws(() => identity.x509.x509Svid(), { code: "ERR_SPIFFE_REVOKED" });
  });
});
