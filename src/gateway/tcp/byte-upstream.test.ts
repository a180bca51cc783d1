/** Upstreams for bytes: health, names and the breaker, as upstreams of requests have them. */
import assert from "node:assert/strict";
import { connect as dialPlain } from "node:net";
import { after, before, describe, it } from "node:test";
import { freePort } from "../../../test/support/ports.ts";
import { ManualClock } from "../../authority/testing.ts";
import { isSpiffeError } from "../../base/index.ts";
import { writeLocalProxyHeader } from "../../encoding/proxy-protocol.ts";
import { listen, type TlsListener } from "../../tls/index.ts";
import { Opened } from "../../tls/wire.testing.ts";
import type { ByteTarget } from "../config-tcp.ts";
import type { Resolve } from "../upstream/names.ts";
import { type Changeable, idOf, until, World } from "../world.testing.ts";
import { ByteUpstream } from "./byte-upstream.ts";
import { ByteServer, echo, whole } from "./bytes.testing.ts";

const EVERY_MS = 1_000;

let world: World;
let own: Changeable;
/** Closed at the end, also after a failure. */
const opened = new Opened();
before(async () => {
  world = await World.create();
  own = await world.identity("gateway");
});
after(async () => {
  await opened.close();
  await ByteServer.closeAll();
});

const targetOf = (port: number, host = "127.0.0.1", tls = false): ByteTarget => ({
  url: `${tls ? "tls" : "tcp"}://${host}:${port}`,
  tls,
  host,
  port,
});

interface Making {
  readonly id?: string;
  readonly health?: true;
  readonly resolve?: Resolve;
  readonly proxyHeader?: boolean;
}

function make(targets: readonly ByteTarget[], more: Making = {}) {
  const clock = new ManualClock();
  const config = {
    name: "db",
    targets,
    id: more.id,
    unsafePlain: false,
    connectTimeoutMs: 5_000,
    proxyHeader: more.proxyHeader ?? false,
    health: more.health && { everyMs: EVERY_MS },
  };
  // in the middle of its tenth, a round takes exactly its time
  const parts = { random: () => 0.5, ...(more.resolve && { resolve: more.resolve }) };
  const upstream = opened.add(new ByteUpstream(config, own, clock, parts));
  const connect = async () => {
    try {
      const { socket, address } = await upstream.connect(new AbortController().signal);
      socket.destroy();
      return address;
    } catch (error) {
      if (!isSpiffeError(error)) throw error;
      return error.reason ?? error.code;
    }
  };
  const checked = () => {
    const { passed, failed } = upstream.state().counters.checks;
    return passed + failed;
  };
  /** Rounds of checks, each over all addresses. */
  const rounds = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const want = checked() + targets.length;
      await clock.advance(EVERY_MS);
      await until(() => checked() >= want);
    }
  };
  return { upstream, clock, connect, checked, rounds };
}

