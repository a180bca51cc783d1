/** A listener for a protocol of its own: sockets are handed out after the verdict, and to nobody else. */
import assert from "node:assert/strict";
import { connect as dialTcp } from "node:net";
import { after, before, describe, it } from "node:test";
import { connect as dialTls } from "node:tls";
import { soon } from "../../test/support/eventually.ts";
import { ManualClock } from "../authority/manual-clock.ts";
import { type ConnectionHandler, type ListenOptions, listen, type TlsListener } from "./listen.ts";
import { peerOf } from "./peer.ts";
import { identityOf, rawExchange, rawOptions, type Shown, shown } from "./wire.testing.ts";
import { HOME, makeWorld, WEB, type World } from "./wrong-peers.testing.ts";

let world: World;

before(async () => {
  world = await makeWorld();
});

async function serve(onConnection: ConnectionHandler, options: Partial<ListenOptions> = {}): Promise<TlsListener> {
  const orders = await identityOf(`spiffe://${HOME}/orders`, world.home, world.partner);
  return listen(orders, { port: 0, address: "127.0.0.1", throttle: false, onConnection, ...options });
}

/** What a client hears until the connection ends. */
async function heard(server: TlsListener, show: Shown, says = "?"): Promise<string> {
  const { bytes } = await rawExchange(rawOptions(server.port, show, "http/1.1"), Buffer.from(says));
  return bytes.toString("latin1");
}

describe("raw connections of a listener", () => {
  let server: TlsListener;
  let taken = 0;

  before(async () => {
    server = await serve((socket) => {
      taken++;
      socket.resume().end(`hello ${peerOf(socket).id}\n`);
    });
  });

  after(() => server.close());

  it("[S-1] [S-2] every class of wrong peers hears nothing and is handed to nobody, its twin is", async () => {
    for (const { name, show, reason } of world.wrong) {
      const before = { taken, refused: server.counters.reasons[reason] ?? 0 };
      assert.equal(await heard(server, show), "", name);
      assert.equal(taken, before.taken, name);
      assert.equal(server.counters.reasons[reason], before.refused + 1, name);
      assert.equal(await heard(server, shown(world.good)), `hello ${WEB}\n`);
    }
    assert.equal(taken, world.wrong.length);
  });

  it("HTTP is not spoken there", async () => {
    assert.equal(await heard(server, shown(world.good), "GET / HTTP/1.1\r\nhost: orders\r\n\r\n"), `hello ${WEB}\n`);
    assert.equal(server.counters.stray, 0);
  });
});

describe("a raw connection whose handler fails", () => {
  for (const [name, fail] of [
    ["at once", () => assert.fail("on purpose")],
    ["later", async () => assert.fail("on purpose")],
  ] as [string, ConnectionHandler][]) {
    it(`${name} ends alone (S-8)`, async () => {
      let broken = true;
      const server = await serve((socket) => (broken ? fail(socket) : void socket.resume().end("good")));
      assert.equal(await heard(server, shown(world.good)), "");
      assert.equal(server.counters.handlerErrors, 1);
      broken = false;
      assert.equal(await heard(server, shown(world.good)), "good");
      await server.close();
    });
  }
});

describe("listen without a single way to use a connection", () => {
  const handler = () => {};
  const onConnection = (socket: Parameters<ConnectionHandler>[0]) => void socket.destroy();
  const cases: [name: string, options: ListenOptions, refused: boolean][] = [
    ["neither", {}, true],
    ["both", { handler, onConnection }, true],
    ["the one", { handler }, false],
    ["the other", { onConnection }, false],
  ];
  for (const [name, options, refused] of cases) {
    it(`${name} is ${refused ? "refused" : "taken"}`, async () => {
      const orders = await identityOf(`spiffe://${HOME}/orders`, world.home);
      const opening = listen(orders, { port: 0, address: "127.0.0.1", ...options });
      if (refused) await assert.rejects(opening, { code: "ERR_SPIFFE_USAGE" });
      else await (await opening).close();
    });
  }
});

describe("raw connections of a listener that closes", () => {
  it("go on until the deadline, and one whose handshake was not over ends at once", async () => {
    const clock = new ManualClock();
    const server = await serve((socket) => void socket.on("error", () => {}).write("taken"), { clock });
    const silent = dialTcp(server.port, "127.0.0.1");
    const cut = new Promise<void>((resolve) => silent.on("error", () => {}).once("close", () => resolve()));
    await new Promise((resolve) => silent.once("connect", resolve));
    const running = dialTls(rawOptions(server.port, shown(world.good), "http/1.1")).on("error", () => {});
    const ended = new Promise<void>((resolve) => running.once("close", () => resolve()));
    await new Promise((resolve) => running.once("data", resolve));
    const closing = server.close({ deadlineMs: 5_000 });
    await soon(cut, "the connection without a handshake is cut");
    assert.equal(running.destroyed, false);
    await clock.advance(5_000);
    assert.deepEqual(await closing, { cut: 1 });
    await ended;
  });
});
