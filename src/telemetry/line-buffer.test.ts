import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LineBuffer } from "./line-buffer.ts";

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("lines on their way", () => {
  it("all arrive, in order, in fewer writes than lines, also those that come while a batch is written", async () => {
    const batches: string[] = [];
    const lines = new LineBuffer({
      async write(text) {
        await turn();
        batches.push(text);
      },
    });
    const pushed = Array.from({ length: 2_000 }, (_, i) => `${i}\n`);
    for (const [i, line] of pushed.entries()) {
      lines.push(line);
      if (i % 20 === 0) await turn();
    }
    await lines.flush();
    assert.equal(batches.join(""), pushed.join(""));
    assert.ok(batches.length < pushed.length / 20, `${batches.length} writes`);
    assert.equal(lines.dropped, 0);
  });

  it("that were pushed before a flush are written at its end, also after one and while another waits", async () => {
    const texts: string[] = [];
    const lines = new LineBuffer({ write: async (text) => void texts.push(text) });
    await lines.flush();
    for (const name of ["a", "b", "c"]) {
      lines.push(name);
      const other = lines.flush();
      lines.push(name.toUpperCase());
      await Promise.all([lines.flush(), other]);
      assert.equal(texts.join("").at(-1), name.toUpperCase());
    }
    assert.equal(texts.join(""), "aAbBcC");
  });

  it("are dropped and counted while too much waits, and not before", async () => {
    let goOn = () => {};
    const texts: string[] = [];
    const sink = {
      write: (text: string) =>
        new Promise<void>((resolve) => {
          texts.push(text);
          goOn = resolve;
        }),
    };
    const lines = new LineBuffer(sink, () => {}, 10);
    lines.push("12345");
    await turn();
    await turn();
    lines.push("67890");
    lines.push("x");
    assert.equal(lines.dropped, 1);
    const flushed = lines.flush();
    goOn();
    await turn();
    goOn();
    await flushed;
    assert.deepEqual(texts, ["12345", "67890"]);
  });
});
