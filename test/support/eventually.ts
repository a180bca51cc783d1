/** How tests wait for what another party brings about. */
import assert from "node:assert/strict";

const TURN_MS = 5;
/** So many turns last half a minute or longer: on a busy machine nothing comes soon, and a test has a minute. */
const TURNS = 6_000;

/**
 * Waits until something holds, and names it where it does not come.
 *
 * @param what said in the error; the text of the condition unless given
 */
export async function eventually(
  holds: () => boolean | Promise<boolean>,
  what: string | (() => string) = String(holds),
): Promise<void> {
  for (let turns = 0; !(await holds()); turns++) {
    if (turns > TURNS) assert.fail(`It did not come to: ${typeof what === "string" ? what : what()}`);
    await new Promise((resolve) => setTimeout(resolve, TURN_MS));
  }
}

/** Milliseconds: far above what anything here takes, on a busy machine as well. */
const PATIENCE_MS = 15_000;

/** What a promise gives; fails when it gives nothing for long. */
export async function soon<T>(promise: Promise<T>, what: string): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new assert.AssertionError({ message: `It did not happen: ${what}` })),
    PATIENCE_MS,
  );
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
