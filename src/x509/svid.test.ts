import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
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
    for (const odd of [undefined, null, 1e12, "key", Array.from(leaf.pkcs8)] as never[]) {
      assert.equal(await parsed(leaf.der, odd), "x509.key-mismatch");
    }
    assert.equal(await parsed(leaf.der, concat(leaf.pkcs8, Uint8Array.of(0))), "x509.key-mismatch");
    const away = Uint8Array.from(leaf.pkcs8);
    structuredClone(away.buffer, { transfer: [away.buffer] });
    assert.equal(await parsed(leaf.der, away), "x509.key-mismatch", "its octets were given away");
  });

  it("[S-15] wants a key of a kind that is taken", async () => {
    const spki = Uint8Array.from([48, 18, 48, 9, 6, 7, 42, 134, 72, 206, 56, 4, 1, 3, 5, 0, 2, 1, 0, 0]);
    const foreign = await issueLeaf(between, { spki });
    assert.equal(await parsed(foreign.der, foreign.pkcs8), "key.unsupported 0");
    assert.equal(await parsed(leaf.der, leaf.pkcs8), "accepted");
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

  it("[S-11] takes one certificate per PEM block, each whole", async () => {
    const { certificates, privateKey } = (await X509Svid.parse(concat(leaf.der, between.der), leaf.pkcs8)).toPem();
    const fromPem = async (...blocks: Uint8Array[]) =>
      summary(await X509Svid.safeFromPem(blocks.map((der) => encodePem("CERTIFICATE", der)).join(""), privateKey));
    assert.equal(summary(await X509Svid.safeFromPem(certificates, privateKey)), "accepted");
    assert.equal(await fromPem(leaf.der, between.der), "accepted");
    assert.equal(await fromPem(concat(leaf.der, between.der)), "x509.malformed 0", "two in one block");
    assert.equal(await fromPem(leaf.der.subarray(0, 99), leaf.der.subarray(99)), "x509.malformed 0", "one in two");
    assert.equal(await fromPem(...Array.from({ length: LIMITS.chainLength }, () => leaf.der)), "accepted");
    const long = Array.from({ length: LIMITS.chainLength + 1 }, () => leaf.der);
    assert.equal(await fromPem(...long), "x509.chain-too-large");
    assert.equal(summary(await X509Svid.safeFromPem(certificates, "")), "encoding.pem");
    assert.equal(summary(await X509Svid.safeFromPem(undefined as never, privateKey)), "encoding.pem");
  });

  it("writes DER that it reads, with a copy of the key", async () => {
    const svid = await X509Svid.parse(concat(leaf.der, between.der), leaf.pkcs8);
    const { certificates, privateKey } = svid.toDer();
    assert.deepEqual(certificates, concat(leaf.der, between.der));
    assert.deepEqual(privateKey, leaf.pkcs8);
    assert.equal(await parsed(certificates, privateKey), "accepted");
    privateKey.fill(0);
    assert.deepEqual(svid.privateKeyPkcs8(), leaf.pkcs8);
  });

  describe("in files", () => {
    const folder = mkdtempSync(join(tmpdir(), "svid-"));
    after(() => rmSync(folder, { recursive: true, force: true }));
    const [svidPem, keyPem] = [join(folder, "svid.pem"), join(folder, "key.pem")];

    it("saves for the owner alone and loads the same", async () => {
      const svid = await X509Svid.parse(concat(leaf.der, between.der), leaf.pkcs8);
      writeFileSync(keyPem, "old", { mode: 0o644 });
      await svid.save(svidPem, keyPem);
      assert.deepEqual(readdirSync(folder).sort(), ["key.pem", "svid.pem"]);
      for (const path of [svidPem, keyPem]) assert.equal(statSync(path).mode & 0o777, 0o600, path);
      assert.deepEqual([readFileSync(svidPem, "utf8"), readFileSync(keyPem, "utf8")], Object.values(svid.toPem()));
      assert.doesNotMatch(readFileSync(svidPem, "utf8"), /PRIVATE/);
      const again = await X509Svid.load(svidPem, keyPem, { hint: "internal" });
      assert.deepEqual(again.toPem(), svid.toPem());
      assert.equal(again.hint, "internal");
    });

    it("[S-11] loads nothing of which the parts do not belong together", async () => {
      const broken = (reason: string) => (error: unknown) =>
        isSpiffeError(error, "ERR_SPIFFE_X509_SVID") && error.reason === reason;
      const [mine, theirs] = [await X509Svid.parse(leaf.der, leaf.pkcs8), await X509Svid.parse(other.der, other.pkcs8)];
      await mine.save(svidPem, keyPem);
      await theirs.save(join(folder, "other.pem"), join(folder, "other-key.pem"));
      await assert.rejects(X509Svid.load(svidPem, join(folder, "other-key.pem")), broken("x509.key-mismatch"));
      await assert.rejects(X509Svid.load(keyPem, svidPem), broken("encoding.pem"));
      writeFileSync(join(folder, "half.pem"), readFileSync(svidPem).subarray(0, 200));
      await assert.rejects(X509Svid.load(join(folder, "half.pem"), keyPem), broken("encoding.pem"));
      assert.equal((await X509Svid.load(svidPem, keyPem)).id.uri, "spiffe://example.org/web");
    });

    it("says which file is not there, and saves both or none", async () => {
      const missing = join(folder, "missing", "key.pem");
      const svid = await X509Svid.parse(leaf.der, leaf.pkcs8);
      const named = (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_CONFIG") && error.message.includes(missing);
      await svid.save(svidPem, keyPem);
      await assert.rejects(X509Svid.load(svidPem, missing), named);
      const before = readdirSync(folder);
      const fresh = join(folder, "fresh.pem");
      await assert.rejects(svid.save(fresh, missing), named);
      await assert.rejects(svid.save(missing, fresh), named);
      await assert.rejects(svid.save(fresh, fresh), (error) => isSpiffeError(error, "ERR_SPIFFE_USAGE"));
      assert.deepEqual(readdirSync(folder), before);
      await svid.save(fresh, keyPem);
    });
  });

  for (const keyType of ["P-384", "P-521", "RSA-2048", "RSA-PSS-2048", "Ed25519"] as const) {
    it(`[S-11] takes a ${keyType} key`, async () => {
      const own = await issueLeaf(ca, { keyType });
      assert.equal(await parsed(own.der, own.pkcs8), "accepted");
      assert.equal(await parsed(own.der, leaf.pkcs8), "x509.key-mismatch");
    });
  }
});
