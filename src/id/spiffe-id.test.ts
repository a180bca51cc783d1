import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { inspect } from "node:util";
import { isSpiffeError, type Verdict } from "../base/index.ts";
import { SpiffeId, TrustDomain } from "./index.ts";

const verdictOf = (verdict: Verdict<unknown>) => (verdict.ok ? "accept" : verdict.reason);
const bytes = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

describe("SpiffeId", () => {
  it("[ID-01] [ID-15] shows its parts", () => {
    const id = SpiffeId.parse("spiffe://example.org/ns/shop");
    assert.equal(id.trustDomain.name, "example.org");
    assert.equal(id.path, "/ns/shop");
    assert.equal(id.uri, "spiffe://example.org/ns/shop");
    const own = SpiffeId.parse("spiffe://example.org");
    assert.equal(own.trustDomain.name, "example.org");
    assert.equal(own.path, "");
  });

  it("[ID-26] compares byte for byte; the case of the path counts", () => {
    const id = SpiffeId.parse("spiffe://td/a");
    assert.ok(id.equals("spiffe://td/a") && id.equals(SpiffeId.parse("spiffe://td/a")));
    assert.ok(!id.equals("spiffe://td/A") && !id.equals(SpiffeId.parse("spiffe://td/A")));
    assert.ok(!id.equals("SPIFFE://td/a") && !id.equals("spiffe://td/a/") && !id.equals("spiffe://td"));
    assert.throws(() => assert.deepEqual(id, SpiffeId.parse("spiffe://td/b")), "deepEqual sees the difference");
    assert.deepEqual(id, SpiffeId.parse("spiffe://td/a"));
  });

  it("[ID-25] membership is the trust domain, whole", () => {
    const id = SpiffeId.parse("spiffe://example.org/a");
    assert.ok(id.memberOf("example.org") && id.memberOf("spiffe://example.org"));
    assert.ok(id.memberOf(TrustDomain.parse("example.org")));
    for (const other of ["example.or", "xexample.org", "Example.org", "org", "", "spiffe://example.org/a"]) {
      assert.ok(!id.memberOf(other), other);
    }
  });

  it("[ID-19] configuration folds ASCII case of scheme and trust domain, never the path, never other scripts", () => {
    assert.equal(SpiffeId.parseConfig("SPIFFE://Example.ORG/Ns/A").uri, "spiffe://example.org/Ns/A");
    assert.equal(TrustDomain.parseConfig("Example.ORG").name, "example.org");
    const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    assert.equal(
      SpiffeId.parseConfig(`spiffe://${letters}/${letters}`).uri,
      `spiffe://${letters.toLowerCase()}/${letters}`,
    );
    assert.equal(TrustDomain.parseConfig("SPIFFE://Example.ORG/A").name, "example.org");
    assert.equal(verdictOf(TrustDomain.safeParse("Example.ORG")), "id.trust-domain-character");
    assert.equal(verdictOf(SpiffeId.safeParseConfig("spiffe://\u212aelvin/a")), "id.trust-domain-character");
    assert.equal(verdictOf(SpiffeId.safeParseConfig("SP\u0130FFE://td/a")), "id.scheme");
    assert.equal(verdictOf(SpiffeId.safeParseConfig("A".repeat(50_000_000))), "id.too-long");
    assert.equal(verdictOf(TrustDomain.safeParseConfig("A".repeat(50_000_000))), "id.trust-domain-too-long");
    assert.equal(TrustDomain.parseConfig("A".repeat(255)).name, "a".repeat(255));
  });

  it("[ID-01] refuses bytes above 0x7F and NUL, as they come in a certificate; the same ID without them passes", () => {
    const good = bytes("spiffe://td/web");
    assert.equal(verdictOf(SpiffeId.safeParse(good)), "accept");
    for (const bad of [0x00, 0x80, 0xe1, 0xff]) {
      const path = Uint8Array.from(good);
      path[13] = bad;
      assert.equal(verdictOf(SpiffeId.safeParse(path)), "id.path-character");
      const domain = Uint8Array.from(good);
      domain[9] = bad;
      assert.equal(verdictOf(SpiffeId.safeParse(domain)), "id.trust-domain-character");
    }
    assert.equal(verdictOf(SpiffeId.safeParse(new Uint8Array(3_000_000).fill(0x61))), "id.too-long");
  });

  it("[ID-01] refuses what is not text at all", () => {
    for (const value of [undefined, null, 1, {}, [], true, { toString: () => "spiffe://td/a" }]) {
      assert.equal(verdictOf(SpiffeId.safeParse(value as never)), "id.scheme");
      assert.equal(verdictOf(SpiffeId.safeParseConfig(value as never)), "id.scheme");
      assert.equal(verdictOf(TrustDomain.safeParse(value as never)), "id.scheme");
      assert.equal(verdictOf(TrustDomain.safeParseConfig(value as never)), "id.scheme");
      assert.throws(
        () => SpiffeId.parse(value as never),
        (error) => isSpiffeError(error, "ERR_SPIFFE_ID"),
      );
    }
  });

  it("[ID-01] agrees with a grammar written a second time, over random strings", () => {
    const grammar = /^spiffe:\/\/[a-z0-9._-]{1,255}(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._-]+)*$/;
    const alphabet = [..."aZ0.-_//..", "%", "?", "#", "@", ":", "é", "\u0161", " "];
    let seed = 42;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    let accepted = 0;
    for (let i = 0; i < 20_000; i++) {
      let text = random(20) === 0 ? "spiffe:/" : "spiffe://";
      // Most strings are drawn from the letters that may stand in an ID, else nearly all would be refused.
      for (let n = random(12); n > 0; n--) text += alphabet[random(random(4) === 0 ? alphabet.length : 8)];
      const expected = grammar.test(text);
      if (expected) accepted++;
      assert.equal(SpiffeId.safeParse(text).ok, expected, JSON.stringify(text));
    }
    assert.ok(accepted > 2_000 && accepted < 18_000, `${accepted} accepted`);
  });

  it("stays what was verified", () => {
    const id = SpiffeId.parse("spiffe://example.org/web");
    for (const made of [id, id.trustDomain.id, SpiffeId.parseConfig("spiffe://EXAMPLE.org/web")]) {
      assert.throws(() => Object.assign(made, { uri: "spiffe://example.org/admin" }), TypeError);
    }
    assert.equal(id.uri, "spiffe://example.org/web");
  });

  it("shows itself as text", () => {
    const id = SpiffeId.parse("spiffe://td/a");
    assert.equal(`${id}`, "spiffe://td/a");
    assert.equal(JSON.stringify({ id, td: id.trustDomain }), '{"id":"spiffe://td/a","td":"td"}');
    assert.match(inspect(id), /spiffe:\/\/td\/a/);
    assert.match(inspect(id.trustDomain), /td/);
  });

  it("[ID-01] its sentences name rule and place, and repeat no foreign text", () => {
    const verdict = SpiffeId.safeParse("spiffe://td/a b");
    assert.ok(!verdict.ok && verdict.message.includes("U+0020 at offset 13"));
    const token = SpiffeId.safeParse("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln");
    assert.ok(!token.ok && !token.message.includes("eyJ"));
  });
});

