/** The places of handshakes, and whose they are when somebody takes them all. */
import assert from "node:assert/strict";
import { connect as dialTcp } from "node:net";
import { after, before, describe, it } from "node:test";
import { connect as dialTls } from "node:tls";
import { eventually } from "../../test/support/eventually.ts";
import { skipWhen } from "../../test/support/skip.ts";
import { ManualClock } from "../authority/manual-clock.ts";
import { TestCa } from "../authority/test-ca.ts";
import { writeProxyHeader } from "../encoding/proxy-protocol.ts";
import { Handshakes, MAX_HANDSHAKES } from "./handshakes.ts";
import { listen } from "./listen.ts";
import { http1Done, http1Get, identityOf, Opened, rawExchange, rawOptions, type Shown, shown } from "./wire.testing.ts";

interface One {
  readonly name: string;
}

const one = (name: string): One => ({ name });

describe("places of handshakes", () => {
  it("[S-7] [A-9] the busiest address gives up its oldest to a newcomer from elsewhere, and gets none itself", () => {
    const places = new Handshakes<One>(4);
    const first = [1, 2, 3, 4].map((i) => one(`first ${i}`));
    for (const each of first) assert.equal(places.add(each, "10.0.0.1"), undefined);
    const more = one("first 5");
    assert.equal(places.add(more, "10.0.0.1"), more);
    assert.equal(places.add(one("second 1"), "10.0.0.2"), first[0]);
    assert.equal(places.size, 4);
    // three against one: another one makes it two against two
    assert.equal(places.add(one("second 2"), "10.0.0.2"), first[1]);
    const third = one("second 3");
    assert.equal(places.add(third, "10.0.0.2"), third);
    assert.equal(places.add(one("third 1"), "10.0.0.3"), first[2]);
    assert.equal(places.size, 4);
  });

  it("[S-7] [A-9] addresses of one IPv6 /64 count together, and so do both forms of an IPv4 address", () => {
    for (const [many, elsewhere] of [
      [(i: number) => `2001:db8:0:1::${i}`, "2001:db8:0:2::1"],
      [(i: number) => (i % 2 === 0 ? "10.0.0.1" : "::ffff:10.0.0.1"), "10.0.0.2"],
    ] as const) {
      const places = new Handshakes<One>(4);
      const held = [1, 2, 3, 4].map((i) => one(String(i)));
      for (const [i, each] of held.entries()) assert.equal(places.add(each, many(i + 1)), undefined);
      const more = one("more");
      assert.equal(places.add(more, many(5)), more);
      assert.equal(places.add(one("elsewhere"), elsewhere), held[0]);
    }
  });

  it("[S-7] one that a load balancer speaks for counts to its own caller from then on", () => {
    const places = new Handshakes<One>(2);
    const [a, b, late] = [one("a"), one("b"), one("late")];
    for (const each of [a, b]) places.add(each, "10.0.0.9");
    assert.equal(places.add(late, "10.0.0.9"), late);
    for (const each of [a, b]) places.move(each, "192.0.2.1");
    assert.equal(places.size, 2);
    assert.equal(places.add(late, "10.0.0.9"), a);
    places.move(a, "192.0.2.1");
    assert.equal(places.size, 2, "who has gone takes no place again");
  });

  it("[S-7] where nobody has more than others, what is begun is finished", () => {
    const places = new Handshakes<One>(3);
    for (const i of [1, 2, 3]) assert.equal(places.add(one(String(i)), `10.0.0.${i}`), undefined);
    const late = one("late");
    assert.equal(places.add(late, "10.0.0.4"), late);
    const nowhere = new Handshakes<One>(1);
    assert.equal(nowhere.add(late), undefined);
    const other = one("other");
    assert.equal(nowhere.add(other), other);
  });

  it("[S-7] a handshake that is over leaves its place, once", () => {
    const places = new Handshakes<One>(2);
    const [a, b, c] = [one("a"), one("b"), one("c")];
    for (const each of [a, b]) places.add(each, "10.0.0.1");
    for (let i = 0; i < 2; i++) places.over(a);
    places.over(c);
    assert.equal(places.size, 1);
    assert.equal(places.add(c, "10.0.0.1"), undefined);
    for (const each of [b, c]) places.over(each);
    assert.equal(places.size, 0);
  });
});

