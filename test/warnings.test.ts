import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { describe, it } from "node:test";
import { runTests } from "../scripts/lib/runtimes.ts";
import { warningsIn } from "../scripts/lib/warnings.ts";
import { runtime } from "../src/runtime/detect.ts";

const KAFKA = "test/seams/kafka.test.ts";
const NEGATIVE = "(node:7) TimeoutNegativeWarning: -5 is a negative number.";

/** The names of what failed in a run of one passing test whose body is `body`. */
async function failures(body: string): Promise<string[]> {
  const folder = await mkdtemp(`${tmpdir()}/spiffe-edge-warnings-`);
  try {
    const text = `import { it } from "node:test";\nimport process from "node:process";\nimport { EventEmitter } from "node:events";\n
it("passes", async () => { ${body}; await new Promise((resolve) => setTimeout(resolve, 20)); });\n`;
    await writeFile(`${folder}/one.test.ts`, text);
    const run = await runTests(runtime.name as "bun" | "deno" | "node", ["one.test.ts"], {
      junit: `${folder}/junit.xml`,
      cwd: folder,
    });
    assert.equal(run.passed, 1, run.output);
    return run.leaves.filter((leaf) => leaf.status === "failed").map((leaf) => leaf.name);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describe("warnings of a runtime", () => {
  it("fail a run whose tests all pass, and a run without one does not fail", async () => {
    assert.deepEqual(await failures('process.emitWarning("of a test", "TestWarning")'), [
      `${runtime.name} warns: TestWarning: of a test`,
    ]);
    assert.match(
      (await failures('const e = new EventEmitter(); for (let i = 0; i < 11; i++) e.on("x", () => {})')).join("\n"),
      /^\w+ warns: MaxListenersExceededWarning: [^\n]*$/,
    );
    assert.deepEqual(
      await failures('const e = new EventEmitter(); for (let i = 0; i < 10; i++) e.on("x", () => {})'),
      [],
    );
  });

  it("are found with and without a code, and not in the middle of a line", () => {
    const lines = ["(node:1) [DEP0001] DeprecationWarning: old", "(node:22) MyWarning: hello"];
    assert.deepEqual(warningsIn(`a\n${lines.join("\nb\n")}\nlog (node:1) MyWarning: said`, []), lines);
  });

  it("that another package causes are allowed once, and only where it ran", () => {
    assert.deepEqual(warningsIn(NEGATIVE, [KAFKA]), []);
    assert.deepEqual(warningsIn(NEGATIVE, ["test/other.test.ts"]), [NEGATIVE]);
    assert.deepEqual(warningsIn(`${NEGATIVE}\n${NEGATIVE}`, [KAFKA]), [NEGATIVE]);
  });
});
