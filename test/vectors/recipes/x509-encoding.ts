/** The encoding of X.509 certificates: DER and nothing else, and what RFC 5280 allows in it. */
import { ecdsaP1363ToDer } from "../../../src/crypto/signature.ts";
import { contextTag, decodeDer, encodeDer, TAG } from "../../../src/encoding/index.ts";
import { algorithm, type Issued, issueLeaf } from "../../../src/x509/issue.testing.ts";
import { type About, bad, good, ID, LEAF, root, type X509Recipe, x509 } from "./x509.ts";

const ascii = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));

/** A leaf whose bytes are changed after issuing. */
function changed(name: string, reason: About["reason"], change: (der: Uint8Array) => Uint8Array): X509Recipe {
  const about = { ...(reason !== undefined && { reason }), twin: LEAF };
  return x509(`leaf: ${name}`, "X509-30 X509-37", about, async () => {
    const ca = await root();
    return { chain: [change((await issueLeaf(ca)).der)], trusted: [ca] };
  });
}

/** The content of the outermost element with another header, as BER may have it. */
function reheaded(header: readonly number[], trailer: readonly number[] = []): (der: Uint8Array) => Uint8Array {
  return (der) => Uint8Array.from([0x30, ...header, ...der.subarray(4), ...trailer]);
}

/** The elements inside an element. */
function inside(der: Uint8Array, tag: number = TAG.sequence): Uint8Array[] {
  const verdict = decodeDer(der, (reader) => {
    const inner = reader.enter(tag);
    const elements: Uint8Array[] = [];
    while (!inner.atEnd) elements.push(inner.element(inner.next));
    return elements;
  });
  if (!verdict.ok) throw new Error(verdict.message);
  return verdict.value;
}

interface Signed {
  readonly serial: Uint8Array;
  readonly validity: Uint8Array;
  readonly subject: Uint8Array;
  readonly extensions: Uint8Array;
}

/** A leaf in whose signed part elements are replaced before it is signed once more. */
async function resigned(ca: Issued, change: (signed: Signed) => Partial<Signed>): Promise<Uint8Array> {
  const { tbs } = (await issueLeaf(ca)).certificate;
  const [version, serial, inner, issuer, validity, subject, spki, extensions] = inside(tbs) as [
    Uint8Array,
    ...Uint8Array[],
  ];
  const old = { serial: serial!, validity: validity!, subject: subject!, extensions: extensions! };
  const all = { ...old, ...change(old) };
  const parts = [version, all.serial, inner!, issuer!, all.validity, all.subject, spki!, all.extensions];
  const data = encodeDer(TAG.sequence, ...parts);
  const made = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, ca.keys.privateKey, data);
  const bits = encodeDer(TAG.bitString, Uint8Array.of(0), ecdsaP1363ToDer(new Uint8Array(made)));
  return encodeDer(TAG.sequence, data, algorithm("1.2.840.10045.4.3.2"), bits);
}

function rewritten(name: string, about: About, change: (signed: Signed) => Partial<Signed>): X509Recipe {
  const twin = about.reason === undefined ? {} : { twin: LEAF };
  return x509(`leaf: ${name}`, "X509-30 X509-37", { ...twin, ...about }, async () => {
    const ca = await root();
    return { chain: [await resigned(ca, change)], trusted: [ca] };
  });
}

const MALFORMED = { reason: "x509.malformed" } as const;

/** A leaf whose first moment of validity is this text. */
function beginning(name: string, text: string, tag: number = TAG.utcTime, about: About = MALFORMED): X509Recipe {
  return rewritten(`begins ${name}`, about, ({ validity }) => {
    const [, end] = inside(validity);
    return { validity: encodeDer(TAG.sequence, encodeDer(tag, ascii(text)), end!) };
  });
}

