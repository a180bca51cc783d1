import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { isSpiffeError, LIMITS } from "../base/index.ts";
import { TrustDomain } from "../id/index.ts";
import { type JwkSetProfile, JwtBundle } from "./index.ts";
import { bundleOf, makeWorld, type World } from "./world.testing.ts";

type Jwk = Record<string, unknown>;

let world: World;
let ec: Jwk;
let rsa: Jwk;
before(async () => {
  world = await makeWorld();
  ec = world.keys.es256.publicJwk as Jwk;
  rsa = world.keys.rsa.publicJwk as Jwk;
});

const PROFILES: readonly JwkSetProfile[] = ["workload-api", "spiffe-bundle"];
const read = (keys: readonly unknown[], profile: JwkSetProfile = "spiffe-bundle") =>
  JwtBundle.fromJwks("example.org", JSON.stringify({ keys }), profile);
const good = (changes: Jwk = {}): Jwk => ({ ...ec, use: "jwt-svid", kid: "good", ...changes });
/** Names of the keys that are left. */
const names = (bundle: JwtBundle) => bundle.keys.map((key) => key.keyId ?? "-").join();

describe("JWT bundle", () => {
  it("[JWT-30] [JWT-31] [JWT-32] reads keys of every kind", () => {
    for (const profile of PROFILES) {
      const bundle = read(
        [good(), { ...rsa, use: "jwt-svid", kid: "r" }, { ...world.keys.es512.publicJwk, use: "jwt-svid", kid: "e" }],
        profile,
      );
      assert.equal(names(bundle), "good,r,e");
      assert.deepEqual(bundle.warnings, []);
      assert.equal(bundle.trustDomain.name, "example.org");
    }
  });

  it("[JWT-32] [BND-13] [BND-14] use decides: absent is good from the Workload API alone", () => {
    const without = good({ use: undefined, kid: "none" });
    assert.equal(names(read([without, good()], "workload-api")), "none,good");
    assert.equal(names(read([without, good()], "spiffe-bundle")), "good");
    for (const use of ["x509-svid", "wit-svid", "sig", "JWT-SVID", "jwt-svid ", "", null, 1, ["jwt-svid"]]) {
      for (const profile of PROFILES)
        assert.equal(names(read([good({ use, kid: "bad" }), good()], profile)), "good", `${use}`);
    }
  });

  it("[JWT-31] kid is needed in a SPIFFE bundle, optional from the Workload API, a text in both", () => {
    const without = good({ kid: undefined });
    assert.equal(names(read([without, good()], "workload-api")), "-,good");
    assert.equal(names(read([without, good()], "spiffe-bundle")), "good");
    for (const kid of ["", 1, null, {}, ["good"]]) {
      for (const profile of PROFILES) assert.equal(names(read([good({ kid }), good()], profile)), "good", `${kid}`);
    }
  });

  it("[BND-10] [BND-12] an element that can not be used is left out with a warning, the rest kept", () => {
    const bad: Record<string, unknown> = {
      "not an object": "key",
      null: null,
      list: [ec],
      empty: { use: "jwt-svid", kid: "bad" },
      "unknown kty": good({ kty: "AKP" }),
      "no kty": good({ kty: undefined }),
      "kty in lower case": good({ kty: "ec" }),
      symmetric: { kty: "oct", k: "AAAA", use: "jwt-svid", kid: "bad" },
      "unknown crv": good({ crv: "secp256k1" }),
      "other crv": good({ crv: "P-384" }),
      "no y": good({ y: undefined }),
      "x with padding": good({ x: `${ec.x}=` }),
      "not on the curve": good({ y: ec.x }),
      "private key": { ...world.keys.es256.privateJwk, use: "jwt-svid", kid: "bad" },
      "private RSA key": { ...world.keys.rsa.privateJwk, use: "jwt-svid", kid: "bad" },
      "d that is null": good({ d: null }),
      "short modulus": { ...rsa, n: "AQAB", use: "jwt-svid", kid: "bad" },
      "exponent 3": { ...rsa, e: "Aw", use: "jwt-svid", kid: "bad" },
      Ed25519: {
        kty: "OKP",
        crv: "Ed25519",
        x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        use: "jwt-svid",
        kid: "bad",
      },
      "alg of another key": good({ alg: "RS256" }),
      "alg unknown": good({ alg: "ES256K" }),
      "alg no text": good({ alg: null }),
      "key_ops without verify": good({ key_ops: ["sign"] }),
      "key_ops no list": good({ key_ops: "verify" }),
      "key_ops null": good({ key_ops: null }),
    };
    for (const profile of PROFILES) {
      for (const [name, element] of Object.entries(bad)) {
        const bundle = read([element, good()], profile);
        assert.equal(names(bundle), "good", name);
        assert.deepEqual(
          bundle.warnings.map(({ index, ignored }) => ({ index, ignored })),
          [{ index: 0, ignored: true }],
          name,
        );
        assert.ok(!JSON.stringify(bundle.warnings).includes(String(world.keys.es256.privateJwk.d)));
      }
    }
    assert.equal(names(read([good({ alg: "ES256" }), good({ kid: "x", x5c: [], unknown: { a: 1 } })])), "good,x");
    assert.equal(
      names(read([good({ key_ops: ["verify"] }), good({ kid: "x", key_ops: ["sign", "verify"] })])),
      "good,x",
    );
  });

  it("[JWT-33] [BND-11] no usable key is a bundle that trusts nothing", () => {
    for (const keys of [[], [{}], [good({ use: "x509-svid" })]]) assert.ok(read(keys).isEmpty);
    assert.ok(!read([good()]).isEmpty);
  });

  it("[BND-02] [BND-09] a document that is no JWK set is refused whole", () => {
    const bad = [
      "",
      "{}",
      "[]",
      "null",
      '{"keys":null}',
      '{"keys":{}}',
      '{"keys":"x"}',
      '{"Keys":[]}',
      '{"keys":[],"keys":[]}',
      '{"keys":[{"kty":"EC","kty":"EC"}]}',
      '\ufeff{"keys":[]}',
      '{"keys":[]}x',
      '{"__proto__":{"keys":[]}}',
      `{"keys":[],"x":${"[".repeat(40)}${"]".repeat(40)}}`,
    ];
    for (const text of bad) {
      for (const input of [text, new TextEncoder().encode(text)]) {
        const verdict = JwtBundle.safeFromJwks("example.org", input, "workload-api");
        assert.ok(!verdict.ok && verdict.reason === "bundle.malformed", text);
      }
      assert.throws(
        () => JwtBundle.fromJwks("example.org", text, "workload-api"),
        (error) => isSpiffeError(error, "ERR_SPIFFE_BUNDLE"),
      );
    }
    assert.ok(JwtBundle.safeFromJwks("example.org", Uint8Array.of(0xff), "workload-api").ok === false);
    assert.ok(
      JwtBundle.safeFromJwks("example.org", '{"keys":[],"unknown":{"a":[1]},"__proto__":1}', "workload-api").ok,
    );
    const domain = JwtBundle.safeFromJwks("Example.org", '{"keys":[]}', "workload-api");
    assert.ok(!domain.ok && domain.reason === "id.trust-domain-character");
  });

  it("[BND-01] is bounded in bytes and keys", () => {
    const reason = (text: string) => {
      const verdict = JwtBundle.safeFromJwks("example.org", text, "workload-api");
      return verdict.ok ? "accept" : verdict.reason;
    };
    const many = (count: number) => `{"keys":[${"{},".repeat(count - 1)}{}]}`;
    assert.equal(reason(many(LIMITS.bundleKeys)), "accept");
    assert.equal(reason(many(LIMITS.bundleKeys + 1)), "bundle.too-large");
    const padded = (length: number) => `{"keys":[]${" ".repeat(length - 11)}}`;
    assert.equal(reason(padded(LIMITS.bundle)), "accept");
    assert.equal(reason(padded(LIMITS.bundle + 1)), "bundle.too-large");
  });

  it("[BND-15] [JWT-30] writes what both profiles read back", () => {
    const bundle = read([good(), { ...rsa, use: "jwt-svid", kid: "r", alg: "PS256" }]);
    const jwks = bundle.toJwks();
    assert.deepEqual(jwks.keys[0], { kty: "EC", crv: "P-256", x: ec.x, y: ec.y, use: "jwt-svid", kid: "good" });
    for (const profile of PROFILES) {
      const again = JwtBundle.fromJwks("example.org", JSON.stringify(jwks), profile);
      assert.ok(again.equals(bundle) && bundle.equals(again));
    }
  });

  it("[FED-31] equality is trust domain and keys, not their order", () => {
    const r = { ...rsa, use: "jwt-svid", kid: "r" };
    assert.ok(read([good(), r]).equals(read([r, good()])));
    assert.ok(!read([good(), r]).equals(read([good()])));
    assert.ok(!read([good()]).equals(read([good({ kid: "x" })])));
    assert.ok(!read([good()]).equals(bundleOf([good()], "other.org")));
    assert.ok(!read([good({ kid: "r" })]).equals(read([r])));
  });

  it("[FED-31] a key more, or one in another's place, is another bundle, whichever is asked", () => {
    const one = good();
    const [two, three] = [rsa, world.keys.es384.publicJwk].map((jwk, at) => ({
      ...jwk,
      use: "jwt-svid",
      kid: `k${at}`,
    }));
    assert.ok(read([one, two]).equals(read([one, two])));
    const pairs = [
      [[one], [one, two]],
      [
        [one, two],
        [one, three],
      ],
      [[], [one]],
    ];
    for (const [a, b] of pairs) assert.ok(!read(a!).equals(read(b!)) && !read(b!).equals(read(a!)));
  });

  it("[JWT-20] as a source it answers for its own trust domain only", () => {
    const bundle = read([good()]);
    assert.equal(bundle.jwtBundleFor(TrustDomain.parse("example.org")), bundle);
    assert.equal(bundle.jwtBundleFor(TrustDomain.parse("other.org")), undefined);
  });
});
