import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Latest } from "./latest.ts";

async function collect<T>(values: AsyncIterable<T>, seen: T[] = []): Promise<T[]> {
  for await (const value of values) seen.push(value);
  return seen;
}

describe("latest", () => {
  it("[A-18] gives a slow reader the newest value, not every one", async () => {
    const latest = new Latest<number>();
    const reader = latest.values();
    for (let n = 1; n <= 1000; n++) latest.set(n);
    assert.equal((await reader.next()).value, 1000);
    latest.set(1001);
    assert.equal((await reader.next()).value, 1001);
  });

  it("wakes every waiting reader", async () => {
    const latest = new Latest<string>();
    const readers = [latest.values(), latest.values()];
    const waiting = readers.map((reader) => reader.next());
    latest.set("a");
    assert.deepEqual(await Promise.all(waiting), [
      { value: "a", done: false },
      { value: "a", done: false },
    ]);
  });

  it("ends quietly on abort and on a plain end, and throws what it was ended with", async () => {
    const abort = new AbortController();
    const [aborted, ended, failed] = [new Latest<number>(), new Latest<number>(), new Latest<number>()];
    const results = [collect(aborted.values(abort.signal)), collect(ended.values())];
    const thrown = assert.rejects(collect(failed.values()), /final/);
    abort.abort();
    ended.end();
    failed.end(new Error("final"));
    assert.deepEqual(await Promise.all(results), [[], []]);
    await thrown;
  });

  it("hands out the newest value before a final error, and nothing after a plain end", async () => {
    const [failed, ended] = [new Latest<number>(), new Latest<number>()];
    failed.set(1);
    failed.end(new Error("final"));
    const seen: number[] = [];
    await assert.rejects(collect(failed.values(), seen), /final/);
    assert.deepEqual(seen, [1]);
    ended.set(1);
    ended.end();
    assert.deepEqual(await collect(ended.values()), []);
  });
});
