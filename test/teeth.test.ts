import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { replaceOnce } from "../scripts/lib/control-row.ts";
import { CONTROLS } from "../scripts/lib/controls.ts";

const root = fileURLToPath(new URL("../", import.meta.url));

describe("[G-1] the controls that npm run test:teeth takes out", () => {
  for (const { name, patches, tests } of CONTROLS) {
    it(`${name} is where the table says, and so are its tests`, () => {
      const texts = new Map<string, string>();
      for (const { file, find, replace } of patches) {
        const text = texts.get(file) ?? readFileSync(root + file, "utf8");
        texts.set(file, replaceOnce(text, file, find, replace));
      }
      for (const file of tests) assert.ok(existsSync(root + file), `${file} does not exist`);
      assert.ok(patches.length > 0 && tests.length > 0);
    });
  }

  it("does not take a text for found that is there twice or not at all", () => {
    assert.equal(replaceOnce("abc", "f", "b", "x"), "axc");
    assert.throws(() => replaceOnce("abcb", "f", "b", "x"), /2 times/);
    assert.throws(() => replaceOnce("ac", "f", "b", "x"), /0 times/);
  });
});
