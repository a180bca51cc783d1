import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { bytesOf, ID_CASES } from "../id/vectors.testing.ts";
import { Certificate } from "./certificate.ts";
import type { KeyUsage } from "./extensions.ts";
import { CLIENT_AUTH, type Issued, type IssueOptions, issueCa, issueLeaf, SERVER_AUTH } from "./issue.testing.ts";
import { type JudgeOptions, judged, summary } from "./judge.testing.ts";
import { spiffeIdOf } from "./leaf.ts";
import { X509Svid } from "./svid.ts";

const ANY_PURPOSE = "2.5.29.37.0";
const EMPTY_NAME = Uint8Array.of(0x30, 0);

/** What relaxes nothing: only true itself does. */
const ALMOST_TRUE = [1, "true", {}] as unknown[] as true[];

describe("leaf rules, for peers and for one's own SVID", () => {
  let ca: Issued;
  before(async () => {
    ca = await issueCa();
  });

  /** The verdict on a leaf with these changes, presented by a peer and taken as one's own. */
  async function verdicts(changes: IssueOptions & { id?: string }, options: JudgeOptions = {}): Promise<string> {
    const leaf = await issueLeaf(ca, changes);
    const peer = await judged([leaf], [ca], options);
    const own = summary(await X509Svid.safeParse(leaf.der, leaf.pkcs8));
    return peer === own || Object.keys(options).length > 0 ? peer : `${peer}, but own ${own}`;
  }

  const uri = (...uris: (string | Uint8Array)[]) => ({ names: uris.map((value) => ({ uri: value })) });
  const ID = "spiffe://example.org/web";

  it("[X509-01] takes exactly one URI name", async () => {
    assert.equal(await verdicts({}), "accepted");
    assert.equal(await verdicts({ names: [] }), "x509.no-uri-san 0");
    assert.equal(await verdicts({ names: [{ dns: "web.example.org" }] }), "x509.no-uri-san 0");
  });

  it("[X509-02] [X509-35] refuses several URI names, whatever they are", async () => {
    assert.equal(await verdicts(uri(ID)), "accepted");
    for (const second of [ID, "spiffe://example.org/other", "https://example.org/", "spiffe://other.org/web", ""]) {
      assert.equal(await verdicts(uri(ID, second)), "x509.several-uri-sans 0", second);
      assert.equal(await verdicts(uri(second, ID)), "x509.several-uri-sans 0", second);
    }
    const between = { names: [{ uri: ID }, { dns: "a.example.org" }, { uri: ID }] };
    assert.equal(await verdicts(between), "x509.several-uri-sans 0");
  });

  it("[X509-03] takes other names beside it", async () => {
    const names = [
      { dns: "web.example.org" },
      { ip: Uint8Array.of(10, 0, 0, 1) },
      { email: "a@example.org" },
      { other: "x" },
    ];
    assert.equal(await verdicts({ names: [...names, { uri: ID }] }), "accepted");
    assert.equal(await verdicts({ names }), "x509.no-uri-san 0");
  });

  it("[X509-33] [ID-26] refuses a URI that is no SPIFFE ID, byte for byte", async () => {
    assert.equal(await verdicts(uri(ID)), "accepted");
    for (const wrong of [
      "https://example.org/web",
      "SPIFFE://example.org/web",
      "spiffe://Example.org/web",
      "spiffe://example.org/web/",
      "spiffe://example.org/",
      "spiffe://example.org//web",
      "spiffe://example.org/../web",
      "spiffe://example.org/%77eb",
      "spiffe://example.org:443/web",
      "spiffe://u@example.org/web",
      "spiffe://example.org/web?",
      "spiffe://example.org/web#",
      " spiffe://example.org/web",
      "spiffe:///web",
      "",
      "spiffe://example.org/web\0",
      "spiffe://example.org\0.evil.org/web",
      `spiffe://example.org/${"a".repeat(2049 - 21)}`,
    ]) {
      assert.equal(await verdicts(uri(wrong)), "x509.id 0", JSON.stringify(wrong));
    }
    assert.equal(await verdicts(uri(`spiffe://example.org/${"a".repeat(2048 - 21)}`)), "accepted");
  });

  it("[X509-33] refuses a URI name with a byte above 7F as malformed", async () => {
    const octets = Uint8Array.from(`${ID}!`, (character) => character.charCodeAt(0));
    octets[octets.length - 1] = 0xe4;
    assert.equal(await verdicts(uri(octets)), "x509.malformed 0");
    assert.equal(await verdicts(uri(octets.subarray(0, -1))), "accepted");
  });

  it("[X509-04] [X509-34] refuses the trust domain's own ID at peer validation as for one's own", async () => {
    assert.equal(await verdicts(uri("spiffe://example.org")), "x509.leaf-root-path 0");
    assert.equal(await verdicts(uri("spiffe://example.org/a")), "accepted");
  });

  it("[X509-13] [X509-15] [X509-31] refuses a CA certificate, and takes absent basic constraints", async () => {
    assert.equal(await verdicts({ ca: true }), "x509.leaf-is-ca 0");
    assert.equal(await verdicts({ ca: false }), "accepted");
    assert.equal(await verdicts({ ca: null }), "accepted");
    // RFC 5280 gives a path length no meaning without cA
    assert.equal(await verdicts({ ca: false, pathLength: 0 }), "accepted");
  });

  it("[X509-37] refuses name constraints in a leaf, which only a CA may have", async () => {
    assert.equal(await verdicts({ permitted: [{ uri: "example.org" }] }), "x509.leaf-is-ca 0");
    assert.equal(await verdicts({}), "accepted");
  });

  it("[X509-20] [X509-32] refuses keyCertSign and cRLSign, also when lenient", async () => {
    const usage = (...more: KeyUsage[]) => ({ keyUsage: ["digitalSignature" as const, ...more] });
    for (const options of [{}, { lenientPeerKeyUsage: true }] as const) {
      assert.equal(await verdicts(usage("keyCertSign"), options), "x509.leaf-key-usage 0");
      assert.equal(await verdicts(usage("cRLSign"), options), "x509.leaf-key-usage 0");
      assert.equal(await verdicts(usage("keyCertSign", "cRLSign"), options), "x509.leaf-key-usage 0");
      assert.equal(await verdicts(usage("keyEncipherment", "keyAgreement", "decipherOnly"), options), "accepted");
    }
  });

  it("[X509-17] [X509-18] [S-12] wants critical key usage with digitalSignature unless lenientPeerKeyUsage", async () => {
    for (const changes of [{ keyUsage: null }, { keyUsageCritical: false }, { keyUsage: ["keyAgreement" as const] }]) {
      assert.equal(await verdicts(changes), "x509.leaf-key-usage 0", JSON.stringify(changes));
      assert.equal(await verdicts(changes, { lenientPeerKeyUsage: true }), "accepted", JSON.stringify(changes));
      assert.equal(await verdicts(changes, { lenientPeerExtKeyUsage: true }), "x509.leaf-key-usage 0");
      for (const lenientPeerKeyUsage of ALMOST_TRUE)
        assert.equal(await verdicts(changes, { lenientPeerKeyUsage }), "x509.leaf-key-usage 0");
    }
    assert.equal(await verdicts({ keyUsage: ["digitalSignature"] }), "accepted");
  });

  it("[X509-22] [X509-23] [S-12] wants both purposes where there are any unless lenientPeerExtKeyUsage", async () => {
    for (const extKeyUsage of [[SERVER_AUTH], [CLIENT_AUTH], [ANY_PURPOSE], ["1.3.6.1.5.5.7.3.3"]]) {
      assert.equal(await verdicts({ extKeyUsage }), "x509.leaf-ext-key-usage 0", extKeyUsage.join());
      assert.equal(await verdicts({ extKeyUsage }, { lenientPeerExtKeyUsage: true }), "accepted");
      assert.equal(await verdicts({ extKeyUsage }, { lenientPeerKeyUsage: true }), "x509.leaf-ext-key-usage 0");
      for (const lenientPeerExtKeyUsage of ALMOST_TRUE)
        assert.equal(await verdicts({ extKeyUsage }, { lenientPeerExtKeyUsage }), "x509.leaf-ext-key-usage 0");
    }
    assert.equal(await verdicts({ extKeyUsage: null }), "accepted");
    assert.equal(await verdicts({ extKeyUsage: [CLIENT_AUTH, SERVER_AUTH] }), "accepted");
    assert.equal(await verdicts({ extKeyUsage: [CLIENT_AUTH, SERVER_AUTH, "1.3.6.1.5.5.7.3.3"] }), "accepted");
  });

  it("[X509-06] [X509-07] takes an empty subject with critical names alone", async () => {
    assert.equal(await verdicts({ subject: EMPTY_NAME, namesCritical: true }), "accepted");
    assert.equal(
      await verdicts({ subject: EMPTY_NAME, namesCritical: false }),
      "x509.subject-empty-san-not-critical 0",
    );
    assert.equal(await verdicts({ namesCritical: true }), "accepted");
  });

  it("[S-15] refuses a weak or foreign key", async () => {
    // 1,024 bits, and a point that is not on its curve
    const weak = await issueLeaf(ca, { keyType: "RSA-1024" });
    assert.equal(await judged([weak], [ca]), "key.weak 0");
    assert.equal(summary(await X509Svid.safeParse(weak.der, weak.pkcs8)), "key.weak 0");
    assert.equal(await verdicts({ keyType: "RSA-2048" }), "accepted");
  });

  it("[X509-01] gives the ID of any certificate, authorities included", async () => {
    const named = await issueCa({ names: [{ uri: "spiffe://example.org" }] });
    const id = spiffeIdOf(named.certificate);
    assert.ok(id.ok && id.value.uri === "spiffe://example.org");
    assert.equal(summary(spiffeIdOf(ca.certificate)), "x509.no-uri-san");
  });

  it("[X509-33] [ID-26] judges the URI name by its bytes, as the list of IDs says", async () => {
    for (const one of ID_CASES) {
      const bytes = bytesOf(one);
      const { der } = await issueLeaf(ca, { ...uri(bytes), keyOf: ca });
      const parsed = Certificate.safeParse(der);
      const id = parsed.ok ? spiffeIdOf(parsed.value) : parsed;
      // an IA5String has no byte above 7F, so such a certificate can not even be read
      const refusal = bytes.some((byte) => byte > 0x7f) ? "x509.malformed" : "x509.id";
      assert.equal(id.ok ? id.value.uri : id.reason, one.valid ? String.fromCharCode(...bytes) : refusal, one.name);
    }
  });
});
