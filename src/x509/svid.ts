/** A workload's own X.509-SVID: certificates and private key. */
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { accept, LIMITS, refuse, unwrap, type Verdict } from "../base/index.ts";
import { privateKeyMatches } from "../crypto/private-key.ts";
import { splitDer } from "../encoding/der.ts";
import { joinDer } from "../encoding/encode-der.ts";
import { decodePem, encodePem } from "../encoding/pem.ts";
import { readTextFile, writeTextFiles } from "../encoding/text-files.ts";
import type { SpiffeId } from "../id/index.ts";
import { inspectAs } from "../id/inspect.ts";
import { Certificate, fieldsOf, isCertificate } from "./certificate.ts";
import { checkLeaf } from "./leaf.ts";
import type { IssuerMemo } from "./path/issuer-memo.ts";

/** What an SVID carries beside certificates and key. */
export interface X509SvidOptions {
  /** The Workload API's hint of what the SVID is for. */
  readonly hint?: string | undefined;
}

const KNOWN: OptionNames<X509SvidOptions> = { hint: true };

/**
 * A workload's certificate chain with the private key of its leaf.
 *
 * It exists only when the leaf passes the rules for leaves and the key belongs to it. The key is shown by
 * {@link privateKeyPkcs8}, {@link toDer} and {@link toPem} alone: not by JSON, inspection or errors.
 *
 * @example
 * ```ts
 * import { X509Svid } from "spiffe-edge";
 * const verdict = await X509Svid.safeParse(new Uint8Array(), new Uint8Array());
 * console.assert(!verdict.ok && verdict.reason === "x509.chain-empty");
 * ```
 */
export class X509Svid {
  readonly id: SpiffeId;
  /** Leaf first, then intermediates. */
  readonly certificates: readonly Certificate[];
  /** What the Workload API says the SVID is for. */
  readonly hint: string | undefined;
  readonly #key: Uint8Array;

  private constructor(id: SpiffeId, certificates: readonly Certificate[], key: Uint8Array, hint: string | undefined) {
    this.id = id;
    this.certificates = Object.freeze([...certificates]);
    this.hint = hint;
    this.#key = key;
  }

  static {
    inspectAs(X509Svid.prototype, (self) => `X509Svid(${self.id.uri}, expires ${self.expiresAt.toISOString()})`);
  }

  /**
   * Takes an SVID as the Workload API sends it.
   *
   * @param certificates the chain, leaf first, concatenated DER
   * @param privateKeyPkcs8 the leaf's key, unencrypted PKCS#8 in DER; the bytes are copied
   * @throws SpiffeError `ERR_SPIFFE_X509_SVID` with the reason of the rule that is broken (X509-SVID §2 to §4), or
   * `x509.key-mismatch`
   */
  static async parse(
    certificates: Uint8Array,
    privateKeyPkcs8: Uint8Array,
    options: X509SvidOptions = {},
  ): Promise<X509Svid> {
    onlyKnown("X509Svid.parse", options, KNOWN);
    return unwrap(await X509Svid.safeParse(certificates, privateKeyPkcs8, options), "ERR_SPIFFE_X509_SVID");
  }

  /** {@link parse} as a verdict. Throws `ERR_SPIFFE_USAGE` for an option it does not know. */
  static async safeParse(
    certificates: Uint8Array,
    privateKeyPkcs8: Uint8Array,
    options: X509SvidOptions = {},
  ): Promise<Verdict<X509Svid>> {
    onlyKnown("X509Svid.safeParse", options, KNOWN);
    const elements = splitDer(certificates, LIMITS.chainLength);
    if (!elements.ok) {
      return {
        ...elements,
        reason: elements.reason === "encoding.too-large" ? "x509.chain-too-large" : "x509.malformed",
      };
    }
    return X509Svid.#of(elements.value, privateKeyPkcs8, options);
  }

