/** A certificate (RFC 5280 §4.1) as an immutable view over its DER. */
import { accept, LIMITS, refuse, SpiffeError, unwrap, type Verdict } from "../base/index.ts";
import { type SignatureAlgorithm, x509SignatureAlgorithm } from "../crypto/algorithms.ts";
import { binaryString, equalOctets, octetsOf, toHex } from "../crypto/octets.ts";
import { PublicKey } from "../crypto/public-key.ts";
import { contextTag, type DerReader, decodeDer, derFault, TAG } from "../encoding/der.ts";
import { encodePem } from "../encoding/pem.ts";
import { inspectAs } from "../id/inspect.ts";
import { authorityKey, decodedAuthorityKey } from "./authority-keys.ts";
import { type Extensions, type KeyUsage, noExtensions, readExtensions } from "./extensions.ts";
import type { GeneralName } from "./general-name.ts";
import { type DistinguishedName, readName } from "./name.ts";

/** What decoding finds; everything points into the bytes that were decoded. */
export interface Fields {
  readonly der: Uint8Array;
  readonly tbs: Uint8Array;
  readonly outerAlgorithm: Uint8Array;
  readonly innerAlgorithm: Uint8Array;
  /** What the outer one means. */
  readonly signatureAlgorithm: SignatureAlgorithm | undefined;
  readonly signature: Uint8Array;
  readonly version: 1 | 2 | 3;
  readonly serialNumber: Uint8Array;
  readonly issuer: DistinguishedName;
  readonly subject: DistinguishedName;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly spki: Uint8Array;
  readonly extensions: Extensions;
}

const MAX_SERIAL_OCTETS = 20;

/** What a certificate was decoded to, for verification: nobody else holds these bytes. */
export let fieldsOf: (certificate: Certificate) => Fields;
/** Whether a value is a certificate that was parsed, and not only looks like one. */
export let isCertificate: (value: unknown) => value is Certificate;
/** The key of an authority's certificate, if that key was decoded lately, for this certificate or another one; nothing is decoded. */
export let decodedKeyOf: (certificate: Certificate) => PublicKey | undefined;
/** A text that two certificates share exactly when their bytes are the same. */
export let nameOfCertificate: (certificate: Certificate) => string;

/** What a constructor gets from this module alone. */
const MADE: unique symbol = Symbol("made after its checks");

/**
 * A parsed certificate. Parsing checks the shape; it says nothing about trust. It never changes: the bytes and lists that it
 * gives are copies, new ones each time.
 *
 * @example
 * ```ts
 * import { Certificate } from "spiffe-edge";
 * const verdict = Certificate.safeParse(new Uint8Array([0x30, 0x00]));
 * console.assert(!verdict.ok && verdict.reason === "x509.malformed");
 * ```
 */
export class Certificate {
  readonly #fields: Fields;
  #publicKey: Verdict<PublicKey> | undefined;
  #serialNumber: string | undefined;
  #name: string | undefined;

  private constructor(made: typeof MADE, fields: Fields) {
    // a constructor is public where types are gone, and bytes with other fields beside them would be taken for parsed
    if (made !== MADE)
      throw new SpiffeError("ERR_SPIFFE_USAGE", "Expected a certificate to come from Certificate.parse");
    this.#fields = fields;
    Object.freeze(this);
  }

