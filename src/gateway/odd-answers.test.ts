import assert from "node:assert/strict";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import { outcomeOf, raw2 } from "./raw.testing.ts";
import {
  type Changeable,
  type CountingUpstream,
  countingUpstream,
  http2Once,
  idOf,
  rawExchange,
  rawRequest,
  valuesOf,
  World,
} from "./world.testing.ts";

describe("answers and fields at the edge of what is allowed", () => {
  let world: World;
  let web: Changeable;
  let upstream: CountingUpstream;
  let server: Server;
  let gateway: Gateway;
  const sockets = new Set<Socket>();

  before(async () => {
    world = await World.create();
    web = await world.identity("web");
    upstream = await countingUpstream();
    server = createServer((socket) => {
      sockets.add(socket.on("error", () => {}));
      socket.on("data", (chunk: Buffer) => {
        const status = /^GET \/bare\/(\d{3})/.exec(chunk.toString())?.[1];
        const body = status === "200" ? "hello" : "";
        socket.write(`HTTP/1.1 ${status} X\r\nContent-Length: 5\r\nETag: "a"\r\n\r\n${body}`);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    gateway = await createGateway(
      {
        status: { port: 0 },
        listen: { address: "127.0.0.1", port: 0 },
        upstreams: {
          up: { url: upstream.url },
          bare: { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` },
        },
        routes: [
          { name: "up", path: "/up", upstream: "up" },
          { name: "bare", path: "/bare/**", upstream: "bare" },
        ],
        policy: [{ rule: "web", allow: { ids: [idOf("web")] } }],
      },
      { workload: await world.identity("gateway") },
    );
  });
  after(async () => {
    await gateway?.close({ deadlineMs: 0 });
    for (const socket of sockets) socket.destroy();
    server?.close();
    await upstream?.close();
  });
  const port = () => gateway.listeners[0]!.port;

  it("204 and 304 have no length, over HTTP/1.1 and HTTP/2; 200 keeps it", async () => {
    for (const status of [204, 304, 200]) {
      const length = status === 200 ? "5" : undefined;
      const plain = await rawExchange(web, port(), rawRequest(`/bare/${status}`));
      assert.match(plain, new RegExp(`^HTTP/1\\.1 ${status} `));
      assert.equal(/^content-length: (.*)$/im.exec(plain)?.[1]?.trim(), length, plain);
      assert.match(plain, /etag: "a"/i);
      const two = await http2Once(web, port(), { ":path": `/bare/${status}` });
      assert.equal(`${two.status} ${two.headers["content-length"]}`, `${status} ${length}`);
      assert.equal(two.text, status === 200 ? "hello" : "");
    }
  });

  it("a field of characters that no byte holds is 400 and says nothing against the upstream", async () => {
    const client = raw2(web, port());
    const host = [":authority", "edge.example"] as const;
    for (let i = 0; i < 12; i++) {
      upstream.heads = 0;
      const outcome = outcomeOf(await client.ask("/up", [host, ["x-odd", "\u00c4\u0080"]]));
      // where values are read as bytes, they go on as they came
      if (outcome === "200") assert.deepEqual(valuesOf(upstream.seen.at(-1)!.raw, "x-odd"), ["\u00c4\u0080"]);
      else {
        assert.equal(outcome, "400 request.framing");
        assert.equal(upstream.heads, 0);
      }
      assert.equal(outcomeOf(await client.ask("/up", [host, ["x-odd", "A"]])), "200");
    }
    client.close();
  });
});
