/** Certificates for the tests of this folder, right and wrong ones; written by asn1js and WebCrypto, not by the code under test. */
import {
  Boolean as Asn1Boolean,
  Set as Asn1Set,
  type BaseBlock,
  BitString,
  Constructed,
  fromBER,
  GeneralizedTime,
  Integer,
  Null,
  ObjectIdentifier,
  OctetString,
  Primitive,
  PrintableString,
  Sequence,
  UTCTime,
  Utf8String,
} from "asn1js";
import { Certificate } from "./certificate.ts";
import { KEY_USAGES, type KeyUsage } from "./extensions.ts";

type Asn1 = BaseBlock;
type CryptoKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>;

interface CryptoKeyPair {
  readonly publicKey: CryptoKey;
  readonly privateKey: CryptoKey;
}

/** Kinds of keys that test certificates have. */
export type KeyType =
  | "RSA-1024"
  | "P-256"
  | "P-384"
  | "P-521"
  | "RSA-2048"
  | "RSA-3072"
  | "RSA-4096"
  | "RSA-PSS-2048"
  | "Ed25519";

/** A general name as kind and text, or octets for an address. */
export type TestName =
  | { uri: string | Uint8Array }
  | { dns: string }
  | { email: string }
  | { ip: Uint8Array }
  | { directory: Uint8Array }
  | { other: string };

export interface TestExtension {
  oid: string;
  critical?: boolean;
  value: Uint8Array;
}

/** How a certificate is signed: the hash, PSS or PKCS#1, and what the AlgorithmIdentifiers say when it is not the truth. */
export interface TestSigning {
  hash?: "SHA-1" | "SHA-256" | "SHA-384" | "SHA-512";
  pss?: boolean;
  saltLength?: number;
  innerAlgorithm?: Uint8Array;
  outerAlgorithm?: Uint8Array;
  /** Changes the signed bytes after signing. */
  tamper?: (certificate: Uint8Array) => void;
}

export interface IssueOptions extends TestSigning {
  /** Who signs; itself unless given. */
  issuer?: Issued | undefined;
  /** A common name, several as one name's parts, or a Name in DER. */
  subject?: string | readonly string[] | Uint8Array;
  /** A Name in DER in place of the issuer's subject. */
  issuerName?: Uint8Array;
  keyType?: KeyType;
  /** Reuses another certificate's key. */
  keyOf?: Issued | undefined;
  names?: readonly TestName[];
  namesCritical?: boolean;
  keyUsage?: readonly KeyUsage[] | null;
  keyUsageCritical?: boolean;
  extKeyUsage?: readonly string[] | null;
  ca?: boolean | null;
  pathLength?: number;
  permitted?: readonly TestName[];
  excluded?: readonly TestName[];
  notBefore?: Date;
  notAfter?: Date;
  /** Writes both times as GeneralizedTime. */
  generalizedTime?: boolean;
  serial?: Uint8Array;
  version?: number | null;
  extensions?: readonly TestExtension[];
  /** Writes the list of extensions although nothing is in it. */
  emptyExtensions?: boolean;
  spki?: Uint8Array;
}

/** A certificate with its key pair. */
export interface Issued {
  readonly certificate: Certificate;
  readonly der: Uint8Array;
  readonly keys: CryptoKeyPair;
  readonly keyType: KeyType;
  readonly subject: Uint8Array;
  readonly pkcs8: Uint8Array;
}

/** The moment the tests take for now: in the middle of every certificate's validity. */
export const NOW: number = Date.UTC(2030, 5, 1);
export const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
export const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";

const HASH_OID = {
  "SHA-1": "1.3.14.3.2.26",
  "SHA-256": "2.16.840.1.101.3.4.2.1",
  "SHA-384": "2.16.840.1.101.3.4.2.2",
  "SHA-512": "2.16.840.1.101.3.4.2.3",
};
const SALT = { "SHA-1": 20, "SHA-256": 32, "SHA-384": 48, "SHA-512": 64 };
const ECDSA_OID = {
  "SHA-1": "1.2.840.10045.4.1",
  "SHA-256": "1.2.840.10045.4.3.2",
  "SHA-384": "1.2.840.10045.4.3.3",
  "SHA-512": "1.2.840.10045.4.3.4",
};
const RSA_OID = {
  "SHA-1": "1.2.840.113549.1.1.5",
  "SHA-256": "1.2.840.113549.1.1.11",
  "SHA-384": "1.2.840.113549.1.1.12",
  "SHA-512": "1.2.840.113549.1.1.13",
};

