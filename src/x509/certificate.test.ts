import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { inspect } from "node:util";
import { isSpiffeError, LIMITS } from "../base/index.ts";
import { x509SignatureAlgorithm } from "../crypto/index.ts";
import { Certificate } from "./certificate.ts";
import { algorithm, commonNames, type Issued, issue, issueCa, issueLeaf, name, pssAlgorithm } from "./issue.testing.ts";
import { summary } from "./judge.testing.ts";

const parsed = (der: Uint8Array) => summary(Certificate.safeParse(der));
const der = (hex: string) => Uint8Array.from(hex.match(/../g) ?? [], (octet) => Number.parseInt(octet, 16));

describe("Certificate", () => {
  let ca: Issued;
  let leaf: Issued;
  before(async () => {
    ca = await issueCa({ pathLength: 1, names: [{ uri: "spiffe://example.org" }] });
    leaf = await issueLeaf(ca, {
      names: [{ uri: "spiffe://example.org/web" }, { dns: "web.example.org" }, { ip: Uint8Array.of(127, 0, 0, 1) }],
    });
  });

  it("[X509-03] shows what a certificate holds", async () => {
    const { certificate } = leaf;
    assert.deepEqual(certificate.uriSans, ["spiffe://example.org/web"]);
    assert.deepEqual(certificate.dnsSans, ["web.example.org"]);
    assert.equal(certificate.version, 3);
    assert.equal(certificate.isCa, false);
    assert.equal(certificate.subject.toString(), "CN=leaf");
    assert.equal(certificate.issuer.toString(), "CN=authority");
    assert.deepEqual([...(certificate.keyUsage ?? [])], ["digitalSignature", "keyAgreement"]);
    assert.equal((await issue()).certificate.keyUsage, undefined);
    assert.match(certificate.serialNumber, /^[0-9a-f]{32}$/);
    assert.equal(certificate.notAfter.toISOString(), "2030-06-02T00:00:00.000Z");
    assert.equal(certificate.publicKey.curve, "P-256");
    assert.equal(ca.certificate.isCa, true);
    assert.equal(ca.certificate.pathLength, 1);
    assert.equal(ca.certificate.isSelfIssued, true);
    assert.equal(certificate.isSelfIssued, false);
    assert.ok(certificate.equals(Certificate.parse(leaf.der)));
    assert.equal(certificate.equals(ca.certificate), false);
  });

  it("shows itself in JSON and inspection without bytes", () => {
    const shown = JSON.parse(JSON.stringify(leaf.certificate));
    assert.deepEqual(Object.keys(shown), ["subject", "issuer", "serialNumber", "uriSans", "notAfter"]);
    assert.match(inspect(leaf.certificate), /^Certificate\(.*spiffe:\/\/example\.org\/web/);
    assert.match(leaf.certificate.toPem(), /^-----BEGIN CERTIFICATE-----\n/);
  });

  it("keeps its own copy of the bytes, also of a Buffer's", () => {
    const shared = Buffer.from(leaf.der);
    const certificate = Certificate.parse(shared);
    shared.fill(0);
    assert.ok(certificate.equals(leaf.certificate));
    assert.deepEqual(certificate.uriSans, ["spiffe://example.org/web"]);
  });

  it("[X509-37] refuses trailing bytes, cut-off certificates and BER", () => {
    assert.equal(parsed(Uint8Array.from([...leaf.der, 0])), "x509.malformed");
    assert.equal(parsed(leaf.der.subarray(0, -1)), "x509.malformed");
    assert.equal(parsed(new Uint8Array()), "x509.malformed");
    assert.equal(parsed("certificate" as unknown as Uint8Array), "x509.malformed");
    const body = leaf.der.subarray(4);
    assert.equal(parsed(Uint8Array.from([0x30, 0x80, ...body, 0, 0])), "x509.malformed");
    assert.equal(parsed(Uint8Array.from([0x30, 0x83, 0, leaf.der[2]!, leaf.der[3]!, ...body])), "x509.malformed");
    assert.equal(parsed(Uint8Array.from([0x30, 0x82, leaf.der[2]!, leaf.der[3]!, ...body])), "accepted");
    assert.throws(
      () => Certificate.parse(body),
      (error) => isSpiffeError(error, "ERR_SPIFFE_X509_SVID"),
    );
  });

  it("refuses a certificate above its bound before reading it", () => {
    assert.equal(parsed(new Uint8Array(LIMITS.certificate + 1)), "x509.too-large");
    assert.equal(parsed(new Uint8Array(LIMITS.certificate)), "x509.malformed");
  });

  it("never throws on a change of one byte", () => {
    for (let at = 0; at < leaf.der.length; at++) {
      for (const change of [0x01, 0x80, 0xff]) {
        const changed = Uint8Array.from(leaf.der);
        changed[at]! ^= change;
        const verdict = Certificate.safeParse(changed);
        if (verdict.ok) JSON.stringify(verdict.value);
      }
    }
  });

  it("[S-15] refuses an outer signature algorithm that differs from the inner one, in parameters too", async () => {
    const sha256 = algorithm("1.2.840.113549.1.1.11", null);
    const bare = algorithm("1.2.840.113549.1.1.11");
    const rsa = { subject: "rsa", keyType: "RSA-2048" } as const;
    assert.equal(parsed((await issueCa({ ...rsa, innerAlgorithm: sha256 })).der), "accepted");
    for (const innerAlgorithm of [bare, algorithm("1.2.840.113549.1.1.12", null)]) {
      const verdict = issueCa({ ...rsa, innerAlgorithm, outerAlgorithm: sha256 });
      assert.equal(parsed((await verdict).der), "x509.algorithm-mismatch");
    }
  });

  it("[S-15] knows the algorithms by their whole encoding, parameters included", () => {
    const known = (identifier: Uint8Array) => {
      const found = x509SignatureAlgorithm(identifier);
      return found && [found.family, "hash" in found ? found.hash : ""].join(" ").trim();
    };
    assert.equal(known(algorithm("1.2.840.10045.4.3.2")), "ecdsa SHA-256");
    assert.equal(known(algorithm("1.2.840.10045.4.3.3")), "ecdsa SHA-384");
    assert.equal(known(algorithm("1.2.840.10045.4.3.4")), "ecdsa SHA-512");
    assert.equal(known(algorithm("1.2.840.113549.1.1.11", null)), "rsa-pkcs1 SHA-256");
    assert.equal(known(algorithm("1.2.840.113549.1.1.12")), "rsa-pkcs1 SHA-384");
    assert.equal(known(algorithm("1.3.101.112")), "ed25519");
    assert.equal(known(pssAlgorithm("SHA-256", "SHA-256", 32)), "rsa-pss SHA-256");
    assert.equal(known(pssAlgorithm("SHA-512", "SHA-512", 64)), "rsa-pss SHA-512");
    for (const [what, identifier] of [
      ["MD5 with RSA", algorithm("1.2.840.113549.1.1.4", null)],
      ["SHA-1 with RSA", algorithm("1.2.840.113549.1.1.5", null)],
      ["SHA-224 with RSA", algorithm("1.2.840.113549.1.1.14", null)],
      ["ECDSA with SHA-1", algorithm("1.2.840.10045.4.1")],
      ["ECDSA with NULL", algorithm("1.2.840.10045.4.3.2", null)],
      ["Ed25519 with NULL", algorithm("1.3.101.112", null)],
      ["Ed448", algorithm("1.3.101.113")],
      ["PSS by default, which is SHA-1", der("300d06092a864886f70d01010a3000")],
      ["PSS without parameters", algorithm("1.2.840.113549.1.1.10")],
      ["PSS with another mask hash", pssAlgorithm("SHA-256", "SHA-384", 32)],
      ["PSS with a short salt", pssAlgorithm("SHA-256", "SHA-256", 20)],
      ["PSS with SHA-1", pssAlgorithm("SHA-1", "SHA-1", 20)],
    ] as const) {
      assert.equal(known(identifier), undefined, what);
    }
  });

  it("refuses serial numbers that are negative or above 20 bytes", async () => {
    const twenty = new Uint8Array(20).fill(0x7f);
    assert.equal(parsed((await issue({ serial: twenty })).der), "accepted");
    assert.equal(parsed((await issue({ serial: Uint8Array.of(0, ...new Uint8Array(20).fill(0xff)) })).der), "accepted");
    assert.equal(parsed((await issue({ serial: Uint8Array.of(0x7f, ...twenty) })).der), "x509.malformed");
    assert.equal(parsed((await issue({ serial: Uint8Array.of(0x80) })).der), "x509.malformed");
  });

  it("refuses an empty relative name, and takes an empty name", async () => {
    assert.equal(parsed((await issue({ subject: der("30023100") })).der), "x509.malformed");
    const empty = await issue({ subject: der("3000") });
    assert.equal(parsed(empty.der), "accepted");
    assert.equal(empty.certificate.subject.isEmpty, true);
    assert.equal(empty.certificate.subject.toString(), "");
  });

  it("shows names of several parts, escapes them and hides what can not be shown", async () => {
    const show = async (subject: Uint8Array) => (await issue({ subject })).certificate.subject.toString();
    assert.equal(
      await show(name(["2.5.4.6", "DE"], ["2.5.4.10", "A, B+C"], ["2.5.4.3", "web"])),
      "CN=web,O=A\\, B\\+C,C=DE",
    );
    assert.equal(await show(name(["1.2.3", "x"])), "1.2.3=x");
    assert.equal(await show(name(["2.5.4.3", "a\u001b[31m\n"])), "CN=a�[31m�");
    assert.equal(await show(der("300f310d300b0603550403040401020304")), "CN=#040401020304");
  });

  it("refuses an unknown version, and extensions in version 1", async () => {
    assert.equal(parsed((await issue({ version: 2, ca: true })).der), "accepted");
    assert.equal(parsed((await issue({ version: 3, ca: true })).der), "x509.malformed");
    assert.equal(parsed((await issue({ version: 0 })).der), "x509.malformed");
    assert.equal(parsed((await issue({ version: null, ca: true })).der), "x509.malformed");
    const first = await issue({ version: null });
    assert.equal(parsed(first.der), "accepted");
    assert.equal(first.certificate.version, 1);
    assert.equal((await issue({ version: 1 })).certificate.version, 2);
  });

  it("refuses an extension twice, and malformed ones of those it reads", async () => {
    const note = { oid: "1.2.3.4", value: der("0500") };
    assert.equal(parsed((await issue({ extensions: [note] })).der), "accepted");
    assert.equal(parsed((await issue({ extensions: [note, note] })).der), "x509.malformed");
    for (const [oid, right, wrong] of [
      ["2.5.29.14", "04020102", "0401"],
      ["2.5.29.15", "03020780", "0500"],
      ["2.5.29.17", "30028200", "3000"],
      ["2.5.29.17", "30068704 7f000001", "30058703 7f0000"],
      ["2.5.29.17", "3003820161", "30038201ff"],
      ["2.5.29.17", "3003810161", "30038101ff"],
      ["2.5.29.17", "3003860161", "3003860180"],
      ["2.5.29.17", "3003820161", "3003890161"],
      ["2.5.29.17", "3004a4023000", "3006a40430023100"],
      ["2.5.29.19", "3000", "30030201ff"],
      ["2.5.29.19", "30060101ff020100", "30060101ff0201ff"],
      ["2.5.29.30", "3006a00430028200", "3000"],
      ["2.5.29.30", "3006a00430028200", "3002a000"],
      ["2.5.29.30", "3006a00430028200", "3009a007300582008001 00"],
      ["2.5.29.30", "300ea00c300a87087f000000ff000000", "300ea00c300a87087f000000ff00ff00"],
      ["2.5.29.30", "300ea00c300a87087f000000ff000000", "300aa008300687047f000000"],
      ["2.5.29.35", "3004800201 02", "3004840201 02"],
      ["2.5.29.35", "300c80020102a103820161820105", "300d80020102a10382016182020005"],
      ["2.5.29.37", "300406022a03", "3000"],
    ] as const) {
      const given = async (...values: readonly string[]) =>
        parsed((await issue({ extensions: values.map((hex) => ({ oid, value: der(hex.replace(" ", "")) })) })).der);
      assert.equal(await given(right), "accepted", `${oid} ${right}`);
      assert.equal(await given(wrong), "x509.malformed", `${oid} ${wrong}`);
      assert.equal(await given(right, right), "x509.malformed", `${oid} twice`);
    }
    assert.equal(parsed((await issue()).der), "accepted");
    assert.equal(parsed((await issue({ emptyExtensions: true })).der), "x509.malformed");
  });

  it("[S-15] is parsed with a key of an unknown kind, which it then refuses", async () => {
    const spki = der("3012300906072a8648ce380401030500020100 00".replace(" ", ""));
    const certificate = Certificate.parse((await issue({ spki })).der);
    assert.equal(summary(certificate.safePublicKey()), "key.unsupported");
    assert.throws(
      () => certificate.publicKey,
      (error) => isSpiffeError(error, "ERR_SPIFFE_KEY"),
    );
  });

  it("[X509-37] reads validity in both forms, up to the year 9999", async () => {
    const notAfter = new Date(Date.UTC(9999, 11, 31, 23, 59, 59));
    const notBefore = new Date(Date.UTC(1950, 0, 1));
    const { certificate } = await issue({ notBefore, notAfter });
    assert.deepEqual([certificate.notBefore, certificate.notAfter], [notBefore, notAfter]);
    const general = await issue({ generalizedTime: true });
    assert.deepEqual(general.certificate.notAfter, leaf.certificate.notAfter);
  });

  it("[X509-37] counts both ends of the validity to it, and no number as a time after it", () => {
    const { certificate } = leaf;
    const [begin, end] = [certificate.notBefore.getTime(), certificate.notAfter.getTime()];
    const at = [begin - 1, begin, end, end + 1, Number.NaN].map((now) => certificate.validityAt(now));
    assert.deepEqual(at, ["before", "within", "within", "after", "after"]);
  });

  it("tells names apart byte for byte", () => {
    assert.deepEqual(ca.certificate.subject.der, commonNames("authority"));
    assert.ok(leaf.certificate.issuer.equals(ca.certificate.subject));
    assert.equal(leaf.certificate.subject.equals(ca.certificate.subject), false);
  });
});
