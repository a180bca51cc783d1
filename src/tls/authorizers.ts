/** Which verified peers are welcome: values that turn a verified SVID into a verdict. */
import { onlyKnown } from "../base/check-options.ts";
import { isSpiffeError, SpiffeError } from "../base/errors.ts";
import { accept, refuse, type Verdict } from "../base/verdict.ts";
import {
  type IdMatcher,
  matchId,
  matchIdPrefix,
  matchMemberOf,
  matchOneOf,
  SpiffeId,
  type TrustDomain,
} from "../id/index.ts";
import type { VerifiedX509Svid } from "../x509/index.ts";

/** Decides on a peer whose chain has been verified. Synchronous: it runs before the first byte of the peer is read. */
export type Authorizer = (peer: VerifiedX509Svid) => Verdict<SpiffeId>;

/** Who must answer: an ID, a list of IDs, a whole trust domain, or an {@link Authorizer}. */
export type PeerExpectation = string | SpiffeId | readonly (string | SpiffeId)[] | { trustDomain: string } | Authorizer;

/** By the function itself: one that wraps it, or has its properties, is another. */
const expectations = new WeakMap<Authorizer, string>();

/** Notes what an authorizer expects, so that two that expect the same are known to be alike (S-6). */
function named(expectation: string, authorizer: Authorizer): Authorizer {
  expectations.set(authorizer, expectation);
  return authorizer;
}

/** What an authorizer of this file expects, by value; nothing for a program's own, which may decide anew each time. */
export function expectationOf(authorizer: Authorizer): string | undefined {
  return expectations.get(authorizer);
}

function byMatcher(expectation: string, matcher: IdMatcher): Authorizer {
  return named(expectation, (peer) => {
    const verdict = matcher(peer.id);
    return verdict.ok === true ? verdict : refuse("peer.not-authorized", verdict.message);
  });
}

/**
 * Welcomes every peer that a trusted bundle vouches for.
 *
 * @example
 * ```ts
 * import { authorizeAny } from "spiffe-edge/tls";
 * console.assert(typeof authorizeAny() === "function");
 * ```
 */
export function authorizeAny(): Authorizer {
  return named("any", (peer) => accept(peer.id));
}

/**
 * Welcomes exactly one ID.
 *
 * @param id a SPIFFE ID
 * @throws SpiffeError `ERR_SPIFFE_ID` when a string is not one
 */
export function authorizeId(id: string | SpiffeId): Authorizer {
  return byMatcher(`id ${id}`, matchId(id));
}

/**
 * Welcomes the listed IDs.
 *
 * @param ids SPIFFE IDs, at least one
 * @throws SpiffeError `ERR_SPIFFE_ID` when a string is not one, `ERR_SPIFFE_USAGE` for an empty list
 */
export function authorizeOneOf(...ids: readonly (string | SpiffeId)[]): Authorizer {
  if (ids.length === 0) throw usage("an empty list of peers");
  return byMatcher(`one of ${ids.map(String).sort().join(" ")}`, matchOneOf(...ids));
}

/**
 * Welcomes every member of a trust domain.
 *
 * @param trustDomain its name or a SPIFFE ID in it
 * @throws SpiffeError `ERR_SPIFFE_ID` when it is neither
 */
export function authorizeMemberOf(trustDomain: string | TrustDomain): Authorizer {
  const matcher = matchMemberOf(trustDomain);
  return byMatcher(`member of ${trustDomain}`, matcher);
}

/**
 * Welcomes an ID and everything below it; the prefix ends on a segment boundary.
 *
 * @param prefix a SPIFFE ID such as `spiffe://example.org/ns/shop`
 * @throws SpiffeError `ERR_SPIFFE_ID` when it is not one
 */
export function authorizeIdPrefix(prefix: string | SpiffeId): Authorizer {
  return byMatcher(`below ${prefix}`, matchIdPrefix(prefix));
}

/** Any peer that a trusted bundle vouches for. Named so that a reader of the call sees what it gives up. */
export const unsafeAnyPeer: Authorizer = named("any", (peer) => accept(peer.id));

/** Turns an expectation into an authorizer; throws for anything that names nobody. */
export function authorizerFor(peer: PeerExpectation): Authorizer {
  try {
    return readPeer(peer);
  } catch (error) {
    if (!isSpiffeError(error, "ERR_SPIFFE_ID")) throw error;
    const { code, message, reason } = error;
    throw new SpiffeError(code, `"peer" does not say who must answer: ${message}`, {
      reason,
      phase: "options",
      cause: error,
      hint: HINT,
    });
  }
}

const HINT =
  'Set peer: "spiffe://<trust domain>/<path>", a list of them, { trustDomain }, or authorizeIdPrefix() for all below an ID';

function readPeer(peer: PeerExpectation): Authorizer {
  if (typeof peer === "function") return peer;
  if (typeof peer === "string" || peer instanceof SpiffeId) return authorizeId(peer);
  if (Array.isArray(peer)) return authorizeOneOf(...(peer as readonly (string | SpiffeId)[]));
  const domain = (peer as { trustDomain?: unknown } | null | undefined)?.trustDomain;
  if (typeof domain === "string") {
    // a path beside it would narrow nothing
    onlyKnown("peer", peer, { trustDomain: true });
    return authorizeMemberOf(domain);
  }
  throw usage(peer === undefined || peer === null ? "no peer" : "something else");
}

function usage(came: string): SpiffeError {
  return new SpiffeError(
    "ERR_SPIFFE_USAGE",
    `Expected "peer" to say who must answer: a SPIFFE ID, a list, { trustDomain } or an authorizer; got ${came}`,
    { phase: "options", hint: HINT },
  );
}
