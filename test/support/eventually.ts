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
