/** Certificates for tests: right ones, and every kind of wrong one, each wrong in one thing. */
import { type OptionNames, onlyKnown, plainOptions } from "../base/check-options.ts";
import { systemClock } from "../base/index.ts";
import { encodePem } from "../encoding/index.ts";
import { TrustDomain } from "../id/index.ts";
import { hideSecret } from "../id/inspect.ts";
import { X509Bundle } from "../x509/index.ts";
import { concat } from "./asn1.ts";
import {
  authorityKeyIdentifier,
  basicConstraints,
  type Extension,
  type ExtKeyUsage,
  extKeyUsage,
  type GeneralNames,
  type KeyUsage,
  keyIdentifier,
  keyUsage,
  type NameAttributes,
  name,
  nameConstraints,
  signCertificate,
  subjectAltName,
  subjectKeyIdentifier,
} from "./certificate.ts";
import { exportPkcs8, generateKeys, type HashName, type KeyPair, type KeyType, signatureAlgorithm } from "./keys.ts";

const HOUR_MS = 3_600_000;

/** What a test wants a certificate to say. Everything left out is as a valid X509-SVID has it; `null` leaves a part out. */
export interface TestCertificateOptions {
  /** The SPIFFE ID; the only URI name unless `uriSans` is given. Not checked. */
  readonly id?: string;
  /** All URI names, in place of `id`; `[]` for none. */
  readonly uriSans?: readonly string[];
  readonly dnsSans?: readonly string[];
  readonly emailSans?: readonly string[];
  /** Addresses, 4 or 16 bytes each. */
  readonly ipSans?: readonly Uint8Array[];
  /** Default: critical when the subject is empty. */
  readonly sanCritical?: boolean;
  /** Default `{}`, the empty name, for leaves; a name of its own for a CA. */
  readonly subject?: NameAttributes;
  readonly keyType?: KeyType;
  /** Reuses a key pair, in place of a fresh one of `keyType`. */
  readonly keys?: KeyPair;
  /** Default one hour ago. */
  readonly notBefore?: Date;
  /** Default one hour from now, ten for a CA. */
  readonly notAfter?: Date;
  readonly keyUsage?: readonly KeyUsage[] | null;
  readonly keyUsageCritical?: boolean;
  /** Names or dotted object identifiers. */
  readonly extKeyUsage?: readonly (ExtKeyUsage | (string & {}))[] | null;
  readonly extKeyUsageCritical?: boolean;
  /** `cA` of the basic constraints; `null` leaves the extension out. */
  readonly ca?: boolean | null;
  readonly pathLength?: number;
  readonly nameConstraints?: { readonly permitted?: GeneralNames; readonly excluded?: GeneralNames };
  /** More extensions; one with the identifier of another replaces it. */
  readonly extensions?: readonly Extension[];
  /** Content octets of the serial number. */
  readonly serial?: Uint8Array;
  /** Hash of the signature; default the one that fits the signer's key. */
  readonly hash?: HashName;
  /**
   * Spoils the finished certificate: `signature` flips one bit of the signature, `algorithm` names another algorithm
   * outside than inside, `trailing` appends a byte; a function gets the DER and returns other DER.
   */
  readonly tamper?: "signature" | "algorithm" | "trailing" | ((der: Uint8Array) => Uint8Array);
}

const KNOWN: OptionNames<TestCertificateOptions> = {
  id: true,
  uriSans: true,
  dnsSans: true,
  emailSans: true,
  ipSans: true,
  sanCritical: true,
  subject: true,
  keyType: true,
  keys: true,
  notBefore: true,
  notAfter: true,
  keyUsage: true,
  keyUsageCritical: true,
  extKeyUsage: true,
  extKeyUsageCritical: true,
  ca: true,
  pathLength: true,
  nameConstraints: true,
  extensions: true,
  serial: true,
  hash: true,
  tamper: true,
};
const KNOWN_OF_CA: OptionNames<TestCertificateOptions & { trustDomain?: string }> = { ...KNOWN, trustDomain: true };

/** A certificate with its key and the chain up to, not including, the root. */
export interface TestSvid {
  /** Leaf first, DER. */
  readonly certificatesDer: readonly Uint8Array[];
  /** The same, concatenated, as the Workload API carries it. */
  readonly chainDer: Uint8Array;
  readonly privateKeyPkcs8: Uint8Array;
  /** Leaf first. */
  readonly certPem: string;
  readonly keyPem: string;
  readonly keys: KeyPair;
}

