/** An upstream for bytes: the next of its addresses that can be dialled, and none while it is left alone. */
import type { Duplex } from "node:stream";
import { type Clock, isSpiffeError, type Reason, SpiffeError } from "../../base/index.ts";
import { SpiffeId } from "../../id/index.ts";
import { cut } from "../../tls/cut.ts";
import type { TlsIdentity } from "../../tls/index.ts";
import type { ByteUpstreamConfig } from "../config-tcp.ts";
import { Addresses, copied, noneCounted } from "../upstream/addresses.ts";
import { resolveName } from "../upstream/names.ts";
import { Site } from "../upstream/site.ts";
import type { Counting } from "../upstream/tries.ts";
import type { UpstreamParts, UpstreamState } from "../upstream.ts";
import { isOwnTrouble } from "../upstream-problem.ts";
import { type ByteDial, ByteEndpoint } from "./byte-endpoint.ts";
import { leaveProxied } from "./checked.ts";

/** Why there is no connection, as the log and the metrics call it. */
export type DialFault = Extract<
  Reason,
  "upstream.unreachable" | "upstream.identity" | "upstream.timeout" | "upstream.breaker-open" | "upstream.unhealthy"
>;

/** An open connection. */
export interface Dialled {
  readonly socket: Duplex;
  /** Where it goes. */
  readonly address: string;
}

/** Which fault an error of a dial stands for; the own identity lost and a wrong peer are both of identity. */
export function faultOf(error: unknown): DialFault {
  if (!isSpiffeError(error)) return "upstream.unreachable";
  if (error.code === "ERR_SPIFFE_TIMEOUT") return "upstream.timeout";
  const { reason } = error;
  if (reason === "upstream.breaker-open" || reason === "upstream.unhealthy") return reason;
  const phase = (error as { phase?: string }).phase;
  return phase === "verify" || phase === "identity" ? "upstream.identity" : "upstream.unreachable";
}

/** How a failed dial is counted, where not as unreachable. */
const OUTCOMES: Partial<Record<DialFault, "identity" | "timeout">> = {
  "upstream.identity": "identity",
  "upstream.timeout": "timeout",
};

/** An upstream. */
export class ByteUpstream {
  readonly name: string;
  readonly config: ByteUpstreamConfig;
  readonly #addresses: Addresses<ByteEndpoint>;
  readonly #clock: Clock;
  readonly #counters: Counting = noneCounted();
  readonly #checking = new AbortController();
  #checks: Promise<void> = Promise.resolve();

  constructor(config: ByteUpstreamConfig, identity: TlsIdentity, clock: Clock, parts: UpstreamParts = {}) {
    const { resolve = resolveName, random = Math.random } = parts;
    this.name = config.name;
    this.config = config;
    this.#clock = clock;
    const id = config.id === undefined ? undefined : SpiffeId.parse(config.id);
    const dial: ByteDial = { id, identity, clock, timeoutMs: config.connectTimeoutMs };
    const siteOf = (target: ByteUpstreamConfig["targets"][number]) =>
      new Site(target.host, (host) => new ByteEndpoint(target, host, dial), clock, resolve);
    this.#addresses = new Addresses(config.targets.map(siteOf), clock, random, this.#counters);
  }

  /** Whether connections begin with a PROXY header. */
  get proxyHeader(): boolean {
    return this.config.proxyHeader;
  }

  /** Begins to check health, where the configuration says so. */
  start(): void {
    const { health } = this.config;
    if (health === undefined) return;
    const check = (endpoint: ByteEndpoint, timeoutMs: number, signal: AbortSignal) =>
      this.#check(endpoint, timeoutMs, signal);
    this.#checks = this.#addresses.watch({ everyMs: health.everyMs, check }, this.#checking.signal);
  }

  /** Checks no more; open connections are nothing of this. */
  async close(): Promise<void> {
    this.#checking.abort();
    await this.#checks;
  }

  /**
   * Opens a connection to the address whose turn it is, or to the next that can be reached. No byte has been sent when
   * one fails, so that each may be tried.
   *
   * @throws what the last of them failed with; `ERR_SPIFFE_UPSTREAM` while the upstream is left alone or no address is healthy
   */
  async connect(signal: AbortSignal): Promise<Dialled> {
    await this.#addresses.ready();
    const entered = this.#addresses.enter();
    if ("status" in entered) {
      const { reason, detail } = entered;
      throw new SpiffeError("ERR_SPIFFE_UPSTREAM", detail, { ...(reason === undefined ? {} : { reason }) });
    }
    const { line, ticket } = entered;
    let fault: unknown;
    for (const [made, endpoint] of line.entries()) {
      if (made > 0) this.#counters.retries++;
      try {
        const socket = await endpoint.dial(signal);
        endpoint.noteDial(true);
        this.#counters.tries.answered++;
        ticket.answered();
        return { socket, address: endpoint.address };
      } catch (error) {
        fault = error;
        // no word on the upstream, and no other address would change it
        if (signal.aborted || isOwnTrouble(error)) {
          this.#counters.tries.aborted++;
          ticket.left();
          throw error;
        }
        this.#counters.tries[OUTCOMES[faultOf(error)] ?? "unreachable"]++;
        endpoint.noteDial(false);
        if (ticket.probe) break;
      }
    }
    ticket.failed();
    throw fault;
  }

  /** How it is now; a copy. */
  state(): UpstreamState {
    const { breaker, states: addresses } = this.#addresses;
    return { breaker, addresses, counters: copied(this.#counters) };
  }

  /** Whether an address can be dialled, and proves who it is. */
  async #check(endpoint: ByteEndpoint, timeoutMs: number, signal: AbortSignal): Promise<boolean | undefined> {
    const stop = new AbortController();
    const leave = () => stop.abort();
    signal.addEventListener("abort", leave, { once: true });
    void this.#clock.sleep(timeoutMs, stop.signal).then(leave, () => {});
    try {
      const socket = await endpoint.dial(stop.signal);
      if (this.proxyHeader) leaveProxied(socket, this.#clock, this.#checking.signal);
      else cut(socket);
      return true;
    } catch (error) {
      return signal.aborted || isOwnTrouble(error) ? undefined : false;
    } finally {
      signal.removeEventListener("abort", leave);
      stop.abort();
    }
  }
}
