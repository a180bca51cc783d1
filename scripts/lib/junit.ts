/** Reads the JUnit files that the three runtimes write and gives their leaf tests in one form. */

export interface Leaf {
  /** Suites and test, joined by ` > `. */
  name: string;
  status: "passed" | "failed" | "skipped";
  /** What the runtime says about a failure. */
  detail: string;
  /** The test file, where the runtime tells it. */
  file?: string;
}

type Runtime = "bun" | "deno" | "node";

const TAG = /<!--[\s\S]*?-->|<\?[\s\S]*?\?>|<(\/?)([\w-]+)((?:\s+[\w:.-]+="[^"]*")*)\s*(\/?)>/g;
const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

function decode(text: string): string {
  return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, hex, decimal, name) => {
    if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16));
    if (decimal !== undefined) return String.fromCodePoint(Number(decimal));
    return ENTITIES[name] ?? whole;
  });
}

function attribute(attributes: string, name: string): string | undefined {
  const found = new RegExp(`\\s${name}="([^"]*)"`).exec(attributes)?.[1];
  return found === undefined ? undefined : decode(found);
}

/**
 * @param xml text of one JUnit file; an empty text has no test
 * @param runtime who wrote it: Bun puts each file in a suite, Node does not, Deno lists suites as tests beside their steps
 */
export function parseJunit(xml: string, runtime: Runtime): Leaf[] {
  const cases: Leaf[] = [];
  const suites: string[] = [];
  let open: Leaf | undefined;
  let textFrom = 0;
  for (const match of xml.matchAll(TAG)) {
    const [whole, closing, tag, attributes = "", selfClosing] = match;
    if (tag === "testsuite") {
      if (closing === "/") suites.pop();
      else if (selfClosing !== "/") suites.push(attribute(attributes, "name") ?? "");
    } else if (tag === "testcase") {
      if (closing === "/") {
        open = undefined;
        continue;
      }
      const path = runtime === "deno" ? [] : suites.slice(runtime === "bun" ? 1 : 0);
      const test: Leaf = {
        name: [...path, attribute(attributes, "name") ?? ""].join(" > "),
        status: "passed",
        detail: "",
      };
      const file = runtime === "deno" ? suites.at(-1) : attribute(attributes, "file");
      if (file !== undefined) test.file = file;
      cases.push(test);
      open = selfClosing === "/" ? undefined : test;
    } else if (open !== undefined && (tag === "failure" || tag === "error")) {
      if (closing === "/") {
        open.detail += decode(xml.slice(textFrom, match.index));
      } else {
        open.status = "failed";
        textFrom = match.index + whole.length;
        if (selfClosing === "/") open.detail = attribute(attributes, "message") ?? "";
      }
    } else if (open !== undefined && tag === "skipped" && closing !== "/") {
      open.status = "skipped";
    }
  }
  return runtime === "deno" ? leavesOfDeno(cases) : cases;
}

/** Drops the suites from Deno's flat list; keeps one that failed by itself, for example in a hook. */
function leavesOfDeno(cases: readonly Leaf[]): Leaf[] {
  const parents = new Set<string>();
  const failedBelow = new Set<string>();
  for (const { name, status } of cases) {
    for (let at = name.indexOf(" > "); at !== -1; at = name.indexOf(" > ", at + 1)) {
      parents.add(name.slice(0, at));
      if (status === "failed") failedBelow.add(name.slice(0, at));
    }
  }
  return cases.filter(({ name, status }) => !parents.has(name) || (status === "failed" && !failedBelow.has(name)));
}
