/** One address of an upstream for bytes: dialled anew for each connection, in plaintext or proven by its SPIFFE ID. */
import { connect as dialPlain, isIP, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type Clock, isSpiffeError, SpiffeError } from "../../base/index.ts";
import type { SpiffeId } from "../../id/index.ts";
import { connectVouched } from "../../tls/connect.ts";
import type { TlsIdentity } from "../../tls/index.ts";
import { stopReading } from "../../tls/read-stop.ts";
import type { ByteTarget } from "../config-tcp.ts";
import { Standing } from "../upstream/standing.ts";

/** What the addresses of one upstream share. */
export interface ByteDial {
  /** Who must answer, at whichever address; undefined for plaintext. */
  readonly id: SpiffeId | undefined;
  readonly identity: TlsIdentity;
  readonly clock: Clock;
  /** Milliseconds to an open connection. */
  readonly timeoutMs: number;
}

/** An address. */
export class ByteEndpoint extends Standing {
  readonly host: string | undefined;
  readonly #target: ByteTarget;
  readonly #settings: ByteDial;

  /** @param host where it is dialled: the target's own, or an address that its name leads to */
  constructor(target: ByteTarget, host: string | undefined, settings: ByteDial) {
    super(settings.clock);
    this.host = host;
    this.#target = target;
    this.#settings = settings;
  }

  /** The address for logs and status: as written, unless a name led to it. */
  get address(): string {
    const { host: written, url, tls, port } = this.#target;
    if (this.host === written || this.host === undefined) return url;
    return `${tls ? "tls" : "tcp"}://${this.host.includes(":") ? `[${this.host}]` : this.host}:${port}`;
  }

  /** Nothing is kept between connections. */
  retire(): void {}

  close(): void {}

  /** Opens a connection, proven where there is an ID; reads nothing of it. */
  async dial(signal: AbortSignal): Promise<Duplex> {
    const { id, identity, clock, timeoutMs } = this.#settings;
    const until = clock.monotonic() + timeoutMs;
    const plain = await this.#open(signal);
    if (id === undefined) return plain;
    try {
      const { host = "" } = this.#target;
      // on the open socket, so that its reading can be stopped on every runtime; without ALPN, which tells these bytes of others
      // from requests of the gateway's own
      const { socket } = await connectVouched(identity, {
        socket: plain,
        peer: id,
        timeoutMs: Math.max(1, until - clock.monotonic()),
        clock,
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

  async #open(signal: AbortSignal): Promise<Socket> {
    const { socketPath, port = 0 } = this.#target;
    const { clock, timeoutMs } = this.#settings;
    const { address, host } = this;
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
        open.on("error", (cause) => reject(unreachable(address, cause)));
        open.once("close", () => reject(unreachable(address, new Error("closed"))));
        const gone = () =>
          reject(new SpiffeError("ERR_SPIFFE_ABORTED", `The caller left before ${address} was reached`));
        if (signal.aborted) gone();
        signal.addEventListener("abort", gone, { once: true, signal: stop.signal });
        const late = `No connection to ${address} within ${timeoutMs} ms`;
        clock.sleep(timeoutMs, stop.signal).then(
          () => reject(new SpiffeError("ERR_SPIFFE_TIMEOUT", late, { phase: "connect", retryable: true })),
          () => {},
        );
      });
    } catch (error) {
      socket?.destroy();
      // a runtime that lacks the permission to dial throws instead of emitting
      throw isSpiffeError(error) ? error : unreachable(address, error as Error);
    } finally {
      stop.abort();
    }
  }
}

function unreachable(address: string, cause: Error): SpiffeError {
  return new SpiffeError("ERR_SPIFFE_UPSTREAM", `Expected to reach ${address}: ${cause.message}`, {
    reason: "upstream.unreachable",
    phase: "connect",
    cause,
    retryable: true,
  });
}
