import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { authorizeId } from "./authorizers.ts";
import { listen, type TlsListener } from "./listen.ts";
import {
  http1Done,
  http1Get,
  http2Ended,
  http2Requests,
  identityOf,
  many,
  Opened,
  Relay,
  rawExchange,
  rawOptions,
  type Shown,
  shown,
} from "./wire.testing.ts";
import { HOME, makeWorld, PARTNER, WEB, type World } from "./wrong-peers.testing.ts";

const PER_CLASS = 50;
// with two kinds of refused peers 500 for each protocol
const PIPELINED = 250;

let world: World;
let server: TlsListener;
let handled = 0;
const opened = new Opened();

/** One client of HTTP/1.1 or HTTP/2; gives back how many answers it got. */
async function client(port: number, show: Shown, h2: boolean, relay?: Relay): Promise<number> {
  const { bytes } = await rawExchange(
    rawOptions(port, show, h2 ? "h2" : "http/1.1"),
    h2 ? http2Requests(3) : http1Get(),
    h2 ? (seen) => http2Ended(seen) >= 3 : http1Done,
    (socket) => relay?.release(socket.localPort ?? 0),
  );
  return h2 ? http2Ended(bytes) : Number(http1Done(bytes));
}

async function start(): Promise<void> {
  world = await makeWorld();
  handled = 0;
  const orders = await identityOf(`spiffe://${HOME}/orders`, world.home, world.partner);
  server = await listen(orders, {
    port: 0,
    address: "127.0.0.1",
    throttle: false,
    authorize: authorizeId(WEB),
    handler: (_request, response) => {
      handled++;
      response.end("ok");
    },
  });
}

