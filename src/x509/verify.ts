/** Verification of a peer's X.509-SVID (X509-SVID §5). */
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { accept, type Clock, refuse, SpiffeError, systemClock, timeOf, type Verdict } from "../base/index.ts";
import {
  type Backend,
  type Checks,
  chooseSyncVerifier,
  chooseVerifier,
  runChecks,
  runChecksSync,
  type SignatureVerifier,
  type SyncSignatureVerifier,
} from "../crypto/index.ts";
import type { SpiffeId } from "../id/index.ts";
import { type Certificate, fieldsOf } from "./certificate.ts";
import { checkLeaf, type LeafLeniency } from "./leaf.ts";
import { type IssuerMemo, issuerMemoOf } from "./path/issuer-memo.ts";
import { findPath } from "./path/search.ts";
import type { X509BundleSource } from "./source.ts";
import { parseChain } from "./svid.ts";

/** A peer that proved to be who its certificate says. */
export interface VerifiedX509Svid {
  readonly id: SpiffeId;
  /** The path that was used: leaf first, the bundle's authority last. */
  readonly chain: readonly Certificate[];
  /** The earliest end of a certificate on the path. */
  readonly expiresAt: Date;
}

/** Options of {@link verifyX509Svid}. */
export interface X509VerifyOptions extends LeafLeniency {
  /** Decides validity by `now()`; the machine's clock unless given. One that throws or gives no number refuses everything. */
  readonly clock?: Clock | undefined;
  /** The backend for signatures; the fastest one of this runtime unless given. */
  readonly verifier?: SignatureVerifier | undefined;
  /** Names a backend instead: WebAssembly, `node:crypto` or WebCrypto. */
  readonly backend?: Backend | undefined;
}

/** Options of {@link verifyX509SvidSync}. */
export interface X509SyncVerifyOptions extends X509VerifyOptions {
  readonly verifier?: SyncSignatureVerifier | undefined;
}

const KNOWN: OptionNames<X509VerifyOptions> = {
  lenientPeerKeyUsage: true,
  lenientPeerExtKeyUsage: true,
  clock: true,
  verifier: true,
  backend: true,
};

/** A presented chain: parsed certificates or their DER, leaf first, intermediates in any order. */
export type PresentedChain = readonly (Certificate | Uint8Array)[];

/** The verification, once for every backend. */
function* verification(
  chain: PresentedChain,
  bundles: X509BundleSource,
  options: X509VerifyOptions,
  memo: IssuerMemo,
): Checks<Verdict<VerifiedX509Svid>> {
  const parsed = parseChain(chain, memo);
  if (!parsed.ok) return parsed;
  const presented = parsed.value;
  const id = checkLeaf(presented[0]!, options);
  if (!id.ok) return { ...id, index: 0 };
  const { trustDomain } = id.value;
  const bundle = bundles.x509BundleFor(trustDomain) ?? undefined;
  // the source's answer is for the leaf's own trust domain or it is nothing (X509-36)
  if (bundle === undefined || !bundle.trustDomain.equals(trustDomain)) {
    return refuse("x509.no-bundle", `Expected a bundle of the trust domain ${trustDomain}, but there is none`);
  }
  const now = timeOf(options.clock ?? systemClock);
  if (Number.isNaN(now)) {
    return refuse("x509.expired", "Expected a clock that tells the time; without it nothing counts as valid", 0);
  }
  const anchorsNamed = bundle.authoritiesNamed.bind(bundle);
  const path = yield* findPath({ presented, anchorsNamed, now, memo });
  if (!path.ok) return path;
  const expiresAt = new Date(Math.min(...path.value.map((certificate) => fieldsOf(certificate).notAfter)));
  return accept(Object.freeze({ id: id.value, chain: Object.freeze(path.value), expiresAt }));
}

