/** Bundles from the two bundle streams of a Workload API. */
import { isSpiffeError, type SpiffeError } from "../base/errors.ts";
import type { TrustDomain } from "../id/index.ts";
import type { JwtBundle } from "../jwt/index.ts";
import type { X509Bundle } from "../x509/index.ts";
import { type BundleFeed, type BundleState, NO_BUNDLES } from "./bundle-feed.ts";
import { Latest } from "./latest.ts";
import { linkSignals } from "./signals.ts";
import type { JwtBundles, X509Bundles } from "./snapshot.ts";
import type { Source, SourceCounters, SourceState } from "./source.ts";

/** From the most to the least pressing; the pair is as well as its worse half. */
const STATES: readonly SourceState[] = ["closed", "revoked", "starting", "expired", "stale", "ready"];

/** Two sources seen as one. An agent without the JWT profile (Unimplemented) leaves the JWT half empty. */
export class StreamedBundles implements BundleFeed {
  readonly #x509: Source<X509Bundles>;
  readonly #jwt: Source<JwtBundles>;
  readonly #release: () => Promise<void>;

  constructor(x509: Source<X509Bundles>, jwt: Source<JwtBundles>, release: () => Promise<void>) {
    this.#x509 = x509;
    this.#jwt = jwt;
    this.#release = release;
  }

  get current(): BundleState | undefined {
    const [x509, jwt] = [this.#x509.current, this.#jwt.current];
    if (x509 === undefined) return undefined;
    return Object.freeze({ x509: x509.bundles, jwt: jwt?.bundles ?? new Map() });
  }

  get state(): SourceState {
    const states = this.#parts().map(({ state }) => state);
    return STATES.find((state) => states.includes(state)) ?? "ready";
  }

  get lastError(): SpiffeError | undefined {
    return this.#x509.lastError ?? this.#jwt.lastError;
  }

  /** Counts of both streams together. */
  get counters(): SourceCounters {
    const [a, b] = [this.#x509.counters, this.#jwt.counters];
    return {
      updates: a.updates + b.updates,
      unchanged: a.unchanged + b.unchanged,
      invalid: a.invalid + b.invalid,
      streams: a.streams + b.streams,
      denied: a.denied + b.denied,
    };
  }

  async ready(signal?: AbortSignal): Promise<BundleState> {
    await Promise.all([this.#x509.ready(signal), this.#jwt.ready(signal).catch(ignoreMissingProfile)]);
    return this.current ?? this.ready(signal);
  }

  async *updates(signal?: AbortSignal): AsyncGenerator<BundleState, void, undefined> {
    const latest = new Latest<BundleState>();
    const link = linkSignals(signal);
    const pump = async (source: Source<X509Bundles> | Source<JwtBundles>) => {
      for await (const _ of source.updates(link.signal)) latest.set(this.current ?? NO_BUNDLES);
    };
    const pumps = Promise.all([pump(this.#x509), pump(this.#jwt).catch(ignoreMissingProfile)]).then(
      () => latest.end(),
      (error) => latest.end(error),
    );
    try {
      yield* latest.values(link.signal);
    } finally {
      link.abort();
      link.release();
      await pumps;
    }
  }

  x509BundleFor(trustDomain: TrustDomain): X509Bundle | undefined {
    return this.#x509.current?.bundles.get(trustDomain.name);
  }

  jwtBundleFor(trustDomain: TrustDomain): JwtBundle | undefined {
    return this.#jwt.current?.bundles.get(trustDomain.name);
  }

  async close(): Promise<void> {
    await this.#release();
  }

  /** The streams that count: a JWT stream the agent does not offer is no trouble. */
  #parts(): (Source<X509Bundles> | Source<JwtBundles>)[] {
    const missing = this.#jwt.state === "starting" && this.#jwt.lastError?.retryable === false;
    return missing ? [this.#x509] : [this.#x509, this.#jwt];
  }
}

/** A source ends with this code only when the agent forbids to ask again, as without the JWT profile (WL-01). */
function ignoreMissingProfile(error: unknown): void {
  if (!isSpiffeError(error, "ERR_SPIFFE_WORKLOAD_API")) throw error;
}
