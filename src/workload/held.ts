/** A state that comes from elsewhere than a stream of the Workload API, under the names that every source has. */
import type { Clock } from "../base/clock.ts";
import type { ErrorCode } from "../base/codes.ts";
import { isSpiffeError, SpiffeError } from "../base/errors.ts";
import type { Logger } from "../telemetry/logger.ts";
import { thatNeverThrows } from "../telemetry/quiet-logger.ts";
import { Latest } from "./latest.ts";
import { checkTimeout, within } from "./signals.ts";
import type { SourceCounters, SourceState } from "./source.ts";

/** What is held, and from where. */
export interface HeldOptions<T> {
  /** Where the state comes from, for sentences, such as `the file /etc/bundle.json`. */
  readonly origin: string;
  readonly clock: Clock;
  readonly logger: Logger;
  same(a: T, b: T): boolean;
  /** What readers of updates get after everything was withdrawn. */
  readonly empty: T;
}

/** Whole states, replaced and never changed; whoever gets them somewhere puts them here. */
export class Held<T extends object> {
  readonly clock: Clock;
  /** Its failures do not end the reading. */
  readonly logger: Logger;
  readonly #options: HeldOptions<T>;
  readonly #latest = new Latest<T>();
  readonly #closing = new AbortController();
  readonly #counters = { updates: 0, unchanged: 0, invalid: 0, streams: 0, denied: 0 };
  #current: T | undefined;
  #lastError: SpiffeError | undefined;
  #gone: "revoked" | "expired" | undefined;
  #fresh = false;

  constructor(options: HeldOptions<T>) {
    this.#options = options;
    this.clock = options.clock;
    this.logger = thatNeverThrows(options.logger);
  }

  get current(): T | undefined {
    return this.#current;
  }

  get lastError(): SpiffeError | undefined {
    return this.#lastError;
  }

  /** Counts since opening; a copy. `streams` counts the readings. */
  get counters(): SourceCounters {
    return { ...this.#counters };
  }

  get state(): SourceState {
    if (this.#closing.signal.aborted) return "closed";
    if (this.#current === undefined) return this.#gone ?? "starting";
    return this.#fresh ? "ready" : "stale";
  }

  /** Aborts when nothing is to be read any more. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Counts a reading that begins. */
  reading(): void {
    this.#counters.streams++;
  }

  /** Takes a valid state. */
  set(state: T): void {
    if (this.closing.aborted) return;
    this.#fresh = true;
    if (this.#current !== undefined && this.#options.same(this.#current, state)) this.#counters.unchanged++;
    else {
      this.#counters.updates++;
      this.#current = state;
      this.#latest.set(state);
    }
  }

  /** Notes a trouble; the state that is held stays. */
  trouble(error: SpiffeError, invalid: boolean): void {
    if (invalid) this.#counters.invalid++;
    const { origin } = this.#options;
    // The same trouble again is worth a debug line only.
    const repeated = !this.#fresh && this.#lastError?.message === error.message;
    const { code, reason, phase, message } = error;
    this.logger[repeated ? "debug" : "warn"]("no new state", { origin, phase, code, reason, error: message });
    this.#lastError = error;
    this.#fresh = false;
  }

  /** Gives up what is held. */
  withdraw(as: "revoked" | "expired", error: SpiffeError): void {
    this.trouble(error, false);
    if (this.#current === undefined) return;
    this.#current = undefined;
    this.#gone = as;
    if (as === "revoked") this.#counters.denied++;
    this.#latest.set(this.#options.empty);
  }

  /** Waits until a state is held. Throws `ERR_SPIFFE_ABORTED`, `ERR_SPIFFE_CLOSED`. */
  async ready(signal?: AbortSignal): Promise<T> {
    for await (const _ of this.#latest.values(signal)) {
      // The newest state may be the empty one of a withdrawal: wait on.
      if (this.#current !== undefined) return this.#current;
    }
    if (signal?.aborted) {
      throw new SpiffeError("ERR_SPIFFE_ABORTED", "The wait for a source was aborted", { cause: signal.reason });
    }
    throw this.absence("No state");
  }

  /** Waits for the first state; when it does not come in time, all is closed again. */
  async open(options: { timeoutMs?: number | undefined; signal?: AbortSignal | undefined }): Promise<void> {
    const timeoutMs = checkTimeout(options.timeoutMs ?? 30_000);
    const late = () => {
      const why = this.#lastError === undefined ? "" : `. Last: ${this.#lastError.message}`;
      const sentence = `Expected a state from ${this.#options.origin} within ${timeoutMs} ms, and none came${why}`;
      const { reason, phase, hint } = this.#lastError ?? {};
      const cause = this.#lastError;
      return new SpiffeError("ERR_SPIFFE_TIMEOUT", sentence, { reason, phase, hint, retryable: true, cause });
    };
    try {
      const { clock } = this;
      await within((signal) => this.ready(signal), { timeoutMs, clock, signal: options.signal, late });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  updates(signal?: AbortSignal): AsyncGenerator<T, void, undefined> {
    return this.#latest.values(signal);
  }

  /** Ends every reader; the state is dropped. */
  close(): void {
    this.#closing.abort();
    this.#current = undefined;
    this.#latest.end();
  }

  /** The error that says why there is no state to answer from. */
  absence(what: string): SpiffeError {
    const codes: Partial<Record<SourceState, ErrorCode>> = {
      closed: "ERR_SPIFFE_CLOSED",
      revoked: "ERR_SPIFFE_REVOKED",
      expired: "ERR_SPIFFE_EXPIRED",
    };
    const { state } = this;
    const why = state === "closed" ? "the source is closed" : (this.#lastError?.message ?? "nothing was read yet");
    return new SpiffeError(codes[state] ?? "ERR_SPIFFE_NOT_READY", `${what}: ${why}`, {
      reason: state === "revoked" ? "workload.revoked" : this.#lastError?.reason,
      retryable: state !== "closed",
      ...(state !== "closed" && { cause: this.#lastError }),
    });
  }
}

/** What was thrown while a state was read; what nobody foresaw is a trouble like any other. */
export function asSpiffeError(thrown: unknown): SpiffeError {
  if (isSpiffeError(thrown)) return thrown;
  return new SpiffeError("ERR_SPIFFE_INTERNAL", `Unexpected failure: ${thrown}`, { phase: "read", cause: thrown });
}