/**
 * Verifies a peer's certificate chain against the bundle of the peer's own trust domain.
 *
 * A path is built from the bundle's authorities through the presented intermediates to the leaf, by the rules of RFC 5280
 * §6 and X509-SVID §5. Authentication only: whether this peer may do something is for the caller to decide.
 *
 * @param chain leaf first, intermediates in any order; at most 10 certificates and 64 KiB
 * @param bundles where the authorities come from
 * @returns the peer's ID and the path that was used
 * @throws SpiffeError `ERR_SPIFFE_X509_VERIFY`; `reason` names the broken rule; `ERR_SPIFFE_USAGE` for an option it does not
 *   know
 * @example
 * ```ts
 * import { isSpiffeError, verifyX509Svid } from "spiffe-edge";
 * const nobody = { x509BundleFor: () => undefined };
 * try {
 *   await verifyX509Svid([], nobody);
 * } catch (error) {
 *   console.assert(isSpiffeError(error, "ERR_SPIFFE_X509_VERIFY") && error.reason === "x509.chain-empty");
 * }
 * ```
 */
export async function verifyX509Svid(
  chain: PresentedChain,
  bundles: X509BundleSource,
  options: X509VerifyOptions = {},
): Promise<VerifiedX509Svid> {
  onlyKnown("verifyX509Svid", options, KNOWN);
  return verified(await verify(chain, bundles, options));
}

/**
 * {@link verifyX509Svid} as a verdict: the index of a refusal is the certificate's place in the chain.
 *
 * @throws SpiffeError `ERR_SPIFFE_USAGE` for an option it does not know
 * @example
 * ```ts
 * import { safeVerifyX509Svid } from "spiffe-edge";
 * const verdict = await safeVerifyX509Svid([new Uint8Array([0x30, 0])], { x509BundleFor: () => undefined });
 * console.assert(!verdict.ok && verdict.reason === "x509.malformed" && verdict.index === 0);
 * ```
 */
export async function safeVerifyX509Svid(
  chain: PresentedChain,
  bundles: X509BundleSource,
  options: X509VerifyOptions = {},
): Promise<Verdict<VerifiedX509Svid>> {
  onlyKnown("safeVerifyX509Svid", options, KNOWN);
  return verify(chain, bundles, options);
}

function verify(
  chain: PresentedChain,
  bundles: X509BundleSource,
  options: X509VerifyOptions,
): Promise<Verdict<VerifiedX509Svid>> {
  const verifier = options.verifier ?? chooseVerifier(options.backend);
  return runChecks(verification(chain, bundles, options, issuerMemoOf(verifier)), verifier);
}

/**
 * {@link verifyX509Svid} at once, for callers that must decide before the next byte, such as a TLS listener.
 *
 * @throws SpiffeError `ERR_SPIFFE_X509_VERIFY`, `ERR_SPIFFE_USAGE`, or `ERR_SPIFFE_BACKEND` without a synchronous backend
 * @example
 * ```ts
 * import { isSpiffeError, verifyX509SvidSync } from "spiffe-edge";
 * try {
 *   verifyX509SvidSync([], { x509BundleFor: () => undefined });
 * } catch (error) {
 *   console.assert(isSpiffeError(error, "ERR_SPIFFE_X509_VERIFY"));
 * }
 * ```
 */
export function verifyX509SvidSync(
  chain: PresentedChain,
  bundles: X509BundleSource,
  options: X509SyncVerifyOptions = {},
): VerifiedX509Svid {
  onlyKnown("verifyX509SvidSync", options, KNOWN);
  return verified(verifySync(chain, bundles, options));
}

/** {@link verifyX509SvidSync} as a verdict. */
export function safeVerifyX509SvidSync(
  chain: PresentedChain,
  bundles: X509BundleSource,
  options: X509SyncVerifyOptions = {},
): Verdict<VerifiedX509Svid> {
  onlyKnown("safeVerifyX509SvidSync", options, KNOWN);
  return verifySync(chain, bundles, options);
}

function verifySync(
  chain: PresentedChain,
  bundles: X509BundleSource,
  options: X509SyncVerifyOptions,
): Verdict<VerifiedX509Svid> {
  const verifier = options.verifier ?? chooseSyncVerifier(options.backend);
  return runChecksSync(verification(chain, bundles, options, issuerMemoOf(verifier)), verifier);
}

function verified(verdict: Verdict<VerifiedX509Svid>): VerifiedX509Svid {
  if (verdict.ok) return verdict.value;
  const place =
    verdict.index === undefined ? "" : verdict.index === 0 ? "The leaf: " : `Intermediate ${verdict.index}: `;
  throw new SpiffeError("ERR_SPIFFE_X509_VERIFY", place + verdict.message, { reason: verdict.reason });
}
