/** Holds one Workload API stream open: every message replaces the whole state, every end leads to the next stream. */
import type { Clock } from "../base/clock.ts";
import { SpiffeError } from "../base/errors.ts";
import type { Verdict } from "../base/verdict.ts";
import type { Failure } from "./failure.ts";
import { ReconnectPace, type StreamEnd } from "./pace.ts";

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
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly random?: (() => number) | undefined;
}

/**
 * Runs until the signal aborts.
 *
 * @throws SpiffeError when asking again is forbidden: InvalidArgument, Unimplemented, or a missing Deno permission
 */
export async function watch<M, T>(options: WatchOptions<M, T>): Promise<void> {
  const { events, clock, signal } = options;
  const pace = new ReconnectPace(options.random);
  while (!signal.aborted) {
    const { failure, ...end } = await readStream(options);
    if (signal.aborted) return;
    if (failure?.kind === "final") throw failure.error;
    if (failure?.kind === "denied") events.denied(failure.error);
    else events.disconnected(failure?.error);
    try {
      await clock.sleep(pace.delayAfter(end), signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}

/** Reads one stream to its end. */
async function readStream<M, T>(options: WatchOptions<M, T>): Promise<StreamEnd & { failure?: Failure }> {
  const { events, clock, signal } = options;
  const openedAt = clock.monotonic();
  let validAt: number | undefined;
  let failure: Failure | undefined;
  events.opening();
  try {
    for await (const message of options.open(signal)) {
      const verdict = await options.decode(message);
      if (signal.aborted) break;
      if (verdict.ok) {
        validAt = clock.monotonic();
        events.update(verdict.value);
      } else {
        const sentence = `The Workload API sent an update that was dropped: ${verdict.message}`;
        const { reason } = verdict;
        events.invalid(new SpiffeError("ERR_SPIFFE_WORKLOAD_API", sentence, { reason, phase: options.phase }));
      }
    }
  } catch (thrown) {
    failure = options.failure(thrown);
  }
  const now = clock.monotonic();
  return {
    how: failure === undefined ? "clean" : failure.kind === "denied" ? "denied" : "failed",
    livedMs: now - openedAt,
    validMs: validAt === undefined ? undefined : now - validAt,
    ...(failure && { failure }),
  };
}