interface Issuer {
  readonly subject: Uint8Array;
  readonly keyId: Uint8Array;
  readonly keys: KeyPair;
}

/**
 * A certificate authority for tests. By default what it issues is a valid X509-SVID; options make it wrong in one thing.
 *
 * @example
 * ```ts
 * import { TestCa } from "spiffe-edge/testing";
 * import { X509Svid } from "spiffe-edge";
 * const ca = await TestCa.create({ trustDomain: "example.org" });
 * const web = await ca.issue({ id: "spiffe://example.org/web" });
 * const svid = await X509Svid.parse(web.chainDer, web.privateKeyPkcs8);
 * console.assert(svid.id.uri === "spiffe://example.org/web");
 * ```
 */
export class TestCa {
  readonly trustDomain: TrustDomain;
  /** This CA's own certificate. */
  readonly certificateDer: Uint8Array;
  readonly certPem: string;
  /** The self-signed certificate at the top. */
  readonly rootDer: Uint8Array;
  readonly keys: KeyPair;
  /** What a leaf of this CA presents after itself: this CA and those above it, without the root. */
  readonly intermediatesDer: readonly Uint8Array[];
  readonly #issuer: Issuer;

  private constructor(
    trustDomain: TrustDomain,
    certificateDer: Uint8Array,
    issuer: Issuer,
    above: { rootDer: Uint8Array; intermediatesDer: readonly Uint8Array[] } | undefined,
  ) {
    this.trustDomain = trustDomain;
    this.certificateDer = certificateDer;
    this.certPem = encodePem("CERTIFICATE", certificateDer);
    this.rootDer = above?.rootDer ?? certificateDer;
    this.intermediatesDer = above === undefined ? [] : [certificateDer, ...above.intermediatesDer];
    this.keys = issuer.keys;
    this.#issuer = issuer;
  }

  /** A self-signed root. The trust domain is `example.org` unless said. */
  static async create(options: TestCertificateOptions & { readonly trustDomain?: string } = {}): Promise<TestCa> {
    onlyKnown("TestCa.create", options, KNOWN_OF_CA);
    const trustDomain = TrustDomain.parse(options.trustDomain ?? "example.org");
    const { der, issuer } = await makeCa(trustDomain, options, undefined);
    return new TestCa(trustDomain, der, issuer, undefined);
  }

  /** Issues a leaf. */
  async issue(options: TestCertificateOptions = {}): Promise<TestSvid> {
    onlyKnown("TestCa.issue", options, KNOWN);
    const keys = options.keys ?? (await generateKeys(options.keyType ?? "ec-p256", true));
    const leaf = await makeCertificate(
      {
        subject: {},
        keyUsage: ["digitalSignature"],
        extKeyUsage: ["serverAuth", "clientAuth"],
        ca: false,
        ...plainOptions(options, KNOWN),
      },
      keys,
      name(options.subject ?? {}),
      this.#issuer,
    );
    const certificatesDer = [leaf, ...this.intermediatesDer];
    const privateKeyPkcs8 = await exportPkcs8(keys);
    const svid: TestSvid = {
      certificatesDer,
      chainDer: concat(certificatesDer),
      privateKeyPkcs8,
      certPem: certificatesDer.map((der) => encodePem("CERTIFICATE", der)).join(""),
      keyPem: encodePem("PRIVATE KEY", privateKeyPkcs8),
      keys,
    };
    return hideSecret(svid, `TestSvid(${options.id ?? "without ID"}, with its private key)`);
  }

