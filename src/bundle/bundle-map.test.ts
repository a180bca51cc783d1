import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { isSpiffeError, LIMITS } from "../base/index.ts";
import { encodeBase64 } from "../encoding/index.ts";
import { TrustDomain } from "../id/index.ts";
import { makeKey } from "../jwt/sign.testing.ts";
import { issueCa } from "../x509/issue.testing.ts";
import { BundleMap, BundleSet, SpiffeBundle } from "./index.ts";

type Jwk = Record<string, unknown>;

const ORG = TrustDomain.parse("example.org");
const OTHER = TrustDomain.parse("other.org");

let ours: Jwk;
let theirs: Jwk;
before(async () => {
  const key = await makeKey("ES256");
  ours = { ...key.publicJwk, use: "jwt-svid", kid: "ours" };
  const { certificate } = await issueCa();
  theirs = { ...certificate.publicKey.toJwk(), use: "x509-svid", x5c: [encodeBase64(certificate.der)] };
});

const document = (entries: Record<string, unknown>, members: Jwk = {}) =>
  JSON.stringify({ trust_domains: entries, ...members });
const both = () => document({ "example.org": { keys: [ours], spiffe_sequence: 1 }, "other.org": { keys: [theirs] } });
const verdictOf = (input: string | Uint8Array) => {
  const verdict = BundleMap.safeParse(input);
  return verdict.ok ? "accept" : verdict.reason;
};

