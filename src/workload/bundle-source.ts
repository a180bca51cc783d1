/** The bundles of both kinds, for who verifies others. */
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { SpiffeError } from "../base/errors.ts";
import { unwrap } from "../base/verdict.ts";
import { TrustDomain } from "../id/index.ts";
import type { JwtBundle, JwtBundleSource } from "../jwt/index.ts";
import { type Logger, silentLogger } from "../telemetry/logger.ts";
import type { X509Bundle, X509BundleSource } from "../x509/index.ts";
import { readBundleDocument } from "./bundle-document.ts";
import { type BundleFeed, type BundleState, DocumentFeed } from "./bundle-feed.ts";
import { StreamedBundles } from "./bundle-streams.ts";
import { type UrlOptions, urlFeed } from "./bundle-url.ts";
import type { OpenOptions, SourceOptions } from "./open.ts";
import { OPEN_NAMES, SOURCE_NAMES } from "./open-names.ts";
import type { JwtBundles, X509Bundles } from "./snapshot.ts";
import type { Source, SourceCounters, SourceState } from "./source.ts";

/** Whose bundle a document is, and what is told about it. */
export interface BundleDocumentOptions extends OpenOptions {
  /**
   * The trust domain, or its name, of a SPIFFE bundle or of PEM certificates: they do not say it themselves (BND-16).
   * Without it the document has to be a SPIFFE Bundle Map.
   */
  readonly trustDomain?: TrustDomain | string | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
}

/** Options of {@link BundleSource.fromUrl}. */
export interface BundleUrlOptions extends BundleDocumentOptions, UrlOptions {
  /** Whose bundle it is; never taken from the URL (FED-04). */
  readonly trustDomain: TrustDomain | string;
}

const OPEN: OptionNames<SourceOptions & OpenOptions> = { ...SOURCE_NAMES, ...OPEN_NAMES };
const GIVEN: OptionNames<Pick<BundleDocumentOptions, "trustDomain">> = { trustDomain: true };
const FILE: OptionNames<BundleDocumentOptions> = { ...GIVEN, ...OPEN_NAMES, clock: true, logger: true };
const URL_NAMES: OptionNames<BundleUrlOptions> = { ...FILE, fetch: true, maxAgeMs: true, refresh: true };