const ascii = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));
const buffer = (octets: Uint8Array) => new Uint8Array(octets).buffer;
export const der = (value: Asn1): Uint8Array => new Uint8Array(value.toBER());
const raw = (octets: Uint8Array): Asn1 => fromBER(buffer(octets)).result as Asn1;
const oid = (value: string) => new ObjectIdentifier({ value });
const seq = (...value: Asn1[]) => new Sequence({ value });
const tagged = (number: number, value: Asn1[]): Asn1 =>
  new Constructed({ idBlock: { tagClass: 3, tagNumber: number }, value }) as Asn1;
const primitive = (number: number, octets: Uint8Array): Asn1 =>
  new Primitive({ idBlock: { tagClass: 3, tagNumber: number }, valueHex: buffer(octets) }) as Asn1;

/** An AlgorithmIdentifier; `null` gives NULL parameters, `undefined` none. */
export function algorithm(value: string, parameters?: Asn1 | null): Uint8Array {
  return der(seq(oid(value), ...(parameters === undefined ? [] : [parameters === null ? new Null() : parameters])));
}

/** id-RSASSA-PSS with these parameters. */
export function pssAlgorithm(hash: keyof typeof HASH_OID, maskHash: keyof typeof HASH_OID, salt: number): Uint8Array {
  const hashId = (name: keyof typeof HASH_OID) => seq(oid(HASH_OID[name]), new Null());
  const mask = seq(oid("1.2.840.113549.1.1.8"), hashId(maskHash));
  const parameters = [tagged(0, [hashId(hash)]), tagged(1, [mask]), tagged(2, [new Integer({ value: salt })])];
  return algorithm("1.2.840.113549.1.1.10", seq(...parameters));
}

/** A Name with one common name per part, each in its own relative name. */
export function commonNames(...parts: readonly string[]): Uint8Array {
  return name(...parts.map((part): [string, string] => ["2.5.4.3", part]));
}

/** A Name of UTF8String attributes (PrintableString where the type is written `p:OID`). */
export function name(...attributes: readonly (readonly [type: string, text: string])[]): Uint8Array {
  return der(
    seq(
      ...attributes.map(([type, value]) => {
        const text = type.startsWith("p:") ? new PrintableString({ value }) : new Utf8String({ value });
        return new Asn1Set({ value: [seq(oid(type.replace("p:", "")), text)] });
      }),
    ),
  );
}

export function generalName(value: TestName): Asn1 {
  if ("uri" in value) return primitive(6, typeof value.uri === "string" ? ascii(value.uri) : value.uri);
  if ("dns" in value) return primitive(2, ascii(value.dns));
  if ("email" in value) return primitive(1, ascii(value.email));
  if ("ip" in value) return primitive(7, value.ip);
  if ("directory" in value) return tagged(4, [raw(value.directory)]);
  return tagged(0, [oid("1.2.3.4"), tagged(0, [new Utf8String({ value: value.other })])]);
}

const rsaPairs = new Map<KeyType, CryptoKeyPair[]>();

/** A key pair; RSA pairs take long to make, so two of a kind take turns. */
async function keyPair(type: KeyType): Promise<CryptoKeyPair> {
  if (!type.startsWith("RSA")) return generate(type);
  const pairs = rsaPairs.get(type) ?? [];
  rsaPairs.set(type, pairs);
  const pair = pairs.length < 2 ? await generate(type) : pairs.shift()!;
  pairs.push(pair);
  return pair;
}

async function generate(type: KeyType): Promise<CryptoKeyPair> {
  const uses: ("sign" | "verify")[] = ["sign", "verify"];
  if (type.startsWith("P-")) return crypto.subtle.generateKey({ name: "ECDSA", namedCurve: type }, true, uses);
  if (type === "Ed25519") return (await crypto.subtle.generateKey("Ed25519", true, uses)) as CryptoKeyPair;
  const modulusLength = Number(type.split("-").at(-1));
  const publicExponent = Uint8Array.of(1, 0, 1);
  const parameters = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", modulusLength, publicExponent };
  return crypto.subtle.generateKey(parameters, true, uses);
}

