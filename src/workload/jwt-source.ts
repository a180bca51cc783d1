/** JWT bundles kept current by the Workload API, and JWT-SVIDs fetched and cached. */
import { type OptionNames, onlyKnown, plainOptions } from "../base/check-options.ts";
import { SpiffeError } from "../base/errors.ts";
import { SpiffeId, type TrustDomain } from "../id/index.ts";
import type { JwtBundle, JwtBundleSource, JwtSvid } from "../jwt/index.ts";
import { audienceList } from "./client.ts";
import { cacheKey, JwtCache } from "./jwt-cache.ts";
import { type HeldClient, holdClient, type OpenOptions, type SourceOptions, whenReady } from "./open.ts";
import { OPEN_NAMES, SOURCE_NAMES } from "./open-names.ts";
import { JWT_BUNDLES } from "./profiles.ts";
import { untilAborted } from "./signals.ts";
import type { JwtBundles } from "./snapshot.ts";
import { Source } from "./source.ts";
import type { X509Source } from "./x509-source.ts";

/** Options of a {@link JwtSource}. */
export interface JwtSourceOptions extends SourceOptions {
  /** Where the default identity is taken from; without it the agent chooses. */
  readonly identity?: X509Source | undefined;
}

/** Which token to fetch. */
export interface JwtFetchOptions {
  /** Whom the token is for; ends as its `aud`. At least one, none empty; order and repetition do not matter. */
  readonly audience: string | readonly string[];
  /** One of the workload's identities; the default one otherwise. */
  readonly id?: SpiffeId | string | undefined;
  /** Ends this caller's wait; a fetch shared with others goes on. */
  readonly signal?: AbortSignal | undefined;
  /** Ask the agent even if a cached token would do, as after a 401. */
  readonly fresh?: true | undefined;
}

const KNOWN: OptionNames<JwtSourceOptions> = { ...SOURCE_NAMES, identity: true };
const OPEN: OptionNames<JwtSourceOptions & OpenOptions> = { ...KNOWN, ...OPEN_NAMES };
const FETCH: OptionNames<JwtFetchOptions> = { audience: true, id: true, signal: true, fresh: true };

/** Gets JWT-SVIDs; a {@link JwtSource} does. */
export interface JwtSvidSource {
  fetch(options: JwtFetchOptions): Promise<JwtSvid>;
}

/**
 * JWT-SVIDs for any audience, and every JWT bundle the workload may trust.
 *
 * Tokens are cached per identity and audience set, at most 1,000. While one is used it is renewed in the background from
 * half of its life on, counted from its receipt; while renewing fails the old one serves on, but never within 5 s of its
 * `exp`. All are forgotten when the agent withdraws the identity, and one whose key left the bundle is fetched anew (S-20).
 *
 * @example
 * ```ts
 * import { JwtSource } from "spiffe-edge/workload";
 * import { Authority } from "spiffe-edge/testing";
 * await using authority = await Authority.start({
 *   trustDomain: "example.org",
 *   entries: [{ id: "spiffe://example.org/web", socket: "web" }],
 * });
 * await using source = await JwtSource.open({ socket: authority.socketFor("web") });
 * const svid = await source.fetch({ audience: "spiffe://example.org/orders" });
 * console.assert(svid.id.path === "/web" && svid.audience[0] === "spiffe://example.org/orders");
 * ```
 */
export class JwtSource extends Source<JwtBundles> implements JwtBundleSource, JwtSvidSource {
  readonly #held: HeldClient;
  readonly #identity: X509Source | undefined;
  readonly #cache: JwtCache;

  /**
   * Starts watching the bundles; `ready()` tells when the first state has come.
   *
   * @throws SpiffeError `ERR_SPIFFE_ENDPOINT`, `ERR_SPIFFE_USAGE`
   */
  constructor(options: JwtSourceOptions = {}) {
    onlyKnown("JwtSource", options, KNOWN);
    const held = holdClient(options);
    super(held.connection, JWT_BUNDLES);
    this.#held = held;
    this.#identity = options.identity;
    this.#cache = new JwtCache(held.connection.clock, (svid) => this.#isUsable(svid));
  }

  /**
   * Makes a source and waits for its first bundles.
   *
   * @throws SpiffeError `ERR_SPIFFE_TIMEOUT` with socket, phase and last error; or what {@link Source.ready} throws
   */
  static async open(options: JwtSourceOptions & OpenOptions = {}): Promise<JwtSource> {
    onlyKnown("JwtSource.open", options, OPEN);
    const source = new JwtSource(plainOptions<JwtSourceOptions>(options, KNOWN));
    await whenReady(source.opening, options);
    return source;
  }

  /**
   * A JWT-SVID for an audience, from the cache or from the agent.
   *
   * @throws SpiffeError `ERR_SPIFFE_USAGE` for an empty audience; `ERR_SPIFFE_REVOKED`, `ERR_SPIFFE_CLOSED`,
   *   `ERR_SPIFFE_ABORTED`; else as `WorkloadApiClient.fetchJwtSvids`
   */
  async fetch(options: JwtFetchOptions): Promise<JwtSvid> {
    onlyKnown("JwtSource.fetch", options, FETCH);
    const { audience: asked } = options;
    const audience = typeof asked === "string" && asked !== "" ? [asked] : audienceList(asked);
    const { state } = this;
    if (state === "closed" || state === "revoked") throw this.absence("No JWT-SVID");
    const wanted = typeof options.id === "string" ? SpiffeId.parse(options.id) : options.id;
    const id = wanted ?? this.#identity?.x509Svid().id;
    const key = cacheKey(id?.uri ?? "", audience);
    const { fresh, signal } = options;
    const held = fresh || signal?.aborted ? undefined : this.#cache.held(key);
    return (
      held ??
      untilAborted(
        this.#cache.fetch(key, () => this.#ask(audience, id)),
        signal,
      )
    );
  }

  /** The bundle of a trust domain; undefined means it is not trusted (WL-52). */
  jwtBundleFor(trustDomain: TrustDomain): JwtBundle | undefined {
    return this.current?.bundles.get(trustDomain.name);
  }

  override async close(): Promise<void> {
    this.#cache.clear();
    await super.close();
    await this.#held.release();
  }

  protected override onRedaction(): void {
    this.#cache.clear();
  }

  async #ask(audience: readonly string[], id: SpiffeId | undefined): Promise<JwtSvid> {
    const svid = await this.#held.client.fetchJwtSvid({ audience, id });
    // The identity may have been withdrawn meanwhile, while this source's own stream does not know it yet.
    if (this.#identity?.state !== "revoked") return svid;
    throw new SpiffeError("ERR_SPIFFE_REVOKED", `No JWT-SVID: the agent withdrew the identity of ${svid.id.uri}`, {
      reason: "workload.revoked",
      phase: "fetch-jwt",
      retryable: true,
    });
  }

  /** A cached token whose identity was withdrawn, or whose key left the bundle, is fetched anew. */
  #isUsable(svid: JwtSvid): boolean {
    const identities = this.#identity?.current?.svids;
    if (this.#identity !== undefined && !identities?.some(({ id }) => id.equals(svid.id))) return false;
    const bundle = this.jwtBundleFor(svid.id.trustDomain);
    if (bundle === undefined || svid.keyId === undefined) return true;
    return bundle.hasKeyId(svid.keyId);
  }
}
