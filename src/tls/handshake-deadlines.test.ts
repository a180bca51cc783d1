import assert from "node:assert/strict";
import { connect as dialTcp, type Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import { eventually } from "../../test/support/eventually.ts";
import { ManualClock } from "../authority/manual-clock.ts";
import { TestCa } from "../authority/test-ca.ts";
import { HandshakeDeadlines } from "./handshake-deadlines.ts";
import { type ListenOptions, listen, type TlsListener } from "./listen.ts";
import { http1Done, http1Get, identityOf, Opened, rawExchange, rawOptions, type Shown, shown } from "./wire.testing.ts";

/** The turns that what waits for a clock needs to hear of it. */
async function turns(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}

function watched(clock = new ManualClock()) {
  const late: object[] = [];
  return { clock, late, deadlines: new HandshakeDeadlines<object>(clock, 1_000, (who) => late.push(who)) };
}

describe("HandshakeDeadlines", () => {
  it("[S-7] ends each when its own time is over, and none that is over before", async () => {
    const { clock, late, deadlines } = watched();
    const [first, done, second] = [{}, {}, {}];
    deadlines.add(first);
    deadlines.add(done);
    await clock.advance(600);
    deadlines.add(second);
    deadlines.over(done);
    await clock.advance(399);
    await turns();
    assert.deepEqual(late, []);
    await clock.advance(1);
    await turns();
    assert.deepEqual(late, [first]);
    assert.equal(deadlines.size, 1);
    await clock.advance(600);
    await turns();
    assert.equal(late.length, 2);
    assert.ok(late[1] === second);
    const third = {};
    deadlines.add(third);
    await clock.advance(1_000);
    await turns();
    assert.ok(late[2] === third, "it begins anew after there was none");
  });

  it("watches nothing once it was stopped", async () => {
    const { clock, late, deadlines } = watched();
    deadlines.add({});
    deadlines.stop();
    await clock.advance(5_000);
    await turns();
    assert.deepEqual([late.length, deadlines.size], [0, 0]);
  });

  for (const fault of ["throws", "is no number"] as const) {
    it(`[S-17] a monotonic clock that ${fault} keeps no handshake waiting`, async () => {
      const { clock, late, deadlines } = watched();
      clock.monotonic = () => {
        if (fault === "throws") throw new Error("no clock");
        return Number.NaN;
      };
      deadlines.add({});
      await clock.advance(0);
      await turns();
      assert.equal(late.length, 1);
    });
  }
});

describe("a listener whose callers take their time", () => {
  const opened = new Opened();
  let ca: TestCa;
  let good: Shown;

  before(async () => {
    ca = await TestCa.create();
    good = shown(await ca.issue({ id: "spiffe://example.org/web" }));
  });
  after(() => opened.close());

  const serve = async (more: Partial<ListenOptions>): Promise<TlsListener> =>
    opened.add(
      await listen(await identityOf("spiffe://example.org/orders", ca), {
        address: "127.0.0.1",
        port: 0,
        throttle: false,
        handler: (_request, response) => void response.end("ok"),
        ...more,
      }),
    );
  const isServed = async ({ port }: TlsListener) =>
    (await rawExchange(rawOptions(port, good, "http/1.1"), http1Get(), http1Done)).bytes.length > 0;
  const knock = async ({ port }: TlsListener) => {
    const socket: Socket = dialTcp(port, "127.0.0.1");
    const closed = new Promise<void>((resolve) => socket.on("error", () => {}).once("close", () => resolve()));
    socket.resume();
    await new Promise((resolve) => socket.once("connect", resolve));
    return { socket, closed };
  };

  it("[S-7] gives a handshake its time from the connection on, not from its first byte", async () => {
    const clock = new ManualClock();
    const server = await serve({ clock, handshakeTimeoutMs: 10_000 });
    const caller = await knock(server);
    // served: the connection before it has been taken
    assert.ok(await isServed(server));
    await clock.advance(9_999);
    caller.socket.write(Buffer.from("1603010200010001fc0303", "hex"));
    assert.ok(await isServed(server));
    assert.deepEqual([server.counters.timedOut, caller.socket.destroyed], [0, false]);
    await clock.advance(1);
    await turns();
    assert.equal(server.counters.timedOut, 1);
    await caller.closed;
    assert.ok(await isServed(server));
  });

  it("a connection that ends without a byte is a handshake that failed", async () => {
    const server = await serve({});
    const caller = await knock(server);
    assert.ok(await isServed(server));
    assert.equal(server.counters.failed, 0);
    caller.socket.end();
    await caller.closed;
    await eventually(() => server.counters.failed > 0);
    assert.ok(await isServed(server));
    assert.deepEqual([server.counters.failed, server.counters.timedOut], [1, 0]);
  });
});
