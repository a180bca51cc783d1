/** A candidate policy beside the live one: it decides nothing, its differences are counted and told. */
import type { Peer } from "../id/index.ts";
import type { RequestFacts } from "./match.ts";
import type { Decision, Policy } from "./policy.ts";

/** One request that the candidate would judge otherwise. */
export interface Difference {
  /** What the candidate would say. */
  readonly candidate: Decision;
  readonly live: Decision;
}

/** How often the candidate agreed and differed. */
export interface ShadowCounters {
  readonly same: number;
  /** Denied, and the candidate would allow. */
  readonly wouldAllow: number;
  /** Allowed, and the candidate would deny. */
  readonly wouldDeny: number;
}

/**
 * Asks a candidate policy about each request that the live one decides, and counts where the verdicts differ.
 *
 * @example
 * ```ts
 * import { Policy, Shadow } from "spiffe-edge/policy";
 * import { SpiffeId } from "spiffe-edge";
 * const id = SpiffeId.parse("spiffe://example.org/web");
 * const web = { via: "x509", id, expiresAt: new Date(2 ** 42) } as const;
 * const live = Policy.compile([{ rule: "all", allow: { trustDomains: ["example.org"] } }]);
 * const shadow = new Shadow(Policy.compile([{ rule: "read", allow: { ids: [id.uri] }, methods: ["GET"] }]));
 * for (const method of ["GET", "POST"]) {
 *   const facts = { method, path: "/" };
 *   shadow.compare(live.decide(web, facts), web, facts);
 * }
 * console.assert(shadow.counters.same === 1 && shadow.counters.wouldDeny === 1);
 * ```
 */
export class Shadow {
  readonly candidate: Policy;
  #same = 0;
  #wouldAllow = 0;
  #wouldDeny = 0;

  /** @param candidate the policy that may be live tomorrow */
  constructor(candidate: Policy) {
    this.candidate = candidate;
  }

  /** Counts since the start. */
  get counters(): ShadowCounters {
    return { same: this.#same, wouldAllow: this.#wouldAllow, wouldDeny: this.#wouldDeny };
  }

  /**
   * Judges the request once more.
   *
   * @param live the live policy's decision on it
   * @returns the difference, for the log; undefined where both verdicts are the same
   */
  compare(live: Decision, peer: Peer | undefined, facts: RequestFacts): Difference | undefined {
    const candidate = this.candidate.decide(peer, facts);
    if (candidate.verdict === live.verdict) {
      this.#same += 1;
      return undefined;
    }
    if (candidate.verdict === "allow") this.#wouldAllow += 1;
    else this.#wouldDeny += 1;
    return { candidate, live };
  }
}