function extension(id: string, critical: boolean, value: Uint8Array): Asn1 {
  const flag = critical ? [new Asn1Boolean({ value: true })] : [];
  return seq(oid(id), ...flag, new OctetString({ valueHex: buffer(value) }));
}

function subtrees(tag: number, names: readonly TestName[] | undefined): Asn1[] {
  return names === undefined
    ? []
    : [
        tagged(
          tag,
          names.map((value) => seq(generalName(value))),
        ),
      ];
}

function extensionsOf(options: IssueOptions): Asn1[] {
  const list: Asn1[] = [];
  const { keyUsage, extKeyUsage, names, permitted, excluded } = options;
  if (options.ca !== null && options.ca !== undefined) {
    const parts: Asn1[] = options.ca ? [new Asn1Boolean({ value: true })] : [];
    if (options.pathLength !== undefined) parts.push(new Integer({ value: options.pathLength }));
    list.push(extension("2.5.29.19", true, der(seq(...parts))));
  }
  if (keyUsage !== null && keyUsage !== undefined) {
    const bits = KEY_USAGES.map((usage) => keyUsage.includes(usage));
    const octets = new Uint8Array(bits.lastIndexOf(true) > 7 ? 2 : 1);
    bits.forEach((set, bit) => {
      if (set) octets[bit >> 3]! |= 0x80 >> (bit & 7);
    });
    const unusedBits = octets.length * 8 - 1 - bits.lastIndexOf(true);
    const value = new BitString({ valueHex: buffer(octets), unusedBits: Math.min(unusedBits, 7) });
    list.push(extension("2.5.29.15", options.keyUsageCritical ?? true, der(value)));
  }
  if (extKeyUsage !== null && extKeyUsage !== undefined) {
    list.push(extension("2.5.29.37", false, der(seq(...extKeyUsage.map(oid)))));
  }
  if (names !== undefined && names.length > 0) {
    list.push(extension("2.5.29.17", options.namesCritical ?? false, der(seq(...names.map(generalName)))));
  }
  if (permitted !== undefined || excluded !== undefined) {
    list.push(extension("2.5.29.30", true, der(seq(...subtrees(0, permitted), ...subtrees(1, excluded)))));
  }
  for (const { oid: id, critical, value } of options.extensions ?? [])
    list.push(extension(id, critical ?? false, value));
  return list;
}

function time(value: Date, generalized: boolean): Asn1 {
  const year = value.getUTCFullYear();
  return generalized || year >= 2050 || year < 1950
    ? (new GeneralizedTime({ valueDate: value }) as Asn1)
    : new UTCTime({ valueDate: value });
}

function signatureAlgorithm(type: KeyType, hash: keyof typeof HASH_OID, options: TestSigning): Uint8Array {
  if (type === "Ed25519") return algorithm("1.3.101.112");
  if (type.startsWith("P-")) return algorithm(ECDSA_OID[hash]);
  if (options.pss || type.startsWith("RSA-PSS")) {
    return pssAlgorithm(hash, hash, options.saltLength ?? SALT[hash]);
  }
  return algorithm(RSA_OID[hash], null);
}

async function sign(
  issuer: { keys: CryptoKeyPair; keyType: KeyType },
  hash: keyof typeof HASH_OID,
  data: Uint8Array,
  options: TestSigning,
): Promise<Uint8Array> {
  const { keyType } = issuer;
  let key = issuer.keys.privateKey;
  const octets = data as Uint8Array<ArrayBuffer>;
  if (keyType === "Ed25519") return new Uint8Array(await crypto.subtle.sign("Ed25519", key, octets));
  if (keyType.startsWith("P-")) {
    const p1363 = new Uint8Array(await crypto.subtle.sign({ name: "ECDSA", hash }, key, octets));
    const half = p1363.length / 2;
    const integer = (part: Uint8Array) =>
      Integer.fromBigInt(BigInt(`0x${Array.from(part, (octet) => octet.toString(16).padStart(2, "0")).join("")}`));
    return der(seq(integer(p1363.subarray(0, half)), integer(p1363.subarray(half))));
  }
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", key);
  const pss = options.pss || keyType.startsWith("RSA-PSS");
  key = await crypto.subtle.importKey("pkcs8", pkcs8, { name: pss ? "RSA-PSS" : "RSASSA-PKCS1-v1_5", hash }, false, [
    "sign",
  ]);
  const saltLength = options.saltLength ?? SALT[hash];
  const parameters = pss ? { name: "RSA-PSS", saltLength } : { name: "RSASSA-PKCS1-v1_5" };
  return new Uint8Array(await crypto.subtle.sign(parameters, key, octets));
}

