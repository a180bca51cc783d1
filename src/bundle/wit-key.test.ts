import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { isSpiffeError, systemClock } from "../base/index.ts";
import { encodeBase64 } from "../encoding/index.ts";
import { safeValidateJwtSvid } from "../jwt/index.ts";
import { makeKey, type SigningKey, sign } from "../jwt/sign.testing.ts";
import type { Certificate } from "../x509/index.ts";
import { issueCa } from "../x509/issue.testing.ts";
import { SpiffeBundle } from "./index.ts";

type Jwk = Record<string, unknown>;

let root: Certificate;
let key: SigningKey;
let jwk: Jwk;
before(async () => {
  root = (await issueCa({ subject: "root" })).certificate;
  key = await makeKey("ES256");
  jwk = { ...key.publicJwk, use: "jwt-svid", kid: "k" };
});

const x509 = (changes: Jwk = {}): Jwk => ({
  ...root.publicKey.toJwk(),
  use: "x509-svid",
  x5c: [encodeBase64(root.der)],
  ...changes,
});
const read = (keys: readonly unknown[]) => SpiffeBundle.parse("example.org", JSON.stringify({ keys }));
/** What is left of a bundle by kind, and how many elements were left out. */
const left = (bundle: SpiffeBundle) => ({
  x509: bundle.x509.authorities.length,
  jwt: bundle.jwt.keys.map(({ keyId }) => keyId).join(),
  wit: bundle.witKeys.map(({ witKeyId }) => witKeyId).join(),
  ignored: bundle.warnings.filter(({ ignored }) => ignored).length,
});

describe("WIT keys of a SPIFFE bundle", () => {
  it("[JWT-32] [WIT-26] a key serves its own use alone: the same JWK under another use vouches for nothing else", () => {
    assert.deepEqual(left(read([{ ...jwk, use: "wit-svid" }])), { x509: 0, jwt: "", wit: "k", ignored: 0 });
    assert.deepEqual(left(read([{ ...jwk, use: "x509-svid" }])), { x509: 0, jwt: "", wit: "", ignored: 1 });
    const authorityAsWit = x509({ use: "wit-svid", kid: "w" });
    assert.deepEqual(left(read([authorityAsWit])), { x509: 0, jwt: "", wit: "w", ignored: 0 });
    assert.deepEqual(left(read([x509({ use: "jwt-svid" })])), { x509: 0, jwt: "", wit: "", ignored: 1 });
    assert.deepEqual(left(read([jwk, x509()])), { x509: 1, jwt: "k", wit: "", ignored: 0 });
  });

  it("[WIT-26] [WIT-27] a token under a WIT key's signature is refused, and accepted under the same key as a JWT key's", async () => {
    const now = Math.floor(systemClock.now() / 1_000);
    const subject = { sub: "spiffe://example.org/web", aud: "orders", exp: now + 60 };
    for (const header of [{ alg: "ES256", kid: "k" }, { alg: "ES256" }] as const) {
      const token = await sign(key, header, subject);
      const verdict = async (use: string) => {
        const bundle = read([{ ...key.publicJwk, use, kid: "k" }]);
        const judged = await safeValidateJwtSvid(token, bundle, { audience: "orders" });
        return judged.ok ? "accept" : judged.reason;
      };
      assert.equal(await verdict("jwt-svid"), "accept");
      assert.equal(await verdict("wit-svid"), "jwt.key-not-found");
    }
  });

  it("[WIT-25] [BND-10] a WIT key needs a kid and a key of the nine algorithms; else it alone is left out", () => {
    const good = { ...jwk, use: "wit-svid", kid: "w" };
    const bad: Record<string, Jwk> = {
      "no kid": { ...good, kid: undefined },
      "empty kid": { ...good, kid: "" },
      "kid no text": { ...good, kid: 1 },
      "private parameters": { ...key.privateJwk, use: "wit-svid", kid: "w" },
      Ed25519: {
        kty: "OKP",
        crv: "Ed25519",
        x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        use: "wit-svid",
        kid: "w",
      },
      "unknown alg": { ...good, alg: "EdDSA" },
      "unknown kty": { ...good, kty: "AKP" },
      "other curve": { ...good, crv: "P-384" },
      "use in upper case": { ...good, use: "WIT-SVID" },
    };
    assert.deepEqual(read([good, jwk]).warnings, []);
    for (const [name, element] of Object.entries(bad)) {
      const bundle = read([element, jwk, x509()]);
      assert.deepEqual(left(bundle), { x509: 1, jwt: "k", wit: "", ignored: 1 }, name);
      assert.ok(!JSON.stringify(bundle.warnings).includes(String(key.privateJwk.d)), name);
    }
  });

  it("[WIT-25] WIT keys are written as they were read, and a new bundle wants their key IDs unique", () => {
    const bundle = read([jwk, { ...jwk, use: "wit-svid", kid: "w", alg: "ES256" }]);
    assert.deepEqual(JSON.parse(bundle.toJson()).keys[1], { ...jwk, use: "wit-svid", kid: "w", alg: "ES256" });
    assert.ok(SpiffeBundle.parse("example.org", bundle.toJson()).equals(bundle));
    assert.ok(!read([jwk]).equals(bundle) && !bundle.equals(read([jwk])));
    assert.ok(!read([jwk, { ...jwk, use: "wit-svid", kid: "x", alg: "ES256" }]).equals(bundle));
    const usage = (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_USAGE");
    const { jwt, witKeys } = bundle;
    const renamed = witKeys.map((key) => ({ ...key, witKeyId: "k" }));
    assert.throws(() => SpiffeBundle.of("example.org", { jwt, witKeys: renamed }), usage);
    assert.throws(() => SpiffeBundle.of("example.org", { witKeys: [...witKeys, ...witKeys] }), usage);
    assert.ok(SpiffeBundle.of("example.org", { jwt, witKeys }).equals(bundle));
    assert.ok(SpiffeBundle.of("example.org", { witKeys: renamed }).witKeys.length === 1);
  });
});