describe("building IDs", () => {
  it("[ID-12] [ID-13] [ID-14] from segments", () => {
    assert.equal(SpiffeId.fromSegments("td", "ns", "shop").uri, "spiffe://td/ns/shop");
    assert.equal(SpiffeId.fromSegments(TrustDomain.parse("td")).uri, "spiffe://td");
    for (const bad of ["", ".", "..", "a/b", "a b", "%41", "/a", "a?"]) {
      assert.throws(
        () => SpiffeId.fromSegments("td", "ns", bad),
        (error) => isSpiffeError(error, "ERR_SPIFFE_ID"),
        bad,
      );
    }
  });

  it("[ID-08] [ID-14] from text and trust domains alone: what only looks like one is refused", () => {
    const builders: ((odd: never) => SpiffeId)[] = [
      (odd) => SpiffeId.fromSegments("td", "ns", odd),
      (odd) => SpiffeId.fromPath("td", odd),
      (odd) => SpiffeId.fromPath(odd, "/a"),
    ];
    // an ID has no name, and would have given the trust domain "undefined"
    const id = SpiffeId.parse("spiffe://td/a");
    for (const odd of [["a/b"], ["a"], id, {}, { name: "td/a" }, undefined, null, 7] as never[]) {
      for (const build of builders) assert.throws(() => build(odd), { code: "ERR_SPIFFE_ID" });
    }
    assert.equal(SpiffeId.fromSegments("td", "ns", "a").uri, "spiffe://td/ns/a");
    assert.equal(SpiffeId.fromPath(id.trustDomain, "/a").uri, "spiffe://td/a");
  });

  it("[ID-08] [ID-13] from a path", () => {
    assert.equal(SpiffeId.fromPath("td", "/ns/shop").uri, "spiffe://td/ns/shop");
    assert.equal(SpiffeId.fromPath("spiffe://td", "").uri, "spiffe://td");
    for (const bad of ["a", "/", "/a/", ".org", "//a", "?x"]) {
      assert.throws(
        () => SpiffeId.fromPath("td", bad),
        (error) => isSpiffeError(error, "ERR_SPIFFE_ID"),
        bad,
      );
    }
    for (const bad of ["", "TD", "td/a", "td:80", "https://td"]) {
      assert.throws(
        () => SpiffeId.fromPath(bad, "/a"),
        (error) => isSpiffeError(error, "ERR_SPIFFE_ID"),
        bad,
      );
    }
  });

  it("[ID-17] never above 2048 bytes", () => {
    assert.equal(SpiffeId.fromSegments("td", "p".repeat(2036)).uri.length, 2048);
    assert.throws(
      () => SpiffeId.fromSegments("td", "p".repeat(2037)),
      (error) => isSpiffeError(error) && error.reason === "id.too-long",
    );
  });
});

