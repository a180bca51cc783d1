/** X.509 leaves, right and wrong, each directly below a trusted authority. */
import { encodeDer, TAG } from "../../../src/encoding/index.ts";
import type { KeyUsage } from "../../../src/x509/extensions.ts";
import { CLIENT_AUTH, NOW, SERVER_AUTH, type TestName } from "../../../src/x509/issue.testing.ts";
import { bad, DOMAIN, good, ID, type X509Recipe } from "./x509.ts";

const EMPTY_NAME = Uint8Array.of(0x30, 0);
const ANY_PURPOSE = "2.5.29.37.0";
const CODE_SIGNING = "1.3.6.1.5.5.7.3.3";
const KEY_USAGE_CHOICE = "key usage is enforced on peers, not only on one's own SVID";
const PURPOSE_CHOICE = "the extended key usage is enforced on peers where there is one";

const uris = (...values: (string | Uint8Array)[]) => ({ names: values.map((uri): TestName => ({ uri })) });
const usage = (...keyUsage: KeyUsage[]) => ({ keyUsage });
const ascii = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));

/** A leaf with these URI names that is refused as no SPIFFE ID. */
function badId(name: string, requirements: string, uri: string): X509Recipe {
  return bad(`URI name ${name}`, requirements, "x509.id", uris(uri));
}

const shape: readonly X509Recipe[] = [
  good("as SPIRE issues it", "X509-01 X509-18 X509-30"),
  bad("no alternative names", "X509-01", "x509.no-uri-san", { names: [] }),
  bad("alternative names without a URI", "X509-01", "x509.no-uri-san", { names: [{ dns: "web.example.org" }] }),
  bad("the ID as a DNS name", "X509-01", "x509.no-uri-san", { names: [{ dns: ID }] }),
  bad("two URI names, the same", "X509-02 X509-35", "x509.several-uri-sans", uris(ID, ID)),
  bad("two URI names, different IDs", "X509-02 X509-35", "x509.several-uri-sans", uris(ID, `${ID}2`)),
  bad("two URI names, the second https", "X509-02 X509-35", "x509.several-uri-sans", uris(ID, "https://example.org/")),
  bad("two URI names, the first https", "X509-02 X509-35", "x509.several-uri-sans", uris("https://example.org/", ID)),
  bad("two URI names, the second empty", "X509-02 X509-35", "x509.several-uri-sans", uris(ID, "")),
  bad("two URI names with a DNS name between", "X509-02 X509-35", "x509.several-uri-sans", {
    names: [{ uri: ID }, { dns: "web.example.org" }, { uri: ID }],
  }),
  good("DNS, IP, e-mail and other names beside the URI", "X509-03", {
    names: [
      { dns: "web.example.org" },
      { ip: Uint8Array.of(10, 0, 0, 1) },
      { email: "a@example.org" },
      { other: "x" },
      { uri: ID },
    ],
  }),
  good("empty subject, critical alternative names", "X509-06 X509-07", { subject: EMPTY_NAME, namesCritical: true }),
  bad(
    "empty subject, alternative names not critical",
    "X509-07",
    "x509.subject-empty-san-not-critical",
    { subject: EMPTY_NAME },
    { twin: "leaf: empty subject, critical alternative names" },
  ),
  good("subject and critical alternative names", "X509-06", { namesCritical: true }),
  good("subject of the issuer's name", "X509-30", { subject: "root" }),
  good("basic constraints absent", "X509-31", { ca: null }),
  bad("cA true", "X509-13 X509-15 X509-31", "x509.leaf-is-ca", { ca: true }),
  bad("cA true and a path length", "X509-13 X509-15 X509-31", "x509.leaf-is-ca", { ca: true, pathLength: 0 }),
  bad(
    "name constraints",
    "X509-37",
    "x509.leaf-is-ca",
    { permitted: [{ uri: DOMAIN }] },
    { choice: "an extension that only a CA may have is refused in a leaf" },
  ),
];

const ids: readonly X509Recipe[] = [
  badId("of another scheme", "X509-33", "https://example.org/web"),
  badId("with the scheme in upper case", "X509-33 ID-19", "SPIFFE://example.org/web"),
  badId("with an upper-case trust domain", "X509-33 ID-07", "spiffe://Example.org/web"),
  badId("without a trust domain", "X509-33 ID-02", "spiffe:///web"),
  badId("with a query", "X509-33 ID-03", `${ID}?x`),
  badId("with an empty query", "X509-33 ID-03", `${ID}?`),
  badId("with a fragment", "X509-33 ID-04", `${ID}#f`),
  badId("with a user", "X509-33 ID-05", "spiffe://u@example.org/web"),
  badId("with an empty user", "X509-33 ID-05", "spiffe://@example.org/web"),
  badId("with a port", "X509-33 ID-06", "spiffe://example.org:443/web"),
  badId("with percent-encoding", "X509-33 ID-11", "spiffe://example.org/%77eb"),
  badId("with a dot segment", "X509-33 ID-12", "spiffe://example.org/a/../web"),
  badId("with an empty segment", "X509-33 ID-12", "spiffe://example.org//web"),
  badId("with a trailing slash", "X509-33 ID-13", `${ID}/`),
  badId("with a space in front", "X509-33 ID-01", ` ${ID}`),
  badId("with a line feed at the end", "X509-33 ID-14", `${ID}\n`),
  badId("with NUL at the end", "X509-33 ID-14 ID-26", `${ID}\0`),
  badId("with NUL in the trust domain", "X509-33 ID-08 ID-26", "spiffe://example.org\0.other.org/web"),
  badId("that is empty", "X509-33 ID-01", ""),
  bad("URI name with a byte above 7F", "X509-33 ID-14", "x509.malformed", uris(Uint8Array.of(...ascii(ID), 0xe4))),
  bad("the trust domain's own ID", "X509-04 X509-34 ID-15", "x509.leaf-root-path", { id: `spiffe://${DOMAIN}` }),
  badId("of the trust domain with a slash", "X509-34 ID-13", `spiffe://${DOMAIN}/`),
  good("ID of 2048 bytes", "X509-33 ID-16", { id: `spiffe://${DOMAIN}/${"p".repeat(2048 - 21)}` }),
  bad(
    "ID of 2049 bytes",
    "X509-33 ID-16",
    "x509.id",
    { id: `spiffe://${DOMAIN}/${"p".repeat(2049 - 21)}` },
    { twin: "leaf: ID of 2048 bytes", choice: "what is longer than everyone has to support is refused" },
  ),
  good("trust domain like an IP address", "ID-10", { id: "spiffe://192.168.1.1/web" }),
  good("trust domain with a trailing dot and underscore", "ID-10", { id: "spiffe://a_b..c./web" }),
  good("path with three dots and upper case", "ID-12 ID-14", { id: "spiffe://example.org/.../Web" }),
];