describe("refused peers of a listener", () => {
  before(start);
  after(async () => {
    await opened.close();
    await server.close({ deadlineMs: 0 });
  });

  it("[S-1] [S-2] [S-7] [S-12] [A-7] [G-2] every class of wrong peers is refused with its reason, its twin is served", async () => {
    assert.ok(world.wrong.length >= 17, `only ${world.wrong.length} classes`);
    const notListed = {
      name: "not on the list",
      reason: "peer.not-authorized" as const,
      show: shown(await world.home.issue({ id: `${WEB}2` })),
    };
    const partner = {
      ...notListed,
      name: "member of a federated domain",
      show: shown(await world.partner.issue({ id: `spiffe://${PARTNER}/web` })),
    };
    for (const { name, reason, show } of [...world.wrong, notListed, partner]) {
      const refusedBefore = server.counters.reasons[reason] ?? 0;
      handled = 0;
      await many(PER_CLASS, 8, async (i) => {
        assert.equal(await client(server.port, show, i % 2 === 0), 0, name);
      });
      assert.equal(handled, 0, `${name} reached the handler`);
      assert.equal(
        (server.counters.reasons[reason] ?? 0) - refusedBefore,
        PER_CLASS,
        `${name}: ${JSON.stringify(server.counters)}`,
      );
    }
    handled = 0;
    await many(PER_CLASS, 8, async (i) => {
      assert.equal(await client(server.port, shown(world.good), i % 2 === 0), i % 2 === 0 ? 3 : 1);
    });
    assert.equal(handled, PER_CLASS * 2, "25 clients with one request, 25 with three");
    assert.equal(server.counters.stray, 0);
  });

  it("[G-2] peers whose bundle was redacted are refused at the next handshake, and welcome before and after", async () => {
    const orders = await identityOf(`spiffe://${HOME}/orders`, world.home, world.partner);
    const open = opened.add(
      await listen(orders, {
        port: 0,
        address: "127.0.0.1",
        throttle: false,
        handler: (_request, response) => {
          handled++;
          response.end("ok");
        },
      }),
    );
    const show = shown(await world.partner.issue({ id: `spiffe://${PARTNER}/web` }));
    handled = 0;
    for (const [bundles, answers] of [
      [[world.home, world.partner], 1],
      [[world.home], 0],
      [[world.home, world.partner], 1],
    ] as const) {
      await orders.update({ bundles: bundles.map((ca) => ca.x509Bundle()) });
      await many(PER_CLASS, 8, async () => assert.equal(await client(open.port, show, false), answers));
    }
    assert.equal(handled, 2 * PER_CLASS);
    assert.equal(open.counters.reasons["x509.no-bundle"], PER_CLASS);
    await open.close({ deadlineMs: 0 });
  });

  it("[A-6] upgrades, CONNECT and Expect by refused peers reach nothing; a welcome peer's do", async () => {
    let upgrades = 0;
    const strict = opened.add(
      await listen(await identityOf(`spiffe://${HOME}/orders`, world.home), {
        port: 0,
        address: "127.0.0.1",
        throttle: false,
        authorize: authorizeId(WEB),
        handler: (_request, response) => {
          handled++;
          response.end("ok");
        },
        onUpgrade: (_request, socket) => {
          upgrades++;
          socket.end("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
        },
      }),
    );
    const ways: readonly [alpn: string, bytes: Uint8Array][] = [
      ["http/1.1", http1Get("/", ["connection: upgrade", "upgrade: echo"])],
      ["http/1.1", Buffer.from("CONNECT orders:1 HTTP/1.1\r\nhost: orders:1\r\n\r\n")],
      ["http/1.1", http1Get("/", ["expect: 100-continue"])],
      ["http/1.1", http1Get("/", ["expect: more"])],
      ["h2", http2Requests(1, [], "CONNECT")],
      ["h2", http2Requests(1, [["expect", "100-continue"]])],
    ];
    const notListed = shown(await world.home.issue({ id: `${WEB}2` }));
    const foreign = world.wrong.find(({ name }) => name.startsWith("foreign CA"))!.show;
    const go = async (show: Shown, [alpn, bytes]: (typeof ways)[number]) => {
      const answered = (seen: Buffer) =>
        alpn === "h2" ? http2Ended(seen) > 0 : /HTTP\/1\.1 (?!100)\d/.test(String(seen));
      return answered((await rawExchange(rawOptions(strict.port, show, alpn), bytes, answered)).bytes);
    };
    handled = 0;
    // Nobody is offered it, so that no answer is agreed on: its twin is the plain one.
    const extended = [
      [":protocol", "websocket"],
      [":scheme", "https"],
      [":path", "/"],
    ] as const;
    for (const way of [...ways, ["h2", http2Requests(1, extended, "CONNECT")] satisfies (typeof ways)[number]]) {
      for (const show of [undefined, foreign, notListed])
        for (let i = 0; i < 10; i++) assert.equal(await go(show, way), false);
    }
    assert.deepEqual([handled, upgrades], [0, 0]);
    for (const way of ways) assert.equal(await go(shown(world.good), way), true);
    assert.deepEqual([handled, upgrades], [2, 1]);
    assert.equal(strict.counters.stray, 0);
    await strict.close({ deadlineMs: 0 });
  });

  for (const h2 of [false, true]) {
    it(`[A-1] requests in the segment of Finished never reach the handler, ${h2 ? "HTTP/2" : "HTTP/1.1"}`, async () => {
      const relay = await Relay.start(server.port);
      try {
        const foreign = world.wrong.find(({ name }) => name.startsWith("foreign CA"))!;
        for (const show of [undefined, foreign.show]) {
          const refused = server.counters.refused;
          handled = 0;
          await many(PIPELINED, 12, async () => {
            assert.equal(await client(relay.port, show, h2, relay), 0);
          });
          assert.equal(handled, 0);
          assert.equal(server.counters.refused - refused, PIPELINED);
        }
        handled = 0;
        await many(PIPELINED, 12, async () => {
          assert.equal(await client(relay.port, shown(world.good), h2, relay), h2 ? 3 : 1);
        });
        assert.equal(handled, PIPELINED * (h2 ? 3 : 1));
        assert.equal(server.counters.stray, 0);
      } finally {
        await relay.close();
      }
    });
  }
});
