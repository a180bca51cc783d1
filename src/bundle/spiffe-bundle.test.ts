import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { createLocalJWKSet } from "jose";
import { isSpiffeError, LIMITS } from "../base/index.ts";
import { encodeBase64, encodeBase64Url } from "../encoding/index.ts";
import { TrustDomain } from "../id/index.ts";
import { JwtBundle } from "../jwt/index.ts";
import { makeKey } from "../jwt/sign.testing.ts";
import { type Certificate, X509Bundle } from "../x509/index.ts";
import { issue } from "../x509/issue.testing.ts";
import { SpiffeBundle } from "./index.ts";

type Jwk = Record<string, unknown>;

const authority = async (subject: string, keyType: "P-256" | "RSA-1024" | "RSA-2048" | "Ed25519" = "P-256") =>
  (
    await issue({
      subject,
      keyType,
      ca: true,
      keyUsage: ["keyCertSign", "cRLSign"],
      names: [{ uri: "spiffe://example.org" }],
    })
  ).certificate;

let root: Certificate;
let next: Certificate;
let leaf: Certificate;
let jwk: Jwk;
let privateJwk: Jwk;
before(async () => {
  root = await authority("root");
  next = await authority("next", "RSA-2048");
  leaf = (await issue({ subject: "leaf", keyUsage: ["digitalSignature"], ca: false })).certificate;
  const key = await makeKey("ES256");
  jwk = { ...key.publicJwk, use: "jwt-svid", kid: "k" };
  privateJwk = { ...key.privateJwk };
});

const x509 = (certificate: Certificate = root, changes: Jwk = {}): Jwk => ({
  ...certificate.publicKey.toJwk(),
  use: "x509-svid",
  x5c: [encodeBase64(certificate.der)],
  ...changes,
});
const read = (keys: readonly unknown[], members: Jwk = {}) =>
  SpiffeBundle.parse("example.org", JSON.stringify({ keys, ...members }));
const reason = (document: string | Uint8Array) => {
  const verdict = SpiffeBundle.safeParse("example.org", document);
  return verdict.ok ? "accept" : verdict.reason;
};
/** What is left of a bundle: subjects, kids and the indexes of warnings. */
const left = (bundle: SpiffeBundle) => ({
  x509: bundle.x509.authorities.map((certificate) => certificate.subject.toString().replace("CN=", "")).join(),
  jwt: bundle.jwt.keys.map((key) => key.keyId).join(),
  ignored: bundle.warnings
    .filter((warning) => warning.ignored)
    .map((warning) => warning.index)
    .join(),
});

