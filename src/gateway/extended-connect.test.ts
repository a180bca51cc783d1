/** Extended CONNECT (RFC 8441), which is not offered: by callers that send it all the same. */
import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { after, before, beforeEach, describe, it } from "node:test";
import type { TLSSocket } from "node:tls";
import { http2Frame, http2Frames, http2Settings } from "../../test/support/http2-frames.ts";
import { capabilities } from "../runtime/capabilities.ts";
import { http2Get, http2Requests, http2Told, rawExchange, rawOptions, type Shown, shown } from "../tls/wire.testing.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import { idOf, requestLog, until, World } from "./world.testing.ts";

/** Numbers of HTTP/2 (RFC 9113, RFC 8441). */
const [RST_STREAM, GOAWAY] = [3, 7];
const [MAX_CONCURRENT_STREAMS, ENABLE_CONNECT_PROTOCOL] = [3, 8];
const PROTOCOL_ERROR = 1;

/** How the first stream was refused: what ended, and by which code. */
function refusalOf(seen: Buffer): string | undefined {
  for (const { type, stream, payload } of http2Frames(seen)) {
    if (type === RST_STREAM && stream === 1) return `stream ${payload.readUInt32BE(0)}`;
    if (type === GOAWAY) return `connection ${payload.readUInt32BE(4)}`;
  }
  return undefined;
}

/** The head of a request for a tunnel, and the first bytes in it. */
function extended(protocol: string, path: string): Buffer {
  const fields = [
    [":protocol", protocol],
    [":scheme", "https"],
    [":path", path],
    ["sec-websocket-version", "13"],
  ] as const;
  const bytes = Buffer.from(http2Requests(1, fields, "CONNECT"));
  bytes[http2Requests(0).length + 4] = 4;
  return Buffer.concat([bytes, http2Frame(0, 0, 1, Buffer.from("tunnelled"))]);
}

const END = capabilities.malformedStream.value;

describe("extended CONNECT over HTTP/2", () => {
  const log = requestLog();
  let web: Shown;
  let guest: Shown;
  let gateway: Gateway;
  let upstream: Server;
  const sockets = new Set<Socket>();
  let got: { connections: number; heads: string[]; bytes: number };

  before(async () => {
    const world = await World.create();
    [web, guest] = await Promise.all(
      ["web", "guest"].map(async (name) => shown(await world.ca.issue({ id: idOf(name) }))),
    );
    upstream = createServer((request, response) => {
      got.heads.push(`${request.method} ${request.url}`);
      request.on("data", (chunk: Uint8Array) => {
        got.bytes += chunk.byteLength;
      });
      response.end("ok");
    });
    for (const event of ["connect", "upgrade"] as const)
      upstream.on(event, (request, socket) => {
        got.heads.push(`${event} ${request.url}`);
        socket.destroy();
      });
    upstream.on("connection", (socket) => {
      got.connections++;
      sockets.add(socket);
    });
    await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
    gateway = await createGateway(
      {
        status: { port: 0 },
        listen: { address: "127.0.0.1", port: 0 },
        upstreams: { up: { url: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}` } },
        routes: [{ name: "up", path: "/**", upstream: "up", websocket: true }],
        policy: [{ rule: "web", allow: { ids: [idOf("web")] } }],
        accessLog: { everyRefusal: true },
      },
      { workload: await world.identity("gateway"), logger: log },
    );
  });
  beforeEach(() => {
    got = { connections: 0, heads: [], bytes: 0 };
    log.lines.length = 0;
  });
  after(async () => {
    await gateway?.close({ deadlineMs: 0 });
    upstream?.close();
    for (const socket of sockets) socket.destroy();
  });

  /** Sends bytes, `then` others once a refusal or an answer is there, and returns all that came back. */
  async function go(show: Shown, first: Uint8Array, then?: Uint8Array): Promise<Buffer> {
    let socket: TLSSocket | undefined;
    let sent = then === undefined;
    const { port } = gateway.listeners[0]!;
    const enough = (seen: Buffer) => {
      const refused = refusalOf(seen) !== undefined;
      if (refused && !sent && END === "stream") {
        sent = true;
        socket?.write(then!);
        return false;
      }
      return sent ? http2Told(seen, then === undefined ? 1 : 3).length > 0 : refused;
    };
    const { bytes } = await rawExchange(rawOptions(port, show, "h2"), first, enough, (secure) => {
      socket = secure;
    });
    return bytes;
  }

  it("is not announced, so that clients that ask for it first do not send it", async () => {
    const settings = http2Settings(await go(web, http2Requests(1)));
    // the frame was read
    assert.equal(settings.get(MAX_CONCURRENT_STREAMS), 128);
    assert.equal(settings.get(ENABLE_CONNECT_PROTOCOL) ?? 0, 0);
  });

  for (const protocol of ["websocket", "connect-udp"])
    it(`[A-6] [G-2] ${protocol}: its stream is a protocol error, nothing reaches the upstream, and the next request does`, async () => {
      for (const show of [guest, web]) {
        const seen = await go(show, extended(protocol, "/ws/1"), http2Get(3));
        assert.equal(refusalOf(seen), `${END} ${PROTOCOL_ERROR}`);
        assert.deepEqual(
          http2Told(seen, 1).filter((told) => /^\d/.test(told)),
          [],
          "it was answered",
        );
        // its connection goes on where the runtime keeps it: the same request without the tunnel
        if (END === "stream") assert.deepEqual(http2Told(seen, 3), [show === web ? "200" : "403"]);
        else assert.deepEqual(http2Told(await go(show, http2Requests(1)), 1), [show === web ? "200" : "403"]);
      }
      assert.deepEqual([got.heads, got.bytes], [["GET /"], 0]);
      // the runtime refuses it before anybody here sees it: only the requests after it have a line
      await until(() => log.lines.length === 2);
      assert.deepEqual(
        log.lines.map(({ method, status, peer }) => [method, status, peer]),
        [
          ["GET", 403, idOf("guest")],
          ["GET", 200, idOf("web")],
        ],
      );
    });
});
