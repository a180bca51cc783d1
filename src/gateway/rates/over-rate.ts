/** The limit of its identity, as one request meets it. */
import type { Peer } from "../../id/index.ts";
import type { Journey } from "../journey.ts";
import type { Problem } from "../middleware/problem.ts";
import type { RateVerdict } from "../rate-limits.ts";
import type { Room } from "../room.ts";

/**
 * Counts a request of a verified caller, once however often it is judged; the answer when it is one too many (S-27).
 *
 * @returns at once, but for limits that are shared
 */
export function overRate(
  { rates, metrics }: Room,
  peer: Peer,
  journey: Journey,
): Problem | undefined | Promise<Problem | undefined> {
  if (journey.rated !== undefined) return problemOf(journey.rated);
  if (rates === undefined) return undefined;
  const note = (verdict: RateVerdict) => {
    journey.rated = verdict;
    if (!verdict.ok) metrics.rateLimited(verdict.shared);
    return problemOf(verdict);
  };
  const verdict = rates.take(peer.id);
  return verdict instanceof Promise ? verdict.then(note) : note(verdict);
}

function problemOf(verdict: RateVerdict): Problem | undefined {
  if (verdict.ok) return undefined;
  const detail = "More requests than an identity may send";
  const retryAfter = Math.max(1, Math.ceil(verdict.waitMs / 1_000));
  return { status: 429, code: "ERR_SPIFFE_REQUEST", reason: "request.rate-limited", detail, retryAfter };
}
