/** Whether an end that TLS announced can be told from one that it did not: by what a socket emits. */
import assert from "node:assert/strict";
import { type AddressInfo, createServer, connect as dialTcp, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { after, before, describe, it } from "node:test";
import { TestCa } from "../authority/test-ca.ts";
import { until } from "../gateway/world.testing.ts";
import { capabilities } from "../runtime/capabilities.ts";
import { connect } from "./connect.ts";
import { createFetch } from "./fetch.ts";
import { listen, type TlsListener } from "./listen.ts";
import { identityOf } from "./wire.testing.ts";

const ORDERS = "spiffe://example.org/orders";

describe("the end of a TLS connection", () => {
  let web: Awaited<ReturnType<typeof identityOf>>;
  let server: TlsListener;
  let relay: Server;
  let port = 0;
  /** The newest connection: as the server has it, and as the client reaches the relay in between. */
  let served: Duplex;
  let towards: Socket;

  before(async () => {
    const ca = await TestCa.create();
    web = await identityOf("spiffe://example.org/web", ca);
    server = await listen(await identityOf(ORDERS, ca), {
      address: "127.0.0.1",
      port: 0,
      onConnection: (socket) => {
        served = socket;
        socket.on("error", () => {});
        socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\n\r\nhalf"));
      },
    });
    relay = createServer({ allowHalfOpen: true }, (socket) => {
      const onwards = dialTcp({ host: "127.0.0.1", port: server.port, allowHalfOpen: true });
      towards = socket;
      for (const one of [socket, onwards]) one.on("error", () => {});
      socket.pipe(onwards).pipe(socket);
      socket.once("close", () => onwards.destroy());
    });
    await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
    port = (relay.address() as AddressInfo).port;
  });
  after(async () => {
    await server.close({ deadlineMs: 0 });
    relay.close();
  });

  /** Ends the newest connection in the middle: by TLS, or on the way. */
  const end = (announced: boolean) => void (announced ? served.end() : towards.end());

  async function events(announced: boolean): Promise<string[]> {
    const { socket } = await connect(web, { host: "127.0.0.1", port, peer: ORDERS });
    const seen: string[] = [];
    for (const name of ["data", "end", "error", "close"]) socket.on(name, () => void seen.push(name));
    socket.write("ask");
    await until(() => seen.includes("data"));
    end(announced);
    await until(() => seen.includes("close"));
    return seen;
  }

  it("is told from a cut where a row of the table says so", async () => {
    const announced = await events(true);
    assert.deepEqual(announced, ["data", "end", "close"]);
    const cut = await events(false);
    assert.equal(JSON.stringify(announced) !== JSON.stringify(cut), capabilities.tlsEnd.value, cut.join());
  });

  it("is the end of an answer without a length when it is announced, and when it is not where that cannot be told", async () => {
    const read = async (announced: boolean) => {
      const response = await createFetch(web, { peer: ORDERS })(`https://127.0.0.1:${port}/`);
      const text = response.text().catch(() => "broken");
      end(announced);
      return text;
    };
    assert.equal(await read(true), "half");
    assert.equal(await read(false), capabilities.tlsEnd.value ? "broken" : "half");
  });
});
