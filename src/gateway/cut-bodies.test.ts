/** Bodies that break off on their way: whatever the caller's protocol and the upstream's, none is whole for the upstream. */
import assert from "node:assert/strict";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { http2Frame, serveFrames } from "../../test/support/http2-frames.ts";
import { connect } from "../tls/index.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import { type Changeable, GATEWAY, idOf, requestLog, until, World } from "./world.testing.ts";

/** What the upstream has heard of the request under way. */
const heard = { bytes: 0, whole: false };
/** Whether the HTTP/2 upstream gives back room for what it has read, or only once the stream is reset. */
let roomy = true;

/** An upstream of HTTP/1.1, which answers once the last chunk is there. */
function overHttp1(socket: Socket): void {
  let text = "";
  socket.on("data", (chunk: Uint8Array) => {
    heard.bytes += chunk.length;
    text += new TextDecoder().decode(chunk);
    if (!text.endsWith("\r\n0\r\n\r\n")) return;
    heard.whole = true;
    text = "";
    socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
  });
}

/** An upstream of HTTP/2, which answers once a stream has ended. */
function overHttp2(socket: Socket): void {
  let owed = 0;
  const room = (stream: number, length: number) => {
    const more = Buffer.alloc(4);
    more.writeUInt32BE(length);
    socket.write(http2Frame(8, 0, stream, more));
  };
  serveFrames(socket, ({ type, flags, stream, payload: { length } }) => {
    if (type === 0) owed += length;
    if (type === 0 && length > 0 && roomy) room(stream, length);
    if (owed > 0 && (roomy || type === 3)) {
      room(0, owed);
      owed = 0;
    }
    if (type !== 0 && type !== 1) return;
    heard.bytes += 9 + length;
    if ((flags & 1) === 0) return;
    heard.whole = true;
    socket.write(Buffer.concat([http2Frame(1, 4, stream, [0x88]), http2Frame(0, 1, stream, Buffer.from("ok"))]));
  });
}

const literal = (text: string) => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
const field = ([name, value]: readonly [string, string]) =>
  Buffer.concat([Buffer.from([0]), literal(name), literal(value)]);

/** Head of a POST as bytes of HTTP/2, on stream 1 of a new connection. */
function head2(path: string): Buffer {
  const fields = [
    [":method", "POST"],
    [":scheme", "https"],
    [":path", path],
    [":authority", "edge.example"],
  ] as const;
  return Buffer.concat([
    Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    http2Frame(4, 0, 0),
    http2Frame(1, 4, 1, Buffer.concat(fields.map(field))),
  ]);
}

const head1 = (path: string) => `POST ${path} HTTP/1.1\r\nHost: edge.example\r\nTransfer-Encoding: chunked\r\n\r\n`;
const data2 = (last: boolean) => http2Frame(0, last ? 1 : 0, 1, Buffer.from("abc"));
const reset2 = (code: number) => http2Frame(3, 0, 1, [0, 0, 0, code]);

describe("[S-25] bodies that break off", () => {
  const log = requestLog();
  const sockets = new Set<Socket>();
  const servers: Server[] = [];
  let web: Changeable;
  let gateway: Gateway;

  before(async () => {
    const world = await World.create();
    web = await world.identity("web");
    const urls: string[] = [];
    for (const serve of [overHttp1, overHttp2]) {
      const server = createServer((socket) => {
        sockets.add(socket.on("error", () => {}));
        serve(socket);
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      servers.push(server);
      urls.push(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    }
    const [one = "", two = ""] = urls;
    gateway = await createGateway(
      {
        status: { port: 0 },
        listen: { address: "127.0.0.1", port: 0 },
        upstreams: { one: { url: one }, two: { url: two, protocol: "h2" } },
        routes: [
          { name: "one", path: "/one", upstream: "one" },
          { name: "two", path: "/two", upstream: "two" },
        ],
        policy: [{ rule: "web", allow: { ids: [idOf("web")] } }],
        limits: { body: "128KiB" },
      },
      { workload: await world.identity("gateway"), logger: log },
    );
  });
  after(async () => {
    await gateway?.close({ deadlineMs: 0 });
    for (const socket of sockets) socket.destroy();
    for (const server of servers) server.close();
  });

  /** Sends parts, each once the upstream has heard of what was before it, and ends; what the upstream then has. */
  async function send(
    alpn: string,
    parts: readonly (string | Uint8Array)[],
    end: "destroy" | "wait",
  ): Promise<boolean> {
    Object.assign(heard, { bytes: 0, whole: false });
    log.lines.length = 0;
    const port = gateway.listeners[0]!.port;
    const { socket } = await connect(web, { host: "127.0.0.1", port, peer: GATEWAY, alpn: [alpn] });
    socket.on("error", () => {});
    socket.resume();
    for (const part of parts) {
      const { bytes } = heard;
      socket.write(part);
      if (part !== parts.at(-1) || end === "destroy") await until(() => heard.bytes > bytes);
    }
    if (end === "destroy") socket.destroy();
    await until(() => log.lines.length === 1);
    // what was still on its way to the upstream
    await wait(30);
    socket.destroy();
    return heard.whole;
  }

  for (const to of ["/one", "/two"]) {
    const http = to === "/one" ? "HTTP/1.1" : "HTTP/2";
    it(`over HTTP/1.1, to ${http}: in a chunk, behind one, in the trailers`, async () => {
      for (const cut of ["3\r\nabc\r\n5\r\nab", "3\r\nabc\r\n", "3\r\nabc\r\n0\r\n", "3\r\nabc\r\n0\r\nx-t: 1\r\n"])
        assert.equal(await send("http/1.1", [head1(to) + cut], "destroy"), false, JSON.stringify(cut));
      assert.equal(await send("http/1.1", [`${head1(to)}3\r\nabc\r\n0\r\n\r\n`], "wait"), true);
    });

    it(`over HTTP/2, to ${http}: by a reset of any code, and with the connection`, async () => {
      const begun = Buffer.concat([head2(to), data2(false)]);
      for (const code of [0, 2, 8]) {
        assert.equal(await send("h2", [begun, reset2(code)], "wait"), false, `code ${code}`);
        assert.equal(await send("h2", [Buffer.concat([begun, reset2(code)])], "wait"), false, `at once, code ${code}`);
      }
      assert.equal(await send("h2", [begun], "destroy"), false);
      assert.equal(await send("h2", [begun, data2(true)], "wait"), true);
    });

    it(`to ${http}: what is longer than a body may be`, async () => {
      const chunk = `${(65_536).toString(16)}\r\n${"a".repeat(65_536)}\r\n`;
      const long = [head1(to), chunk, chunk, chunk, "0\r\n\r\n"].join("");
      assert.equal(await send("http/1.1", [long], "wait"), false);
      assert.equal(log.lines[0]?.status, 413);
      assert.equal(await send("http/1.1", [[head1(to), chunk, "0\r\n\r\n"].join("")], "wait"), true);
    });
  }

  it("to HTTP/2, with a whole body that the upstream has no room for", async () => {
    roomy = false;
    const chunk = `${(100_000).toString(16)}\r\n${"a".repeat(100_000)}\r\n0\r\n\r\n`;
    assert.equal(await send("http/1.1", [head1("/two"), chunk], "destroy"), false);
    roomy = true;
    assert.equal(await send("http/1.1", [head1("/two"), chunk], "wait"), true);
  });
});
