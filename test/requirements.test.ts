import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import {
  idsOf,
  judgeRequirements,
  REQUIREMENT_IDS,
  type Requirement,
  readRequirements,
  type TestedRuntime,
} from "../scripts/lib/requirements.ts";

const DOCUMENT = readFileSync(new URL("../docs/requirements.md", import.meta.url), "utf8");

const row = (id: string, status: Requirement["status"]): Requirement => ({ id, text: "x", status, note: undefined });

/** One suite on the three runtimes, in which each title ended as said on the runtime at that place. */
function suite(tests: Readonly<Record<string, readonly (TestedRuntime["leaves"][number]["status"] | "absent")[]>>) {
  return (["bun", "deno", "node"] as const).map((runtime, place): TestedRuntime => {
    const leaves = Object.entries(tests).map(([name, statuses]) => ({ name, status: statuses[place] ?? statuses[0]! }));
    return { runtime, leaves: leaves.filter((leaf) => leaf.status !== "absent") as TestedRuntime["leaves"] };
  });
}

describe("the list of requirements", () => {
  it("has every id once, with a status", () => {
    const { requirements, problems } = readRequirements(DOCUMENT);
    assert.deepEqual(problems, []);
    assert.equal(requirements.length, REQUIREMENT_IDS.length);
    assert.equal(new Set(REQUIREMENT_IDS).size, REQUIREMENT_IDS.length);
  });

  it("has all rows of IDs, X509-SVID, JWT-SVID, bundles and verification done or with the reason why not", () => {
    const { requirements } = readRequirements(DOCUMENT);
    const settled = requirements.filter(({ id }) => /^(?:ID|X509|JWT|BND|MAP)-|^S-1[2-7]$/.test(id));
    const open = settled.filter(({ status }) => status !== "done" && status !== "not ours").map(({ id }) => id);
    assert.ok(settled.length > 120);
    assert.deepEqual(open, []);
  });

  it("reports rows that are missing, doubled, unknown, malformed or without a status, and nothing else", () => {
    const changes: readonly (readonly [find: string, replace: string, says: RegExp])[] = [
      ["| MAP-06 |", "| MAP-07 |", /^MAP-07 is listed, but there is no such id$/],
      ["| MAP-06 |", "| MAP-05 |", /^MAP-05 is listed twice$/],
      ["| A-1 |", "| A-01 |", /^A-01 is listed, but there is no such id$/],
      ["taken at once | done |", "taken at once | ready |", /^MAP-06: "ready" is no status/],
      ["taken at once | done |", "taken at once | not ours |", /^MAP-06: "not ours" is no status/],
      ["taken at once | done |", "taken at once |", /^this row is not .*MAP-06/],
    ];
    for (const [find, replace, says] of changes) {
      assert.equal(DOCUMENT.split(find).length, 2, find);
      const { problems } = readRequirements(DOCUMENT.replace(find, replace));
      assert.match(problems[0] ?? "", says);
      assert.ok(problems.slice(1).every((problem) => / is missing in the list$/.test(problem)));
    }
  });

  it("reads ids out of titles, those of suites and of several tests included", () => {
    assert.deepEqual(idsOf("[S-22] paths > [A-10] [ID-01] takes [::1] and x[0-9]"), ["S-22", "A-10", "ID-01"]);
    assert.deepEqual(idsOf("no id, [s-1], [S-], S-1"), []);
  });
});

describe("what is done", () => {
  const done = [row("ID-01", "done")];

  it("ran and passed on each runtime", () => {
    assert.deepEqual(judgeRequirements(done, suite({ "[ID-01] x": ["passed"] })), []);
    for (const statuses of [
      ["absent", "passed", "passed"],
      ["skipped", "passed", "passed"],
    ] as const) {
      const problems = judgeRequirements(done, suite({ "[ID-01] x": statuses }));
      assert.deepEqual(problems, ["ID-01 is done, but no test that carries it passed on bun"]);
    }
    assert.match(judgeRequirements(done, suite({ x: ["passed"] })).join(), /no test that carries it passed$/);
  });

  it("may be skipped in one test where another passes, and has no test that fails", () => {
    const skipped = { "[ID-01] x": ["passed"], "[ID-01] y": ["passed", "skipped", "passed"] } as const;
    assert.deepEqual(judgeRequirements(done, suite(skipped)), []);
    const failed = { ...skipped, "[ID-01] z": ["passed", "passed", "failed"] } as const;
    assert.deepEqual(judgeRequirements(done, suite(failed)), ["ID-01 is done, but a test failed: [ID-01] z"]);
  });

  it("is proven once where the runtime plays no part, unless another test carries it too", () => {
    const once = [{ name: "[ID-01] in workerd", status: "passed" }] as const;
    assert.deepEqual(judgeRequirements(done, suite({ x: ["passed"] }), once), []);
    const partly = suite({ "[ID-01] x": ["passed", "skipped", "passed"] });
    assert.match(judgeRequirements(done, partly, once).join(), /passed on deno$/);
  });

  it("is all that is asked for: other rows need no test", () => {
    for (const status of ["partly", "later", "not ours"] as const) {
      assert.deepEqual(judgeRequirements([row("ID-01", status)], suite({ x: ["passed"] })), []);
    }
  });

  it("is spoken of by known ids alone", () => {
    const problems = judgeRequirements([], suite({ "[X509-99] x": ["passed"], "[RFC-1] y": ["skipped"] }));
    assert.equal(problems.length, 2);
    assert.match(problems[0] ?? "", /^X509-99 is in a title, but there is no such id/);
    assert.deepEqual(judgeRequirements([], suite({ "[X509-01] x": ["passed"] })), []);
  });
});
