/** Requests whose upstream breaks off in the middle of their body: what is sent again, and that it is all of it. */
import assert from "node:assert/strict";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import { connect } from "../tls/index.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import { type Changeable, GATEWAY, idOf, statusOf, until, World } from "./world.testing.ts";

/** More than is kept of a body. */
const LONG = 100_000;

describe("[S-24] a body whose upstream breaks off", () => {
  /** What came over each connection, the first of which breaks. */
  let came: string[] = [];
  /** Bytes of a body after which the first breaks. */
  let breaksAfter = 0;
  const sockets = new Set<Socket>();
  let server: Server;
  let web: Changeable;
  let gateway: Gateway;

  const bodyOf = (text = ""): string => text.slice(text.indexOf("\r\n\r\n") + 4);

  before(async () => {
    const world = await World.create();
    web = await world.identity("web");
    server = createServer((socket) => {
      sockets.add(socket.on("error", () => {}));
      const at = came.push("") - 1;
      const mine = came;
      socket.on("data", (chunk: Uint8Array) => {
        const text = `${mine[at]}${new TextDecoder().decode(chunk)}`;
        mine[at] = text;
        const body = text.includes("\r\n\r\n") ? bodyOf(text) : "";
        if (at === 0 && body.length >= breaksAfter) return void socket.resetAndDestroy();
        if (body.endsWith("last") || body.endsWith("\r\n0\r\n\r\n"))
          socket.end("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    gateway = await createGateway(
      {
        status: { port: 0 },
        listen: { address: "127.0.0.1", port: 0 },
        upstreams: {
          one: {
            url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
            retries: { max: 1, budget: "100%" },
          },
        },
        routes: [{ name: "one", path: "/**", upstream: "one" }],
        policy: [{ rule: "web", allow: { ids: [idOf("web")] } }],
      },
      { workload: await world.identity("gateway") },
    );
  });
  after(async () => {
    await gateway?.close({ deadlineMs: 0 });
    for (const socket of sockets) socket.destroy();
    server?.close();
  });

  /** Sends the first part, and the second once the upstream has been asked again or there is an answer. */
  async function send(head: string, first: string, second: string): Promise<{ status: number; bodies: string[] }> {
    came = [];
    breaksAfter = first.length;
    const port = gateway.listeners[0]!.port;
    const { socket } = await connect(web, { host: "127.0.0.1", port, peer: GATEWAY, alpn: ["http/1.1"] });
    sockets.add(socket);
    let answer = "";
    socket.on("error", () => {});
    socket.on("data", (chunk: Uint8Array) => {
      answer += new TextDecoder().decode(chunk);
    });
    socket.write(`${head}\r\nHost: edge.example\r\n\r\n${first}`);
    await until(() => came.length === 2 || answer !== "");
    if (answer === "") socket.write(second);
    await until(() => answer.includes("\r\n\r\n"));
    socket.destroy();
    return { status: statusOf(answer), bodies: came.map(bodyOf) };
  }

  it("goes to the next connection from its beginning, where the method may be repeated", async () => {
    assert.deepEqual(await send("PUT /a HTTP/1.1\r\nContent-Length: 10", "first-", "last"), {
      status: 200,
      bodies: ["first-", "first-last"],
    });
    assert.deepEqual(
      await send("PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked", "3\r\none\r\n", "3\r\ntwo\r\n0\r\n\r\n"),
      {
        status: 200,
        bodies: ["3\r\none\r\n", "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"],
      },
    );
  });

  it("is lost where the method may not be repeated, or where not all of it is still there", async () => {
    const post = await send("POST /a HTTP/1.1\r\nContent-Length: 10", "first-", "last");
    assert.deepEqual(post, { status: 502, bodies: ["first-"] });
    const long = "a".repeat(LONG);
    const { status, bodies } = await send(`PUT /a HTTP/1.1\r\nContent-Length: ${LONG + 4}`, long, "last");
    assert.deepEqual([status, bodies.length], [502, 1]);
  });
});
