/** A workload's own X.509-SVID: certificates and private key. */
import { accept, LIMITS, type Refusal, refuse, SpiffeError, unwrap, type Verdict } from "../base/index.ts";
import { privateKeyMatches } from "../crypto/private-key.ts";
import { splitDer } from "../encoding/der.ts";
import { decodePem, encodePem } from "../encoding/pem.ts";
import type { SpiffeId } from "../id/index.ts";
import { inspectAs } from "../id/inspect.ts";
import { Certificate } from "./certificate.ts";
import { checkLeaf } from "./leaf.ts";

/** What an SVID carries beside certificates and key. */
export interface X509SvidOptions {
  /** The Workload API's hint of what the SVID is for. */
  readonly hint?: string | undefined;
}

/**
 * A workload's certificate chain with the private key of its leaf.
 *
 * It exists only when the leaf passes the rules for leaves and the key belongs to it. The key is shown by
 * {@link privateKeyPkcs8} and {@link toPem} alone: not by JSON, inspection or errors.
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
    return unwrap(await X509Svid.safeParse(certificates, privateKeyPkcs8, options), "ERR_SPIFFE_X509_SVID");
  }

  /** {@link parse} as a verdict. */
  static async safeParse(
    certificates: Uint8Array,
    privateKeyPkcs8: Uint8Array,
    options: X509SvidOptions = {},
  ): Promise<Verdict<X509Svid>> {
    const elements = splitDer(certificates, LIMITS.chainLength);
    if (!elements.ok) {
      return {
        ...elements,
        reason: elements.reason === "encoding.too-large" ? "x509.chain-too-large" : "x509.malformed",
      };
    }
    const chain = parseChain(elements.value);
    if (!chain.ok) return chain;
    const leaf = chain.value[0]!;
    const id = checkLeaf(leaf);
    if (!id.ok) return { ...id, index: 0 };
    const publicKey = leaf.safePublicKey();
    if (!publicKey.ok) return { ...publicKey, index: 0 };
    const key = new Uint8Array(privateKeyPkcs8);
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
    const chain = blocksOf(certificates, "CERTIFICATE");
    const keys = blocksOf(privateKey, "PRIVATE KEY");
    if (keys.length !== 1) fail(refuse("encoding.pem", `Expected one private key, got ${keys.length}`));
    const length = chain.reduce((sum, der) => sum + der.length, 0);
    const concatenated = new Uint8Array(length);
    let at = 0;
    for (const der of chain) {
      concatenated.set(der, at);
      at += der.length;
    }
    return X509Svid.parse(concatenated, keys[0]!, options);
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

  /** Chain and private key in PEM. The key is secret. */
  toPem(): { certificates: string; privateKey: string } {
    const certificates = this.certificates.map((certificate) => certificate.toPem()).join("");
    return { certificates, privateKey: encodePem("PRIVATE KEY", this.#key) };
  }

  /** What may be shown: never the key. */
  toJSON(): { id: SpiffeId; expiresAt: Date; hint?: string } {
    const { id, expiresAt, hint } = this;
    return hint === undefined ? { id, expiresAt } : { id, expiresAt, hint };
  }
}

/** Parses a chain within its bounds; a refusal names the certificate. */
export function parseChain(chain: readonly (Certificate | Uint8Array)[]): Verdict<readonly Certificate[]> {
  if (!Array.isArray(chain) || chain.length === 0)
    return refuse("x509.chain-empty", "Expected a certificate, got none");
  if (chain.length > LIMITS.chainLength) {
    return refuse("x509.chain-too-large", `Expected at most ${LIMITS.chainLength} certificates, got ${chain.length}`);
  }
  const certificates: Certificate[] = [];
  let bytes = 0;
  for (const [index, element] of chain.entries()) {
    bytes += element instanceof Certificate ? element.der.length : (element?.length ?? 0);
    if (bytes > LIMITS.chainBytes) {
      return refuse("x509.chain-too-large", `Expected a chain of at most ${LIMITS.chainBytes} bytes`);
    }
    const certificate = element instanceof Certificate ? accept(element) : Certificate.safeParse(element);
    if (!certificate.ok) return { ...certificate, index };
    certificates.push(certificate.value);
  }
  return accept(certificates);
}

function blocksOf(pem: string, label: string): Uint8Array[] {
  const blocks = decodePem(pem);
  if (!blocks.ok) return fail(blocks);
  const foreign = blocks.value.find((block) => block.label !== label);
  if (foreign !== undefined) {
    fail(refuse("encoding.pem", `Expected a PEM block ${label}, got ${JSON.stringify(foreign.label)}`));
  }
  return blocks.value.map((block) => block.der);
}

function fail({ reason, message }: Refusal): never {
  throw new SpiffeError("ERR_SPIFFE_X509_SVID", message, { reason });
}
