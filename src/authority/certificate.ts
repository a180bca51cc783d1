/** Writes X.509 v3 certificates: everything RFC 5280 and the X509-SVID standard need, and, for tests, what they forbid. */
import * as asn1 from "./asn1.ts";
import { type HashName, type KeyPair, signatureAlgorithm, signBytes, unsigned } from "./keys.ts";

/** Key usage bits in the order of RFC 5280 §4.2.1.3. */
const KEY_USAGES = [
  "digitalSignature",
  "contentCommitment",
  "keyEncipherment",
  "dataEncipherment",
  "keyAgreement",
  "keyCertSign",
  "cRLSign",
  "encipherOnly",
  "decipherOnly",
] as const;

export type KeyUsage = (typeof KEY_USAGES)[number];

const EXT_KEY_USAGES = {
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
  codeSigning: "1.3.6.1.5.5.7.3.3",
  any: "2.5.29.37.0",
} as const;

export type ExtKeyUsage = keyof typeof EXT_KEY_USAGES;

/** One extension; `value` is the DER inside the OCTET STRING. */
export interface Extension {
  readonly oid: string;
  readonly critical?: boolean;
  readonly value: Uint8Array;
}

/** Names of one subjectAltName extension, or of one side of a name constraint. */
export interface GeneralNames {
  readonly uri?: readonly string[];
  readonly dns?: readonly string[];
  readonly email?: readonly string[];
  /** Content octets: 4 or 16 for an address, 8 or 32 for an address with mask. */
  readonly ip?: readonly Uint8Array[];
  /** Whole names, DER. */
  readonly directory?: readonly Uint8Array[];
}

/** What a certificate says, apart from its signature. */
export interface CertificateTemplate {
  /** Content octets of the serial number; default 16 random ones. */
  readonly serial?: Uint8Array;
  /** Whole names, DER; see {@link name}. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly spki: Uint8Array;
  readonly extensions: readonly Extension[];
}

/** How the finished certificate is signed, or spoiled. */
export interface SigningOptions {
  readonly hash?: HashName;
  /** AlgorithmIdentifier written outside, when it shall differ from the signed one; DER. */
  readonly outerAlgorithm?: Uint8Array;
}

const ATTRIBUTES = { C: "2.5.4.6", O: "2.5.4.10", OU: "2.5.4.11", CN: "2.5.4.3", serialNumber: "2.5.4.5" } as const;

/** Attributes of a distinguished name, each in an RDN of its own, in the order given. */
export type NameAttributes = Readonly<Partial<Record<keyof typeof ATTRIBUTES, string>>>;

/** A distinguished name, DER. No attribute gives the empty name, an empty SEQUENCE without an RDN. */
export function name(attributes: NameAttributes): Uint8Array {
  const rdns: Uint8Array[] = [];
  for (const [key, value] of Object.entries(attributes) as [keyof typeof ATTRIBUTES, string][]) {
    const printable = key === "C" || key === "serialNumber";
    const text = printable ? asn1.printableString(value) : asn1.utf8String(value);
    rdns.push(asn1.set(asn1.sequence(asn1.oid(ATTRIBUTES[key]), text)));
  }
  return asn1.sequence(...rdns);
}

export function keyUsage(usages: readonly KeyUsage[], critical = true): Extension {
  const bits = new Uint8Array(2);
  let last = -1;
  for (const usage of usages) {
    const bit = KEY_USAGES.indexOf(usage);
    bits[bit >> 3] = (bits[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
    last = Math.max(last, bit);
  }
  const length = (last >> 3) + 1;
  const value = asn1.bitString(bits.subarray(0, length), last < 0 ? 0 : 7 - (last & 7));
  return { oid: "2.5.29.15", critical, value };
}

/** Names of {@link ExtKeyUsage} or dotted object identifiers. */
export function extKeyUsage(purposes: readonly string[], critical = false): Extension {
  const oids = purposes.map((purpose) => asn1.oid(EXT_KEY_USAGES[purpose as ExtKeyUsage] ?? purpose));
  return { oid: "2.5.29.37", critical, value: asn1.sequence(...oids) };
}

export function basicConstraints(ca: boolean, pathLength?: number): Extension {
  const parts = ca ? [asn1.boolean(true)] : [];
  if (pathLength !== undefined) parts.push(asn1.integer(pathLength));
  return { oid: "2.5.29.19", critical: true, value: asn1.sequence(...parts) };
}

export function subjectAltName(names: GeneralNames, critical: boolean): Extension {
  return { oid: "2.5.29.17", critical, value: asn1.sequence(...generalNames(names)) };
}

export function nameConstraints(permitted: GeneralNames, excluded: GeneralNames): Extension {
  const subtrees = (tag: number, names: GeneralNames) => {
    const list = generalNames(names).map((base) => asn1.sequence(base));
    return list.length === 0 ? [] : [asn1.explicit(tag, ...list)];
  };
  const value = asn1.sequence(...subtrees(0, permitted), ...subtrees(1, excluded));
  return { oid: "2.5.29.30", critical: true, value };
}

/** A key identifier: the first 160 bits of SHA-256 over the SubjectPublicKeyInfo (RFC 7093 §2, method 4, cut). */
export async function keyIdentifier(spki: Uint8Array): Promise<Uint8Array> {
  const digest = await crypto.subtle.digest("SHA-256", spki as Uint8Array<ArrayBuffer>);
  return new Uint8Array(digest).subarray(0, 20);
}

export function subjectKeyIdentifier(id: Uint8Array): Extension {
  return { oid: "2.5.29.14", value: asn1.octetString(id) };
}

export function authorityKeyIdentifier(id: Uint8Array): Extension {
  return { oid: "2.5.29.35", value: asn1.sequence(asn1.implicit(0, id)) };
}

/** Content octets of a random positive serial number of 128 bits. */
export function randomSerial(): Uint8Array {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  // the top bit is cleared to stay positive, the next is set to have the full length
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return unsigned(bytes);
}

/** Writes and signs a certificate; returns its DER. */
export async function signCertificate(
  template: CertificateTemplate,
  signer: KeyPair,
  options: SigningOptions = {},
): Promise<Uint8Array> {
  const algorithm = signatureAlgorithm(signer.type, options.hash);
  const extensions = template.extensions.map((extension) =>
    asn1.sequence(
      asn1.oid(extension.oid),
      ...(extension.critical ? [asn1.boolean(true)] : []),
      asn1.octetString(extension.value),
    ),
  );
  const tbs = asn1.sequence(
    asn1.explicit(0, asn1.integer(2)),
    asn1.integerBytes(template.serial ?? randomSerial()),
    algorithm,
    template.issuer,
    asn1.sequence(asn1.time(template.notBefore), asn1.time(template.notAfter)),
    template.subject,
    template.spki,
    ...(extensions.length > 0 ? [asn1.explicit(3, asn1.sequence(...extensions))] : []),
  );
  const signature = await signBytes(signer, tbs, options.hash);
  return asn1.sequence(tbs, options.outerAlgorithm ?? algorithm, asn1.bitString(signature));
}

function generalNames(names: GeneralNames): Uint8Array[] {
  return [
    ...(names.email ?? []).map((value) => asn1.implicit(1, value)),
    ...(names.dns ?? []).map((value) => asn1.implicit(2, value)),
    ...(names.directory ?? []).map((value) => asn1.explicit(4, value)),
    ...(names.uri ?? []).map((value) => asn1.implicit(6, value)),
    ...(names.ip ?? []).map((value) => asn1.implicit(7, value)),
  ];
}
