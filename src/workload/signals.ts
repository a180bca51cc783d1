/** Abort signals and deadlines that leave nothing behind. */
import type { Clock } from "../base/clock.ts";
import { SpiffeError } from "../base/errors.ts";

/** A signal that follows others until it is released. */
export interface LinkedSignal {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
  /** Forgets the followed signals; a signal that lives as long as the process must not collect listeners. */
  release(): void;
}

/** Makes a signal that aborts as soon as one of the given ones does, or by its own `abort`. */
export function linkSignals(...followed: (AbortSignal | undefined)[]): LinkedSignal {
  const controller = new AbortController();
  const release: (() => void)[] = [];
  for (const signal of followed) {
    if (signal === undefined) continue;
    if (signal.aborted) {
      controller.abort(signal.reason);
      break;
    }
    const abort = () => controller.abort(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    release.push(() => signal.removeEventListener("abort", abort));
  }
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    release: () => {
      for (const forget of release.splice(0)) forget();
    },
  };
}

/** Waits for a promise, but no longer than the signal lets it; the promise itself goes on. */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  const aborted = () => new SpiffeError("ERR_SPIFFE_ABORTED", "The wait was aborted", { cause: signal.reason });
  if (signal.aborted) {
    promise.catch(() => {});
    throw aborted();
  }
  let onAbort = () => {};
  const abort = new Promise<never>((_, reject) => {
    onAbort = () => reject(aborted());
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, abort]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/**
 * Runs something that may wait for ever, for at most `timeoutMs` milliseconds (`Infinity`: as long as it takes).
 *
 * @param late makes the error for when the time is over
 */
export async function within<T>(
  run: (signal: AbortSignal) => Promise<T>,
  options: { timeoutMs: number; clock: Clock; signal?: AbortSignal | undefined; late: () => SpiffeError },
): Promise<T> {
  const { timeoutMs, clock } = options;
  const link = linkSignals(options.signal);
  const waiting = new AbortController();
  let timedOut = false;
  if (timeoutMs !== Infinity) {
    clock.sleep(timeoutMs, waiting.signal).then(
      () => {
        timedOut = true;
        link.abort();
      },
      () => {},
    );
  }
  try {
    return await run(link.signal);
  } catch (error) {
    throw timedOut ? options.late() : error;
  } finally {
    waiting.abort();
    link.release();
  }
}

/** Refuses a time that is not a positive number of milliseconds; `Infinity` has to be written. */
export function checkTimeout(timeoutMs: number, name = "timeoutMs"): number {
  if (timeoutMs > 0) return timeoutMs;
  throw new SpiffeError("ERR_SPIFFE_USAGE", `${name} has to be above 0 milliseconds, or Infinity; got ${timeoutMs}`);
}

/** Refuses a grace that is no finite number of milliseconds from 0: one without an end would be none. */
export function checkGrace(redactionGraceMs: number): number {
  if (redactionGraceMs >= 0 && redactionGraceMs < Infinity) return redactionGraceMs;
  const sentence = `redactionGraceMs has to be a finite number of milliseconds from 0; got ${redactionGraceMs}`;
  throw new SpiffeError("ERR_SPIFFE_USAGE", sentence);
}
