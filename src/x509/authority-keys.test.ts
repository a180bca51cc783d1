import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { LIMITS } from "../base/index.ts";
import { testKey } from "../crypto/keys.testing.ts";
import { authorityKey, decodedAuthorityKey } from "./authority-keys.ts";
import { type Issued, issueCa, issueLeaf } from "./issue.testing.ts";

describe("keys of authorities", () => {
  let ca: Issued;
  before(async () => {
    ca = await issueCa({});
  });

  it("are decoded once for all certificates of a key, those of leaves for each", async () => {
    const renewed = await issueCa({ subject: "renewed", keyOf: ca });
    assert.equal(renewed.certificate.publicKey, ca.certificate.publicKey);
    const other = await issueCa({});
    assert.notEqual(other.certificate.publicKey, ca.certificate.publicKey);
    assert.equal(other.certificate.publicKey.equals(ca.certificate.publicKey), false);
    const leaf = await issueLeaf(ca);
    assert.notEqual(authorityKey(leaf.certificate.spki), leaf.certificate.safePublicKey());
  });

  it("[S-15] are those of exactly these octets: no changed bit brings the key of others", () => {
    const spki = ca.certificate.spki;
    const good = authorityKey(spki);
    assert.ok(good.ok);
    for (let at = 0; at < spki.length; at++) {
      const changed = Uint8Array.from(spki);
      changed[at]! ^= 1;
      // whatever these octets are, a second look finds the same
      for (let look = 0; look < 2; look++) {
        const verdict = authorityKey(changed);
        assert.notEqual(verdict, good);
        assert.ok(!verdict.ok || !verdict.value.equals(good.value), `octet ${at}`);
      }
    }
    assert.equal(authorityKey(spki), good);
    assert.ok(good.value.spki.every((octet, i) => octet === spki[i]));
  });

  it("are kept where they are taken; octets that are no key, of whatever length, are not", () => {
    const spki = ca.certificate.spki;
    for (const refused of [spki.subarray(1), new Uint8Array(LIMITS.certificate)]) {
      assert.equal(authorityKey(refused).ok, false);
      assert.equal(decodedAuthorityKey(refused), undefined);
    }
    const good = authorityKey(spki);
    assert.ok(good.ok && decodedAuthorityKey(spki) === good);
  });

  it("are kept in bounds", async () => {
    const spki = ca.certificate.spki;
    const good = authorityKey(spki);
    assert.equal(authorityKey(spki), good);
    for (let i = 0; i < 256; i++) assert.ok(authorityKey((await testKey("P-256")).spki).ok);
    const again = authorityKey(spki);
    assert.ok(good.ok && again.ok && again !== good && again.value.equals(good.value));
  });
});
