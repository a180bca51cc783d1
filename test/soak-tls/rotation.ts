/** The authority of the soak: new SVIDs at every tick, a new CA again and again, and a witness who notes when each CA signs. */
import { setTimeout as wait } from "node:timers/promises";
import { Authority } from "../../src/authority/index.ts";
import { Workload } from "../../src/workload/index.ts";
import { verifyX509Svid } from "../../src/x509/index.ts";
import { DOMAIN, GUEST, ORDERS, PROBER, WEB } from "./world.ts";

export interface Pace {
  /** Milliseconds between two SVIDs of a workload. */
  readonly svidEveryMs: number;
  /** Milliseconds between two CAs, at least `prepareMs`. */
  readonly caEveryMs: number;
  /** Milliseconds for which a CA is published before it signs. */
  readonly prepareMs: number;
}

/** Life of an SVID: long beside the ticks, short beside the soak, so that old CAs leave the bundle too. */
const TTL_MS = 15_000;

function entries(ttlMs: number) {
  return [
    { id: ORDERS, socket: "orders", ttlMs },
    { id: WEB, socket: "web", ttlMs },
    { id: GUEST, socket: "guest", ttlMs },
    { id: PROBER, socket: "prober", ttlMs },
  ];
}

/** Rotates until it is closed. */
export class Rotation {
  readonly authority: Authority;
  /** Changes of the CA so far, and new SVIDs per workload. */
  cas = 0;
  svids = 0;
  /** The shortest time from a CA's appearance in a workload's bundle to the first SVID that it signed. */
  shortestLeadMs: number = Number.POSITIVE_INFINITY;
  /** CAs that signed and have left the bundle. */
  left = 0;
  readonly #pace: Pace;
  readonly #witness: Workload;
  readonly #stop = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  private constructor(authority: Authority, witness: Workload, pace: Pace) {
    this.authority = authority;
    this.#witness = witness;
    this.#pace = pace;
  }

  static async start(pace: Pace): Promise<Rotation> {
    const { prepareMs } = pace;
    const authority = await Authority.start({ trustDomain: DOMAIN, entries: entries(TTL_MS), prepareMs });
    const witness = await Workload.open({ socket: authority.socketFor("orders") });
    const rotation = new Rotation(authority, witness, pace);
    rotation.#running = Promise.all([rotation.#renew(), rotation.#change(), rotation.#watch()]);
    return rotation;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#witness.close();
    await this.authority.close();
  }

  async #until(turn: () => Promise<void>, everyMs: number): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const next = wait(everyMs, undefined, { signal: this.#stop.signal }).catch(() => {});
      await turn();
      await next;
    }
  }

  /** An entry with another life gets a new SVID. */
  #renew(): Promise<void> {
    return this.#until(async () => {
      this.svids++;
      await this.authority.setEntries(entries(TTL_MS + (this.svids % 2) * 1_000));
    }, this.#pace.svidEveryMs);
  }

  #change(): Promise<void> {
    return this.#until(async () => {
      await this.authority.rotate();
      this.cas++;
    }, this.#pace.caEveryMs);
  }

  async #watch(): Promise<void> {
    const published = new Map<string, number>();
    const signed = new Set<string>();
    const look = async () => {
      const svid = this.#witness.x509.x509Svid();
      const now = performance.now();
      const there = this.#witness.x509.x509BundleFor(svid.id.trustDomain)!.authorities.map((each) => each.serialNumber);
      for (const serial of there) if (!published.has(serial)) published.set(serial, now);
      this.left = [...signed].filter((serial) => !there.includes(serial)).length;
      const { chain } = await verifyX509Svid(svid.certificates, this.#witness.x509);
      const signer = chain.at(-1)!.serialNumber;
      if (signed.has(signer)) return;
      // The first one was there before anybody could look.
      if (signed.size > 0) this.shortestLeadMs = Math.min(this.shortestLeadMs, now - published.get(signer)!);
      signed.add(signer);
    };
    await look();
    for await (const _ of this.#witness.x509.updates(this.#stop.signal)) await look();
  }
}
