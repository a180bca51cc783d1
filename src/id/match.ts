/** Matchers: small functions that say whether a verified SPIFFE ID is one that was meant. */
import type { Verdict } from "../base/verdict.ts";
import { accept, refuse } from "../base/verdict.ts";
import { SpiffeId, TrustDomain } from "./spiffe-id.ts";

/** Accepts or refuses an ID that has been verified already. */
export type IdMatcher = (id: SpiffeId) => Verdict<SpiffeId>;

/**
 * Accepts every ID of every trust domain that the verification let through.
 *
 * @example
 * ```ts
 * import { matchAny, SpiffeId } from "spiffe-edge";
 * console.assert(matchAny()(SpiffeId.parse("spiffe://example.org/web")).ok);
 * ```
 */
export function matchAny(): IdMatcher {
  return accept;
}

/**
 * Accepts exactly one ID.
 *
 * @throws SpiffeError `ERR_SPIFFE_ID` when the text is not a SPIFFE ID
 *
 * @example
 * ```ts
 * import { matchId, SpiffeId } from "spiffe-edge";
 * const isWeb = matchId("spiffe://example.org/web");
 * console.assert(isWeb(SpiffeId.parse("spiffe://example.org/web")).ok);
 * console.assert(!isWeb(SpiffeId.parse("spiffe://example.org/web/2")).ok);
 * ```
 */
export function matchId(id: SpiffeId | string): IdMatcher {
  const expected = toId(id);
  return (got) =>
    got.uri === expected.uri ? accept(got) : refuse("id.not-allowed", `Expected ${expected.uri}, got ${got.uri}`);
}

/**
 * Accepts the IDs of a list; an empty list accepts none.
 *
 * @throws SpiffeError `ERR_SPIFFE_ID` when a text is not a SPIFFE ID
 *
 * @example
 * ```ts
 * import { matchOneOf, SpiffeId } from "spiffe-edge";
 * const isFrontend = matchOneOf("spiffe://example.org/web", "spiffe://example.org/app");
 * console.assert(isFrontend(SpiffeId.parse("spiffe://example.org/app")).ok);
 * ```
 */
export function matchOneOf(...ids: readonly (SpiffeId | string)[]): IdMatcher {
  const expected = new Set<string>(ids.map((id) => toId(id).uri));
  return (got) =>
    expected.has(got.uri)
      ? accept(got)
      : refuse("id.not-allowed", `Expected one of ${expected.size} listed IDs, got ${got.uri}`);
}

/**
 * Accepts every ID of one trust domain.
 *
 * @throws SpiffeError `ERR_SPIFFE_ID` when the text is not a trust domain
 *
 * @example
 * ```ts
 * import { matchMemberOf, SpiffeId } from "spiffe-edge";
 * const isOurs = matchMemberOf("example.org");
 * console.assert(isOurs(SpiffeId.parse("spiffe://example.org/web")).ok);
 * console.assert(!isOurs(SpiffeId.parse("spiffe://other.org/web")).ok);
 * ```
 */
export function matchMemberOf(trustDomain: TrustDomain | string): IdMatcher {
  const expected = TrustDomain.parse(typeof trustDomain === "string" ? trustDomain : trustDomain?.name);
  return (got) =>
    got.trustDomain.name === expected.name
      ? accept(got)
      : refuse("id.not-member", `Expected a member of ${expected.name}, got ${got.uri}`);
}

/**
 * Accepts an ID and everything below it, on a segment boundary: `spiffe://td/ns/a` matches `spiffe://td/ns/a` and
 * `spiffe://td/ns/a/web`, never `spiffe://td/ns/ab`.
 *
 * @throws SpiffeError `ERR_SPIFFE_ID` when the text is not a SPIFFE ID
 *
 * @example
 * ```ts
 * import { matchIdPrefix, SpiffeId } from "spiffe-edge";
 * const inShop = matchIdPrefix("spiffe://example.org/ns/shop");
 * console.assert(inShop(SpiffeId.parse("spiffe://example.org/ns/shop/sa/web")).ok);
 * console.assert(!inShop(SpiffeId.parse("spiffe://example.org/ns/shopping")).ok);
 * ```
 */
export function matchIdPrefix(prefix: SpiffeId | string): IdMatcher {
  const expected = toId(prefix);
  const below = `${expected.uri}/`;
  return (got) =>
    got.uri === expected.uri || got.uri.startsWith(below)
      ? accept(got)
      : refuse("id.not-allowed", `Expected ${expected.uri} or an ID below it, got ${got.uri}`);
}

/** Reads a value's text once more: what only looks like an ID is an error here, not a matcher that matches something else. */
function toId(id: SpiffeId | string): SpiffeId {
  return SpiffeId.parse(typeof id === "string" ? id : id?.uri);
}
