import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ReconnectPace } from "./pace.ts";

const failed = { how: "failed", livedMs: 0 } as const;
const clean = (livedMs: number) => ({ how: "clean", livedMs, validMs: 0 }) as const;
const denied = { how: "denied", livedMs: 0 } as const;

function delays(pace: ReconnectPace, ends: Parameters<ReconnectPace["delayAfter"]>[0][]): number[] {
  return ends.map((end) => pace.delayAfter(end));
}

describe("reconnect pace", () => {
  it("[WE-16] doubles from 200 ms to 30 s, drawn from the whole range above 50 ms", () => {
    const ends = Array.from({ length: 10 }, () => failed);
    const highest = [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000];
    assert.deepEqual(delays(new ReconnectPace(() => 1), ends), highest);
    assert.deepEqual(
      delays(new ReconnectPace(() => 0), ends),
      ends.map(() => 50),
    );
    assert.deepEqual(delays(new ReconnectPace(() => 0.5), ends).slice(0, 3), [100, 200, 400]);
  });

  it("[WE-16] stays at the cap through a long outage", () => {
    const pace = new ReconnectPace(() => 1);
    const ends = Array.from({ length: 5_000 }, () => failed);
    assert.equal(delays(pace, ends).at(-1), 30_000);
  });

  it("[WE-16] starts over only after a valid update that lasted longer than the current wait", () => {
    const after = (validMs: number | undefined) => {
      const pace = new ReconnectPace(() => 1);
      delays(pace, [failed, failed, failed]);
      return pace.delayAfter({ how: "failed", livedMs: 10_000, validMs });
    };
    assert.equal(after(undefined), 1600, "no valid update");
    assert.equal(after(800), 1600, "an update that lasted no longer than the wait before it");
    assert.equal(after(801), 200, "one that did");
  });

  it("[WL-04] reconnects at once after a stream of at least a second that ended cleanly, and then not at once", () => {
    assert.deepEqual(delays(new ReconnectPace(() => 1), [clean(1000), clean(1000), clean(9999)]), [0, 50, 100]);
    assert.deepEqual(delays(new ReconnectPace(() => 1), [clean(999), clean(1000), clean(1000)]), [50, 100, 200]);
  });

  it("[WL-04] a stream of ten seconds is followed at once, however often", () => {
    const pace = new ReconnectPace(() => 1);
    assert.deepEqual(delays(pace, [clean(10_000), clean(10_000), clean(10_000)]), [0, 0, 0]);
  });

  it("[A-18] makes at most 20 connections in 5 s to a server that ends cleanly after each message", () => {
    const pace = new ReconnectPace(() => 0);
    let connections = 1;
    for (let at = 0; (at += pace.delayAfter(clean(0))) < 5_000; ) connections++;
    assert.ok(connections > 1 && connections <= 20, `${connections}`);
  });

  it("[WL-04] a stream of ten seconds ends the growth after short ones", () => {
    const pace = new ReconnectPace(() => 1);
    assert.deepEqual(delays(pace, [clean(1), clean(1), clean(9999), clean(10_000), clean(1)]), [50, 100, 200, 0, 50]);
  });

  it("[WL-04] never waits above 30 s for a server that goes on ending streams", () => {
    const ends = Array.from({ length: 2_000 }, () => clean(5_000));
    assert.equal(delays(new ReconnectPace(() => 1), ends).at(-1), 30_000);
  });

  it("another server starts every wait over", () => {
    const pace = new ReconnectPace(() => 1);
    delays(pace, [failed, failed, failed, clean(1), clean(1), denied, denied]);
    pace.restart();
    assert.deepEqual(delays(pace, [failed, clean(1), denied]), [200, 50, 1000]);
  });

  it("[WE-16] waits at most for half of the time that is left to an identity, but 200 ms, and does so no more after it", () => {
    const pace = new ReconnectPace(() => 1);
    delays(pace, [failed, failed, failed, failed, failed, failed]);
    assert.deepEqual(
      [60_000, 10_000, 600, 300, 1].map((left) => pace.delayAfter(failed, left)),
      [12_800, 5_000, 300, 200, 200],
    );
    assert.deepEqual([pace.delayAfter(failed, 0), pace.delayAfter(failed, -1)], [30_000, 30_000]);
    assert.equal(new ReconnectPace(() => 1).delayAfter(failed, 60_000), 200);
    assert.equal(new ReconnectPace(() => 1).delayAfter(denied, 400), 1_000, "PermissionDenied is no hurry");
  });

  it("[WE-18] waits longer after PermissionDenied than after a failure, and no longer than 10 s", () => {
    const lowest = delays(
      new ReconnectPace(() => 0),
      Array.from({ length: 6 }, () => denied),
    );
    assert.deepEqual(lowest, [750, 1500, 3000, 6000, 7500, 7500]);
    const pace = new ReconnectPace(() => 1);
    assert.deepEqual(delays(pace, [denied, denied, { ...denied, livedMs: 9, validMs: 5 }]), [1000, 2000, 1000]);
  });
});