describe("upstreams for bytes", () => {
  let orders: TlsListener;
  let other: TlsListener;
  const serve = async (name: string) =>
    listen(await world.identity(name), {
      address: "127.0.0.1",
      port: 0,
      throttle: false,
      onConnection: (socket) => void socket.resume(),
    });
  before(async () => {
    [orders, other] = await Promise.all([serve("orders"), serve("other")]);
  });
  after(async () => {
    for (const tls of [orders, other]) await tls?.close({ deadlineMs: 0 });
  });

  it("leave out an address whose checks fail twice, and take it again after one that passes", async () => {
    const up = await new ByteServer(echo).start();
    const port = await freePort();
    const { upstream, connect, checked, rounds } = make([targetOf(up.port), targetOf(port)], { health: true });
    upstream.start();
    await until(() => checked() === 2);
    await rounds(1);
    assert.deepEqual(
      upstream.state().addresses.map(({ healthy }) => healthy),
      [true, false],
    );
    const before = upstream.state().counters.tries.unreachable;
    for (let i = 0; i < 4; i++) assert.equal(await connect(), up.url);
    assert.equal(upstream.state().counters.tries.unreachable, before);
    const back = await new ByteServer(echo).start({ port });
    await rounds(1);
    assert.deepEqual(new Set([await connect(), await connect()]), new Set([up.url, back.url]));
    await upstream.close();
    const last = checked();
    await Promise.all([up.close(), back.close()]);
    assert.equal(checked(), last);
  });

  it("[S-5] are healthy only where the pinned ID answers, and with none such nobody is dialled", async () => {
    const id = idOf("orders");
    const tls = [other, orders].map(({ port }) => targetOf(port, "127.0.0.1", true));
    const both = make(tls, { id, health: true });
    const wrong = make(tls.slice(0, 1), { id, health: true });
    for (const { upstream, checked, rounds } of [both, wrong]) {
      upstream.start();
      await until(() => checked() === upstream.config.targets.length);
      await rounds(1);
    }
    for (let i = 0; i < 4; i++) assert.equal(await both.connect(), tls[1]!.url);
    assert.equal(both.upstream.state().counters.tries.identity, 0);
    assert.equal(await wrong.connect(), "upstream.unhealthy");
    assert.equal(wrong.upstream.state().counters.refusedUnhealthy, 1);
    for (const { upstream } of [both, wrong]) await upstream.close();
  });

  it("that wait for a PROXY header are checked by one that names nobody, and a whole end; others get no byte", async () => {
    for (const proxyHeader of [true, false]) {
      const heard: Promise<{ bytes: Buffer; clean: boolean }>[] = [];
      const up = await new ByteServer((socket) => {
        heard.push(whole(socket));
        socket.once("end", () => socket.end());
      }).start();
      const { upstream, checked } = make([targetOf(up.port)], { health: true, proxyHeader });
      upstream.start();
      try {
        await until(() => checked() === 1 && heard.length === 1);
        const { bytes, clean } = await heard[0]!;
        assert.deepEqual([...bytes], proxyHeader ? [...writeLocalProxyHeader()] : []);
        assert.equal(clean, proxyHeader);
        assert.equal(upstream.state().addresses[0]?.healthy, true);
        await until(() => up.open === 0);
      } finally {
        await upstream.close();
        await up.close();
      }
    }
  });

  it("a check is no refused connection to a listener that demands the header, an end without one is", async () => {
    const told: string[] = [];
    const tls = await listen(await world.identity("orders"), {
      address: "127.0.0.1",
      port: 0,
      throttle: false,
      proxyProtocol: { from: ["127.0.0.1"] },
      onConnection: (socket) => void socket.resume(),
      onRefused: ({ reason }) => void told.push(reason),
    });
    const { upstream, checked, rounds } = make([targetOf(tls.port)], { health: true, proxyHeader: true });
    upstream.start();
    try {
      await until(() => checked() === 1);
      await rounds(2);
      const bare = dialPlain(tls.port, "127.0.0.1", () => bare.end());
      await new Promise((resolve) => bare.resume().once("close", resolve));
      await until(() => told.length > 0);
      assert.deepEqual(told, ["request.proxy-header"]);
      assert.deepEqual(upstream.state().counters.checks, { passed: 3, failed: 0 });
    } finally {
      await upstream.close();
      await tls.close({ deadlineMs: 0 });
    }
  });

  it("that never end a checked connection are left a second later", async () => {
    const up = await new ByteServer((socket) => void socket.resume()).start();
    const { upstream, clock, checked } = make([targetOf(up.port)], { health: true, proxyHeader: true });
    upstream.start();
    try {
      await until(() => checked() === 1 && up.bytes === 16);
      const [socket] = up.sockets;
      const speak = async () => {
        socket!.write("still here");
        await new Promise((resolve) => setTimeout(resolve, 20));
        return socket!.destroyed;
      };
      await clock.advance(999);
      // twice, as the first write to a connection that is gone is what tells
      assert.deepEqual([await speak(), await speak()], [false, false]);
      await clock.advance(1);
      await until(() => {
        socket!.write("nobody");
        return socket!.destroyed;
      });
    } finally {
      await upstream.close();
      await up.close();
    }
  });

  it("say nothing against an address while the own identity is lost", async () => {
    const identity = own;
    const { upstream, checked, rounds, connect, clock } = make([targetOf(orders.port, "127.0.0.1", true)], {
      id: idOf("orders"),
      health: true,
    });
    upstream.start();
    await until(() => checked() === 1);
    const svid = identity.x509.x509Svid();
    await identity.update({ svid: null });
    for (let i = 0; i < 8; i++) await connect();
    await clock.advance(3 * EVERY_MS);
    assert.equal(upstream.state().breaker, "closed");
    assert.equal(upstream.state().addresses[0]?.healthy, true);
    await identity.update({ svid });
    await rounds(1);
    assert.equal(await connect(), `tls://127.0.0.1:${orders.port}`);
    await upstream.close();
  });

  it("are left alone after five connections that came nowhere, and asked by one at a time after", async () => {
    const port = await freePort();
    const { upstream, clock, connect } = make([targetOf(port)]);
    for (let i = 0; i < 5; i++) assert.equal(await connect(), "upstream.unreachable");
    const up = await new ByteServer(echo).start({ port });
    assert.equal(await connect(), "upstream.breaker-open");
    assert.equal(up.connections, 0);
    await clock.advance(1_000);
    assert.equal(upstream.state().breaker, "half-open");
    const two = await Promise.all([connect(), connect()]);
    assert.deepEqual(new Set(two), new Set([up.url, "upstream.breaker-open"]));
    assert.equal(await connect(), up.url);
    assert.equal(upstream.state().breaker, "closed");
    await up.close();
  });

  it("follow their names as long as the DNS says, and prove the ID at every address", async () => {
    let asked = 0;
    let addresses = ["127.0.0.1"];
    const resolve: Resolve = async () => {
      asked++;
      return { addresses, ttlMs: 7_000 };
    };
    const target = targetOf(orders.port, "orders.example", true);
    const { clock, connect, upstream } = make([target], { id: idOf("orders"), resolve });
    for (let i = 0; i < 3; i++) assert.equal(await connect(), `tls://127.0.0.1:${orders.port}`);
    assert.equal(asked, 1);
    addresses = ["::1", "127.0.0.1"];
    await clock.advance(7_000);
    await connect();
    await until(() => upstream.state().addresses.length === 2);
    assert.equal(asked, 2);
    assert.equal(upstream.state().addresses[0]?.address, `tls://[::1]:${orders.port}`);
    const wrong = make([targetOf(other.port, "orders.example", true)], { id: idOf("orders"), resolve });
    addresses = ["127.0.0.1"];
    assert.notEqual(await wrong.connect(), `tls://127.0.0.1:${other.port}`);
    assert.equal(wrong.upstream.state().counters.tries.identity, 1);
  });
});
