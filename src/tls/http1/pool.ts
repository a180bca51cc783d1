/** The HTTP/1.1 connections to one address: kept while idle, given to one request at a time. */
import type { Duplex } from "node:stream";
import type { Clock } from "../../base/index.ts";
import type { CallEvents, UpstreamRequest } from "./call.ts";
import { type ConnectionOwner, Http1Call, Http1Connection } from "./connection.ts";

/** Idle connections kept per address. */
const MAX_IDLE = 64;
/** Milliseconds in which a body that an answer stated and must not have would come, and end the connection. */
const REST_MS = 100;

interface Idle {
  readonly connection: Http1Connection;
  /** Before, it carries nothing: what comes would be read as the answer to somebody else. */
  readonly from: number;
  readonly until: number;
}

/** Marks the failure of a dial: nothing of the request has left. */
const dialFailures = new WeakSet<Error>();

/** Whether an error came before a connection was there, so that the upstream cannot have seen the request (S-24). */
export function isDialFailure(error: unknown): boolean {
  return error instanceof Error && dialFailures.has(error);
}

/** Notes that a dial failed. */
export function dialFailure(cause: unknown): Error {
  const error = cause instanceof Error ? cause : new Error(String(cause));
  dialFailures.add(error);
  return error;
}

/** Connections that one function opens. */
export class Http1Pool implements ConnectionOwner {
  readonly #open: (signal: AbortSignal | undefined) => Promise<Duplex>;
  readonly #maxIdle: number;
  readonly #clock: Clock;
  readonly #all = new Set<Http1Connection>();
  #idle: Idle[] = [];
  #keeps = true;
  #closed = false;

  constructor(open: (signal: AbortSignal | undefined) => Promise<Duplex>, clock: Clock, maxIdle: number = MAX_IDLE) {
    this.#open = open;
    this.#maxIdle = maxIdle;
    this.#clock = clock;
  }

  /**
   * Begins a request, on a kept connection where there is one. Throws for a request that cannot be written.
   *
   * @param signal given to the function that opens, where a connection has to be
   */
  begin(request: UpstreamRequest, events: CallEvents, signal?: AbortSignal): Http1Call {
    const call = new Http1Call(request, events);
    const kept = this.#take();
    if (kept === undefined) this.#dial(call, signal);
    // who begins gets the call before its first event
    else if (request.withBody) queueMicrotask(() => this.#startLater(call, kept, signal));
    else call.start(kept);
    return call;
  }

  free(connection: Http1Connection, rests = false): void {
    if (!this.#keeps || this.#idle.length >= this.#maxIdle || !connection.usable) {
      connection.destroy();
      return;
    }
    const now = this.#clock.monotonic();
    this.#idle.push({ connection, from: rests ? now + REST_MS : now, until: connection.usableUntil(now) });
  }

  gone(connection: Http1Connection): void {
    this.#all.delete(connection);
    const at = this.#idle.findIndex((idle) => idle.connection === connection);
    if (at >= 0) this.#idle.splice(at, 1);
  }

  /** Ends idle connections. */
  dropIdle(): void {
    for (const { connection } of this.#idle.splice(0)) connection.destroy();
  }

  /** Ends what is idle; what is busy ends after its answer. */
  retire(): void {
    this.#keeps = false;
    this.dropIdle();
  }

  /** Ends everything. */
  destroy(): void {
    this.#closed = true;
    this.retire();
    for (const connection of [...this.#all]) connection.destroy();
  }

  #take(): Http1Connection | undefined {
    const now = this.#clock.monotonic();
    for (let at = this.#idle.length - 1; at >= 0; at--) {
      const { connection, from, until } = this.#idle[at] as Idle;
      if (now < from) continue;
      this.#idle.splice(at, 1);
      if (connection.usable && now < until) return connection;
      connection.destroy();
    }
    return undefined;
  }

  /** Begins in the next turn, on another connection where the kept one has gone in this. */
  #startLater(call: Http1Call, kept: Http1Connection, signal: AbortSignal | undefined): void {
    if (call.destroyed) this.free(kept);
    else if (kept.usable) call.start(kept);
    else this.#dial(call, signal);
  }

  #dial(call: Http1Call, signal: AbortSignal | undefined): void {
    this.#open(signal).then(
      (socket) => {
        const connection = new Http1Connection(socket, this);
        this.#all.add(connection);
        if (this.#closed) connection.destroy();
        if (!connection.usable) call.broken(dialFailure(new Error("The connection broke before it was used")));
        else if (call.destroyed) this.free(connection);
        else call.start(connection);
      },
      (cause: unknown) => call.broken(dialFailure(cause)),
    );
  }
}
