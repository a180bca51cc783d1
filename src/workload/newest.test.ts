import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "../authority/testing.ts";
import { newestOf } from "./newest.ts";

async function* numbers(from: number, to: number, end?: Error): AsyncGenerator<number> {
  for (let n = from; n <= to; n++) yield n;
  if (end !== undefined) throw end;
}

const never = new AbortController().signal;

/** Reads to the end while a clock goes on, 10 ms at a time. */
async function readAll(
  stream: AsyncIterable<number>,
  clock: ManualClock,
): Promise<{ seen: number[]; error?: unknown }> {
  const seen: number[] = [];
  let over = false;
  const reading = (async () => {
    for await (const n of newestOf(stream, clock, never)) seen.push(n);
  })();
  const ended = reading.then(
    () => ({ seen }),
    (error: unknown) => ({ seen, error }),
  );
  void ended.then(() => {
    over = true;
  });
  while (!over) await clock.advance(10);
  return ended;
}

describe("newest of a flood", () => {
  it("hands on each message of a stream that is none", async () => {
    const { seen } = await readAll(numbers(1, 50), new ManualClock());
    assert.deepEqual(
      seen,
      Array.from({ length: 50 }, (_, index) => index + 1),
    );
  });

  it("[A-18] judges few of many that come at once, and the newest among them", async () => {
    const { seen } = await readAll(numbers(1, 5_000), new ManualClock());
    assert.equal(seen.at(-1), 5_000);
    assert.ok(seen.length > 50 && seen.length < 60, `${seen.length} were judged`);
  });

  it("[A-18] judges twenty more one by one after each second that passes", async () => {
    const clock = new ManualClock();
    async function* twice() {
      yield* numbers(1, 50);
      await clock.sleep(1_000);
      yield* numbers(51, 70);
    }
    assert.equal((await readAll(twice(), clock)).seen.length, 70);
  });

  it("hands on the newest before the error that ended the stream", async () => {
    const { seen, error } = await readAll(numbers(1, 200, new Error("broken off")), new ManualClock());
    assert.equal(seen.at(-1), 200);
    assert.match(String(error), /broken off/);
  });

  it("a stream that is left is told to clean up, also when its next message had come already", async () => {
    let cleaned = 0;
    async function* stream() {
      try {
        yield* numbers(1, 10);
      } finally {
        cleaned++;
      }
    }
    for await (const n of newestOf(stream(), new ManualClock(), never)) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      if (n === 2) break;
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
    assert.equal(cleaned, 1);
  });

  it("whoever leaves early hears nothing of how the stream ended", async () => {
    for await (const n of newestOf(numbers(1, 1, new Error("later")), new ManualClock(), never)) {
      assert.equal(n, 1);
      break;
    }
    // A rejection that nobody takes would fail this run.
    await new Promise((resolve) => setTimeout(resolve, 5));
  });
});