describe("TrustDomain", () => {
  it("[ID-02] [ID-07] [ID-08] [ID-10] [ID-18] reads names and IDs", () => {
    for (const good of ["td", "td_1.example-2.org", "192.168.1.1", ".", "a..b", "d".repeat(255), "spiffe"]) {
      assert.equal(TrustDomain.parse(good).name, good);
    }
    assert.equal(TrustDomain.parse("spiffe://td").name, "td");
    assert.equal(TrustDomain.parse("spiffe://td/a").name, "td");
    const bad = {
      "": "id.trust-domain-missing",
      "spiffe://": "id.trust-domain-missing",
      ["d".repeat(256)]: "id.trust-domain-too-long",
    };
    for (const [name, reason] of Object.entries(bad)) assert.equal(verdictOf(TrustDomain.safeParse(name)), reason);
    for (const name of ["TD", "td/", "td/a", "td:80", "u@td", "t%64", "t d", "t\u0434", "spiffe:td", "[::1]"]) {
      assert.equal(verdictOf(TrustDomain.safeParse(name)), "id.trust-domain-character", name);
    }
    assert.equal(verdictOf(TrustDomain.safeParse("spiffe://td/")), "id.path-trailing-slash");
  });

  it("[ID-26] compares byte for byte, and knows its own ID", () => {
    const domain = TrustDomain.parse("example.org");
    assert.ok(domain.equals("example.org") && domain.equals("spiffe://example.org"));
    assert.ok(domain.equals(TrustDomain.parse("spiffe://example.org/x")));
    for (const other of ["example.com", "sub.example.org", "example.or"]) {
      assert.equal(domain.equals(TrustDomain.parse(other)), false, other);
      assert.equal(SpiffeId.fromPath(domain, "/web").memberOf(TrustDomain.parse(other)), false, other);
    }
    assert.ok(Object.isFrozen(domain) && Object.isFrozen(SpiffeId.parse("spiffe://example.org/web").trustDomain));
    assert.ok(
      !domain.equals("Example.org") && !domain.equals("example.org.") && !domain.equals("spiffe://example.org/"),
    );
    assert.equal(domain.id.uri, "spiffe://example.org");
    assert.equal(domain.id.path, "");
  });
});