describe("a listener whose handshakes never end", () => {
  const opened = new Opened();
  let ca: TestCa;
  let good: Shown;
  before(async () => {
    ca = await TestCa.create();
    good = shown(await ca.issue({ id: "spiffe://example.org/web" }));
  });
  after(() => opened.close());

  const title = "[S-7] [A-9] has a bounded number of them, and serves who comes from elsewhere";
  const elsewhere = process.platform === "linux" ? undefined : "only Linux has 127.0.0.2 without a word";
  it(title, skipWhen(title, elsewhere), async () => {
    const count = MAX_HANDSHAKES + 100;
    const warned: string[] = [];
    const warn = (message: string) => void (message.startsWith("as many handshakes") && warned.push(message));
    const server = opened.add(
      await listen(await identityOf("spiffe://example.org/orders", ca), {
        address: "127.0.0.1",
        port: 0,
        throttle: false,
        clock: new ManualClock(),
        handler: (_request, response) => void response.end("ok"),
        logger: { debug() {}, info() {}, warn, error() {} },
      }),
    );
    const isServed = async (from: string) => {
      const options = rawOptions(server.port, good, "http/1.1", { localAddress: from } as object);
      return http1Done((await rawExchange(options, http1Get(), http1Done)).bytes);
    };
    assert.equal(await isServed("127.0.0.1"), true);
    let closed = 0;
    const sockets = Array.from({ length: count }, () => {
      const socket = dialTcp(server.port, "127.0.0.1").on("error", () => {});
      socket.once("close", () => closed++);
      return socket.resume();
    });
    await eventually(() => closed >= 100);
    assert.equal(await isServed("127.0.0.1"), false, "the address that has all places gets no further one");
    for (let i = 0; i < 20; i++) assert.equal(await isServed("127.0.0.2"), true, "others are served");
    assert.ok(server.counters.overLimit >= 101, `${server.counters.overLimit} were closed`);
    assert.equal(server.counters.failed + server.counters.timedOut, 0);
    assert.equal(warned.length, 1);
    for (const socket of sockets) socket.destroy();
    await eventually(() => closed >= count);
    assert.equal(await isServed("127.0.0.1"), true);
    await server.close({ deadlineMs: 0 });
  });

  it("[S-7] [A-9] whoever comes through a load balancer is served beside a caller of it whose handshakes never end", async () => {
    const server = opened.add(
      await listen(await identityOf("spiffe://example.org/orders", ca), {
        address: "127.0.0.1",
        port: 0,
        throttle: false,
        clock: new ManualClock(),
        proxyProtocol: { from: ["127.0.0.1"] },
        handler: (_request, response) => void response.end("ok"),
      }),
    );
    const here = { address: "192.0.2.1", port: 443 };
    const through = (address: string) => {
      const socket = dialTcp(server.port, "127.0.0.1").on("error", () => {});
      socket.write(writeProxyHeader({ address, port: 4_711 }, here));
      return socket;
    };
    const isServed = async (address: string) => {
      const options = rawOptions(server.port, good, "http/1.1", { socket: through(address) });
      return http1Done((await rawExchange(options, http1Get(), http1Done)).bytes);
    };
    assert.equal(await isServed("192.0.2.7"), true);
    let closed = 0;
    const sockets = Array.from({ length: MAX_HANDSHAKES + 50 }, () =>
      through("192.0.2.66")
        .once("close", () => closed++)
        .resume(),
    );
    await eventually(() => closed >= 50);
    for (let i = 0; i < 20; i++) assert.equal(await isServed("192.0.2.7"), true, "others are served");
    for (const socket of sockets) socket.destroy();
    await eventually(() => closed >= sockets.length);
    await server.close({ deadlineMs: 0 });
  });

  const begun =
    "[S-7] [A-8] the refusal that shuts an address out ends the handshakes that it has begun, and nobody else's";
  it(begun, skipWhen(begun, elsewhere), async () => {
    const refused: string[] = [];
    const server = opened.add(
      await listen(await identityOf("spiffe://example.org/orders", ca), {
        address: "127.0.0.1",
        port: 0,
        throttle: { refusals: 3 },
        handler: (_request, response) => void response.end("ok"),
        onRefused: ({ reason, address }) => void refused.push(`${reason} ${address}`),
      }),
    );
    const begin = async (localAddress: string) => {
      const socket = dialTcp({ port: server.port, host: "127.0.0.1", localAddress }).on("error", () => {});
      const state = { socket, closed: false };
      socket.once("close", () => {
        state.closed = true;
      });
      await new Promise((resolve) => socket.once("connect", resolve));
      return state;
    };
    const theirs = await Promise.all(Array.from({ length: 20 }, () => begin("127.0.0.2")));
    const other = await begin("127.0.0.3");
    const accepted = dialTls(rawOptions(server.port, good, "http/1.1", { localAddress: "127.0.0.2" } as object));
    accepted.on("error", () => {});
    await new Promise((resolve) => accepted.once("secureConnect", resolve));
    await eventually(() => server.counters.accepted >= 1);
    const wrong = shown(await (await TestCa.create()).issue({ id: "spiffe://example.org/web" }));
    for (let i = 0; i < 3; i++) {
      assert.ok(theirs.every(({ closed }) => !closed));
      const options = rawOptions(server.port, wrong, "http/1.1", { localAddress: "127.0.0.2" } as object);
      assert.equal((await rawExchange(options, http1Get(), http1Done)).bytes.length, 0);
    }
    for (const { socket } of theirs) socket.resume();
    await eventually(() => theirs.every(({ closed }) => closed));
    assert.equal(server.counters.throttled, 20);
    const shut = refused.filter((each) => each === "peer.throttled 127.0.0.2");
    assert.deepEqual([shut.length, refused.length], [20, 23]);
    assert.deepEqual([server.counters.failed, server.counters.timedOut, server.counters.open], [0, 0, 1]);
    const served = rawOptions(server.port, good, "http/1.1", { socket: other.socket });
    assert.ok(
      http1Done((await rawExchange(served, http1Get(), http1Done)).bytes),
      "who comes from elsewhere is served",
    );
    accepted.destroy();
    await server.close({ deadlineMs: 0 });
  });
});
