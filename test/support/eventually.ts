/** How tests wait for what another party brings about. */

const TURN_MS = 5;
/** So many turns last a minute or longer: on a busy machine nothing comes soon. */
const TURNS = 12_000;

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
    if (turns > TURNS) throw new Error(`It did not come to: ${typeof what === "string" ? what : what()}`);
    await new Promise((resolve) => setTimeout(resolve, TURN_MS));
  }
}
