/** What a `BundleSource` is made of: bundles of both kinds, wherever they come from. */
import type { Clock } from "../base/clock.ts";
import type { SpiffeError } from "../base/errors.ts";
import type { TrustDomain } from "../id/index.ts";
import type { JwtBundle } from "../jwt/index.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { X509Bundle } from "../x509/index.ts";
import { sameBundles } from "./bundle-map.ts";
import { Held } from "./held.ts";
import type { SourceCounters, SourceState } from "./source.ts";

/** Bundles by trust domain name, X.509 and JWT apart. */
export interface BundleState {
  readonly x509: ReadonlyMap<string, X509Bundle>;
  readonly jwt: ReadonlyMap<string, JwtBundle>;
}

/** Where bundles come from. */
export interface BundleFeed {
  readonly current: BundleState | undefined;
  readonly state: SourceState;
  readonly lastError: SpiffeError | undefined;
  readonly counters: SourceCounters;
  ready(signal?: AbortSignal): Promise<BundleState>;
  updates(signal?: AbortSignal): AsyncGenerator<BundleState, void, undefined>;
  x509BundleFor(trustDomain: TrustDomain): X509Bundle | undefined;
  jwtBundleFor(trustDomain: TrustDomain): JwtBundle | undefined;
  close(): Promise<void>;
}

/** No bundle of anyone: nothing is trusted. */
export const NO_BUNDLES: BundleState = Object.freeze({ x509: new Map(), jwt: new Map() });

/** A feed of documents, each of which is the whole state (MAP-06). */
export class DocumentFeed implements BundleFeed {
  readonly held: Held<BundleState>;
  /** The reading that goes on beside; never rejects. */
  running: Promise<void> = Promise.resolve();

  constructor(origin: string, options: { clock: Clock; logger: Logger }) {
    const { clock, logger } = options;
    const same = (a: BundleState, b: BundleState) => sameBundles(a.x509, b.x509) && sameBundles(a.jwt, b.jwt);
    this.held = new Held({ origin, clock, logger, same, empty: NO_BUNDLES });
  }

  get current(): BundleState | undefined {
    return this.held.current;
  }

  get state(): SourceState {
    return this.held.state;
  }

  get lastError(): SpiffeError | undefined {
    return this.held.lastError;
  }

  get counters(): SourceCounters {
    return this.held.counters;
  }

  ready(signal?: AbortSignal): Promise<BundleState> {
    return this.held.ready(signal);
  }

  updates(signal?: AbortSignal): AsyncGenerator<BundleState, void, undefined> {
    return this.held.updates(signal);
  }

  x509BundleFor(trustDomain: TrustDomain): X509Bundle | undefined {
    return this.current?.x509.get(trustDomain.name);
  }

  jwtBundleFor(trustDomain: TrustDomain): JwtBundle | undefined {
    return this.current?.jwt.get(trustDomain.name);
  }

  async close(): Promise<void> {
    this.held.close();
    await this.running;
  }
}
