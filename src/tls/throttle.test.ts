import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "../authority/manual-clock.ts";
import { DEFAULT_THROTTLE, Throttle } from "./throttle.ts";

describe("Throttle", () => {
  it("[S-7] shuts an address out after five refusals in ten seconds, for ten seconds, and no other", async () => {
    const clock = new ManualClock();
    const throttle = new Throttle(DEFAULT_THROTTLE, clock);
    for (let i = 0; i < 4; i++) throttle.refused("10.0.0.1");
    assert.equal(throttle.isShut("10.0.0.1"), false);
    throttle.refused("10.0.0.1");
    assert.equal(throttle.isShut("10.0.0.1"), true);
    assert.equal(throttle.isShut("10.0.0.2"), false);
    await clock.advance(9_999);
    assert.equal(throttle.isShut("10.0.0.1"), true);
    await clock.advance(1);
    assert.equal(throttle.isShut("10.0.0.1"), false);
  });

  it("[S-7] counts an IPv4 address together with its IPv6 form, and IPv6 by /64", () => {
    const together: [string, string][] = [
      ["10.0.0.1", "::ffff:10.0.0.1"],
      ["::ffff:10.0.0.1", "::FFFF:a00:1"],
      ["2001:db8:0:1::1", "2001:DB8::1:ffff:ffff:ffff:ffff"],
      ["fe80::1%eth0", "fe80::2%eth0"],
      ["::1", "::2"],
    ];
    const apart: [string, string][] = [
      ["10.0.0.1", "::ffff:10.0.0.2"],
      ["::ffff:10.0.0.1", "::fffe:10.0.0.1"],
      ["2001:db8:0:1::1", "2001:db8:0:2::1"],
      ["fe80::1%eth0", "fe80::1%eth1"],
    ];
    for (const [pairs, shut] of [
      [together, true],
      [apart, false],
    ] as const) {
      for (const [first, second] of [...pairs, ...pairs.map(([a, b]) => [b, a] as const)]) {
        const throttle = new Throttle(DEFAULT_THROTTLE, new ManualClock());
        for (let i = 0; i < DEFAULT_THROTTLE.refusals; i++) throttle.refused(first);
        assert.equal(throttle.isShut(second), shut, `${first} and ${second}`);
        assert.equal(throttle.isShut(first), true, first);
      }
    }
    const throttle = new Throttle(DEFAULT_THROTTLE, new ManualClock());
    const spread = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4", "2001:db8::5"];
    for (const address of spread) throttle.refused(address);
    assert.equal(throttle.isShut("2001:db8::6"), true, "five refusals from one prefix");
  });

  it("[S-7] tells once of each time that an address is shut out", async () => {
    const clock = new ManualClock();
    const throttle = new Throttle(DEFAULT_THROTTLE, clock);
    const news = () => ["10.0.0.1", "10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2"].map((one) => throttle.isNews(one));
    throttle.refused("10.0.0.1");
    assert.deepEqual(news(), [false, false, false, false]);
    for (let times = 0; times < 2; times++) {
      for (let i = 0; i < 5; i++) throttle.refused("10.0.0.1");
      assert.deepEqual(news(), [true, false, false, false]);
      await clock.advance(10_000);
    }
  });

  it("[S-7] refusals further apart than the window do not add up", async () => {
    const clock = new ManualClock();
    const throttle = new Throttle(DEFAULT_THROTTLE, clock);
    for (let i = 0; i < 20; i++) {
      throttle.refused("10.0.0.1");
      await clock.advance(2_501);
      assert.equal(throttle.isShut("10.0.0.1"), false);
    }
  });

  it("[S-7] [S-17] follows the monotonic clock: a step of the wall clock changes nothing", () => {
    const clock = new ManualClock();
    const throttle = new Throttle(DEFAULT_THROTTLE, clock);
    for (let i = 0; i < 5; i++) throttle.refused("10.0.0.1");
    clock.step(86_400_000);
    assert.equal(throttle.isShut("10.0.0.1"), true);
  });

  it("[S-7] the table is bounded and forgets who was refused longest ago", () => {
    const throttle = new Throttle({ ...DEFAULT_THROTTLE, addresses: 100 }, new ManualClock());
    for (let i = 0; i < 5; i++) throttle.refused("first");
    for (let i = 0; i < 99; i++) throttle.refused(`10.0.0.${i}`);
    assert.equal(throttle.isShut("first"), true);
    throttle.refused("one more");
    assert.equal(throttle.isShut("first"), false);
    for (let i = 0; i < 10_000; i++) throttle.refused(`10.1.${i >> 8}.${i & 255}`);
    assert.equal(throttle.size, 100);
  });
});
