/** The upstreams in use: each follows the identity until no request goes there any more. */
import type { Logger } from "../telemetry/logger.ts";
import type { TlsIdentity } from "../tls/index.ts";
import type { RunningRequests } from "./running.ts";
import type { Upstream } from "./upstream.ts";

/** An upstream that follows the identity, until it is stopped. */
interface Follower {
  readonly stop: AbortController;
  readonly over: Promise<void>;
}

/** Begins with upstreams and lets them go. */
export class Followers {
  readonly #logger: Logger;
  readonly #running: RunningRequests;
  readonly #all = new Map<Upstream, Follower>();

  constructor(logger: Logger, running: RunningRequests) {
    this.#logger = logger;
    this.#running = running;
  }

  /** Begins with those that are new, and lets those go that are not among them. */
  follow(upstreams: Iterable<Upstream>, identity: TlsIdentity): void {
    const wanted = new Set(upstreams);
    for (const upstream of wanted) if (!this.#all.has(upstream)) this.#begin(upstream, identity);
    for (const upstream of this.#all.keys()) if (!wanted.has(upstream)) void this.#retire(upstream);
  }

  /** Ends all, with what runs there. */
  async close(): Promise<void> {
    const all = [...this.#all.values()];
    for (const { stop } of all) stop.abort();
    await Promise.all(all.map(({ over }) => over));
  }

  #begin(upstream: Upstream, identity: TlsIdentity): void {
    const { name, config } = upstream;
    if (config.unsafePlain) this.#logger.warn(`upstream ${name} is reached in plaintext over a network`);
    const stop = new AbortController();
    const over = upstream.follow(identity, stop.signal).catch((error) => {
      if (!stop.signal.aborted) this.#logger.error("the identity gives no more updates", { error: String(error) });
    });
    this.#all.set(upstream, { stop, over });
  }

  /** What runs there ends in peace; asked again of one that is going, it changes nothing. */
  async #retire(upstream: Upstream): Promise<void> {
    upstream.retire();
    await this.#running.leftAlone(upstream);
    const follower = this.#all.get(upstream);
    follower?.stop.abort();
    await follower?.over;
    this.#all.delete(upstream);
  }
}