/** Issues one certificate; without options a self-signed one with no extension. */
export async function issue(options: IssueOptions = {}): Promise<Issued> {
  const keyType = options.keyType ?? options.keyOf?.keyType ?? "P-256";
  const keys = options.keyOf?.keys ?? (await keyPair(keyType));
  const subject =
    options.subject instanceof Uint8Array
      ? options.subject
      : commonNames(...(typeof options.subject === "string" ? [options.subject] : (options.subject ?? ["test"])));
  const signer = options.issuer ?? { keys, keyType, subject };
  const hash =
    options.hash ?? (signer.keyType === "P-384" ? "SHA-384" : signer.keyType === "P-521" ? "SHA-512" : "SHA-256");
  const identifier = signatureAlgorithm(signer.keyType, hash, options);
  const generalized = options.generalizedTime === true;
  const extensions = extensionsOf(options);
  let spki = options.spki ?? new Uint8Array(await crypto.subtle.exportKey("spki", keys.publicKey));
  if (keyType.startsWith("RSA-PSS") && options.spki === undefined) {
    const [, key] = (raw(spki) as Sequence).valueBlock.value;
    spki = der(seq(raw(algorithm("1.2.840.113549.1.1.10")), key as Asn1));
  }
  const version = options.version === undefined ? 2 : options.version;
  const tbs = der(
    seq(
      ...(version === null ? [] : [tagged(0, [new Integer({ value: version })])]),
      new Integer({ valueHex: buffer(options.serial ?? positive(crypto.getRandomValues(new Uint8Array(16)))) }),
      raw(options.innerAlgorithm ?? identifier),
      raw(options.issuerName ?? signer.subject),
      seq(
        time(options.notBefore ?? new Date(NOW - 86_400_000), generalized),
        time(options.notAfter ?? new Date(NOW + 86_400_000), generalized),
      ),
      raw(subject),
      raw(spki),
      ...(extensions.length === 0 && options.emptyExtensions !== true ? [] : [tagged(3, [seq(...extensions)])]),
    ),
  );
  const signature = await sign(signer, hash, tbs, options);
  const bits = new BitString({ valueHex: buffer(signature), unusedBits: 0 });
  const octets = der(seq(raw(tbs), raw(options.outerAlgorithm ?? identifier), bits));
  options.tamper?.(octets);
  const pkcs8 = new Uint8Array(await crypto.subtle.exportKey("pkcs8", keys.privateKey));
  return {
    get certificate() {
      return Certificate.parse(octets);
    },
    der: octets,
    keys,
    keyType,
    subject,
    pkcs8,
  };
}

function positive(octets: Uint8Array): Uint8Array {
  octets[0] = (octets[0]! & 0x7f) | 0x40;
  return octets;
}

/** A CA certificate as SPIRE makes them. */
export function issueCa(options: IssueOptions = {}): Promise<Issued> {
  return issue({ subject: "authority", ca: true, keyUsage: ["keyCertSign", "cRLSign"], ...options });
}

/** A workload's leaf as SPIRE makes them; `id` is its one URI name. */
export function issueLeaf(issuer: Issued, options: IssueOptions & { id?: string } = {}): Promise<Issued> {
  const { id = "spiffe://example.org/web", ...rest } = options;
  return issue({
    issuer,
    subject: "leaf",
    ca: false,
    keyUsage: ["digitalSignature", "keyAgreement"],
    extKeyUsage: [SERVER_AUTH, CLIENT_AUTH],
    names: [{ uri: id }],
    ...rest,
  });
}
