import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { describe, it } from "node:test";
import { ManualClock } from "../../authority/testing.ts";
import { parseUpstreamUrl } from "../upstream-url.ts";
import { Endpoint } from "./endpoint.ts";
import { type Resolved, resolveName, ttlOf } from "./names.ts";
import { Site } from "./site.ts";

/** A site whose name leads where the test says. */
function make(url: string, answer: () => Resolved | Promise<Resolved>) {
  const clock = new ManualClock();
  const state = { asked: 0 };
  const resolve = async () => {
    state.asked++;
    return answer();
  };
  const target = parseUpstreamUrl(url);
  assert.ok(target !== undefined);
  const dial = { id: undefined, protocol: "http1", identity: undefined as never, clock } as const;
  const site = new Site(target.hostname, (host) => new Endpoint(target, host, dial), clock, resolve);
  const hosts = () => site.endpoints.map(({ host }) => host);
  return { clock, state, site, hosts };
}

describe("names of upstreams", () => {
  it("are looked up when their time is over: at once in the background, long after by waiting", async () => {
    let answer: Resolved = { addresses: ["10.0.0.1", "10.0.0.2", "10.0.0.1"], ttlMs: 7_000 };
    const { clock, state, site, hosts } = make("https://orders.example:8443", () => answer);
    assert.deepEqual(hosts(), ["orders.example"]);
    const waiting = site.ready();
    assert.ok(waiting instanceof Promise);
    await waiting;
    assert.deepEqual(hosts(), ["10.0.0.1", "10.0.0.2"]);
    const [first, second] = site.endpoints;
    assert.equal(first?.address, "10.0.0.1:8443");
    answer = { addresses: ["10.0.0.2", "10.0.0.3"], ttlMs: 7_000 };
    await clock.advance(6_999);
    assert.equal(site.ready(), undefined);
    assert.equal(state.asked, 1);
    await clock.advance(1);
    assert.equal(site.ready(), undefined);
    assert.equal(site.ready(), undefined);
    await clock.advance(0);
    assert.equal(state.asked, 2);
    assert.deepEqual(hosts(), ["10.0.0.2", "10.0.0.3"]);
    assert.equal(site.endpoints[0], second);
    answer = { addresses: ["10.0.0.4"], ttlMs: 7_000 };
    await clock.advance(14_000);
    await site.ready();
    assert.deepEqual(hosts(), ["10.0.0.4"]);
  });

  it("hold no shorter than a second, no longer than five minutes, and five seconds where nobody says", async () => {
    for (const [ttlMs, held] of [
      [0, 1_000],
      [86_400_000, 300_000],
      [undefined, 5_000],
    ] as const) {
      const { clock, state, site } = make("https://orders.example", () => ({ addresses: ["10.0.0.1"], ttlMs }));
      await site.ready();
      await clock.advance(held - 1);
      site.ready();
      assert.equal(state.asked, 1, `${ttlMs}`);
      await clock.advance(1);
      site.ready();
      assert.equal(state.asked, 2, `${ttlMs}`);
    }
  });

  it("that were given up while they were looked up keep no connection to what they lead to", async () => {
    const { site } = make("https://orders.example", () => ({ addresses: ["10.0.0.1"], ttlMs: 7_000 }));
    const given = make("https://orders.example", () => ({ addresses: ["10.0.0.1"], ttlMs: 7_000 }));
    const retired: unknown[] = [];
    const { retire } = Endpoint.prototype;
    Endpoint.prototype.retire = function noted(this: Endpoint) {
      retired.push(this);
      retire.call(this);
    };
    try {
      const waiting = [site.ready(), given.site.ready()];
      given.site.retire();
      await Promise.all(waiting);
    } finally {
      Endpoint.prototype.retire = retire;
    }
    assert.ok(retired.includes(given.site.endpoints[0]));
    assert.ok(!retired.includes(site.endpoints[0]));
  });

  it("lead to sixteen addresses at most", async () => {
    const addresses = Array.from({ length: 40 }, (_, i) => `10.0.0.${i}`);
    const { site, hosts } = make("https://orders.example", () => ({ addresses, ttlMs: undefined }));
    await site.ready();
    assert.deepEqual(hosts(), addresses.slice(0, 16));
  });

  it("that lead nowhere any more keep their addresses, and are asked for every five seconds", async () => {
    let broken: "no" | "throws" | "empty" | "hangs" = "no";
    const { clock, state, site, hosts } = make("https://orders.example", () => {
      if (broken === "throws") throw new Error("ENOTFOUND");
      if (broken === "hangs") return new Promise<Resolved>(() => {});
      return { addresses: broken === "empty" ? [] : ["10.0.0.1"], ttlMs: 1_000 };
    });
    await site.ready();
    for (const how of ["throws", "empty", "hangs"] as const) {
      broken = how;
      await clock.advance(5_000);
      site.ready();
      await clock.advance(5_000);
      assert.deepEqual(hosts(), ["10.0.0.1"], how);
    }
    const { asked } = state;
    await clock.advance(4_999);
    assert.equal(site.ready(), undefined);
    assert.equal(state.asked, asked);
    await clock.advance(1);
    assert.equal(site.ready(), undefined);
    assert.equal(state.asked, asked + 1);
  });

  it("are dialled as they are while they never led anywhere, and nobody waits for them twice", async () => {
    const { site, hosts } = make("https://orders.example", () => Promise.reject(new Error("ENOTFOUND")));
    await site.ready();
    assert.deepEqual(hosts(), ["orders.example"]);
    assert.equal(site.ready(), undefined);
  });

  it("are names: addresses, this machine and unix sockets are not looked up", async () => {
    for (const url of ["https://10.0.0.1", "https://[::1]:8443", "http://localhost:80", "unix:/run/a.sock"]) {
      const { state, site } = make(url, () => ({ addresses: ["10.9.9.9"], ttlMs: undefined }));
      assert.equal(site.ready(), undefined, url);
      assert.equal(site.endpoints.length, 1);
      assert.equal(state.asked, 0);
    }
    assert.equal(
      make("https://[::1]:8443", () => ({ addresses: [], ttlMs: 0 })).site.endpoints[0]?.address,
      "[::1]:8443",
    );
    assert.equal(
      make("unix:/run/a.sock", () => ({ addresses: [], ttlMs: 0 })).site.endpoints[0]?.address,
      "unix:/run/a.sock",
    );
  });

  it("the system finds this machine, and nothing under a name that cannot be", async () => {
    const { addresses } = await resolveName("localhost");
    assert.ok(
      addresses.some((address) => address === "127.0.0.1" || address === "::1"),
      addresses.join(),
    );
    await assert.rejects(resolveName("no-such-name.invalid"));
  });

  it("the time they hold is the smallest TTL that a DNS server says", async () => {
    const socket = createSocket("udp4");
    socket.on("message", (query, from) => {
      let end = 12;
      while (query[end] !== 0) end += (query[end] as number) + 1;
      const isA = query.readUInt16BE(end + 1) === 1;
      const head = [query[0], query[1], 0x81, 0x80, 0, 1, 0, isA ? 2 : 0, 0, 0, 0, 0] as number[];
      const record = (ttl: number) => [0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, ttl, 0, 4, 10, 0, 0, ttl];
      const records = isA ? [...record(9), ...record(7)] : [];
      socket.send(new Uint8Array([...head, ...query.subarray(12, end + 5), ...records]), from.port, from.address);
    });
    await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
    try {
      assert.equal(await ttlOf("orders.example", [`127.0.0.1:${socket.address().port}`]), 7_000);
    } finally {
      socket.close();
    }
    assert.equal(await ttlOf("orders.example", ["no address"]), undefined);
  });
});
