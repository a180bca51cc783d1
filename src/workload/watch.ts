/** Holds one Workload API stream open: every message replaces the whole state, every end leads to the next stream. */
import type { Clock } from "../base/clock.ts";
import { SpiffeError } from "../base/errors.ts";
import type { Verdict } from "../base/verdict.ts";
import { type Failure, hintFor } from "./failure.ts";
import { newestOf } from "./newest.ts";
import { ReconnectPace, type StreamEnd } from "./pace.ts";
import { type LinkedSignal, linkSignals } from "./signals.ts";

/** Who is told what the stream brings. */
export interface WatchEvents<T> {
  /** A stream is being opened. */
  opening(): void;
  /** A valid message: the new full state. */
  update(value: T): void;
  /** A message that broke a rule; the state from before it stays (WL-11, S-11). */
  invalid(error: SpiffeError): void;
  /** PermissionDenied: whatever was held is redacted (WL-29). */
  denied(error: SpiffeError): void;
  /** The stream ended; without an error the server finished it. */
  disconnected(error: SpiffeError | undefined): void;
}

export interface WatchOptions<M, T> {
  open(signal: AbortSignal): AsyncIterable<M>;
  decode(message: M): Promise<Verdict<T>>;
  failure(thrown: unknown): Failure;
  readonly events: WatchEvents<T>;
  readonly phase: string;
  /** The address, for sentences. */
  readonly socket: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Milliseconds for which what is held stays valid. */
  readonly left?: (() => number) | undefined;
  readonly random?: (() => number) | undefined;
}

export class Watch<M, T> {
  readonly #options: WatchOptions<M, T>;
  readonly #pace: ReconnectPace;
  #stream: LinkedSignal | undefined;
  #pause: LinkedSignal | undefined;
  #givenUp: SpiffeError | undefined;

  constructor(options: WatchOptions<M, T>) {
    this.#options = options;
    this.#pace = new ReconnectPace(options.random);
  }

  /**
   * Runs until the signal aborts.
   *
   * @throws SpiffeError when asking again is forbidden: InvalidArgument, Unimplemented, or a missing Deno permission
   */
  async run(): Promise<void> {
    const { events, signal } = this.#options;
    while (!signal.aborted) {
      const { failure, ...end } = await this.#read();
      if (signal.aborted) return;
      if (failure?.kind === "final") throw failure.error;
      if (failure?.kind === "denied") events.denied(failure.error);
      else events.disconnected(failure?.error);
      await this.#wait(this.#pace.delayAfter(end, this.#options.left?.()));
    }
  }

  /** Gives up the stream that is open, as lost for this reason; false when none is. */
  abandon(error: SpiffeError): boolean {
    if (this.#stream === undefined || this.#stream.signal.aborted) return false;
    this.#givenUp = error;
    this.#stream.abort();
    return true;
  }

  /** Another server is there: ends the wait for it, and later waits start over. */
  hurry(): void {
    this.#pace.restart();
    this.#pause?.abort();
  }

  /** Reads one stream to its end. */
  async #read(): Promise<StreamEnd & { failure?: Failure }> {
    const { events, clock, signal, socket, phase } = this.#options;
    const openedAt = clock.monotonic();
    let validAt: number | undefined;
    let failure: Failure | undefined;
    const stream = linkSignals(signal);
    this.#stream = stream;
    this.#givenUp = undefined;
    events.opening();
    try {
      for await (const message of newestOf(this.#options.open(stream.signal), clock, stream.signal)) {
        const verdict = await this.#options.decode(message);
        if (signal.aborted) break;
        if (verdict.ok) {
          validAt ??= clock.monotonic();
          events.update(verdict.value);
        } else {
          const sentence = `The Workload API at ${socket} sent an update that was dropped: ${verdict.message}`;
          const { reason } = verdict;
          events.invalid(
            new SpiffeError("ERR_SPIFFE_WORKLOAD_API", sentence, { reason, phase, hint: hintFor(reason) }),
          );
        }
      }
    } catch (thrown) {
      failure = this.#options.failure(thrown);
    } finally {
      stream.abort();
      stream.release();
      this.#stream = undefined;
    }
    if (this.#givenUp !== undefined) failure = { kind: "transient", error: this.#givenUp };
    const now = clock.monotonic();
    return {
      how: failure === undefined ? "clean" : failure.kind === "denied" ? "denied" : "failed",
      livedMs: now - openedAt,
      validMs: validAt === undefined ? undefined : now - validAt,
      ...(failure && { failure }),
    };
  }

  async #wait(ms: number): Promise<void> {
    const pause = linkSignals(this.#options.signal);
    this.#pause = pause;
    try {
      await this.#options.clock.sleep(ms, pause.signal);
    } catch (error) {
      if (!pause.signal.aborted) throw error;
    } finally {
      pause.release();
      this.#pause = undefined;
    }
  }
}