  /** Issues a subordinate CA, whose leaves present its certificate after their own. */
  async intermediate(options: TestCertificateOptions & { readonly trustDomain?: string } = {}): Promise<TestCa> {
    onlyKnown("TestCa.intermediate", options, KNOWN_OF_CA);
    const trustDomain = options.trustDomain === undefined ? this.trustDomain : TrustDomain.parse(options.trustDomain);
    const { der, issuer } = await makeCa(trustDomain, options, this.#issuer);
    return new TestCa(trustDomain, der, issuer, this);
  }

  /** Issues a certificate for the subject and key of another CA: its leaves then lead here too. */
  async crossSign(other: TestCa, options: TestCertificateOptions = {}): Promise<TestCa> {
    onlyKnown("TestCa.crossSign", options, KNOWN);
    const { der, issuer } = await makeCa(
      other.trustDomain,
      { ...plainOptions(options, KNOWN), keys: other.keys },
      this.#issuer,
      other.#issuer.subject,
    );
    return new TestCa(other.trustDomain, der, issuer, this);
  }

  /** The bundle of the trust domain: its root. */
  x509Bundle(): X509Bundle {
    return X509Bundle.fromDer(this.trustDomain, this.rootDer);
  }

  /** A bundle that holds this CA's own certificate, also when it is not a root. */
  asAnchor(): X509Bundle {
    return X509Bundle.fromDer(this.trustDomain, this.certificateDer);
  }
}

async function makeCa(
  trustDomain: TrustDomain,
  options: TestCertificateOptions,
  parent: Issuer | undefined,
  subject: Uint8Array = name(options.subject ?? { O: "Test CA", serialNumber: crypto.randomUUID() }),
): Promise<{ der: Uint8Array; issuer: Issuer }> {
  const keys = options.keys ?? (await generateKeys(options.keyType ?? "ec-p256", true));
  const issuer = { subject, keyId: await keyIdentifier(keys.spki), keys };
  const complete: TestCertificateOptions = {
    id: trustDomain.id.uri,
    keyUsage: ["keyCertSign", "cRLSign"],
    extKeyUsage: null,
    ca: true,
    notAfter: new Date(systemClock.now() + 10 * HOUR_MS),
    sanCritical: false,
    ...plainOptions(options, KNOWN),
  };
  return { der: await makeCertificate(complete, keys, subject, parent ?? issuer), issuer };
}

async function makeCertificate(
  options: TestCertificateOptions,
  keys: KeyPair,
  subject: Uint8Array,
  issuer: Issuer,
): Promise<Uint8Array> {
  const der = await signCertificate(
    {
      ...(options.serial === undefined ? {} : { serial: options.serial }),
      issuer: issuer.subject,
      subject,
      notBefore: options.notBefore ?? new Date(systemClock.now() - HOUR_MS),
      notAfter: options.notAfter ?? new Date(systemClock.now() + HOUR_MS),
      spki: keys.spki,
      extensions: await extensionsOf(options, keys, subject, issuer),
    },
    issuer.keys,
    {
      ...(options.hash === undefined ? {} : { hash: options.hash }),
      ...(options.tamper === "algorithm" ? { outerAlgorithm: otherAlgorithm(issuer.keys.type) } : {}),
    },
  );
  if (typeof options.tamper === "function") return options.tamper(der);
  if (options.tamper === "trailing") return concat([der, new Uint8Array(1)]);
  // the last byte belongs to the signature, whatever its kind
  if (options.tamper === "signature") der[der.length - 1] = (der[der.length - 1] ?? 0) ^ 1;
  return der;
}

async function extensionsOf(
  options: TestCertificateOptions,
  keys: KeyPair,
  subject: Uint8Array,
  issuer: Issuer,
): Promise<Extension[]> {
  const list: Extension[] = [];
  if (options.keyUsage != null) list.push(keyUsage(options.keyUsage, options.keyUsageCritical ?? true));
  if (options.extKeyUsage != null) list.push(extKeyUsage(options.extKeyUsage, options.extKeyUsageCritical ?? false));
  if (options.ca != null) list.push(basicConstraints(options.ca, options.pathLength));
  list.push(subjectKeyIdentifier(await keyIdentifier(keys.spki)));
  if (issuer.keys !== keys) list.push(authorityKeyIdentifier(issuer.keyId));
  const names: GeneralNames = {
    uri: options.uriSans ?? (options.id === undefined ? [] : [options.id]),
    dns: options.dnsSans ?? [],
    email: options.emailSans ?? [],
    ip: options.ipSans ?? [],
  };
  // an empty name is SEQUENCE {}, two bytes
  const critical = options.sanCritical ?? subject.length === 2;
  if (Object.values(names).some((kind) => kind.length > 0)) list.push(subjectAltName(names, critical));
  if (options.nameConstraints !== undefined) {
    const { permitted = {}, excluded = {} } = options.nameConstraints;
    list.push(nameConstraints(permitted, excluded));
  }
  const replaced = new Set((options.extensions ?? []).map((extension) => extension.oid));
  return [...list.filter((extension) => !replaced.has(extension.oid)), ...(options.extensions ?? [])];
}

function otherAlgorithm(type: KeyType): Uint8Array {
  return signatureAlgorithm(type === "ec-p256" ? "ec-p384" : "ec-p256");
}