describe("SPIFFE bundle map", () => {
  it("[MAP-01] [BND-17] gives the bundle of exactly the trust domain that is asked for", () => {
    for (const input of [both(), new TextEncoder().encode(both())]) {
      const map = BundleMap.parse(input);
      assert.deepEqual(map.trustDomains, ["example.org", "other.org"]);
      assert.equal(map.bundleFor(ORG)?.trustDomain.name, "example.org");
      assert.equal(map.bundleFor(ORG)?.sequence, 1n);
      assert.equal(map.jwtBundleFor(ORG)?.keys[0]?.keyId, "ours");
      assert.ok(map.x509BundleFor(ORG)?.isEmpty && map.jwtBundleFor(OTHER)?.isEmpty);
      assert.equal(map.x509BundleFor(OTHER)?.authorities.length, 1);
      for (const name of ["example.or", "org", "trust_domains", "__proto__", "constructor"]) {
        const domain = TrustDomain.parse(name);
        assert.equal(map.bundleFor(domain), undefined, name);
        assert.equal(map.jwtBundleFor(domain), undefined, name);
        assert.equal(map.x509BundleFor(domain), undefined, name);
      }
    }
  });

  it("[MAP-01] trust_domains is there, an object, and may be empty; unknown members are not minded", () => {
    for (const bad of [
      "",
      "{}",
      "[]",
      "null",
      '"x"',
      '{"trust_domains":null}',
      '{"trust_domains":[]}',
      '{"trust_domains":"x"}',
      '{"trustDomains":{}}',
      '{"__proto__":{"trust_domains":{}}}',
      '{"keys":[]}',
      `\ufeff${both()}`,
      `${both()}x`,
    ]) {
      assert.equal(verdictOf(bad), "bundle.malformed", bad.slice(0, 60));
    }
    assert.deepEqual(BundleMap.parse('{"trust_domains":{}}').trustDomains, []);
    assert.equal(verdictOf('{"trust_domains":{},"__proto__":1,"x":{"y":[1]}}'), "accept");
    assert.equal(verdictOf(Uint8Array.of(0x7b, 0xff, 0x7d)), "bundle.malformed");
    assert.throws(
      () => BundleMap.parse("{}"),
      (error) => isSpiffeError(error, "ERR_SPIFFE_BUNDLE"),
    );
  });

  it("[MAP-01] is keyed by names, not by SPIFFE IDs", () => {
    const keyed = (name: string) => verdictOf(document({ "other.org": { keys: [] }, [name]: { keys: [] } }));
    for (const name of [
      "spiffe://example.org",
      "spiffe://example.org/",
      "spiffe://example.org/web",
      "Example.org",
      "example.org/",
      "example.org:443",
      " example.org",
      "",
      "exam ple.org",
      "exämple.org",
      "d".repeat(256),
    ]) {
      assert.equal(keyed(name), "bundle.trust-domain", name);
    }
    for (const name of ["example.org", "spiffe", "_", "d".repeat(255)]) assert.equal(keyed(name), "accept", name);
  });

  it("[MAP-03] a trust domain listed twice refuses the document, however it is spelled", () => {
    const bundle = JSON.stringify({ keys: [ours] });
    const map = (...entries: string[]) => `{"trust_domains":{${entries.join(",")}}}`;
    assert.equal(verdictOf(map(`"example.org":${bundle}`, `"other.org":${bundle}`)), "accept");
    assert.equal(verdictOf(map(`"example.org":${bundle}`, `"example.org":${bundle}`)), "bundle.malformed");
    assert.equal(verdictOf(map(`"example.org":${bundle}`, `"\\u0065xample.org":${bundle}`)), "bundle.malformed");
    assert.equal(verdictOf(`{"trust_domains":{},"trust_domains":{"example.org":${bundle}}}`), "bundle.malformed");
    assert.equal(verdictOf(map(`"example.org":{"keys":[],"keys":[${JSON.stringify(ours)}]}`)), "bundle.malformed");
  });

  it("[MAP-03] __proto__ is a trust domain like any other", () => {
    const text = `{"trust_domains":{"__proto__":{"keys":[${JSON.stringify(ours)}]}}}`;
    const map = BundleMap.parse(text);
    assert.deepEqual(map.trustDomains, ["__proto__"]);
    assert.equal(map.jwtBundleFor(TrustDomain.parse("__proto__"))?.keys.length, 1);
    assert.equal(map.jwtBundleFor(TrustDomain.parse("keys")), undefined);
    assert.ok(BundleMap.parse(map.toJson()).equals(map));
    assert.match(map.toJson(), /^{"trust_domains":{"__proto__":/);
    assert.equal(verdictOf(text.replaceAll("}}}", '},"__proto__":{"keys":[]}}}')), "bundle.malformed");
  });

  it("[MAP-06] is read whole or not at all: one malformed bundle refuses all, one odd key is left out", () => {
    const good = { keys: [theirs] };
    for (const bad of [
      {},
      null,
      [],
      { keys: null },
      { keys: [], spiffe_sequence: -1 },
      { keys: [], spiffe_sequence: "1" },
      { keys: [], spiffe_refresh_hint: 1.5 },
    ]) {
      for (const entries of [
        { "example.org": bad, "other.org": good },
        { "other.org": good, "example.org": bad },
      ]) {
        const verdict = BundleMap.safeParse(document(entries));
        assert.ok(!verdict.ok && verdict.reason === "bundle.malformed", JSON.stringify(bad));
        assert.match(verdict.message, /^Bundle of example\.org: /);
      }
    }
    const odd = { keys: [{ ...ours, kid: undefined }, ours] };
    const map = BundleMap.parse(document({ "example.org": odd, "other.org": good }));
    assert.equal(map.jwtBundleFor(ORG)?.keys.length, 1);
    assert.equal(map.bundleFor(ORG)?.warnings[0]?.index, 0);
    assert.equal(map.x509BundleFor(OTHER)?.authorities.length, 1);
  });

  it("[MAP-06] can not be changed after it was read", () => {
    const map = BundleMap.parse(both());
    (map.trustDomains as string[]).pop();
    assert.throws(() => (map.bundleFor(ORG)!.jwt.keys as unknown[]).push(1), TypeError);
    assert.throws(() => (map.bundleFor(ORG)!.witKeys as unknown[]).push(1), TypeError);
    assert.ok(map.equals(BundleMap.parse(both())));
  });

  it("[MAP-04] [MAP-05] neither keeps nor writes the refresh hints of the bundles inside", () => {
    const hinted = { keys: [ours], spiffe_sequence: 2, spiffe_refresh_hint: 1 };
    const map = BundleMap.parse(document({ "example.org": hinted }, { spiffe_refresh_hint: 1 }));
    assert.equal(map.bundleFor(ORG)?.refreshHintMs, undefined);
    assert.equal(map.bundleFor(ORG)?.sequence, 2n);
    const alone = SpiffeBundle.parse(ORG, JSON.stringify(hinted));
    assert.equal(alone.refreshHintMs, 1_000);
    assert.ok(BundleMap.of(alone).equals(map));
    assert.doesNotMatch(BundleMap.of(alone).toJson(), /refresh_hint/);
    assert.match(alone.toJson(), /refresh_hint/);
  });

  it("[MAP-02] writes each trust domain once, in order, and reads that back the same", () => {
    const bundles = [
      SpiffeBundle.parse(OTHER, JSON.stringify({ keys: [theirs], spiffe_sequence: 9 })),
      SpiffeBundle.parse(ORG, `{"keys":[${JSON.stringify(ours)}],"spiffe_sequence":18446744073709551615}`),
    ];
    const map = BundleMap.of(...bundles);
    const again = BundleMap.parse(map.toJson());
    assert.ok(again.equals(map) && map.equals(again));
    assert.equal(again.bundleFor(ORG)?.sequence, 2n ** 64n - 1n);
    assert.match(map.toJson(), /^\{"trust_domains":\{"example\.org":\{"keys".*"other\.org":\{"keys"/);
    assert.equal(BundleMap.of().toJson(), '{"trust_domains":{}}');
    assert.ok(!BundleMap.of(bundles[0]!).equals(map) && !map.equals(BundleMap.of(bundles[0]!)));
    const changed = SpiffeBundle.parse(OTHER, JSON.stringify({ keys: [], spiffe_sequence: 9 }));
    assert.ok(!BundleMap.of(changed, bundles[1]!).equals(map) && !map.equals(BundleMap.of(changed, bundles[1]!)));
    const usage = (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_USAGE");
    assert.throws(() => BundleMap.of(bundles[0]!, bundles[0]!), usage);
    assert.throws(() => BundleMap.of(bundles[0]!.x509 as never), usage);
    assert.deepEqual(JSON.parse(JSON.stringify(map)).trustDomains[0].trustDomain, "example.org");
  });

  it("[MAP-01] is bounded in bytes, in trust domains, and in keys over all its bundles", () => {
    const filled = (length: number) => '{"trust_domains":{}}'.padEnd(length);
    assert.equal(verdictOf(filled(LIMITS.bundle)), "accept");
    assert.equal(verdictOf(filled(LIMITS.bundle + 1)), "bundle.too-large");
    const keys = (count: number) => ({ keys: Array.from({ length: count }, () => ({})) });
    const many = (count: number) =>
      document(Object.fromEntries(Array.from({ length: count }, (_, i) => [`d${i}`, keys(0)])));
    assert.equal(verdictOf(many(LIMITS.bundleKeys)), "accept");
    assert.equal(verdictOf(many(LIMITS.bundleKeys + 1)), "bundle.too-large");
    const half = LIMITS.bundleKeys / 2;
    assert.equal(verdictOf(document({ "example.org": keys(half), "other.org": keys(half) })), "accept");
    assert.equal(verdictOf(document({ "example.org": keys(half), "other.org": keys(half + 1) })), "bundle.too-large");
    assert.equal(verdictOf(document({ "example.org": keys(LIMITS.bundleKeys + 1) })), "bundle.too-large");
  });

  it("[FED-33] the bundles of a set and of a map stay apart by trust domain", () => {
    const map = BundleMap.parse(both());
    const set = BundleSet.of(map.bundleFor(ORG)!, map.bundleFor(OTHER)!);
    assert.equal(set.jwtBundleFor(ORG), map.jwtBundleFor(ORG));
    assert.equal(set.x509BundleFor(OTHER), map.x509BundleFor(OTHER));
    assert.notEqual(set.jwtBundleFor(OTHER), map.jwtBundleFor(ORG));
  });
});
