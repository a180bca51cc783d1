import assert from "node:assert/strict";
import { Duplex } from "node:stream";
import { describe, it } from "node:test";
import { ManualClock } from "../authority/testing.ts";
import { Deadlines } from "./deadlines.ts";
import { Tunnel } from "./tunnel.ts";

const CHUNK = new Uint8Array(1_024);
const CHUNKS = 200;

describe("a tunnel", () => {
  it("reads no further from one side than the other takes", async () => {
    let read = 0;
    const from = new Duplex({
      highWaterMark: 4 * CHUNK.byteLength,
      read() {
        this.push(read < CHUNKS ? CHUNK : null);
        read++;
      },
      write: (_chunk, _encoding, done) => done(),
    });
    let taken = 0;
    const waiting: (() => void)[] = [];
    const to = new Duplex({
      highWaterMark: 4 * CHUNK.byteLength,
      read() {},
      write(_chunk, _encoding, done) {
        taken++;
        waiting.push(done);
      },
    });
    to.once("finish", () => to.push(null));
    const clock = new ManualClock();
    const nothing = new Uint8Array();
    const tunnel = new Tunnel(from, to, { clock, deadlines: new Deadlines(clock), idleMs: 60_000 });
    const over = tunnel.run(nothing, nothing);
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    assert.ok(taken === 1 && read < 50, `${read} read`);
    let through = false;
    const ended = over.then((how) => {
      through = true;
      return how;
    });
    while (!through) {
      for (const done of waiting.splice(0)) done();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { toSecond, complete } = await ended;
    assert.deepEqual([toSecond, taken, complete], [CHUNKS * CHUNK.byteLength, CHUNKS, true]);
  });
});
