/** docs/seams.md shows what the tests run. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { root } from "../support/programs.ts";

const read = (path: string) => readFileSync(`${root}${path}`, "utf8");
const lines = (text: string) => text.split("\n").map((line) => line.trim());

describe("docs/seams.md", () => {
  const blocks = [...read("docs/seams.md").matchAll(/<!-- lines of: (\S+) -->\n```ts\n([\s\S]*?)```/g)];

  it("shows one snippet per library", () => assert.equal(blocks.length, 7));

  for (const [, path = "", text = ""] of blocks) {
    it(`${path} runs every line that it shows`, () => {
      const run = new Set(lines(read(path)));
      for (const line of lines(text)) assert.ok(line === "" || run.has(line), line);
    });
  }
});
