/** X.509 identity and bundles, kept current by the Workload API. */
import { type OptionNames, onlyKnown, plainOptions } from "../base/check-options.ts";
import { timeOf } from "../base/clock.ts";
import { SpiffeError } from "../base/errors.ts";
import type { TrustDomain } from "../id/index.ts";
import type { X509Bundle, X509BundleSource, X509Svid, X509SvidSource } from "../x509/index.ts";
import { CHOICE_NAMES, type Chooser, type Chosen, chooserOf, type IdentityChoice } from "./choice.ts";
import { type HeldClient, holdClient, type OpenOptions, type SourceOptions, whenReady } from "./open.ts";
import { OPEN_NAMES, SOURCE_NAMES } from "./open-names.ts";
import { X509_CONTEXT } from "./profiles.ts";
import type { X509Context } from "./snapshot.ts";
import { Source } from "./source.ts";

/** Options of an {@link X509Source}: where its state comes from, and which of several identities it takes. */
export interface X509SourceOptions extends SourceOptions, IdentityChoice {}

const KNOWN: OptionNames<X509SourceOptions> = { ...SOURCE_NAMES, ...CHOICE_NAMES };
const OPEN: OptionNames<X509SourceOptions & OpenOptions> = { ...KNOWN, ...OPEN_NAMES };

/**
 * The workload's own X.509-SVID and every X.509 bundle it may trust.
 *
 * Rotation replaces the snapshot whole. Time is enforced here: an SVID is not handed out after its `notAfter`, whatever
 * the agent does. After a redaction neither SVID nor bundle is handed out.
 *
 * @example
 * ```ts
 * import { X509Source } from "spiffe-edge/workload";
 * import { Authority } from "spiffe-edge/testing";
 * await using authority = await Authority.start({
 *   trustDomain: "example.org",
 *   entries: [{ id: "spiffe://example.org/web", socket: "web" }],
 * });
 * await using source = await X509Source.open({ socket: authority.socketFor("web") });
 * console.assert(source.x509Svid().id.path === "/web");
 * ```
 */
export class X509Source extends Source<X509Context> implements X509BundleSource, X509SvidSource {
  readonly #chooser: Chooser;
  readonly #held: HeldClient;
  #chosen: (Chosen & { readonly from: X509Context }) | undefined;
  /** Whether the wanted identity was ever there: what is gone was withdrawn. */
  #had = false;

  /**
   * Starts watching; `ready()` tells when the first state has come.
   *
   * @throws SpiffeError `ERR_SPIFFE_ENDPOINT`, `ERR_SPIFFE_USAGE`, `ERR_SPIFFE_ID`
   */
  constructor(options: X509SourceOptions = {}) {
    onlyKnown("X509Source", options, KNOWN);
    const chooser = chooserOf(options);
    const held = holdClient(options);
    super(held.connection, X509_CONTEXT);
    this.#held = held;
    this.#chooser = chooser;
  }

  /**
   * Makes a source and waits for its first state.
   *
   * @throws SpiffeError `ERR_SPIFFE_TIMEOUT` with socket, phase and last error; or what {@link Source.ready} throws
   */
  static async open(options: X509SourceOptions & OpenOptions = {}): Promise<X509Source> {
    onlyKnown("X509Source.open", options, OPEN);
    const source = new X509Source(plainOptions<X509SourceOptions>(options, KNOWN));
    await whenReady(source.opening, options);
    return source;
  }

  /**
   * The workload's SVID, valid now.
   *
   * @throws SpiffeError `ERR_SPIFFE_NOT_READY`, `ERR_SPIFFE_EXPIRED`, `ERR_SPIFFE_CLOSED`; `ERR_SPIFFE_REVOKED` when
   *   the agent has it no more; `ERR_SPIFFE_NO_IDENTITY` when there never was one with the wanted hint or ID
   */
  x509Svid(): X509Svid {
    const state = this.current;
    if (state === undefined) throw this.absence("No X509-SVID");
    const { svid, cause } = this.#choose(state);
    if (svid === undefined) throw this.#missing(state, cause);
    if (this.#isOver(svid)) {
      const sentence = `The X509-SVID of ${svid.id.uri} expired at ${svid.expiresAt.toISOString()} and no newer one came`;
      const options = { reason: "x509.expired", retryable: true, cause: this.lastError } as const;
      throw new SpiffeError("ERR_SPIFFE_EXPIRED", sentence, options);
    }
    return svid;
  }

  /** The bundle of a trust domain; undefined means it is not trusted (WL-12). */
  x509BundleFor(trustDomain: TrustDomain): X509Bundle | undefined {
    return this.current?.bundles.get(trustDomain.name);
  }

  override async close(): Promise<void> {
    await super.close();
    await this.#held.release();
  }

  protected override unfit(state: X509Context): "expired" | "revoked" | undefined {
    const { svid } = this.#choose(state);
    if (svid === undefined) return "revoked";
    return this.#isOver(svid) ? "expired" : undefined;
  }

  protected override onState(state: X509Context): void {
    this.#choose(state);
  }

  #isOver(svid: X509Svid): boolean {
    return !(timeOf(this.#held.connection.clock) <= svid.expiresAt.getTime());
  }

  #choose(state: X509Context): Chosen {
    if (this.#chosen?.from !== state) {
      this.#chosen = { ...this.#chooser.choose(state.svids), from: state };
      this.#had ||= this.#chosen.svid !== undefined;
    }
    return this.#chosen;
  }

  #missing({ svids }: X509Context, cause: unknown): SpiffeError {
    const { wanted } = this.#chooser;
    if (this.#had) return this.absence(`No X509-SVID with ${wanted}`);
    const there = svids.map(({ id, hint }) => (hint === undefined ? `${id}` : `${id} with ${JSON.stringify(hint)}`));
    const sentence = `No X509-SVID has ${wanted}; there are ${there.join(", ")}`;
    return new SpiffeError("ERR_SPIFFE_NO_IDENTITY", sentence, { reason: "workload.no-svid", cause });
  }
}