  static async #of(
    elements: readonly Uint8Array[],
    privateKeyPkcs8: Uint8Array,
    options: X509SvidOptions,
  ): Promise<Verdict<X509Svid>> {
    const chain = parseChain(elements);
    if (!chain.ok) return chain;
    const leaf = chain.value[0]!;
    const id = checkLeaf(leaf);
    if (!id.ok) return { ...id, index: 0 };
    const publicKey = leaf.safePublicKey();
    if (!publicKey.ok) return { ...publicKey, index: 0 };
    // a number would become that many octets, and a view whose buffer was given away can not be copied
    const given = privateKeyPkcs8 instanceof Uint8Array && privateKeyPkcs8.length > 0;
    const key = new Uint8Array(given ? privateKeyPkcs8 : []);
    if (!(await privateKeyMatches(key, publicKey.value))) {
      return refuse("x509.key-mismatch", "Expected the private key of the leaf certificate in PKCS#8");
    }
    return accept(new X509Svid(id.value, chain.value, key, options.hint));
  }

  /**
   * Takes an SVID from PEM.
   *
   * @param certificates `CERTIFICATE` blocks, leaf first
   * @param privateKey one `PRIVATE KEY` block (PKCS#8)
   * @throws SpiffeError `ERR_SPIFFE_X509_SVID`
   */
  static async fromPem(certificates: string, privateKey: string, options: X509SvidOptions = {}): Promise<X509Svid> {
    onlyKnown("X509Svid.fromPem", options, KNOWN);
    return unwrap(await X509Svid.safeFromPem(certificates, privateKey, options), "ERR_SPIFFE_X509_SVID");
  }

  /** {@link fromPem} as a verdict. Throws `ERR_SPIFFE_USAGE` for an option it does not know. */
  static async safeFromPem(
    certificates: string,
    privateKey: string,
    options: X509SvidOptions = {},
  ): Promise<Verdict<X509Svid>> {
    onlyKnown("X509Svid.safeFromPem", options, KNOWN);
    const chain = blocksOf(certificates, "CERTIFICATE");
    if (!chain.ok) return chain;
    const keys = blocksOf(privateKey, "PRIVATE KEY");
    if (!keys.ok) return keys;
    if (keys.value.length !== 1) {
      return refuse("encoding.pem", `Expected one private key, got ${keys.value.length}`);
    }
    return X509Svid.#of(chain.value, keys.value[0]!, options);
  }

  /**
   * Reads an SVID from two PEM files, on a runtime with files.
   *
   * Where another program replaces the two meanwhile, one may be read old and one new: that is refused as
   * `x509.key-mismatch`, and reading again helps.
   *
   * @param certificatesPath file of `CERTIFICATE` blocks, leaf first
   * @param privateKeyPath file of one `PRIVATE KEY` block (PKCS#8)
   * @throws SpiffeError `ERR_SPIFFE_X509_SVID` for what the files hold; `ERR_SPIFFE_CONFIG` or `ERR_SPIFFE_PERMISSION` when
   *   one can not be read, `ERR_SPIFFE_BACKEND` on a runtime without files
   * @example
   * ```ts
   * import { isSpiffeError, X509Svid } from "spiffe-edge";
   * try {
   *   await X509Svid.load("/nowhere/svid.pem", "/nowhere/key.pem");
   * } catch (error) {
   *   console.assert(isSpiffeError(error, "ERR_SPIFFE_CONFIG"));
   * }
   * ```
   */
  static async load(
    certificatesPath: string,
    privateKeyPath: string,
    options: X509SvidOptions = {},
  ): Promise<X509Svid> {
    onlyKnown("X509Svid.load", options, KNOWN);
    const certificates = await readTextFile(certificatesPath);
    return X509Svid.fromPem(certificates, await readTextFile(privateKeyPath), options);
  }

  /** The certificate that names the workload. */
  get leaf(): Certificate {
    return this.certificates[0]!;
  }

  /** When the leaf ends. */
  get expiresAt(): Date {
    return this.leaf.notAfter;
  }

  /** A copy of the private key, PKCS#8 in DER. Secret. */
  privateKeyPkcs8(): Uint8Array {
    return new Uint8Array(this.#key);
  }

  /** Chain and private key in DER, as {@link parse} takes them. The key is secret, and a copy. */
  toDer(): { certificates: Uint8Array; privateKey: Uint8Array } {
    const certificates = joinDer(this.certificates.map((certificate) => certificate.der));
    return { certificates, privateKey: this.privateKeyPkcs8() };
  }

  /** Chain and private key in PEM. The key is secret. */
  toPem(): { certificates: string; privateKey: string } {
    const certificates = this.certificates.map((certificate) => certificate.toPem()).join("");
    return { certificates, privateKey: encodePem("PRIVATE KEY", this.#key) };
  }

  /**
   * Writes the SVID into two PEM files that {@link load} reads, for their owner alone (mode 0600). Both contents are on
   * disk before the first name changes, so no file is ever half written; the key's name changes first.
   *
   * @throws SpiffeError `ERR_SPIFFE_CONFIG` or `ERR_SPIFFE_PERMISSION` when a file can not be written, `ERR_SPIFFE_USAGE`
   *   when both paths name one file, `ERR_SPIFFE_BACKEND` on a runtime without files
   * @example
   * ```ts
   * import { mkdtemp, rm } from "node:fs/promises";
   * import { X509Svid } from "spiffe-edge";
   * import { TestCa } from "spiffe-edge/testing";
   * const web = await (await TestCa.create()).issue({ id: "spiffe://example.org/web" });
   * const svid = await X509Svid.parse(web.chainDer, web.privateKeyPkcs8);
   * const folder = await mkdtemp("/tmp/svid-");
   * await svid.save(`${folder}/svid.pem`, `${folder}/key.pem`);
   * const again = await X509Svid.load(`${folder}/svid.pem`, `${folder}/key.pem`);
   * console.assert(again.id.equals(svid.id));
   * await rm(folder, { recursive: true });
   * ```
   */
  async save(certificatesPath: string, privateKeyPath: string): Promise<void> {
    const { certificates, privateKey } = this.toPem();
    await writeTextFiles([
      { path: privateKeyPath, content: privateKey },
      { path: certificatesPath, content: certificates },
    ]);
  }

  /** What may be shown: never the key. */
  toJSON(): { id: SpiffeId; expiresAt: Date; hint?: string } {
    const { id, expiresAt, hint } = this;
    return hint === undefined ? { id, expiresAt } : { id, expiresAt, hint };
  }
}

/**
 * Parses a chain within its bounds; a refusal names the certificate.
 *
 * @param memo spares the decoding of issuers that are in it
 */
export function parseChain(
  chain: readonly (Certificate | Uint8Array)[],
  memo?: IssuerMemo,
): Verdict<readonly Certificate[]> {
  if (!Array.isArray(chain) || chain.length === 0)
    return refuse("x509.chain-empty", "Expected a certificate, got none");
  if (chain.length > LIMITS.chainLength) {
    return refuse("x509.chain-too-large", `Expected at most ${LIMITS.chainLength} certificates, got ${chain.length}`);
  }
  const certificates: Certificate[] = [];
  let bytes = 0;
  for (const [index, element] of chain.entries()) {
    const parsed = isCertificate(element);
    bytes += parsed ? fieldsOf(element).der.length : (element?.length ?? 0);
    if (bytes > LIMITS.chainBytes) {
      return refuse("x509.chain-too-large", `Expected a chain of at most ${LIMITS.chainBytes} bytes`);
    }
    const known = parsed ? element : index > 0 ? memo?.decoded(element) : undefined;
    const certificate = known === undefined ? Certificate.safeParse(element as Uint8Array) : accept(known);
    if (!certificate.ok) return { ...certificate, index };
    certificates.push(certificate.value);
  }
  return accept(certificates);
}

function blocksOf(pem: string, label: string): Verdict<Uint8Array[]> {
  const blocks = decodePem(pem);
  if (!blocks.ok) return blocks;
  const foreign = blocks.value.find((block) => block.label !== label);
  if (foreign !== undefined) {
    return refuse("encoding.pem", `Expected a PEM block ${label}, got ${JSON.stringify(foreign.label)}`);
  }
  return accept(blocks.value.map((block) => block.der));
}
