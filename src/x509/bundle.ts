/** The X.509 authorities of one trust domain. */
import { accept, LIMITS, refuse, unwrap, type Verdict } from "../base/index.ts";
import { splitDer } from "../encoding/der.ts";
import { joinDer } from "../encoding/encode-der.ts";
import { decodePem } from "../encoding/pem.ts";
import { readTextFile, writeTextFiles } from "../encoding/text-files.ts";
import { TrustDomain } from "../id/index.ts";
import { Certificate, fieldsOf, nameOfCertificate } from "./certificate.ts";
import type { DistinguishedName } from "./name.ts";

/**
 * A trust domain and the certificates of its authorities.
 *
 * A certificate in the bundle is trusted because it is there: it need not be self-signed (X509-38). Whether it may issue
 * (CA, key usage, validity) is decided on every verification. An empty bundle trusts nothing.
 *
 * @example
 * ```ts
 * import { X509Bundle } from "spiffe-edge";
 * const bundle = X509Bundle.fromDer("example.org", new Uint8Array());
 * console.assert(bundle.isEmpty && bundle.trustDomain.name === "example.org");
 * ```
 */
export class X509Bundle {
  readonly trustDomain: TrustDomain;
  readonly authorities: readonly Certificate[];
  readonly #byDer: ReadonlyMap<string, Certificate>;
  #bySubject: Map<string, Certificate[]> | undefined;

  /**
   * @param trustDomain whose authorities these are
   * @param authorities parsed certificates; duplicates are dropped
   */
  constructor(trustDomain: TrustDomain, authorities: readonly Certificate[]) {
    this.trustDomain = trustDomain;
    const distinct = new Map<string, Certificate>();
    for (const authority of authorities) {
      const key = nameOfCertificate(authority);
      if (!distinct.has(key)) distinct.set(key, authority);
    }
    this.#byDer = distinct;
    this.authorities = Object.freeze([...distinct.values()]);
    // whoever it is handed to could change the verdicts of all others
    Object.freeze(this);
  }

  /**
   * Reads concatenated DER certificates, as the Workload API sends them.
   *
   * @param trustDomain a trust domain or its name
   * @param concatenated any number of certificates in DER, at most 4 MiB; no bytes may be left over
   * @throws SpiffeError `ERR_SPIFFE_BUNDLE`
   */
  static fromDer(trustDomain: TrustDomain | string, concatenated: Uint8Array): X509Bundle {
    return unwrap(X509Bundle.safeFromDer(trustDomain, concatenated), "ERR_SPIFFE_BUNDLE");
  }

  /** {@link fromDer} as a verdict. */
  static safeFromDer(trustDomain: TrustDomain | string, concatenated: Uint8Array): Verdict<X509Bundle> {
    const elements = splitDer(concatenated);
    if (!elements.ok)
      return {
        ...elements,
        reason: elements.reason === "encoding.too-large" ? "bundle.too-large" : "bundle.malformed",
      };
    return fromElements(trustDomain, elements.value);
  }

  /**
   * Reads PEM with any number of `CERTIFICATE` blocks.
   *
   * @throws SpiffeError `ERR_SPIFFE_BUNDLE`
   */
  static fromPem(trustDomain: TrustDomain | string, pem: string): X509Bundle {
    return unwrap(X509Bundle.safeFromPem(trustDomain, pem), "ERR_SPIFFE_BUNDLE");
  }

  /** {@link fromPem} as a verdict. */
  static safeFromPem(trustDomain: TrustDomain | string, pem: string): Verdict<X509Bundle> {
    const blocks = decodePem(pem);
    if (!blocks.ok) return blocks;
    const foreign = blocks.value.find((block) => block.label !== "CERTIFICATE");
    if (foreign !== undefined) {
      return refuse("bundle.malformed", `Expected CERTIFICATE blocks only, got ${JSON.stringify(foreign.label)}`);
    }
    return fromElements(
      trustDomain,
      blocks.value.map((block) => block.der),
    );
  }

