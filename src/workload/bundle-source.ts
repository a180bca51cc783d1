/** The bundles of both kinds, for who verifies others. */
import { isSpiffeError, type SpiffeError } from "../base/errors.ts";
import type { TrustDomain } from "../id/index.ts";
import type { JwtBundle, JwtBundleSource } from "../jwt/index.ts";
import type { X509Bundle, X509BundleSource } from "../x509/index.ts";
import { Latest } from "./latest.ts";
import { holdClient, type OpenOptions, type SourceOptions, whenReady } from "./open.ts";
import { JWT_BUNDLES, X509_BUNDLES } from "./profiles.ts";
import { linkSignals } from "./signals.ts";
import type { JwtBundles, X509Bundles } from "./snapshot.ts";
import { Source, type SourceCounters, type SourceState } from "./source.ts";

/** What a {@link BundleSource} holds: bundles by trust domain name. */
export interface BundleState {
  readonly x509: ReadonlyMap<string, X509Bundle>;
  readonly jwt: ReadonlyMap<string, JwtBundle>;
}

/** From the most to the least pressing; the pair is as well as its worse half. */
const STATES: readonly SourceState[] = ["closed", "revoked", "starting", "expired", "stale", "ready"];

/**
 * Every bundle the workload may trust, X.509 and JWT. An agent without the JWT profile (Unimplemented) leaves the JWT
 * half empty.
 *
 * @example
 * ```ts
 * import { BundleSource } from "spiffe-edge/workload";
 * import { Authority } from "spiffe-edge/testing";
 * import { TrustDomain } from "spiffe-edge";
 * await using authority = await Authority.start({
 *   trustDomain: "example.org",
 *   entries: [{ id: "spiffe://example.org/web", socket: "web" }],
 * });
 * await using source = await BundleSource.open({ socket: authority.socketFor("web") });
 * console.assert(source.x509BundleFor(TrustDomain.parse("example.org")) !== undefined);
 * console.assert(source.x509BundleFor(TrustDomain.parse("other.example")) === undefined);
 * ```
 */
export class BundleSource implements X509BundleSource, JwtBundleSource {
  readonly #x509: Source<X509Bundles>;
  readonly #jwt: Source<JwtBundles>;
  readonly #release: () => Promise<void>;

  private constructor(x509: Source<X509Bundles>, jwt: Source<JwtBundles>, release: () => Promise<void>) {
    this.#x509 = x509;
    this.#jwt = jwt;
    this.#release = release;
  }

  /** A view of two sources that live elsewhere; closing it leaves them as they are. */
  static of(x509: Source<X509Bundles>, jwt: Source<JwtBundles>): BundleSource {
    return new BundleSource(x509, jwt, async () => {});
  }

  /**
   * Watches the bundles of a Workload API and waits for the first of both kinds; no identity is fetched.
   *
   * @throws SpiffeError `ERR_SPIFFE_TIMEOUT` with socket, phase and last error; or what {@link Source.ready} throws
   */
  static async open(options: SourceOptions & OpenOptions = {}): Promise<BundleSource> {
    const { connection, release } = holdClient(options);
    const [x509, jwt] = [new Source(connection, X509_BUNDLES), new Source(connection, JWT_BUNDLES)];
    const source = new BundleSource(x509, jwt, async () => {
      await Promise.all([x509.close(), jwt.close()]);
      await release();
    });
    const opening = {
      connection,
      ready: (signal: AbortSignal) => source.ready(signal),
      lastError: () => source.lastError,
      close: () => source.close(),
    };
    await whenReady(opening, options);
    return source;
  }

  /** The bundles of the moment; undefined while there are none. */
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

  /** Waits until both kinds are held. Throws as {@link Source.ready}. */
  async ready(signal?: AbortSignal): Promise<BundleState> {
    await Promise.all([this.#x509.ready(signal), this.#jwt.ready(signal).catch(ignoreMissingProfile)]);
    return this.current ?? this.ready(signal);
  }

  /** The bundles, if any, and again after each change of either kind. Ends as {@link Source.updates}. */
  async *updates(signal?: AbortSignal): AsyncGenerator<BundleState, void, undefined> {
    const latest = new Latest<BundleState>();
    const link = linkSignals(signal);
    const empty: BundleState = Object.freeze({ x509: new Map(), jwt: new Map() });
    const pump = async (source: Source<X509Bundles> | Source<JwtBundles>) => {
      for await (const _ of source.updates(link.signal)) latest.set(this.current ?? empty);
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

  /** The X.509 bundle of a trust domain; undefined means it is not trusted. */
  x509BundleFor(trustDomain: TrustDomain): X509Bundle | undefined {
    return this.#x509.current?.bundles.get(trustDomain.name);
  }

  /** The JWT bundle of a trust domain; undefined means it is not trusted. */
  jwtBundleFor(trustDomain: TrustDomain): JwtBundle | undefined {
    return this.#jwt.current?.bundles.get(trustDomain.name);
  }

  async close(): Promise<void> {
    await this.#release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
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
