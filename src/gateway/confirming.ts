/** The external authorizer is asked again about what runs, when something else has come into force (S-9, S-26). */
import type { Clock } from "../base/index.ts";
import type { Decision } from "../policy/index.ts";

/** Questions at a time. */
const WIDTH = 64;

/** Milliseconds after which what nobody has confirmed is denied: all is judged within a second (S-26). */
const CONFIRM_MS = 900;

const UNCONFIRMED: Decision = Object.freeze({ verdict: "deny", reason: "policy.authorizer-timeout", mode: "enforce" });

/** How the authorizer is asked about one of those that run, and what follows. */
export interface Confirming<T> {
  readonly clock: Clock;
  /** Asks about one; undefined where there is nothing to ask any more. The signal ends the question. */
  ask(one: T, signal: AbortSignal): Promise<Decision> | undefined;
  /** It denies one, failed on it, or has not answered in time. */
  denied(one: T, why: Decision): void;
}

/** Asks about each; resolves when all are answered or denied, within {@link CONFIRM_MS}. */
export async function confirmAll<T>(all: readonly T[], { clock, ask, denied }: Confirming<T>): Promise<void> {
  const late = new AbortController();
  const over = new AbortController();
  clock.sleep(CONFIRM_MS, over.signal).then(
    () => late.abort(),
    () => {},
  );
  const answerOn = async (one: T) => {
    try {
      return late.signal.aborted ? UNCONFIRMED : await ask(one, late.signal);
    } catch {
      return UNCONFIRMED;
    }
  };
  let next = 0;
  const lane = async () => {
    for (let at = next++; at < all.length; at = next++) {
      const one = all[at] as T;
      const said = await answerOn(one);
      if (said !== undefined && said.verdict !== "allow") denied(one, late.signal.aborted ? UNCONFIRMED : said);
    }
  };
  await Promise.all(Array.from({ length: Math.min(WIDTH, all.length) }, lane));
  over.abort();
}