  static {
    isCertificate = (value): value is Certificate => typeof value === "object" && value !== null && #fields in value;
    const checked = (certificate: Certificate): Certificate => {
      if (isCertificate(certificate)) return certificate;
      throw new SpiffeError("ERR_SPIFFE_USAGE", "Expected a Certificate, got something else");
    };
    fieldsOf = (certificate) => checked(certificate).#fields;
    decodedKeyOf = (certificate) => {
      const { extensions, spki } = checked(certificate).#fields;
      if (extensions.ca) certificate.#publicKey ??= decodedAuthorityKey(spki);
      return certificate.#publicKey?.ok ? certificate.#publicKey.value : undefined;
    };
    nameOfCertificate = (certificate) => (checked(certificate).#name ??= binaryString(certificate.#fields.der));
    inspectAs(Certificate.prototype, (self) => `Certificate(${JSON.stringify(self)})`);
  }

  /**
   * Parses one certificate.
   *
   * @param der exactly one certificate in DER, at most 64 KiB; the bytes are copied
   * @throws SpiffeError `ERR_SPIFFE_X509_SVID` with reason `x509.malformed`, `x509.too-large`, `x509.algorithm-mismatch`
   */
  static parse(der: Uint8Array): Certificate {
    return unwrap(Certificate.safeParse(der), "ERR_SPIFFE_X509_SVID");
  }

  /** {@link parse} as a verdict. */
  static safeParse(der: Uint8Array): Verdict<Certificate> {
    const given = octetsOf(der);
    if (given === undefined || given.length === 0) return refuse("x509.malformed", "Expected a certificate's bytes");
    if (given.length > LIMITS.certificate) {
      return refuse(
        "x509.too-large",
        `Expected a certificate of at most ${LIMITS.certificate} bytes, got ${given.length}`,
      );
    }
    const fields = decode(new Uint8Array(given));
    if (!fields.ok) return fields;
    if (!equalOctets(fields.value.outerAlgorithm, fields.value.innerAlgorithm)) {
      const message = "Expected one signature algorithm, but the signed part names another than the certificate (S-15)";
      return refuse("x509.algorithm-mismatch", message);
    }
    return accept(new Certificate(MADE, fields.value));
  }

  /** The whole certificate in DER. */
  get der(): Uint8Array {
    return new Uint8Array(this.#fields.der);
  }

  /** The version: 3 for every certificate with extensions. */
  get version(): 1 | 2 | 3 {
    return this.#fields.version;
  }

  /** The serial number in lower-case hexadecimal, without leading zeros of the encoding. */
  get serialNumber(): string {
    return (this.#serialNumber ??= toHex(this.#fields.serialNumber));
  }

  get issuer(): DistinguishedName {
    return this.#fields.issuer;
  }

  get subject(): DistinguishedName {
    return this.#fields.subject;
  }

  /** The first moment of validity. */
  get notBefore(): Date {
    return new Date(this.#fields.notBefore);
  }

  /** The last moment of validity. */
  get notAfter(): Date {
    return new Date(this.#fields.notAfter);
  }

  /** Whether a moment, in ms since the epoch, is before, in or after the validity; both ends belong to it. */
  validityAt(now: number): "before" | "within" | "after" {
    // a clock that gives no number is refused like an expired certificate
    if (!(now <= this.#fields.notAfter)) return "after";
    return now < this.#fields.notBefore ? "before" : "within";
  }

  /**
   * The public key.
   *
   * @throws SpiffeError `ERR_SPIFFE_KEY` for a key that is not taken (S-15)
   */
  get publicKey(): PublicKey {
    return unwrap(this.safePublicKey(), "ERR_SPIFFE_KEY");
  }

  /** The public key as a verdict; a key of an unknown kind does not make the certificate malformed. */
  safePublicKey(): Verdict<PublicKey> {
    const { spki, extensions } = this.#fields;
    return (this.#publicKey ??= extensions.ca ? authorityKey(spki) : Object.freeze(PublicKey.fromSpki(spki)));
  }

  /** The SubjectPublicKeyInfo in DER. */
  get spki(): Uint8Array {
    return new Uint8Array(this.#fields.spki);
  }

  /** The signed part in DER. */
  get tbs(): Uint8Array {
    return new Uint8Array(this.#fields.tbs);
  }

  /** The signature's octets. */
  get signature(): Uint8Array {
    return new Uint8Array(this.#fields.signature);
  }

  /** How it is signed; `undefined` when the algorithm or its parameters are not on the list of S-15. */
  get signatureAlgorithm(): SignatureAlgorithm | undefined {
    return this.#fields.signatureAlgorithm;
  }

  /** The extensions that decisions depend on, decoded anew. */
  get extensions(): Readonly<Extensions> {
    return unwrap(decode(this.der), "ERR_SPIFFE_INTERNAL").extensions;
  }

  /** Subject alternative names of all kinds. */
  get names(): readonly GeneralName[] {
    return this.extensions.names ?? [];
  }

  /** URI names, as they stand in the certificate. */
  get uriSans(): readonly string[] {
    return textsOf(this.#fields, "uri");
  }

  /** DNS names, as they stand in the certificate. */
  get dnsSans(): readonly string[] {
    return textsOf(this.#fields, "dns");
  }

  /** Whether basic constraints say `cA`. */
  get isCa(): boolean {
    return this.#fields.extensions.ca;
  }

  /** The path length constraint of a CA. */
  get pathLength(): number | undefined {
    return this.#fields.extensions.pathLength;
  }

  /** What the key may be used for; `undefined` without the extension. */
  get keyUsage(): ReadonlySet<KeyUsage> | undefined {
    const { keyUsage } = this.#fields.extensions;
    return keyUsage && new Set(keyUsage);
  }

  /** Whether subject and issuer are the same name (RFC 5280 §6.1). */
  get isSelfIssued(): boolean {
    return this.issuer.equals(this.subject);
  }

  /** Whether both are the same certificate, byte for byte. */
  equals(other: Certificate): boolean {
    return this === other || equalOctets(this.#fields.der, fieldsOf(other).der);
  }

  /** The certificate in PEM. */
  toPem(): string {
    return encodePem("CERTIFICATE", this.#fields.der);
  }

  /** What identifies the certificate for people; no bytes. */
  toJSON(): { subject: string; issuer: string; serialNumber: string; uriSans: readonly string[]; notAfter: Date } {
    const { subject, issuer, serialNumber, uriSans, notAfter } = this;
    return { subject: subject.toString(), issuer: issuer.toString(), serialNumber, uriSans, notAfter };
  }
}

function textsOf({ extensions }: Fields, kind: GeneralName["kind"]): string[] {
  return (extensions.names ?? []).filter((name) => name.kind === kind).map((name) => binaryString(name.value));
}

function decode(der: Uint8Array): Verdict<Fields> {
  return decodeDer(der, (reader) => readCertificate(reader, der), "x509.malformed");
}

function readCertificate(reader: DerReader, der: Uint8Array): Fields {
  const certificate = reader.sequence();
  const tbs = certificate.sequence();
  const tbsDer = certificate.last;
  const outerAlgorithm = certificate.element(TAG.sequence);
  const signature = certificate.bitOctets();
  certificate.end();

  const version = readVersion(tbs);
  const serialNumber = tbs.unsigned();
  if (serialNumber.length > MAX_SERIAL_OCTETS) derFault(`a serial number exceeds ${MAX_SERIAL_OCTETS} bytes`);
  const innerAlgorithm = tbs.element(TAG.sequence);
  const issuer = readName(tbs);
  const validity = tbs.sequence();
  const notBefore = validity.time();
  const notAfter = validity.time();
  validity.end();
  const subject = readName(tbs);
  const spki = tbs.element(TAG.sequence);
  if (version > 1) {
    // issuerUniqueID and subjectUniqueID mean nothing any more (§4.1.2.8)
    for (const unique of [contextTag(1, false), contextTag(2, false)]) if (tbs.next === unique) tbs.bitString(unique);
  }
  let extensions = noExtensions();
  if (version === 3 && !tbs.atEnd) {
    const explicit = tbs.enter(contextTag(3, true));
    extensions = readExtensions(explicit.sequence());
    explicit.end();
  }
  tbs.end();
  return {
    der,
    tbs: tbsDer,
    outerAlgorithm,
    innerAlgorithm,
    signatureAlgorithm: x509SignatureAlgorithm(outerAlgorithm),
    signature,
    version,
    serialNumber,
    issuer,
    subject,
    notBefore,
    notAfter,
    spki,
    extensions,
  };
}

function readVersion(tbs: DerReader): 1 | 2 | 3 {
  if (tbs.next !== contextTag(0, true)) return 1;
  const explicit = tbs.enter(contextTag(0, true));
  const version = explicit.smallInteger();
  explicit.end();
  return version === 1 ? 2 : version === 2 ? 3 : derFault("the version is neither 2 nor 3");
}
