/** Peers that reset the connection right behind their handshake: the verdict on them counts all the same. */
import assert from "node:assert/strict";
import { connect, createServer, type Server } from "node:net";
import { after, before, describe, it } from "node:test";
import { eventually } from "../../test/support/eventually.ts";
import { TestCa } from "../authority/test-ca.ts";
import { listen, type RefusedConnection, type TlsListener } from "./listen.ts";
import { http1Done, http1Get, identityOf, rawExchange, rawOptions, type Shown, shown } from "./wire.testing.ts";

const WEB = "spiffe://example.org/web";

/** Passes on to a port, and resets that connection with the second piece that the client sends, the end of its handshake. */
async function resetting(to: number): Promise<{ port: number; server: Server }> {
  const server = createServer((near) => {
    const far = connect(to, "127.0.0.1");
    let pieces = 0;
    near
      .on("error", () => {})
      .on("data", (chunk: Uint8Array) => {
        far.write(chunk, () => {
          if (++pieces < 2) return;
          far.resetAndDestroy();
          near.destroy();
        });
      });
    far.on("error", () => {}).on("data", (chunk: Uint8Array) => void near.write(chunk));
    far.once("close", () => near.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: (server.address() as { port: number }).port, server };
}

describe("[S-7] peers that reset right behind their handshake", () => {
  let ca: TestCa;
  let good: Shown;
  let bad: Shown;
  before(async () => {
    ca = await TestCa.create();
    good = shown(await ca.issue({ id: WEB }));
    bad = shown(await (await TestCa.create()).issue({ id: WEB }));
  });
  const opened: { close(options: { deadlineMs: number }): Promise<unknown> }[] = [];
  const relays: Server[] = [];
  after(async () => {
    for (const relay of relays) relay.close();
    for (const listener of opened) await listener.close({ deadlineMs: 0 });
  });

  /** Lets so many shake hands and reset; what became of them, and whether a good one is served then. */
  async function afterResets(show: Shown, count: number): Promise<{ refused: string[]; served: boolean }> {
    const refused: RefusedConnection[] = [];
    const listener: TlsListener = await listen(await identityOf("spiffe://example.org/orders", ca), {
      port: 0,
      address: "127.0.0.1",
      throttle: {},
      handler: (_, response) => void response.end("served"),
      onRefused: (one) => void refused.push(one),
    });
    opened.push(listener);
    const { port, server } = await resetting(listener.port);
    relays.push(server);
    const judged = () => listener.counters.refused + listener.counters.accepted + listener.counters.failed;
    for (let i = 0; i < count; i++) {
      await rawExchange(rawOptions(port, show, "http/1.1"), new Uint8Array());
      await eventually(() => judged() > i);
    }
    const { bytes } = await rawExchange(rawOptions(listener.port, good, "http/1.1"), http1Get(), http1Done);
    return { refused: refused.map(({ reason, address }) => `${reason} ${address}`), served: http1Done(bytes) };
  }

  it("are counted against their address, which is told: five of them shut it out", async () => {
    assert.deepEqual(await afterResets(bad, 4), {
      refused: new Array(4).fill("x509.no-path 127.0.0.1"),
      served: true,
    });
    assert.deepEqual(await afterResets(bad, 5), {
      refused: [...new Array(5).fill("x509.no-path 127.0.0.1"), "peer.throttled 127.0.0.1"],
      served: false,
    });
  });

  it("have the address that they came from wherever it is asked for", async () => {
    const seen: string[] = [];
    const listener = await listen(await identityOf("spiffe://example.org/orders", ca), {
      port: 0,
      address: "127.0.0.1",
      onConnection(socket) {
        seen.push(`${socket.remoteAddress} ${socket.remoteFamily} ${(socket.remotePort ?? 0) > 0}`);
        socket.destroy();
      },
    });
    opened.push(listener);
    const { port, server } = await resetting(listener.port);
    relays.push(server);
    for (const to of [port, listener.port]) await rawExchange(rawOptions(to, good, "http/1.1"), new Uint8Array());
    await eventually(() => seen.length >= 2);
    assert.deepEqual(seen, ["127.0.0.1 IPv4 true", "127.0.0.1 IPv4 true"]);
  });

  it("shut nobody out where they are welcome", async () => {
    assert.deepEqual(await afterResets(good, 5), { refused: [], served: true });
  });
});