describe("SPIFFE bundle", () => {
  it("[BND-01] [BND-13] [X509-50] [X509-56] [JWT-32] keeps X.509 authorities and JWT keys apart", () => {
    const bundle = read([x509(), jwk, x509(next)], { spiffe_sequence: 3, spiffe_refresh_hint: 60 });
    assert.deepEqual(left(bundle), { x509: "root,next", jwt: "k", ignored: "" });
    assert.deepEqual(bundle.warnings, []);
    assert.equal(bundle.sequence, 3n);
    assert.equal(bundle.refreshHintMs, 60_000);
    assert.equal(bundle.trustDomain.name, "example.org");
    assert.equal(bundle.x509.trustDomain.name, "example.org");
    assert.equal(bundle.jwt.trustDomain.name, "example.org");
  });

  it("[BND-10] [BND-12] [BND-14] an element of unknown kind is left out, the rest kept", () => {
    const odd: Record<string, unknown> = {
      "use missing": x509(root, { use: undefined }),
      "jwt key, use missing": { ...jwk, use: undefined },
      "use in upper case": x509(root, { use: "X509-SVID" }),
      "use unknown": { ...jwk, use: "sig" },
      "use no text": x509(root, { use: ["x509-svid"] }),
      "kty missing": x509(root, { kty: undefined }),
      "kty unknown": x509(root, { kty: "AKP" }),
      "kty symmetric": x509(root, { kty: "oct" }),
      "jwt kty unknown": { ...jwk, kty: "AKP" },
      "jwt crv unknown": { ...jwk, crv: "P-999" },
      "jwt without kid": { ...jwk, kid: undefined },
      "not an object": 7,
      null: null,
      list: [x509()],
    };
    for (const [name, element] of Object.entries(odd)) {
      assert.deepEqual(left(read([element, x509(next), jwk])), { x509: "next", jwt: "k", ignored: "0" }, name);
    }
  });

  it("[X509-52] [X509-54] an element without a usable CA certificate is left out, the rest kept", async () => {
    const weak = await authority("weak", "RSA-1024");
    const text = encodeBase64(root.der);
    const odd: Record<string, Jwk> = {
      missing: x509(root, { x5c: undefined }),
      empty: x509(root, { x5c: [] }),
      "a text": x509(root, { x5c: text }),
      object: x509(root, { x5c: { 0: text, length: 1 } }),
      null: x509(root, { x5c: null }),
      number: x509(root, { x5c: [1] }),
      "first empty": x509(root, { x5c: ["", text] }),
      "first broken": x509(root, { x5c: ["AAAA", text] }),
      base64url: x509(root, { x5c: [encodeBase64Url(root.der)] }),
      "white space": x509(root, { x5c: [`${text.slice(0, 64)}\n${text.slice(64)}`] }),
      PEM: x509(root, { x5c: [root.toPem()] }),
      "trailing octet": x509(root, { x5c: [encodeBase64(Uint8Array.from([...root.der, 0]))] }),
      "two certificates in one": x509(root, { x5c: [encodeBase64(Uint8Array.from([...root.der, ...next.der]))] }),
      truncated: x509(root, { x5c: [encodeBase64(root.der.slice(0, -1))] }),
      "leaf certificate": x509(leaf),
      "private parameters": x509(root, { d: privateJwk.d }),
      "weak key": x509(root, { x5c: [encodeBase64(weak.der)] }),
    };
    for (const [name, element] of Object.entries(odd)) {
      assert.deepEqual(left(read([element, x509(next), jwk])), { x509: "next", jwt: "k", ignored: "0" }, name);
    }
    assert.deepEqual(left(read([x509(root), x509(next), jwk])), { x509: "root,next", jwt: "k", ignored: "" });
  });

  it("[X509-55] of several certificates the first is used", () => {
    const bundle = read([x509(root, { x5c: [encodeBase64(root.der), encodeBase64(next.der)] })]);
    assert.deepEqual(left(bundle), { x509: "root", jwt: "", ignored: "" });
    assert.deepEqual(
      bundle.warnings.map(({ index, ignored }) => ({ index, ignored })),
      [{ index: 0, ignored: false }],
    );
    assert.equal(left(read([x509(root, { x5c: [encodeBase64(root.der), "garbage"] })])).x509, "root");
  });

  it("[X509-57] the certificate counts, not the key beside it, and a difference is a warning", () => {
    for (const changes of [next.publicKey.toJwk(), { x: "AA" }, { kty: "RSA" }, { crv: "P-999" }] as Jwk[]) {
      const bundle = read([x509(root, changes)]);
      assert.ok(bundle.x509.authorities[0]?.equals(root));
      assert.deepEqual(
        bundle.warnings.map(({ index, ignored }) => ({ index, ignored })),
        [{ index: 0, ignored: false }],
      );
    }
    assert.deepEqual(read([x509(root, { kid: "x", alg: "ES256" })]).warnings, []);
    const { x } = root.publicKey.toJwk() as { x: string };
    for (const spelled of [`${x}=`, `A${x}`, ` ${x}`, undefined]) {
      assert.equal(read([x509(root, { x: spelled })]).warnings.length, 1, `${spelled}`);
    }
  });

  it("[BND-11] without a usable key nothing is trusted", () => {
    for (const keys of [[], [x509(leaf)], [{ ...jwk, use: "wit-svid" }]]) {
      const bundle = read(keys);
      assert.ok(bundle.isEmpty && bundle.x509.isEmpty && bundle.jwt.isEmpty);
    }
    assert.ok(!read([jwk]).isEmpty && read([jwk]).x509.isEmpty);
    assert.ok(!read([x509()]).isEmpty && read([x509()]).jwt.isEmpty);
  });

  it("[BND-02] [BND-09] a document that is no bundle is refused whole; unknown members are not minded", () => {
    const bad = [
      "",
      "{}",
      "[]",
      "null",
      '"x"',
      '{"keys":null}',
      '{"keys":{}}',
      '{"keys":"x"}',
      '{"keys":1}',
      '{"keys":[]',
      '{"keys":[],}',
      '\ufeff{"keys":[]}',
      '{"keys":[]} x',
      '{"__proto__":{"keys":[]}}',
    ];
    for (const text of bad) assert.equal(reason(text), "bundle.malformed", text);
    assert.equal(
      reason(Uint8Array.from([...new TextEncoder().encode('{"keys":[],"x":"'), 0xff, 0x22, 0x7d])),
      "bundle.malformed",
    );
    assert.equal(reason(new TextEncoder().encode('{"keys":[],"x":"\u00e9"}')), "accept");
    assert.equal(reason('{"keys":[],"x":{"y":[1,null]},"__proto__":{"keys":1},"spiffe_other":true}'), "accept");
    assert.throws(
      () => SpiffeBundle.parse("example.org", "{}"),
      (error) => isSpiffeError(error, "ERR_SPIFFE_BUNDLE"),
    );
  });

  it("[MAP-03] [BND-01] a member twice, at any level, refuses the document", () => {
    const element = JSON.stringify(jwk);
    for (const text of [
      '{"keys":[],"keys":[]}',
      '{"keys":[],"\\u006beys":[]}',
      '{"keys":[],"spiffe_sequence":1,"spiffe_sequence":2}',
      `{"keys":[${element.replace("{", '{"use":"x509-svid",')}]}`,
      '{"keys":[],"x":[{"a":{"b":1,"b":2}}]}',
      '{"keys":[],"__proto__":1,"__proto__":2}',
    ]) {
      assert.equal(reason(text), "bundle.malformed", text);
    }
    assert.equal(reason(`{"keys":[${element},${element}]}`), "accept");
  });

  it("[BND-03] [BND-04] [BND-05] the sequence has 64 bits, exactly", () => {
    const sequence = (literal: string) => {
      const verdict = SpiffeBundle.safeParse("example.org", `{"keys":[],"spiffe_sequence":${literal}}`);
      return verdict.ok ? verdict.value.sequence : verdict.reason;
    };
    const good: [string, bigint][] = [
      ["0", 0n],
      ["1", 1n],
      ["9007199254740991", 2n ** 53n - 1n],
      ["9007199254740992", 2n ** 53n],
      ["9007199254740993", 2n ** 53n + 1n],
      ["18446744073709551615", 2n ** 64n - 1n],
      ["1.0", 1n],
      ["1e3", 1000n],
    ];
    for (const [literal, value] of good) assert.equal(sequence(literal), value, literal);
    for (const literal of [
      "-1",
      "18446744073709551616",
      '"1"',
      "1.5",
      "1e30",
      "null",
      "true",
      "[1]",
      "{}",
      "1e999",
      "01",
    ]) {
      assert.equal(sequence(literal), "bundle.malformed", literal);
    }
    assert.equal(read([]).sequence, undefined);
  });

  it("[BND-06] [BND-07] [BND-08] the refresh hint is whole seconds", () => {
    const hint = (literal: string) => {
      const verdict = SpiffeBundle.safeParse("example.org", `{"keys":[],"spiffe_refresh_hint":${literal}}`);
      return verdict.ok ? verdict.value.refreshHintMs : verdict.reason;
    };
    assert.equal(hint("0"), 0);
    assert.equal(hint("300"), 300_000);
    assert.equal(hint("2147483648"), 2_147_483_648_000);
    assert.equal(hint("18446744073709551615"), Number.MAX_SAFE_INTEGER);
    for (const literal of ["-1", "1.5", '"300"', "null", "[]", "1e999"])
      assert.equal(hint(literal), "bundle.malformed", literal);
    assert.equal(read([]).refreshHintMs, undefined);
  });

  it("[BND-01] is bounded in bytes, keys and depth", () => {
    assert.equal(reason(`{"keys":[]${" ".repeat(LIMITS.bundle - 11)}}`), "accept");
    assert.equal(reason(`{"keys":[]${" ".repeat(LIMITS.bundle - 10)}}`), "bundle.too-large");
    assert.equal(reason(new Uint8Array(10_000_000)), "bundle.too-large");
    const many = (count: number) => `{"keys":[${"{},".repeat(count - 1)}{}]}`;
    assert.equal(reason(many(LIMITS.bundleKeys)), "accept");
    assert.equal(reason(many(LIMITS.bundleKeys + 1)), "bundle.too-large");
    assert.equal(reason(`{"keys":[],"x":${"[".repeat(31)}${"]".repeat(31)}}`), "accept");
    assert.equal(reason(`{"keys":[],"x":${"[".repeat(32)}${"]".repeat(32)}}`), "bundle.malformed");
  });

  it("[BND-16] [BND-17] belongs to the trust domain it was read for", () => {
    const bundle = read([x509(), jwk]);
    assert.equal(bundle.x509BundleFor(TrustDomain.parse("example.org")), bundle.x509);
    assert.equal(bundle.jwtBundleFor(TrustDomain.parse("example.org")), bundle.jwt);
    assert.equal(bundle.x509BundleFor(TrustDomain.parse("other.org")), undefined);
    assert.equal(bundle.jwtBundleFor(TrustDomain.parse("other.org")), undefined);
    const verdict = SpiffeBundle.safeParse("Example.org", '{"keys":[]}');
    assert.ok(!verdict.ok && verdict.reason === "id.trust-domain-character");
  });

  it("[BND-03] [BND-06] [BND-15] [X509-51] [X509-52] writes a document that is read back the same", async () => {
    const edwards = await authority("edwards", "Ed25519");
    const bundle = read([x509(), jwk, x509(next), x509(edwards)], { spiffe_sequence: 7, spiffe_refresh_hint: 300 });
    const big = SpiffeBundle.of("example.org", {
      x509: bundle.x509,
      jwt: bundle.jwt,
      sequence: 2n ** 64n - 1n,
      refreshHintMs: 299_001,
    });
    const document = JSON.parse(bundle.toJson());
    assert.deepEqual(Object.keys(document), ["keys", "spiffe_sequence", "spiffe_refresh_hint"]);
    assert.deepEqual(document.keys[0], JSON.parse(JSON.stringify(x509())));
    assert.ok(document.keys.every((key: Jwk) => "kid" in key === (key.use === "jwt-svid")));
    assert.ok(document.keys.every((key: Jwk) => key.use === "jwt-svid" || (key.x5c as unknown[]).length === 1));
    assert.ok(SpiffeBundle.parse("example.org", bundle.toJson()).equals(bundle));
    const again = SpiffeBundle.parse("example.org", big.toJson());
    assert.equal(again.sequence, 2n ** 64n - 1n);
    assert.equal(again.refreshHintMs, 300_000, "rounded up to whole seconds");
    assert.ok(!again.equals(bundle) && again.x509.equals(bundle.x509));
    assert.equal(SpiffeBundle.of("example.org", {}).toJson(), '{"keys":[]}');
    assert.equal(JSON.parse(JSON.stringify(big)).sequence, "18446744073709551615");
  });

  it("[FED-31] is equal to another one by each of its parts", () => {
    const parts: [Jwk[], Jwk][] = [
      [[x509(), jwk], { spiffe_sequence: 7, spiffe_refresh_hint: 300 }],
      [[x509(next), jwk], { spiffe_sequence: 7, spiffe_refresh_hint: 300 }],
      [[x509(), { ...jwk, kid: "other" }], { spiffe_sequence: 7, spiffe_refresh_hint: 300 }],
      [[x509(), jwk], { spiffe_sequence: 8, spiffe_refresh_hint: 300 }],
      [[x509(), jwk], { spiffe_sequence: 7, spiffe_refresh_hint: 301 }],
    ];
    for (const [i, [keys, members]] of parts.entries()) {
      for (const [j, [others, more]] of parts.entries())
        assert.equal(read(keys, members).equals(read(others, more)), i === j, `${i} and ${j}`);
    }
  });

  it("[BND-13] [JWT-30] [X509-50] gives all keys as JWKs, each with its use, none of which jose takes for a key", async () => {
    const bundle = read([x509(), jwk, { ...jwk, use: "wit-svid", kid: "w" }]);
    const jwks = bundle.toJwks();
    assert.deepEqual(
      jwks.keys.map(({ use }) => use),
      ["x509-svid", "jwt-svid", "wit-svid"],
    );
    assert.deepEqual(JSON.parse(bundle.toJson()).keys, jwks.keys);
    const token = { payload: "", signature: "" };
    for (const one of jwks.keys) {
      const found = createLocalJWKSet({ keys: [{ ...one }] })({ alg: "ES256" }, token);
      await assert.rejects(found, { code: "ERR_JWKS_NO_MATCHING_KEY" }, one.use);
      assert.ok(await createLocalJWKSet({ keys: [{ ...one, use: "sig" }] })({ alg: "ES256" }, token), one.use);
    }
  });

  it("[JWT-31] a JWT key without key ID is in no document that it writes", () => {
    const plain = (kid?: string) =>
      JwtBundle.fromJwks("example.org", JSON.stringify({ keys: [{ ...jwk, use: undefined, kid }] }), "workload-api");
    const bundle = SpiffeBundle.of("example.org", { jwt: plain() });
    assert.throws(
      () => bundle.toJson(),
      (error) => isSpiffeError(error, "ERR_SPIFFE_BUNDLE"),
    );
    assert.deepEqual(JSON.parse(SpiffeBundle.of("example.org", { jwt: plain("k") }).toJson()), { keys: [jwk] });
  });

  it("[BND-16] is not made of another trust domain's parts", () => {
    const usage = (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_USAGE");
    assert.throws(
      () => SpiffeBundle.of("example.org", { x509: new X509Bundle(TrustDomain.parse("other.org"), [root]) }),
      usage,
    );
    assert.throws(
      () => SpiffeBundle.of("example.org", { jwt: JwtBundle.fromJwks("other.org", '{"keys":[]}', "workload-api") }),
      usage,
    );
    assert.throws(() => SpiffeBundle.of("example.org", { sequence: -1n }), usage);
    assert.throws(() => SpiffeBundle.of("example.org", { sequence: 2n ** 64n }), usage);
    for (const refreshHintMs of [-1, 0.5, Number.NaN, 2 ** 53])
      assert.throws(() => SpiffeBundle.of("example.org", { refreshHintMs }), usage, `${refreshHintMs}`);
    assert.equal(SpiffeBundle.of("example.org", { sequence: 0n, refreshHintMs: 0 }).sequence, 0n);
    assert.ok(
      !SpiffeBundle.of("example.org", { x509: new X509Bundle(TrustDomain.parse("example.org"), [root]) }).isEmpty,
    );
  });
});
