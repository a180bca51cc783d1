/** X.509 identity and bundles from files that somebody else keeps current. */
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { type Clock, systemClock, timeOf } from "../base/clock.ts";
import { isSpiffeError, SpiffeError } from "../base/errors.ts";
import type { SpiffeId, TrustDomain } from "../id/index.ts";
import { type Logger, silentLogger } from "../telemetry/logger.ts";
import type { X509Bundle, X509BundleSource, X509Svid, X509SvidSource } from "../x509/index.ts";
import { FILE_NAMES, type IdentityFiles, locator, readIdentity } from "./file-identity.ts";
import { isMissing } from "./file-read.ts";
import { followFiles } from "./file-watch.ts";
import { asSpiffeError, Held } from "./held.ts";
import type { OpenOptions } from "./open.ts";
import { OPEN_NAMES } from "./open-names.ts";
import { snapshot, type X509Context } from "./snapshot.ts";
import type { SourceCounters, SourceState } from "./source.ts";
import { sameX509Context } from "./x509-messages.ts";

/** Which files, and how to follow them. */
export type FileSourceOptions = IdentityFiles &
  OpenOptions & { readonly clock?: Clock | undefined; readonly logger?: Logger | undefined };

const KNOWN: OptionNames<FileSourceOptions> = { ...FILE_NAMES, ...OPEN_NAMES, clock: true, logger: true };

/**
 * The workload's own X.509-SVID and the bundles it trusts, from PEM files. `listen`, `connect`, `createFetch` and all that
 * takes a `Workload` for its certificates takes it as well.
 *
 * The files are read together and judged as an answer of the Workload API is (S-11): the key belongs to the leaf, and the
 * chain ends in the own trust domain's bundle; else the last good state stays, with `lastError`. Changes count once all
 * files stood still for 250 ms. A certificate, a key or the own bundle that is removed takes the identity with it, another
 * bundle its trust domain, until it is there again.
 *
 * @example
 * ```ts
 * import { mkdtemp, rm } from "node:fs/promises";
 * import { FileSource, Workload } from "spiffe-edge/workload";
 * import { Authority } from "spiffe-edge/testing";
 * await using authority = await Authority.start({
 *   trustDomain: "example.org",
 *   entries: [{ id: "spiffe://example.org/web", socket: "web" }],
 * });
 * await using workload = await Workload.open({ socket: authority.socketFor("web") });
 * const folder = await mkdtemp("/tmp/svid-");
 * const [certificates, privateKey, bundle] = ["svid.pem", "key.pem", "bundle.pem"].map((name) => `${folder}/${name}`);
 * await workload.x509.x509Svid().save(certificates, privateKey);
 * await authority.x509Bundle().save(bundle);
 * await using source = await FileSource.open({ certificates, privateKey, bundles: { "example.org": bundle } });
 * console.assert(source.id.uri === "spiffe://example.org/web");
 * await rm(folder, { recursive: true });
 * ```
 */
export class FileSource implements X509BundleSource, X509SvidSource {
  readonly #held: Held<X509Context>;
  readonly #running: Promise<void>;
  #sequence = 0;
  #id: SpiffeId | undefined;