/** A leaf one of whose extensions is replaced by what `change` makes of its parts; the identifier's last octet tells which. */
function extension(name: string, arc: number, change: (parts: Uint8Array[]) => Uint8Array[], about: About = MALFORMED) {
  return rewritten(name, about, ({ extensions }) => {
    const list = inside(inside(extensions, contextTag(3, true))[0]!);
    const changed = list.map((one) => {
      const parts = inside(one);
      return parts[0]!.at(-1) === arc ? encodeDer(TAG.sequence, ...change(parts)) : one;
    });
    return { extensions: encodeDer(contextTag(3, true), encodeDer(TAG.sequence, ...changed)) };
  });
}

/** The same extension with another value. */
function valued(...octets: readonly number[]): (parts: Uint8Array[]) => Uint8Array[] {
  return (parts) => [...parts.slice(0, -1), encodeDer(TAG.octetString, Uint8Array.from(octets))];
}

const [CONSTRAINTS, USAGE, NAMES] = [19, 15, 17];
const uri = [0x86, ID.length, ...ascii(ID)];

const fields: readonly X509Recipe[] = [
  good("unknown extension", "X509-37", { extensions: [{ oid: "1.2.3.4", value: Uint8Array.of(5, 0) }] }),
  bad(
    "unknown critical extension",
    "X509-37",
    "x509.critical-extension",
    { extensions: [{ oid: "1.2.3.4", critical: true, value: Uint8Array.of(5, 0) }] },
    { twin: "leaf: unknown extension" },
  ),
  bad("unknown extension twice", "X509-37", "x509.malformed", {
    extensions: [
      { oid: "1.2.3.4", value: Uint8Array.of(5, 0) },
      { oid: "1.2.3.4", value: Uint8Array.of(5, 0) },
    ],
  }),
  bad("key usage twice", "X509-37", "x509.malformed", {
    extensions: [{ oid: "2.5.29.15", critical: true, value: Uint8Array.of(3, 2, 7, 0x80) }],
  }),
  bad("alternative names that are an empty list", "X509-37", "x509.malformed", {
    names: [],
    extensions: [{ oid: "2.5.29.17", value: Uint8Array.of(0x30, 0) }],
  }),
  bad("version 1 with extensions", "X509-37", "x509.malformed", { version: null }),
  bad("version 4", "X509-37", "x509.malformed", { version: 3 }),
  good("serial number of 20 bytes", "X509-37", { serial: Uint8Array.of(0x7f, ...new Uint8Array(19).fill(1)) }),
  bad("serial number without a byte", "X509-37", "x509.malformed", { serial: new Uint8Array(0) }),
  bad("serial number with a zero byte too many", "X509-37", "x509.malformed", { serial: Uint8Array.of(0, 1) }),
  good("serial number zero", "X509-37", { serial: Uint8Array.of(0) }),
  bad(
    "serial number of 21 bytes",
    "X509-37",
    "x509.malformed",
    { serial: Uint8Array.of(0x7f, ...new Uint8Array(20).fill(1)) },
    { twin: "leaf: serial number of 20 bytes", choice: "RFC 5280 says 20 bytes at most" },
  ),
  bad(
    "serial number below zero",
    "X509-37",
    "x509.malformed",
    { serial: Uint8Array.of(0xff, ...new Uint8Array(19).fill(1)) },
    { twin: "leaf: serial number of 20 bytes", choice: "RFC 5280 says a positive number" },
  ),
  changed("a byte after the certificate", "x509.malformed", (der) => Uint8Array.of(...der, 0)),
  changed("its last byte missing", "x509.malformed", (der) => der.slice(0, -1)),
  changed("length in more bytes than it needs", "x509.malformed", (der) => reheaded([0x83, 0, der[2]!, der[3]!])(der)),
  changed("indefinite length", "x509.malformed", reheaded([0x80], [0, 0])),
  changed("signature with an unused bit", "x509.malformed", (der) => {
    const [tbs, algorithmOf, bits] = inside(der) as [Uint8Array, Uint8Array, Uint8Array];
    const octets = bits.slice(3);
    octets[octets.length - 1]! &= 0xfe;
    return encodeDer(TAG.sequence, tbs, algorithmOf, encodeDer(TAG.bitString, Uint8Array.of(1), octets));
  }),
  changed("one bit of its signature changed", "x509.signature", (der) => {
    const copy = Uint8Array.from(der);
    copy[copy.length - 1]! ^= 1;
    return copy;
  }),
  changed("one bit of its ID changed", "x509.signature", (der) => {
    const copy = Uint8Array.from(der);
    copy[Buffer.from(der).indexOf(ID) + ID.length - 1]! ^= 1;
    return copy;
  }),
];