/**
 * Every bundle that is trusted, X.509 and JWT: of a workload, from its agent; or from files and URLs, without an agent.
 * An agent without the JWT profile (Unimplemented) leaves the JWT half empty.
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
  readonly #feed: BundleFeed;

  private constructor(feed: BundleFeed) {
    this.#feed = feed;
  }

  /** A view of two sources that live elsewhere; closing it leaves them as they are. */
  static of(x509: Source<X509Bundles>, jwt: Source<JwtBundles>): BundleSource {
    return new BundleSource(new StreamedBundles(x509, jwt, async () => {}));
  }

  /**
   * Watches the bundles of a Workload API and waits for the first of both kinds; no identity is fetched.
   *
   * @throws SpiffeError `ERR_SPIFFE_TIMEOUT` with socket, phase and last error; `ERR_SPIFFE_BACKEND` on a runtime without
   *   sockets; or what {@link Source.ready} throws
   */
  static async open(options: SourceOptions & OpenOptions = {}): Promise<BundleSource> {
    onlyKnown("BundleSource.open", options, OPEN);
    const openBundleStreams = await loaded(import("./open-bundles.ts"), "openBundleStreams", "sockets");
    return new BundleSource(await openBundleStreams(options));
  }

  /**
   * Takes bundles from a document that is at hand: it stays as it is.
   *
   * @param document a SPIFFE Bundle Map; or, with `trustDomain`, a SPIFFE bundle or PEM
   * @throws SpiffeError `ERR_SPIFFE_BUNDLE`, `ERR_SPIFFE_ID`
   *
   * @example
   * ```ts
   * import { TrustDomain } from "spiffe-edge";
   * import { BundleSource } from "spiffe-edge/workload";
   * const source = BundleSource.fromJson('{"keys":[]}', { trustDomain: "example.org" });
   * console.assert(source.jwtBundleFor(TrustDomain.parse("example.org"))?.isEmpty);
   * ```
   */
  static fromJson(
    document: Uint8Array | string,
    options: Pick<BundleDocumentOptions, "trustDomain"> = {},
  ): BundleSource {
    onlyKnown("BundleSource.fromJson", options, GIVEN);
    const bytes = typeof document === "string" ? new TextEncoder().encode(document) : document;
    const state = unwrap(readBundleDocument(bytes, domainOf(options.trustDomain)), "ERR_SPIFFE_BUNDLE");
    const feed = new DocumentFeed("the given document", { clock: systemClock, logger: silentLogger });
    feed.held.set(state);
    return new BundleSource(feed);
  }

  /**
   * Takes bundles from a file, and again after each change of it. The file is read whole and counts whole (MAP-06). One
   * that breaks a rule or can not be read leaves the bundles as they are, with `lastError`; one that is removed takes all
   * trust with it, until it is there again. Changes count once the file stood still for 250 ms.
   *
   * @param path a SPIFFE Bundle Map; or, with `trustDomain`, a SPIFFE bundle or PEM certificates
   * @param options whose bundle it is; `timeoutMs`: how long to wait for a valid file, 30,000 by default
   * @throws SpiffeError `ERR_SPIFFE_TIMEOUT` with the last trouble, `ERR_SPIFFE_ABORTED`, `ERR_SPIFFE_ID`,
   *   `ERR_SPIFFE_BACKEND` on a runtime without files
   *
   * @example
   * ```ts
   * import { mkdtemp, rm, writeFile } from "node:fs/promises";
   * import { TrustDomain } from "spiffe-edge";
   * import { BundleSource } from "spiffe-edge/workload";
   * const folder = await mkdtemp("/tmp/bundles-");
   * await writeFile(`${folder}/map.json`, '{"trust_domains":{"example.org":{"keys":[]}}}');
   * await using source = await BundleSource.fromFile(`${folder}/map.json`);
   * console.assert(source.x509BundleFor(TrustDomain.parse("example.org"))?.isEmpty);
   * await rm(folder, { recursive: true });
   * ```
   */
  static async fromFile(path: string, options: BundleDocumentOptions = {}): Promise<BundleSource> {
    onlyKnown("BundleSource.fromFile", options, FILE);
    const fileFeed = await loaded(import("./bundle-file.ts"), "fileFeed", "files");
    const feed = fileFeed(path, domainOf(options.trustDomain), deps(options));
    await feed.held.open(options);
    return new BundleSource(feed);
  }

  /**
   * Takes the SPIFFE bundle of a trust domain from its bundle endpoint, profile `https_web`, and again at the refresh hint
   * of the bundle, five minutes without one, never sooner than a minute nor later than an hour (FED-28). TLS is verified
   * by the runtime. Only a 200 counts, of at most 4 MiB; redirects lead to `https:` URLs without user name alone, at most
   * five, and are never remembered (FED-06, FED-07, FED-19 to FED-21). A bundle with a lower sequence than the held one is
   * refused (FED-31). After a failure the held bundle serves on, for `maxAgeMs` since it was last confirmed.
   *
   * Needs nothing but `fetch`. Where timers do not outlive a request, as in workerd, nothing is polled: `ready()` then asks
   * when it is time, so await it in each request.
   *
   * @param url where the bundle is, `https:`, without user name and password
   * @param options whose bundle it is; `fetch`: what sends requests; `timeoutMs`: how long to wait for the first
   * @throws SpiffeError `ERR_SPIFFE_USAGE` for another URL, `ERR_SPIFFE_ID`, `ERR_SPIFFE_TIMEOUT` with the last trouble,
   *   `ERR_SPIFFE_ABORTED`
   *
   * @example
   * ```ts
   * import { TrustDomain } from "spiffe-edge";
   * import { BundleSource } from "spiffe-edge/workload";
   * const fetch = async () => new Response('{"keys":[],"spiffe_refresh_hint":300}');
   * await using source = await BundleSource.fromUrl("https://example.org/bundle", { trustDomain: "example.org", fetch });
   * console.assert(source.jwtBundleFor(TrustDomain.parse("example.org"))?.isEmpty);
   * ```
   */
  static async fromUrl(url: string | URL, options: BundleUrlOptions): Promise<BundleSource> {
    onlyKnown("BundleSource.fromUrl", options, URL_NAMES);
    const trustDomain = domainOf(options.trustDomain);
    if (trustDomain === undefined)
      throw new SpiffeError("ERR_SPIFFE_USAGE", "Expected whose bundle it is: trustDomain");
    const feed = urlFeed(url, trustDomain, options, deps(options));
    await feed.open(options);
    return new BundleSource(feed);
  }

  /** The bundles of the moment; undefined while there are none. */
  get current(): BundleState | undefined {
    return this.#feed.current;
  }

  get state(): SourceState {
    return this.#feed.state;
  }

  get lastError(): SpiffeError | undefined {
    return this.#feed.lastError;
  }

  /** Counts since opening, of all streams or readings together. */
  get counters(): SourceCounters {
    return this.#feed.counters;
  }

  /** Waits until both kinds are held. Throws as {@link Source.ready}. */
  ready(signal?: AbortSignal): Promise<BundleState> {
    return this.#feed.ready(signal);
  }

  /** The bundles, if any, and again after each change of either kind. Ends as {@link Source.updates}. */
  updates(signal?: AbortSignal): AsyncGenerator<BundleState, void, undefined> {
    return this.#feed.updates(signal);
  }

  /** The X.509 bundle of a trust domain; undefined means it is not trusted. */
  x509BundleFor(trustDomain: TrustDomain): X509Bundle | undefined {
    return this.#feed.x509BundleFor(trustDomain);
  }

  /** The JWT bundle of a trust domain; undefined means it is not trusted. */
  jwtBundleFor(trustDomain: TrustDomain): JwtBundle | undefined {
    return this.#feed.jwtBundleFor(trustDomain);
  }

  async close(): Promise<void> {
    await this.#feed.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function domainOf(trustDomain: TrustDomain | string | undefined): TrustDomain | undefined {
  return typeof trustDomain === "string" ? TrustDomain.parse(trustDomain) : trustDomain;
}

/** Takes a part of a module that is loaded late: "browser" in package.json leaves it out where a runtime lacks its like. */
async function loaded<M, K extends keyof M>(module: Promise<M>, name: K, what: string): Promise<M[K]> {
  let cause: unknown;
  const found: Partial<M> = await module.catch((error: unknown) => {
    cause = error;
    return {};
  });
  const part = found[name];
  if (part !== undefined) return part;
  const hint = "Take the bundles by URL, or from a document that is at hand.";
  const sentence = `Expected a runtime with ${what}, such as Node, Bun or Deno`;
  throw new SpiffeError("ERR_SPIFFE_BACKEND", sentence, { hint, cause });
}

function deps({ clock = systemClock, logger = silentLogger }: BundleDocumentOptions): { clock: Clock; logger: Logger } {
  return { clock, logger };
}