  private constructor(options: FileSourceOptions) {
    const { origin, locate } = locator(options);
    const { clock = systemClock, logger = silentLogger } = options;
    const same: (a: X509Context, b: X509Context) => boolean = sameX509Context;
    const empty = snapshot<X509Context>({ svids: [], bundles: new Map() }, 0, 0);
    this.#held = new Held({ origin, clock, logger, same, empty });
    this.#running = followFiles({
      paths: async () => (await locate()).all,
      read: async (last) => this.#take(await readIdentity(locate, clock).catch(asSpiffeError), last),
      clock,
      signal: this.#held.closing,
    });
  }

  /**
   * Reads the files, and waits until they hold an identity that is valid now.
   *
   * @param options `credentials`: a file of private key and chain; or `certificates` and `privateKey`; with `bundles`: file
   *   by trust domain name, PEM or SPIFFE bundle, the own one among them; or `folder`: holds `credential-bundle.pem` and
   *   `<trust domain>.spiffe-trust-bundle.pem`; `timeoutMs`: how long to wait, 30,000 by default
   * @throws SpiffeError `ERR_SPIFFE_USAGE` for other files or options than these, `ERR_SPIFFE_ID` for the name of a trust domain,
   *   `ERR_SPIFFE_TIMEOUT` with the last trouble, `ERR_SPIFFE_ABORTED`
   */
  static async open(options: FileSourceOptions): Promise<FileSource> {
    onlyKnown("FileSource.open", options, KNOWN);
    const source = new FileSource(options);
    await source.#held.open(options);
    return source;
  }

  /** This source: what a `Workload` has under this name. */
  get x509(): this {
    return this;
  }

  /** The SPIFFE ID of the SVID, or of the last one there was. */
  get id(): SpiffeId {
    return this.#id!;
  }

  /** The newest valid state, whole and frozen; undefined after a removal and once closed. */
  get current(): X509Context | undefined {
    return this.#held.current;
  }

  get state(): SourceState {
    const svid = this.current?.svids[0];
    return svid !== undefined && this.#isOver(svid) ? "expired" : this.#held.state;
  }

  /** The newest trouble, also after it has passed. */
  get lastError(): SpiffeError | undefined {
    return this.#held.lastError;
  }

  /** Counts since opening; `streams` counts the readings, `denied` the removals. */
  get counters(): SourceCounters {
    return this.#held.counters;
  }

  /** Waits until a state is held. Throws `ERR_SPIFFE_ABORTED`, `ERR_SPIFFE_CLOSED`. */
  ready(signal?: AbortSignal): Promise<X509Context> {
    return this.#held.ready(signal);
  }

  /** The current state, if any, then each newer one; after a removal an empty one. Ends with the signal or the source. */
  updates(signal?: AbortSignal): AsyncGenerator<X509Context, void, undefined> {
    return this.#held.updates(signal);
  }

  /**
   * The workload's SVID, valid now.
   *
   * @throws SpiffeError `ERR_SPIFFE_EXPIRED`, `ERR_SPIFFE_REVOKED` after a removal, `ERR_SPIFFE_CLOSED`
   */
  x509Svid(): X509Svid {
    const svid = this.current?.svids[0];
    if (svid === undefined) throw this.#held.absence("No X509-SVID");
    if (!this.#isOver(svid)) return svid;
    const sentence = `The X509-SVID of ${svid.id.uri} expired at ${svid.expiresAt.toISOString()} and no newer one came`;
    const options = { reason: "x509.expired", retryable: true, cause: this.lastError } as const;
    throw new SpiffeError("ERR_SPIFFE_EXPIRED", sentence, options);
  }

  /** The bundle of a trust domain; undefined means it is not trusted. */
  x509BundleFor(trustDomain: TrustDomain): X509Bundle | undefined {
    return this.current?.bundles.get(trustDomain.name);
  }

  async close(): Promise<void> {
    this.#held.close();
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #isOver(svid: X509Svid): boolean {
    return !(timeOf(this.#held.clock) <= svid.expiresAt.getTime());
  }

  #take(read: Awaited<ReturnType<typeof readIdentity>> | SpiffeError, last: boolean): "done" | "torn" | "failed" {
    const held = this.#held;
    if (!(read instanceof SpiffeError)) {
      held.reading();
      this.#id = read.svids[0]!.id;
      held.set(snapshot<X509Context>(read, held.clock.now(), ++this.#sequence));
      return "done";
    }
    const invalid = isSpiffeError(read, "ERR_SPIFFE_X509_SVID") || isSpiffeError(read, "ERR_SPIFFE_BUNDLE");
    if (invalid && !last) return "torn";
    held.reading();
    if (isMissing(read)) held.withdraw("revoked", read);
    else held.trouble(read, invalid);
    return "failed";
  }
}