const times: readonly X509Recipe[] = [
  beginning("on a leap day", "280229000000Z", TAG.utcTime, {}),
  beginning("on a day that is none", "270229000000Z"),
  beginning("in a month that is none", "301301000000Z"),
  beginning("in an hour that is none", "300101240000Z"),
  beginning("in a second that is none", "300101000060Z"),
  beginning("without seconds", "3001010000Z"),
  beginning("with an offset", "300101000000+0000"),
  beginning("without a zone", "300101000000"),
  beginning("with a space", "3001010 0000Z"),
  beginning("in GeneralizedTime", "20300101000000Z", TAG.generalizedTime, {}),
  beginning("in GeneralizedTime with a fraction", "20300101000000.5Z", TAG.generalizedTime),
  beginning("in GeneralizedTime of two digits for the year", "300101000000Z", TAG.generalizedTime),
  beginning("in a text", "300101000000Z", TAG.utf8String),
];

const extensions: readonly X509Recipe[] = [
  rewritten("without extensions in their list", MALFORMED, () => ({
    extensions: encodeDer(contextTag(3, true), encodeDer(TAG.sequence)),
  })),
  rewritten("subject with an empty part", MALFORMED, () => ({
    subject: encodeDer(TAG.sequence, encodeDer(TAG.set)),
  })),
  extension("critical that is neither true nor false", USAGE, ([id, , value]) => [
    id!,
    encodeDer(TAG.boolean, Uint8Array.of(1)),
    value!,
  ]),
  extension("key usage with unused bits set", USAGE, valued(3, 2, 7, 0x88)),
  extension("key usage with nine unused bits", USAGE, valued(3, 2, 9, 0x80)),
  extension("key usage without bits", USAGE, valued(3, 1, 0), { reason: "x509.leaf-key-usage" }),
  extension("key usage with a byte after it", USAGE, valued(3, 2, 7, 0x80, 0)),
  extension("cA in BER", CONSTRAINTS, valued(0x30, 3, 1, 1, 1)),
  extension("basic constraints with a byte after them", CONSTRAINTS, valued(0x30, 0, 0)),
  extension("alternative names with the URI alone", NAMES, valued(0x30, uri.length, ...uri), {}),
  extension("alternative name of no kind", NAMES, valued(0x30, uri.length + 3, ...uri, 0x8f, 1, 0x61)),
  extension("IP address of five bytes", NAMES, valued(0x30, uri.length + 7, ...uri, 0x87, 5, 1, 2, 3, 4, 5)),
  extension("alternative names with a length that is too short", NAMES, valued(0x30, uri.length - 1, ...uri)),
  extension("alternative names with a length that is too long", NAMES, valued(0x30, uri.length + 1, ...uri)),
  extension(
    "alternative names with a length in more bytes than it needs",
    NAMES,
    valued(0x30, 0x81, uri.length, ...uri),
  ),
  extension("alternative names with a length of four bytes", NAMES, valued(0x30, 0x84, 0, 0, 0, uri.length, ...uri)),
  extension("path length below zero", CONSTRAINTS, valued(0x30, 3, 2, 1, 0xff)),
  extension("extension with an identifier that is not minimal", NAMES, ([, ...rest]) => [
    encodeDer(TAG.oid, Uint8Array.of(0x80, 0x55, 0x1d, NAMES)),
    ...rest,
  ]),
  extension("alternative names in a set", NAMES, valued(0x31, uri.length, ...uri)),
];

export const ENCODINGS: readonly X509Recipe[] = [...fields, ...times, ...extensions];
