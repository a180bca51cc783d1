/** Rows of the standards about whom a validator believes that no single module's tests show. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { signTestJwt, TestCa, testJwtKey } from "../../src/authority/testing.ts";
import { chooseSyncVerifier, type SyncSignatureVerifier } from "../../src/crypto/index.ts";
import { JwtBundle, safeValidateJwtSvid } from "../../src/jwt/index.ts";
import { Certificate, safeVerifyX509SvidSync, type X509Bundle } from "../../src/x509/index.ts";

const ID = "spiffe://example.org/web";
const HOUR_MS = 3_600_000;

describe("what counts as an SVID", () => {
  let ca: TestCa;
  before(async () => {
    ca = await TestCa.create();
  });

  it("[ID-24] a certificate or a token, and no other document that names an ID under the same authority", async () => {
    const bundle = ca.x509Bundle();
    const x509 = (der: Uint8Array) => {
      const verdict = safeVerifyX509SvidSync([der], { x509BundleFor: () => bundle });
      return verdict.ok ? verdict.value.id.uri : verdict.reason;
    };
    const { certificatesDer, certPem } = await ca.issue({ id: ID });
    const leaf = certificatesDer[0]!;
    assert.equal(x509(leaf), ID);
    const { tbs, spki } = Certificate.parse(leaf);
    // what is signed without its signature, a bare key, text around the certificate
    for (const other of [tbs, spki, Buffer.from(certPem), Buffer.from(ID)]) {
      assert.equal(x509(new Uint8Array(other)), "x509.malformed");
    }

    const key = await testJwtKey();
    const jwks = JSON.stringify({ keys: [key.jwk] });
    const jwt = JwtBundle.fromJwks("example.org", jwks, "workload-api");
    const validate = async (token: string) => {
      const verdict = await safeValidateJwtSvid(token, jwt, { audience: "orders" });
      return verdict.ok ? verdict.value.id.uri : verdict.reason;
    };
    const claims = { sub: ID, aud: "orders" };
    assert.equal(await validate(await signTestJwt({ key, claims })), ID);
    // under the same key: an access token, a WIT-SVID, a logout token
    for (const typ of ["at+jwt", "wit+jwt", "logout+jwt"]) {
      assert.equal(await validate(await signTestJwt({ key, claims, header: { typ } })), "jwt.type");
    }
  });

  it("[X509-24] purposes of authorities neither narrow nor widen those of the leaf", async () => {
    const verdict = async (purposes: readonly string[] | null, leaf: readonly string[]) => {
      const middle = await ca.intermediate({ extKeyUsage: purposes });
      const { certificatesDer } = await middle.issue({ id: ID, extKeyUsage: leaf });
      const verified = safeVerifyX509SvidSync(certificatesDer, { x509BundleFor: () => ca.x509Bundle() });
      return verified.ok ? "accepted" : verified.reason;
    };
    const both = ["serverAuth", "clientAuth"];
    for (const purposes of [null, both, ["serverAuth"], ["codeSigning"], ["any"]]) {
      assert.equal(await verdict(purposes, both), "accepted", `${purposes}`);
      assert.equal(await verdict(purposes, ["serverAuth"]), "x509.leaf-ext-key-usage", `${purposes}`);
    }
  });
});

describe("what a validator remembers", () => {
  it("[S-14] [X509-40] at most that a signature fits a key: all else is judged anew on every use", async () => {
    const subject = { CN: "one name" };
    const [ca, twin, stranger] = [
      await TestCa.create({ subject }),
      await TestCa.create({ subject }),
      await TestCa.create(),
    ];
    const middle = await ca.intermediate({ pathLength: 0 });
    const low = await middle.intermediate();
    const read = async (issuer: TestCa) =>
      (await issuer.issue({ id: ID })).certificatesDer.map((der) => Certificate.parse(der));
    const [good, long] = [await read(middle), await read(low)];
    assert.deepEqual(Certificate.parse(twin.rootDer).subject.der, Certificate.parse(ca.rootDer).subject.der);
    let bundle: X509Bundle | undefined = ca.x509Bundle();
    const source = { x509BundleFor: () => bundle };
    const native = chooseSyncVerifier("native");
    let checked = 0;
    const verifier: SyncSignatureVerifier = {
      ...native,
      verify(...check) {
        checked++;
        return native.verify(...check);
      },
    };
    const at = (chain: readonly Certificate[], later = 0) => {
      const clock = { now: () => Date.now() + later, monotonic: () => 0, sleep: async () => {} };
      const verdict = safeVerifyX509SvidSync(chain, source, { clock, verifier });
      return verdict.ok ? "accepted" : verdict.reason;
    };
    // the same objects each time, so that everything that could be remembered is
    for (let i = 0; i < 3; i++) {
      assert.equal(at(good), "accepted");
      assert.equal(at(good, 2 * HOUR_MS), "x509.expired", "dates");
      assert.equal(at(good, -2 * HOUR_MS), "x509.not-yet-valid", "dates");
      assert.equal(at(long), "x509.path-length", "path length, below the same intermediate");
      assert.equal(at([good[1]!, good[0]!]), "x509.leaf-root-path", "the same intermediate as leaf");
      bundle = stranger.x509Bundle();
      assert.equal(at(good), "x509.no-path", "anchors");
      bundle = twin.x509Bundle();
      assert.equal(at(good), "x509.no-path", "the key, not its owner's name");
      bundle = undefined;
      assert.equal(at(good), "x509.no-bundle", "trust domain");
      bundle = ca.x509Bundle();
    }
    assert.ok(checked >= 2);
  });
});
