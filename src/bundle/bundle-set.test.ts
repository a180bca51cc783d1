import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { isSpiffeError } from "../base/index.ts";
import { TrustDomain } from "../id/index.ts";
import { JwtBundle, safeValidateJwtSvid } from "../jwt/index.ts";
import { makeKey, type SigningKey, sign } from "../jwt/sign.testing.ts";
import { X509Bundle } from "../x509/index.ts";
import { BundleSet, SpiffeBundle } from "./index.ts";

const ORG = TrustDomain.parse("example.org");
const OTHER = TrustDomain.parse("other.org");

const jwt = (domain: TrustDomain, ...keys: SigningKey[]) =>
  JwtBundle.fromJwks(
    domain,
    JSON.stringify({ keys: keys.map((key) => ({ ...key.publicJwk, kid: "k" })) }),
    "workload-api",
  );
const usage = (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_USAGE");

describe("BundleSet", () => {
  let ours: SigningKey;
  let theirs: SigningKey;
  before(async () => {
    ours = await makeKey("ES256");
    theirs = await makeKey("ES256");
  });

  it("[BND-17] gives the bundle of exactly the trust domain that is asked for", () => {
    const x509 = new X509Bundle(ORG, []);
    const spiffe = SpiffeBundle.of(OTHER, { jwt: jwt(OTHER, theirs) });
    const set = BundleSet.of(x509, jwt(ORG, ours), spiffe);
    assert.equal(set.x509BundleFor(ORG), x509);
    assert.equal(set.jwtBundleFor(ORG)?.trustDomain.name, "example.org");
    assert.equal(set.x509BundleFor(OTHER), spiffe.x509);
    assert.equal(set.jwtBundleFor(OTHER), spiffe.jwt);
    for (const name of ["example.or", "org", "__proto__", "constructor"]) {
      const domain = TrustDomain.safeParse(name);
      assert.ok(domain.ok);
      assert.equal(set.x509BundleFor(domain.value), undefined);
      assert.equal(set.jwtBundleFor(domain.value), undefined);
    }
    assert.deepEqual(set.trustDomains, ["example.org", "other.org"]);
  });

  it("[FED-33] never merges: a second bundle of one trust domain and kind is an error", () => {
    const spiffe = SpiffeBundle.of(ORG, {});
    assert.throws(() => BundleSet.of(jwt(ORG, ours), jwt(ORG, theirs)), usage);
    assert.throws(() => BundleSet.of(new X509Bundle(ORG, []), new X509Bundle(ORG, [])), usage);
    assert.throws(() => BundleSet.of(spiffe, jwt(ORG, ours)), usage);
    assert.throws(() => BundleSet.of(new X509Bundle(ORG, []), spiffe), usage);
    assert.throws(() => BundleSet.of({ trustDomain: ORG } as never), usage);
    assert.deepEqual(BundleSet.of(jwt(ORG, ours), new X509Bundle(ORG, []), jwt(OTHER, theirs)).trustDomains.length, 2);
  });

  it("[JWT-20] [A-7] a token signed by one trust domain's key is none of another's", async () => {
    const set = BundleSet.of(jwt(ORG, ours), jwt(OTHER, theirs));
    const token = (key: SigningKey, sub: string) =>
      sign(key, { alg: "ES256", kid: "k" }, { sub, aud: "x", exp: Math.floor(Date.now() / 1000) + 60 });
    const ok = async (text: string) => (await safeValidateJwtSvid(text, set, { audience: "x" })).ok;
    assert.ok(await ok(await token(ours, "spiffe://example.org/a")));
    assert.ok(await ok(await token(theirs, "spiffe://other.org/a")));
    assert.ok(!(await ok(await token(theirs, "spiffe://example.org/a"))));
    assert.ok(!(await ok(await token(ours, "spiffe://other.org/a"))));
    assert.ok(!(await ok(await token(ours, "spiffe://third.org/a"))));
  });
});
