/** The way out: plaintext of this machine in, mutual TLS to one pinned peer out. */
import { createServer, type Server, type Socket } from "node:net";
import { SpiffeError } from "../../base/index.ts";
import { cut } from "../../tls/cut.ts";
import { listening } from "../../tls/listening.ts";
import { stopReading } from "../../tls/read-stop.ts";
import { openSocketFile } from "../../tls/socket-file.ts";
import type { EgressConfig } from "../config-tcp.ts";
import { isLoopback } from "../loopback.ts";
import { type ByteUpstream, faultOf } from "./byte-upstream.ts";
import { begin, type ConnectionEnd, type ConnectionStory, endOf, type Recorder, tell } from "./connection-log.ts";
import { splice } from "./splice.ts";

function ignore(): void {}

/** One way out; open it once. */
export class Egress {
  readonly name: string;
  readonly upstream: string;
  /** Connections that were closed at once because there were as many as may be. */
  overLimit = 0;
  readonly #config: EgressConfig;
  readonly #upstream: ByteUpstream;
  readonly #recorder: Recorder;
  readonly #fd: number | undefined;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #address = "";
  #port = 0;
  #remove: () => Promise<void> = async () => {};
  #late = false;
  #closed = false;
  #onEmpty: () => void = ignore;

  /** @param fd a socket that was opened and passed on, in place of the configured one */
  constructor(config: EgressConfig, upstream: ByteUpstream, recorder: Recorder, fd?: number) {
    this.#fd = fd;
    this.name = config.name;
    this.upstream = upstream.name;
    this.#config = config;
    this.#upstream = upstream;
    this.#recorder = recorder;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => void this.#take(socket));
    this.#server.once("close", () => {
      this.#closed = true;
    });
  }

  /** The bound address, or the path of the socket. */
  get address(): string {
    return this.#address;
  }

  get port(): number {
    return this.#port;
  }

  get open(): number {
    return this.#sockets.size;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Opens it.
   *
   * @throws `ERR_SPIFFE_PORT_IN_USE`, `ERR_SPIFFE_PERMISSION`, or `ERR_SPIFFE_CONFIG` for a place that others can reach
   */
  async start(): Promise<void> {
    const { place, name } = this.#config;
    const called = `egress ${name}`;
    if (this.#fd !== undefined) {
      // a unix socket is its path; who may open it is said by whoever made it
      const bound = await listening(this.#server, { fd: this.#fd, name: called });
      if (!bound.address.startsWith("/") && !isLoopback(bound.address)) {
        const at = bound.address === "" ? "at no address that can be told" : `at ${bound.address}`;
        const why = `Expected ${called} on loopback or a unix socket; the socket that was passed is ${at}`;
        throw new SpiffeError("ERR_SPIFFE_CONFIG", why, { phase: "listen" });
      }
      this.#address = bound.address;
      this.#port = bound.port;
    } else if ("path" in place) {
      const open = (path: string) => listening(this.#server, { path, name: called });
      this.#remove = await openSocketFile(place.path, place.mode, open);
      this.#address = place.path;
    } else {
      const bound = await listening(this.#server, { ...place, name: called });
      // a name may lead elsewhere than it says
      if (!isLoopback(bound.address)) {
        const why = `Expected ${called} on loopback; ${place.address} is ${bound.address}, which others can reach`;
        throw new SpiffeError("ERR_SPIFFE_CONFIG", why);
      }
      this.#address = bound.address;
      this.#port = bound.port;
    }
    this.#server.on("error", (error) =>
      this.#recorder.logger.error("egress error", { egress: name, error: error.message }),
    );
  }

  async #take(socket: Socket): Promise<void> {
    socket.on("error", ignore);
    if (this.#sockets.size >= this.#config.maxConnections) {
      this.overLimit++;
      return void cut(socket);
    }
    stopReading(socket);
    this.#sockets.add(socket);
    const story = begin(this.#recorder.clock, { listener: this.name, address: socket.remoteAddress });
    story.upstream = this.upstream;
    let ended: ConnectionEnd = "internal";
    try {
      ended = await this.#carry(socket, story);
    } catch (error) {
      story.error = error;
    } finally {
      cut(socket);
      tell(this.#recorder, story, this.#late && ended === "caller-aborted" ? "drain-deadline" : ended);
      this.#sockets.delete(socket);
      if (this.#sockets.size === 0) this.#onEmpty();
    }
  }

  async #carry(socket: Socket, story: ConnectionStory): Promise<ConnectionEnd> {
    const gone = new AbortController();
    socket.once("close", () => gone.abort());
    let open: Awaited<ReturnType<ByteUpstream["connect"]>>;
    try {
      open = await this.#upstream.connect(gone.signal);
    } catch (error) {
      if (gone.signal.aborted) return "caller-aborted";
      story.error = error;
      return faultOf(error);
    }
    story.target = open.address;
    const { idleMs } = this.#config;
    const { ended, bytesIn, bytesOut, error } = await splice(socket, open.socket, {
      idleMs,
      clock: this.#recorder.clock,
    });
    Object.assign(story, { bytesIn, bytesOut, ...(error === undefined ? {} : { error }) });
    return endOf(ended, error);
  }

  /** Takes nothing new, waits for what runs, cuts it at the deadline. */
  async close(deadlineMs: number): Promise<{ cut: number }> {
    const empty = new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
    });
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await this.#remove();
    const timer = new AbortController();
    if (this.#sockets.size > 0) {
      await Promise.race([empty, this.#recorder.clock.sleep(deadlineMs, timer.signal).catch(ignore)]);
    }
    timer.abort();
    const left = [...this.#sockets];
    this.#late = true;
    for (const socket of left) cut(socket);
    await closed;
    return { cut: left.length };
  }
}
