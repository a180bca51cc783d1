/** The HTTP/2 connections to one agent, each asked with a PING whether it still has another end. */
import type { ClientHttp2Stream, ClientSessionOptions, Http2Session, OutgoingHttpHeaders } from "node:http2";
import { Http2SessionManager } from "@connectrpc/connect-node";
import type { Clock } from "../base/clock.ts";
import type { SpiffeError } from "../base/errors.ts";

/** What Connect's transports need of a session manager. */
type SessionManager = Pick<Http2SessionManager, "authority" | "request" | "notifyResponseByteRead">;

/** How {@link KeptSessions} dials and asks. */
export interface KeptSessionsOptions {
  /** Makes the `:authority` of requests; the socket comes from `dial`. */
  readonly baseUrl: string;
  readonly dial: NonNullable<ClientSessionOptions["createConnection"]>;
  /** Milliseconds of silence on a connection with open streams after which it is asked. */
  readonly keepaliveMs: number;
  readonly clock: Clock;
  /** The error of every call on a connection that gave no answer. */
  readonly lost: () => SpiffeError;
}

/** A new connection is asked earlier: whoever accepts it and says nothing is found before the user's patience ends. */
const FIRST_MS = 10_000;
/** How long an answer may take; on one host it comes within a millisecond. */
const ANSWER_MS = 5_000;
/** The wait for it has so many parts, and what came meanwhile is read after each: a stall of this process takes only one. */
const ANSWER_PARTS = 10;

function ignore(): void {}

/** Connect's session manager, with its PINGs replaced by ones that can also be sent on suspicion. */
export class KeptSessions implements SessionManager {
  readonly authority: string;
  readonly #options: KeptSessionsOptions;
  readonly #manager: Http2SessionManager;
  readonly #kept = new Map<Http2Session, Keepalive>();

  constructor(options: KeptSessionsOptions) {
    this.#options = options;
    // An idle connection stays until the client is closed. A limit would be a timer for each connection ever made, which
    // Connect starts anew when the last stream of a broken one ends, and which holds on to it.
    const never = { idleConnectionTimeoutMs: Number.POSITIVE_INFINITY };
    this.#manager = new Http2SessionManager(options.baseUrl, never, { createConnection: options.dial });
    this.authority = this.#manager.authority;
  }

  async request(
    method: string,
    path: string,
    headers: OutgoingHttpHeaders,
    options: Parameters<SessionManager["request"]>[3],
  ): Promise<ClientHttp2Stream> {
    const stream = await this.#manager.request(method, path, headers, options);
    const { session } = stream;
    if (session !== undefined) this.#keep(session).begin(stream);
    return stream;
  }

  notifyResponseByteRead(stream: ClientHttp2Stream): void {
    this.#manager.notifyResponseByteRead(stream);
    if (stream.session !== undefined) this.#kept.get(stream.session)?.heard();
  }

  /** Asks every connection now: a call got no answer. */
  probe(): void {
    for (const kept of this.#kept.values()) void kept.ask();
  }

  /** Ends every connection and its calls with this error; the next call dials anew. */
  abort(error?: SpiffeError): void {
    // Connections that were told to go away are Connect's to end; it does not pass the error on to them.
    for (const session of this.#kept.keys()) if (error !== undefined) session.destroy(error);
    this.#manager.abort();
  }

  #keep(session: Http2Session): Keepalive {
    const known = this.#kept.get(session);
    if (known !== undefined) return known;
    const kept = new Keepalive(session, this.#options);
    this.#kept.set(session, kept);
    session.on("error", ignore);
    session.once("close", () => {
      this.#kept.delete(session);
      kept.stop();
    });
    return kept;
  }
}

/** Watches over one connection while streams are open on it. */
class Keepalive {
  readonly #session: Http2Session;
  readonly #options: KeptSessionsOptions;
  #streams = 0;
  /** When it last said something or was asked. */
  #quietSince = 0;
  #answered = false;
  #stop: AbortController | undefined;
  #asking: Promise<void> | undefined;
  /** Aborted by whatever comes: the PING's answer may lie behind much else. */
  #waiting: AbortController | undefined;

  constructor(session: Http2Session, options: KeptSessionsOptions) {
    this.#session = session;
    this.#options = options;
  }

  begin(stream: ClientHttp2Stream): void {
    if (stream.closed) return;
    stream.once("response", () => this.heard());
    stream.once("close", () => {
      if (--this.#streams === 0) this.stop();
    });
    if (this.#streams++ > 0) return;
    this.#quietSince = this.#options.clock.monotonic();
    this.#stop = new AbortController();
    void this.#watch(this.#stop.signal);
  }

  heard(): void {
    this.#quietSince = this.#options.clock.monotonic();
    this.#answered = true;
    this.#waiting?.abort();
  }

  stop(): void {
    this.#stop?.abort();
    this.#stop = undefined;
  }

  /** Sends a PING; without an answer in time the connection is ended. */
  ask(): Promise<void> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { clock, keepaliveMs } = this.#options;
    while (!signal.aborted) {
      const silence = this.#answered ? keepaliveMs : Math.min(FIRST_MS, keepaliveMs);
      const left = this.#quietSince + silence - clock.monotonic();
      if (left > 0) await clock.sleep(left, signal).catch(ignore);
      else await this.ask();
    }
  }

  async #ask(): Promise<void> {
    const { clock, keepaliveMs, lost } = this.#options;
    const waiting = new AbortController();
    const session = this.#session;
    this.#waiting = waiting;
    this.#quietSince = clock.monotonic();
    const onClose = () => waiting.abort();
    session.once("close", onClose);
    try {
      session.ping((error) => (error === null ? this.heard() : waiting.abort()));
    } catch {
      // It is closed already, and whoever uses it learns that from its end.
      waiting.abort();
    }
    for (let part = 0; part < ANSWER_PARTS && !waiting.signal.aborted; part++) {
      await clock.sleep(Math.min(ANSWER_MS, keepaliveMs) / ANSWER_PARTS, waiting.signal).catch(ignore);
      // Timers come before what was received, and after a stall they are all due.
      await new Promise((resolve) => setImmediate(resolve));
    }
    session.off("close", onClose);
    if (!waiting.signal.aborted && !session.destroyed) session.destroy(lost());
  }
}
