/** Judges all sets that are there on the runtime it is started by, and prints a JSON list of results: for `npm run test:vectors`. */
import { missing, readSet } from "./files.ts";
import type { SetResult } from "./set.ts";
import { judgeSet, SETS } from "./sets.ts";

export interface NamedResult extends SetResult {
  readonly set: string;
}

const results: NamedResult[] = [];
for (const set of SETS.filter((one) => missing(one) === undefined)) {
  results.push({ set: set.name, ...(await judgeSet(set, readSet(set))) });
}
console.log(JSON.stringify(results));