  /**
   * Reads a bundle from a PEM file, on a runtime with files. The file does not say whose bundle it is (BND-16).
   *
   * @param trustDomain a trust domain or its name
   * @param path file of `CERTIFICATE` blocks, at least one
   * @throws SpiffeError `ERR_SPIFFE_BUNDLE` for what the file holds; `ERR_SPIFFE_CONFIG` or `ERR_SPIFFE_PERMISSION` when it
   *   can not be read, `ERR_SPIFFE_BACKEND` on a runtime without files
   * @example
   * ```ts
   * import { isSpiffeError, X509Bundle } from "spiffe-edge";
   * try {
   *   await X509Bundle.load("example.org", "/nowhere/bundle.pem");
   * } catch (error) {
   *   console.assert(isSpiffeError(error, "ERR_SPIFFE_CONFIG"));
   * }
   * ```
   */
  static async load(trustDomain: TrustDomain | string, path: string): Promise<X509Bundle> {
    return X509Bundle.fromPem(trustDomain, await readTextFile(path));
  }

  /** Whether the bundle trusts nothing. */
  get isEmpty(): boolean {
    return this.authorities.length === 0;
  }

  /** Whether this very certificate is in the bundle. */
  has(certificate: Certificate): boolean {
    return this.#byDer.has(nameOfCertificate(certificate));
  }

  /** The authorities with a subject, byte for byte. */
  authoritiesNamed(subject: DistinguishedName): readonly Certificate[] {
    if (this.#bySubject === undefined) {
      this.#bySubject = new Map();
      for (const authority of this.#byDer.values()) {
        const named = this.#bySubject.get(authority.subject.key);
        if (named === undefined) this.#bySubject.set(authority.subject.key, [authority]);
        else named.push(authority);
      }
      // they are handed out
      for (const named of this.#bySubject.values()) Object.freeze(named);
    }
    return this.#bySubject.get(subject.key) ?? [];
  }

  /** Whether both are of one trust domain and hold the same certificates, in any order. */
  equals(other: X509Bundle): boolean {
    if (!this.trustDomain.equals(other.trustDomain)) return false;
    if (this.authorities.length !== other.authorities.length) return false;
    return this.authorities.every((authority) => other.has(authority));
  }

  /** The certificates in concatenated DER, as {@link fromDer} takes them. */
  toDer(): Uint8Array {
    return joinDer(this.authorities.map((authority) => fieldsOf(authority).der));
  }

  /** The certificates in PEM, one block after the other. */
  toPem(): string {
    return this.authorities.map((authority) => authority.toPem()).join("");
  }

  /**
   * Writes the bundle into a PEM file that {@link load} reads, whole or not at all, for its owner alone (mode 0600). An
   * empty bundle gives an empty file, which `load` refuses: it trusts nothing either way.
   *
   * @throws SpiffeError `ERR_SPIFFE_CONFIG` or `ERR_SPIFFE_PERMISSION` when the file can not be written,
   *   `ERR_SPIFFE_BACKEND` on a runtime without files
   * @example
   * ```ts
   * import { mkdtemp, rm } from "node:fs/promises";
   * import { X509Bundle } from "spiffe-edge";
   * import { TestCa } from "spiffe-edge/testing";
   * const bundle = (await TestCa.create()).x509Bundle();
   * const folder = await mkdtemp("/tmp/bundle-");
   * await bundle.save(`${folder}/bundle.pem`);
   * const again = await X509Bundle.load("example.org", `${folder}/bundle.pem`);
   * console.assert(again.equals(bundle));
   * await rm(folder, { recursive: true });
   * ```
   */
  async save(path: string): Promise<void> {
    await writeTextFiles([{ path, content: this.toPem() }]);
  }

  toJSON(): { trustDomain: string; authorities: readonly Certificate[] } {
    return { trustDomain: this.trustDomain.name, authorities: this.authorities };
  }
}

function fromElements(trustDomain: TrustDomain | string, elements: readonly Uint8Array[]): Verdict<X509Bundle> {
  const domain = TrustDomain.safeParse(typeof trustDomain === "object" ? trustDomain?.name : trustDomain);
  if (!domain.ok) return domain;
  if (elements.length > LIMITS.bundleKeys) {
    return refuse("bundle.too-large", `Expected at most ${LIMITS.bundleKeys} certificates, got ${elements.length}`);
  }
  const authorities: Certificate[] = [];
  for (const [index, element] of elements.entries()) {
    const certificate = Certificate.safeParse(element);
    if (!certificate.ok) return { ...certificate, message: `Certificate ${index}: ${certificate.message}`, index };
    authorities.push(certificate.value);
  }
  return accept(new X509Bundle(domain.value, authorities));
}
