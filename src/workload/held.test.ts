import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { eventually } from "../../test/support/eventually.ts";
import { SpiffeError, systemClock } from "../base/index.ts";
import { Held } from "./held.ts";

interface State {
  readonly number: number;
}

describe("what is held", () => {
  let levels: string[];
  let held: Held<State>;

  beforeEach(() => {
    levels = [];
    const [debug, info, warn, error] = ["debug", "info", "warn", "error"].map((level) => () => void levels.push(level));
    const logger = { debug: debug!, info: info!, warn: warn!, error: error! };
    const same = (a: State, b: State) => a.number === b.number;
    held = new Held({ origin: "the test", clock: systemClock, logger, same, empty: { number: 0 } });
  });

  it("is nothing once it is closed, though a reading that was under way brings something", async () => {
    held.set({ number: 1 });
    assert.equal(held.current?.number, 1);
    held.close();
    held.set({ number: 2 });
    assert.equal(held.current, undefined);
    assert.equal(held.state, "closed");
    await assert.rejects(held.ready(), { code: "ERR_SPIFFE_CLOSED" });
  });

  it("stays after a trouble, which is worth a warning when it is new or comes after a good reading", () => {
    const trouble = new SpiffeError("ERR_SPIFFE_BUNDLE", "scripted");
    held.set({ number: 1 });
    for (let times = 0; times < 3; times++) held.trouble(trouble, true);
    assert.deepEqual([held.state, held.current?.number, held.counters.invalid], ["stale", 1, 3]);
    held.set({ number: 1 });
    assert.equal(held.state, "ready");
    held.trouble(trouble, true);
    held.trouble(new SpiffeError("ERR_SPIFFE_BUNDLE", "another"), false);
    assert.deepEqual(levels, ["warn", "debug", "debug", "warn", "warn"]);
  });

  it("is gone after a withdrawal, until there is a state again", async () => {
    const gone = new SpiffeError("ERR_SPIFFE_CONFIG", "removed");
    held.withdraw("revoked", gone);
    assert.equal(held.state, "starting", "there was nothing yet");
    const seen: number[] = [];
    const reading = (async () => {
      for await (const { number } of held.updates()) seen.push(number);
    })();
    for (const [as, number] of [
      ["revoked", 1],
      ["expired", 2],
    ] as const) {
      held.set({ number });
      await eventually(() => seen.at(-1) === number, "the state");
      assert.equal(held.state, "ready");
      held.withdraw(as, gone);
      assert.deepEqual([held.state, held.current, held.counters.denied], [as, undefined, 1]);
      assert.equal(held.absence("None").code, as === "revoked" ? "ERR_SPIFFE_REVOKED" : "ERR_SPIFFE_EXPIRED");
      await eventually(() => seen.at(-1) === 0, "the empty state");
    }
    held.close();
    await reading;
    assert.deepEqual(seen, [1, 0, 2, 0]);
  });
});
