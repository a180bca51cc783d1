import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { inspect } from "node:util";
import { isSpiffeError, LIMITS } from "../base/index.ts";
import { encodePem } from "../encoding/pem.ts";
import { type Issued, issueCa, issueLeaf } from "./issue.testing.ts";
import { summary } from "./judge.testing.ts";
import { X509Svid } from "./svid.ts";

const concat = (...parts: Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]));

describe("X509Svid", () => {
  let ca: Issued;
  let between: Issued;
  let leaf: Issued;
  let other: Issued;
  before(async () => {
    ca = await issueCa();
    between = await issueCa({ issuer: ca, subject: "between" });
    leaf = await issueLeaf(between);
    other = await issueLeaf(between);
  });
  const parsed = async (certificates: Uint8Array, key: Uint8Array) =>
    summary(await X509Svid.safeParse(certificates, key));

  it("[X509-01] holds ID, chain, key and hint", async () => {
    const svid = await X509Svid.parse(concat(leaf.der, between.der), leaf.pkcs8, { hint: "internal" });
    assert.equal(svid.id.uri, "spiffe://example.org/web");
    assert.equal(svid.certificates.length, 2);
    assert.ok(svid.leaf.equals(leaf.certificate));
    assert.deepEqual(svid.expiresAt, leaf.certificate.notAfter);
    assert.equal(svid.hint, "internal");
    assert.deepEqual(svid.privateKeyPkcs8(), leaf.pkcs8);
  });

  it("[S-11] wants the key of the leaf", async () => {
    assert.equal(await parsed(leaf.der, leaf.pkcs8), "accepted");
    assert.equal(await parsed(leaf.der, other.pkcs8), "x509.key-mismatch");
    assert.equal(await parsed(concat(leaf.der, between.der), between.pkcs8), "x509.key-mismatch");
    assert.equal(await parsed(leaf.der, new Uint8Array()), "x509.key-mismatch");
    assert.equal(await parsed(leaf.der, concat(leaf.pkcs8, Uint8Array.of(0))), "x509.key-mismatch");
  });

  it("[S-11] wants all DER consumed and the leaf first", async () => {
    assert.equal(await parsed(concat(leaf.der, between.der), leaf.pkcs8), "accepted");
    assert.equal(await parsed(concat(leaf.der, Uint8Array.of(0)), leaf.pkcs8), "x509.malformed");
    assert.equal(await parsed(concat(leaf.der, Uint8Array.of(0x30, 0)), leaf.pkcs8), "x509.malformed 1");
    assert.equal(await parsed(concat(between.der, leaf.der), leaf.pkcs8), "x509.no-uri-san 0");
    assert.equal(await parsed(new Uint8Array(), leaf.pkcs8), "x509.chain-empty");
    const long = concat(leaf.der, ...Array.from({ length: LIMITS.chainLength }, () => between.der));
    assert.equal(await parsed(long, leaf.pkcs8), "x509.chain-too-large");
  });

  it("throws with code and reason", async () => {
    await assert.rejects(
      X509Svid.parse(leaf.der, other.pkcs8),
      (error) => isSpiffeError(error, "ERR_SPIFFE_X509_SVID") && error.reason === "x509.key-mismatch",
    );
  });

  it("shows ID and expiry, and never the key, in JSON, inspection and own properties", async () => {
    const svid = await X509Svid.parse(leaf.der, leaf.pkcs8, { hint: "internal" });
    const shown = { id: "spiffe://example.org/web", expiresAt: "2030-06-02T00:00:00.000Z", hint: "internal" };
    assert.deepEqual(JSON.parse(JSON.stringify(svid)), shown);
    const secret = leaf.pkcs8.subarray(36, 68);
    const texts = [
      Buffer.from(secret).toString("hex"),
      secret.join(","),
      Buffer.from(secret).toString("base64").slice(0, 16),
    ];
    for (const text of [
      inspect(svid, { depth: 9, showHidden: true }),
      JSON.stringify(svid),
      String(svid),
      JSON.stringify(Object.entries(svid)),
    ]) {
      for (const key of texts) assert.equal(text.includes(key), false);
    }
    assert.match(inspect(svid), /^X509Svid\(spiffe:\/\/example\.org\/web, expires 2030-06-02/);
  });

  it("hands out copies of the key, and keeps one", async () => {
    const given = Buffer.from(leaf.pkcs8);
    const svid = await X509Svid.parse(leaf.der, given);
    given.fill(0);
    svid.privateKeyPkcs8().fill(0);
    assert.deepEqual(svid.privateKeyPkcs8(), leaf.pkcs8);
  });

  it("reads and writes PEM", async () => {
    const svid = await X509Svid.parse(concat(leaf.der, between.der), leaf.pkcs8);
    const { certificates, privateKey } = svid.toPem();
    const again = await X509Svid.fromPem(certificates, privateKey, { hint: "x" });
    assert.equal(again.certificates.length, 2);
    assert.equal(again.hint, "x");
    assert.deepEqual(again.privateKeyPkcs8(), leaf.pkcs8);
    const refused = (reason: string) => (error: unknown) =>
      isSpiffeError(error, "ERR_SPIFFE_X509_SVID") && error.reason === reason;
    await assert.rejects(X509Svid.fromPem(certificates, privateKey + privateKey), refused("encoding.pem"));
    await assert.rejects(X509Svid.fromPem(privateKey, privateKey), refused("encoding.pem"));
    await assert.rejects(
      X509Svid.fromPem(certificates, encodePem("EC PRIVATE KEY", leaf.pkcs8)),
      refused("encoding.pem"),
    );
    await assert.rejects(X509Svid.fromPem("", privateKey), refused("encoding.pem"));
    await assert.rejects(
      X509Svid.fromPem(certificates, encodePem("PRIVATE KEY", other.pkcs8)),
      refused("x509.key-mismatch"),
    );
  });

  for (const keyType of ["P-384", "P-521", "RSA-2048", "RSA-PSS-2048", "Ed25519"] as const) {
    it(`[S-11] takes a ${keyType} key`, async () => {
      const own = await issueLeaf(ca, { keyType });
      assert.equal(await parsed(own.der, own.pkcs8), "accepted");
      assert.equal(await parsed(own.der, leaf.pkcs8), "x509.key-mismatch");
    });
  }
});
