/** The list of docs/requirements.md against the tests that a full run left behind. */
import { existsSync, readFileSync } from "node:fs";
import { type Leaf, parseJunit } from "./junit.ts";
import { root } from "./run.ts";
import { RUNTIMES, type RuntimeName } from "./runtimes.ts";

/** Which numbers each kind of requirement has: the standards' rows, security rules, attack cases, rules for tests. */
const NUMBERS: Readonly<Record<string, readonly (readonly [first: number, last: number])[]>> = {
  ID: [[1, 26]],
  X509: [
    [1, 24],
    [30, 40],
    [50, 57],
  ],
  JWT: [
    [1, 22],
    [30, 33],
  ],
  WIT: [[1, 27]],
  BND: [[1, 19]],
  MAP: [[1, 6]],
  FED: [[1, 38]],
  WE: [[1, 23]],
  WL: [
    [1, 18],
    [20, 30],
    [40, 52],
    [60, 65],
  ],
  BRK: [[1, 12]],
  S: [[1, 28]],
  A: [[1, 22]],
  G: [[1, 7]],
};

/** Every id there is. */
export const REQUIREMENT_IDS: readonly string[] = Object.entries(NUMBERS).flatMap(([kind, ranges]) =>
  ranges.flatMap(([first, last]) =>
    Array.from(
      { length: last - first + 1 },
      (_, i) => `${kind}-${String(first + i).padStart(isRow(kind) ? 2 : 1, "0")}`,
    ),
  ),
);

/** Rows of the standards are written with two digits, rules of this project as they are. */
function isRow(kind: string): boolean {
  return kind.length > 1;
}

export type Status = "done" | "partly" | "later" | "not ours";

export interface Requirement {
  readonly id: string;
  readonly text: string;
  readonly status: Status;
  /** What stands in parentheses behind the status. */
  readonly note: string | undefined;
}

/** The tests of one run on one runtime. */
export interface TestedRuntime {
  readonly runtime: RuntimeName;
  readonly leaves: readonly Pick<Leaf, "name" | "status">[];
}

/** Reads the rows `| id | text | status |` of the list; gives what is wrong with them beside them. */
export function readRequirements(markdown: string): { requirements: Requirement[]; problems: string[] } {
  const requirements: Requirement[] = [];
  const problems: string[] = [];
  const known = new Set<string>();
  for (const line of markdown.split("\n")) {
    const row = /^\| ([A-Z0-9]+-\d+) \| (.+?) \| (.+?) \|$/.exec(line);
    if (row === null) {
      if (/^\|\s*[A-Z0-9]+-\d/.test(line)) problems.push(`this row is not | id | text | status |: ${line}`);
      continue;
    }
    const [, id, text, told] = row as unknown as [string, string, string, string];
    const status = /^(done|partly|later|not ours)(?: \((.+)\))?$/.exec(told);
    if (status === null || (status[1] === "not ours" && status[2] === undefined)) {
      problems.push(`${id}: "${told}" is no status; there are done, partly, later, not ours (why)`);
    } else requirements.push({ id, text, status: status[1] as Status, note: status[2] });
    if (known.has(id)) problems.push(`${id} is listed twice`);
    if (!REQUIREMENT_IDS.includes(id)) problems.push(`${id} is listed, but there is no such id`);
    known.add(id);
  }
  for (const id of REQUIREMENT_IDS) if (!known.has(id)) problems.push(`${id} is missing in the list`);
  return { requirements, problems };
}

/** The ids that a test's title carries, those of its suites included. */
export function idsOf(title: string): readonly string[] {
  return [...title.matchAll(/\[([A-Z][A-Z0-9]*-\d+)\]/g)].map((match) => match[1]!);
}

/**
 * Holds the list against the tests: a title with an unknown id, and `done` without a test that passed on each runtime, or
 * with one that failed, are problems.
 *
 * @param runs every suite that is the same on all runtimes, one entry per runtime and suite
 * @param single tests for which the runtime does not matter; one pass is enough for an id that no other test carries
 */
export function judgeRequirements(
  requirements: readonly Requirement[],
  runs: readonly TestedRuntime[],
  single: readonly Pick<Leaf, "name" | "status">[] = [],
): string[] {
  const problems: string[] = [];
  const passed = new Map<string, Set<RuntimeName | "single">>();
  const failed = new Map<string, string>();
  const carried = new Set<string>();
  const known = new Set(REQUIREMENT_IDS);
  for (const { runtime, leaves } of [...runs, { runtime: "single" as const, leaves: single }]) {
    for (const { name, status } of leaves) {
      for (const id of idsOf(name)) {
        if (!known.has(id)) problems.push(`${id} is in a title, but there is no such id: ${name}`);
        if (runtime !== "single") carried.add(id);
        if (status === "failed") failed.set(id, name);
        if (status === "passed") passed.set(id, (passed.get(id) ?? new Set()).add(runtime));
      }
    }
  }
  for (const { id, status } of requirements) {
    if (status !== "done") continue;
    const on = passed.get(id) ?? new Set();
    const missing = RUNTIMES.filter((runtime) => !on.has(runtime));
    const failure = failed.get(id);
    if (failure !== undefined) problems.push(`${id} is done, but a test failed: ${failure}`);
    else if (!carried.has(id) && on.has("single")) continue;
    else if (missing.length === RUNTIMES.length) problems.push(`${id} is done, but no test that carries it passed`);
    else if (missing.length > 0)
      problems.push(`${id} is done, but no test that carries it passed on ${missing.join(", ")}`);
  }
  return [...new Set(problems)];
}

export interface RequirementsResult {
  readonly counts: Readonly<Record<Status, number>>;
  readonly problems: readonly string[];
}

/** Suites that run on each runtime, and one whose tests drive another program, so that where they run says nothing. */
const SUITES = ["unit", "e2e"];
const SINGLE = "workerd-node";

/** Judges the list by what the last full run left in `results`. */
export function checkRequirements(results: string): RequirementsResult {
  const { requirements, problems } = readRequirements(readFileSync(`${root}/docs/requirements.md`, "utf8"));
  const leaves = (file: string, runtime: RuntimeName): Leaf[] => {
    if (existsSync(file)) return parseJunit(readFileSync(file, "utf8"), runtime);
    problems.push(`${file.replace(`${root}/`, "")} is not there: only a full run tells what is done`);
    return [];
  };
  const runs = SUITES.flatMap((suite) =>
    RUNTIMES.map((runtime) => ({ runtime, leaves: leaves(`${results}/${suite}-${runtime}.xml`, runtime) })),
  );
  const single = leaves(`${results}/${SINGLE}.xml`, "node");
  const count = (status: Status) => requirements.filter((one) => one.status === status).length;
  return {
    counts: { done: count("done"), partly: count("partly"), later: count("later"), "not ours": count("not ours") },
    problems: [...problems, ...judgeRequirements(requirements, runs, single)],
  };
}
