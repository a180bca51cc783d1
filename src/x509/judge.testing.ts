/** Judges chains for the tests of this folder: by both drivers and all backends, which must agree. */
import assert from "node:assert/strict";
import type { Clock, Verdict } from "../base/index.ts";
import { webcryptoVerifier } from "../crypto/index.ts";
import { TrustDomain } from "../id/index.ts";
import { X509Bundle } from "./bundle.ts";
import { type Issued, NOW } from "./issue.testing.ts";
import type { LeafLeniency } from "./leaf.ts";
import type { X509BundleSource } from "./source.ts";
import { safeVerifyX509Svid, safeVerifyX509SvidSync, type VerifiedX509Svid } from "./verify.ts";

export interface JudgeOptions extends LeafLeniency {
  /** Moves the clock from {@link NOW}. */
  readonly now?: number;
  /** The bundle's trust domain, `example.org` unless given. */
  readonly trustDomain?: string;
}

export function clockAt(now: number): Clock {
  return { now: () => now, monotonic: () => now, sleep: () => Promise.resolve() };
}

/** A source that knows these authorities for their one trust domain. */
export function sourceOf(authorities: readonly Issued[], trustDomain = "example.org"): X509BundleSource {
  const bundle = new X509Bundle(
    TrustDomain.parse(trustDomain),
    authorities.map((authority) => authority.certificate),
  );
  return { x509BundleFor: (wanted) => (wanted.equals(trustDomain) ? bundle : undefined) };
}

/** The verdict on a chain, leaf first. */
export async function judge(
  chain: readonly (Issued | Uint8Array)[],
  authorities: readonly Issued[] | X509BundleSource,
  options: JudgeOptions = {},
): Promise<Verdict<VerifiedX509Svid>> {
  const { now = NOW, trustDomain, ...leniency } = options;
  const bundles = "x509BundleFor" in authorities ? authorities : sourceOf(authorities, trustDomain);
  const presented = chain.map((element) => (element instanceof Uint8Array ? element : element?.der));
  const common = { ...leniency, clock: clockAt(now) };
  const sync = safeVerifyX509SvidSync(presented, bundles, common);
  const web = await safeVerifyX509Svid(presented, bundles, { ...common, verifier: webcryptoVerifier });
  assert.deepEqual(summary(web), summary(sync), "the backends differ");
  for (const backend of ["wasm", "native"] as const) {
    const other = safeVerifyX509SvidSync(presented, bundles, { ...common, backend });
    assert.deepEqual(summary(other), summary(sync), `${backend} differs`);
  }
  return sync;
}

/** A verdict in one word or two: `accepted`, or the reason with the index where there is one. */
export function summary(verdict: Verdict<unknown>): string {
  if (verdict.ok) return "accepted";
  return verdict.index === undefined ? verdict.reason : `${verdict.reason} ${verdict.index}`;
}

/** {@link judge}, as {@link summary} has it. */
export async function judged(...parameters: Parameters<typeof judge>): Promise<string> {
  return summary(await judge(...parameters));
}
