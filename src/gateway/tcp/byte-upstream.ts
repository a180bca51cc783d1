/** An upstream for bytes: the next of its addresses that can be dialled, in plaintext or proven by its SPIFFE ID. */
import { connect as dialPlain, isIP, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type Clock, isSpiffeError, type Reason, SpiffeError } from "../../base/index.ts";
import { SpiffeId } from "../../id/index.ts";
import { connect as dialVerified, type TlsIdentity } from "../../tls/index.ts";
import { stopReading } from "../../tls/read-stop.ts";
import type { ByteTarget, ByteUpstreamConfig } from "../config-tcp.ts";

/** Why there is no connection, as the log and the metrics call it. */
export type DialFault = Extract<Reason, "upstream.unreachable" | "upstream.identity" | "upstream.timeout">;

/** An open connection. */
export interface Dialled {
  readonly socket: Duplex;
  readonly target: ByteTarget;
}

/** Which fault an error of a dial stands for; the own identity lost and a wrong peer are both of identity. */
export function faultOf(error: unknown): DialFault {
  if (!isSpiffeError(error)) return "upstream.unreachable";
  if (error.code === "ERR_SPIFFE_TIMEOUT") return "upstream.timeout";
  const phase = (error as { phase?: string }).phase;
  return phase === "verify" || phase === "identity" ? "upstream.identity" : "upstream.unreachable";
}

/** An upstream. */
export class ByteUpstream {
  readonly name: string;
  readonly #config: ByteUpstreamConfig;
  readonly #identity: TlsIdentity;
  readonly #clock: Clock;
  readonly #id: SpiffeId | undefined;
  #turn = 0;

  constructor(config: ByteUpstreamConfig, identity: TlsIdentity, clock: Clock) {
    this.name = config.name;
    this.#config = config;
    this.#identity = identity;
    this.#clock = clock;
    this.#id = config.id === undefined ? undefined : SpiffeId.parse(config.id);
  }

  /** Whether connections begin with a PROXY header. */
  get proxyHeader(): boolean {
    return this.#config.proxyHeader;
  }

  /**
   * Opens a connection to the address whose turn it is, or to the next that can be reached. No byte has been sent when
   * one fails, so that each may be tried.
   *
   * @throws what the last of them failed with
   */
  async connect(signal: AbortSignal): Promise<Dialled> {
    const { targets } = this.#config;
    const first = this.#turn++ % targets.length;
    let fault: unknown;
    for (const target of [...targets.slice(first), ...targets.slice(0, first)]) {
      try {
        return { socket: await this.#dial(target, signal), target };
      } catch (error) {
        fault = error;
        if (signal.aborted) break;
      }
    }
    throw fault;
  }

  async #dial(target: ByteTarget, signal: AbortSignal): Promise<Duplex> {
    const { connectTimeoutMs: timeoutMs } = this.#config;
    const until = this.#clock.monotonic() + timeoutMs;
    const plain = await this.#open(target, timeoutMs, signal);
    if (this.#id === undefined) return plain;
    try {
      const { host = "" } = target;
      // on the open socket, so that its reading can be stopped on every runtime
      const { socket } = await dialVerified(this.#identity, {
        socket: plain,
        peer: this.#id,
        timeoutMs: Math.max(1, until - this.#clock.monotonic()),
        clock: this.#clock,
        signal,
        ...(isIP(host) === 0 ? { servername: host.replace(/\.$/, "") } : {}),
      });
      socket.allowHalfOpen = true;
      stopReading(socket);
      return socket;
    } catch (error) {
      plain.destroy();
      throw error;
    }
  }

  async #open(target: ByteTarget, timeoutMs: number, signal: AbortSignal): Promise<Socket> {
    const { socketPath, host, port = 0, url } = target;
    const stop = new AbortController();
    let socket: Socket | undefined;
    try {
      const open = dialPlain({
        ...(socketPath === undefined ? { host, port } : { path: socketPath }),
        allowHalfOpen: true,
      });
      socket = open;
      open.setNoDelay(true);
      return await new Promise<Socket>((resolve, reject) => {
        open.once("connect", () => resolve(open));
        // stays: a connection may break at any time, which is no error of anybody's
        open.on("error", (cause) => reject(unreachable(url, cause)));
        open.once("close", () => reject(unreachable(url, new Error("closed"))));
        const gone = () => reject(new SpiffeError("ERR_SPIFFE_ABORTED", `The caller left before ${url} was reached`));
        if (signal.aborted) gone();
        signal.addEventListener("abort", gone, { once: true, signal: stop.signal });
        const late = `No connection to ${url} within ${timeoutMs} ms`;
        this.#clock.sleep(timeoutMs, stop.signal).then(
          () => reject(new SpiffeError("ERR_SPIFFE_TIMEOUT", late, { phase: "connect", retryable: true })),
          () => {},
        );
      });
    } catch (error) {
      socket?.destroy();
      // a runtime that lacks the permission to dial throws instead of emitting
      throw isSpiffeError(error) ? error : unreachable(url, error as Error);
    } finally {
      stop.abort();
    }
  }
}

function unreachable(url: string, cause: Error): SpiffeError {
  return new SpiffeError("ERR_SPIFFE_UPSTREAM", `Expected to reach ${url}: ${cause.message}`, {
    reason: "upstream.unreachable",
    phase: "connect",
    cause,
    retryable: true,
  });
}