const usages: readonly X509Recipe[] = [
  good("key usage digitalSignature alone", "X509-18", usage("digitalSignature")),
  good("keyEncipherment and keyAgreement besides", "X509-19", {
    keyUsage: ["digitalSignature", "keyEncipherment", "keyAgreement"],
  }),
  bad("keyCertSign", "X509-20 X509-32", "x509.leaf-key-usage", usage("digitalSignature", "keyCertSign")),
  bad("cRLSign", "X509-20 X509-32", "x509.leaf-key-usage", usage("digitalSignature", "cRLSign")),
  bad("keyCertSign and cRLSign", "X509-20 X509-32", "x509.leaf-key-usage", {
    keyUsage: ["digitalSignature", "keyCertSign", "cRLSign"],
  }),
  bad("no key usage", "X509-17 S-12", "x509.leaf-key-usage", { keyUsage: null }, { choice: KEY_USAGE_CHOICE }),
  bad(
    "key usage not critical",
    "X509-17 S-12",
    "x509.leaf-key-usage",
    { keyUsageCritical: false },
    { choice: KEY_USAGE_CHOICE },
  ),
  bad("no digitalSignature", "X509-18 S-12", "x509.leaf-key-usage", usage("keyAgreement"), {
    choice: KEY_USAGE_CHOICE,
  }),
  good("no extended key usage", "X509-22", { extKeyUsage: null }),
  good("both purposes in the other order", "X509-23", { extKeyUsage: [CLIENT_AUTH, SERVER_AUTH] }),
  good("both purposes and another one", "X509-23", { extKeyUsage: [SERVER_AUTH, CLIENT_AUTH, CODE_SIGNING] }),
  good("critical extended key usage", "X509-22 X509-23", {
    extKeyUsage: null,
    extensions: [{ oid: "2.5.29.37", critical: true, value: bothPurposes() }],
  }),
  ...(
    [
      ["clientAuth alone", CLIENT_AUTH],
      ["serverAuth alone", SERVER_AUTH],
      ["any purpose", ANY_PURPOSE],
      ["another purpose", CODE_SIGNING],
    ] as const
  ).map(([name, purpose]) =>
    bad(
      `extended key usage, ${name}`,
      "X509-23 S-12",
      "x509.leaf-ext-key-usage",
      { extKeyUsage: [purpose] },
      { choice: PURPOSE_CHOICE },
    ),
  ),
];

function bothPurposes(): Uint8Array {
  const oids = [1, 2].map((last) => encodeDer(TAG.oid, Uint8Array.of(0x2b, 6, 1, 5, 5, 7, 3, last)));
  return encodeDer(TAG.sequence, ...oids);
}

const times: readonly X509Recipe[] = [
  bad("expired", "X509-37", "x509.expired", { notAfter: new Date(NOW - 1_000) }),
  bad("not yet valid", "X509-37", "x509.not-yet-valid", { notBefore: new Date(NOW + 1_000) }),
  good("in its first second", "X509-37", { notBefore: new Date(NOW) }),
  good("in its last second", "X509-37", { notAfter: new Date(NOW) }),
  good("ends in the year 9999", "X509-37", { notAfter: new Date("9999-12-31T23:59:59Z") }),
  good("UTCTime of the years 50, which is 1950, and 49, which is 2049", "X509-37", {
    notBefore: new Date("1950-01-01T00:00:00Z"),
    notAfter: new Date("2049-12-31T23:59:59Z"),
  }),
  bad(
    "ends in the year 50 of UTCTime, which is 1950",
    "X509-37",
    "x509.expired",
    { notBefore: new Date("1950-01-01T00:00:00Z"), notAfter: new Date("1950-12-31T23:59:59Z") },
    { twin: "leaf: UTCTime of the years 50, which is 1950, and 49, which is 2049" },
  ),
  good("ends in the year 2050 of GeneralizedTime", "X509-37", { notAfter: new Date("2050-01-01T00:00:00Z") }),
  bad(
    "starts in the year 2050 of GeneralizedTime",
    "X509-37",
    "x509.not-yet-valid",
    { notBefore: new Date("2050-01-01T00:00:00Z"), notAfter: new Date("2051-01-01T00:00:00Z") },
    { twin: "leaf: ends in the year 2050 of GeneralizedTime" },
  ),
];

export const LEAVES: readonly X509Recipe[] = [...shape, ...ids, ...usages, ...times];
