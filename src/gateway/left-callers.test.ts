/** Callers that leave while they are judged: nothing of their request goes on, and it has its line in the log all the same. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { http2Frame } from "../../test/support/http2-frames.ts";
import { connect } from "../tls/index.ts";
import { http2Request, http2Requests } from "../tls/wire.testing.ts";
import { TestAuthorizer } from "./authorizer.testing.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import {
  type Changeable,
  type CountingUpstream,
  countingUpstream,
  GATEWAY,
  idOf,
  requestLog,
  until,
  World,
} from "./world.testing.ts";

const WHOLE = 5;
const BODY_FOLLOWS = 4;
const reset = (code: number) => http2Frame(3, 0, 1, [0, 0, 0, code]);
const ping = http2Frame(6, 0, 0, Buffer.alloc(8));
const opening = (flags: number) => Buffer.concat([http2Requests(0), http2Request(1, flags)]);
const head1 = (method: string, more = "") => `${method} / HTTP/1.1\r\nHost: edge.example\r\n${more}\r\n`;

const UPGRADE = head1(
  "GET",
  "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
);

/** A caller's bytes, and how it leaves: by more bytes, or with its connection. */
const WAYS: readonly [name: string, alpn: string, bytes: string | Uint8Array, leave: Uint8Array | "connection"][] = [
  ["GET over HTTP/1.1, with its connection", "http/1.1", head1("GET"), "connection"],
  [
    "POST over HTTP/1.1, in the middle of its body",
    "http/1.1",
    `${head1("POST", "Content-Length: 5\r\n")}ab`,
    "connection",
  ],
  ["an upgrade, with its connection", "http/1.1", UPGRADE, "connection"],
  ["GET over HTTP/2, with its connection", "h2", opening(WHOLE), "connection"],
  ["GET over HTTP/2, by CANCEL", "h2", opening(WHOLE), reset(8)],
  ["GET over HTTP/2, by NO_ERROR", "h2", opening(WHOLE), reset(0)],
  ["POST over HTTP/2, by NO_ERROR", "h2", opening(BODY_FOLLOWS), reset(0)],
];

describe("[S-26] callers that leave while they are judged", () => {
  const log = requestLog();
  let web: Changeable;
  let guest: Changeable;
  let upstream: CountingUpstream;
  let authorizer: TestAuthorizer;
  let gateway: Gateway;
  const running = () => (gateway.report() as { running: number }).running;
  const open = () => (gateway.report() as { listeners: { counters: { open: number } }[] }).listeners[0]!.counters.open;

  before(async () => {
    const world = await World.create();
    [web, guest] = [await world.identity("web"), await world.identity("guest")];
    upstream = await countingUpstream();
    authorizer = await TestAuthorizer.start();
    gateway = await createGateway(
      {
        status: { port: 0 },
        listen: { address: "127.0.0.1", port: 0 },
        upstreams: { up: { url: upstream.url } },
        routes: [{ name: "up", path: "/**", upstream: "up", websocket: true }],
        policy: {
          rules: [{ rule: "web", allow: { ids: [idOf("web")] } }],
          authorizer: authorizer.at(),
        },
      },
      { workload: await world.identity("gateway"), logger: log },
    );
  });
  beforeEach(() => {
    authorizer.reset();
    upstream.heads = 0;
    log.lines.length = 0;
  });
  after(async () => {
    await gateway?.close({ deadlineMs: 0 });
    await upstream?.close();
    await authorizer?.close();
  });

  async function dial(alpn: string, who = web) {
    const port = gateway.listeners[0]!.port;
    const { socket } = await connect(who, { host: "127.0.0.1", port, peer: GATEWAY, alpn: [alpn] });
    const seen = { bytes: 0, socket };
    socket.on("error", () => {});
    socket.on("data", (chunk: Uint8Array) => {
      seen.bytes += chunk.length;
    });
    return seen;
  }

  for (const [name, alpn, bytes, leave] of WAYS) {
    it(`${name}: nothing goes on, and it is told of`, async () => {
      const held = authorizer.hold();
      const seen = await dial(alpn);
      const { socket } = seen;
      socket.write(bytes);
      await until(() => held.length === 1);
      if (leave === "connection") {
        socket.destroy();
        await until(() => open() === 0);
      } else {
        // what is answered behind it says that it has been read
        const before = seen.bytes;
        socket.write(Buffer.concat([leave, ping]));
        await until(() => seen.bytes >= before + ping.length);
      }
      held[0]!.say(true);
      await until(() => log.lines.length === 1);
      const { status, peer, verdict, complete } = log.lines[0]!;
      assert.deepEqual([status, peer, verdict, complete], [0, idOf("web"), "allow", false]);
      assert.deepEqual([upstream.heads, running()], [0, 0]);
      socket.destroy();
    });
  }

  it("who resets its streams in the very bytes that open them has as many lines, and leaves nothing behind", async () => {
    const { socket } = await dial("h2");
    const count = 20;
    const parts = Array.from({ length: count }, (_, i) => {
      const stream = 2 * i + 1;
      return Buffer.concat([http2Request(stream, WHOLE), http2Frame(3, 0, stream, [0, 0, 0, 8 * (i % 2)])]);
    });
    socket.write(Buffer.concat([http2Requests(0), ...parts]));
    await until(() => log.lines.length === count && running() === 0);
    socket.destroy();
  });

  it("who is refused while its long body comes is told of, as is who is let in", async () => {
    const body = `10000\r\n${"a".repeat(65_536)}\r\n`;
    const bytes = [head1("POST", "Transfer-Encoding: chunked\r\n"), body, body, body, "0\r\n\r\n"].join("");
    for (const [who, status] of [
      [guest, 403],
      [web, 200],
    ] as const) {
      log.lines.length = 0;
      const { socket } = await dial("http/1.1", who);
      socket.write(bytes);
      await until(() => log.lines.length === 1);
      assert.deepEqual([log.lines[0]?.status, log.lines[0]?.complete, running()], [status, true, 0]);
      socket.destroy();
    }
  });

  it("who stays is answered, by what the upstream says", async () => {
    for (const [, alpn, bytes] of WAYS.filter(([name]) => name.startsWith("GET"))) {
      upstream.heads = log.lines.length = 0;
      const held = authorizer.hold();
      const { socket } = await dial(alpn);
      socket.write(bytes);
      await until(() => held.length === 1);
      held[0]!.say(true);
      await until(() => log.lines.length === 1);
      assert.deepEqual([log.lines[0]?.status, log.lines[0]?.complete, upstream.heads, running()], [200, true, 1, 0]);
      socket.destroy();
    }
  });
});
