import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server } from "node:http";
import {
  type AddressInfo,
  createServer as createPlainServer,
  connect as dialPlain,
  type Server as PlainServer,
} from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { after, before, beforeEach, describe, it } from "node:test";
import type { TLSSocket } from "node:tls";
import { ManualClock } from "../authority/testing.ts";
import { connect, listen, type TlsListener } from "../tls/index.ts";
import type { GatewayInput, UpstreamInput } from "./config-types.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import {
  type Changeable,
  GATEWAY,
  idOf,
  rawExchange,
  requestLog,
  statusOf,
  until,
  valuesOf,
  World,
} from "./world.testing.ts";

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT = createHash("sha1").update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
const HANDSHAKE = [
  "Upgrade: websocket",
  "Connection: Upgrade",
  "Sec-WebSocket-Version: 13",
  `Sec-WebSocket-Key: ${KEY}`,
];

/** What an upstream saw of an upgrade, and the connection it has. */
interface Open {
  readonly raw: readonly string[];
  readonly socket: Duplex;
  text: string;
  ended: boolean;
  closed: boolean;
}

let world: World;
let web: Changeable;
let guest: Changeable;
let identity: Changeable;
let gateway: Gateway;
/** The gateway's configuration, with whom it lets in. */
let config: (...names: string[]) => GatewayInput;
let folder: string;
const servers: (PlainServer & { closeAllConnections?(): void })[] = [];
let orders: TlsListener;
/** Connections to `orders` that nothing goes over yet. */
const held: (() => void)[] = [];
const opened: Open[] = [];
const log = requestLog();
const clock = new ManualClock();

/** Takes an upgrade, echoes what comes, and ends when the other side does. */
function take(request: IncomingMessage, socket: Duplex, head: Uint8Array): void {
  const open: Open = { raw: request.rawHeaders, socket, text: "", ended: false, closed: false };
  opened.push(open);
  socket.on("error", () => {});
  socket.on("close", () => {
    open.closed = true;
  });
  if (request.url?.endsWith("/no")) return void socket.end("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno");
  if (request.url?.endsWith("/silent")) return;
  const accept = request.url?.endsWith("/wrong") ? "bm90IHRoZSByaWdodCBvbmU=" : ACCEPT;
  const protocol = request.url?.endsWith("/other") ? "h2c" : "WebSocket";
  const interim = /\/interim-([0-9]+)$/.exec(request.url ?? "")?.[1] ?? 0;
  socket.write(
    `${"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(Number(interim))}HTTP/1.1 101 Switching Protocols\r\nUpgrade: ${protocol}\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nX-Spiffe-Id: ${idOf("admin")}\r\n\r\nhello `,
  );
  const onData = (chunk: Uint8Array) => {
    const text = new TextDecoder().decode(chunk);
    open.text += text;
    socket.write(text.toUpperCase());
  };
  if (head.byteLength > 0) onData(head);
  socket.on("data", onData);
  socket.on("end", () => {
    open.ended = true;
    socket.end();
  });
}

/** A way to `orders` that takes connections, and lets nothing through before it is told to. */
async function slowWay(): Promise<number> {
  const server = createPlainServer({ pauseOnConnect: true }, (socket) => {
    socket.on("error", () => {});
    held.push(() => {
      const to = dialPlain(orders.port, "127.0.0.1").on("error", () => {});
      socket.pipe(to).pipe(socket);
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

async function serve(place: number | string): Promise<Server> {
  const server = createServer((_request, response) => void response.end("plain"));
  server.on("upgrade", take);
  servers.push(server);
  await new Promise<void>((resolve) =>
    typeof place === "number" ? server.listen(place, "127.0.0.1", resolve) : server.listen(place, resolve),
  );
  return server;
}

before(async () => {
  world = await World.create();
  [web, guest] = [await world.identity("web"), await world.identity("guest")];
  identity = await world.identity("gateway");
  folder = await mkdtemp(join(tmpdir(), "spiffe-edge-"));
  const socket = join(folder, "up.sock");
  const plain = await serve(0);
  await serve(socket);
  orders = await listen(await world.identity("orders"), {
    address: "127.0.0.1",
    port: 0,
    handler: (_request, response) => void response.end("plain"),
    onUpgrade: take,
  });
  const secure = `https://127.0.0.1:${orders.port}`;
  const upstreams: Record<string, UpstreamInput> = {
    plain: { url: `http://127.0.0.1:${(plain.address() as AddressInfo).port}` },
    unix: { url: `unix:${socket}` },
    secure: { url: secure, id: idOf("orders") },
    wrong: { url: secure, id: idOf("other") },
    none: { url: "http://127.0.0.1:1" },
    slow: { url: `https://127.0.0.1:${await slowWay()}`, id: idOf("orders") },
  };
  const route = (name: string) => ({
    name,
    path: `/${name}/**`,
    upstream: name,
    timeout: name === "slow" ? "2s" : "5s",
    websocket: true as const,
  });
  config = (...names) => ({
    status: { port: 0 },
    listen: { address: "127.0.0.1", port: 0 },
    upstreams,
    routes: [...Object.keys(upstreams).map(route), { name: "http", path: "/http/**", upstream: "plain" }],
    policy: names.map((name) => ({ rule: name, allow: { ids: [idOf(name)] } })),
    limits: { idle: "20s", body: "32KiB" },
  });
  gateway = await createGateway(config("web"), { workload: identity, logger: log, clock });
});
beforeEach(() => {
  opened.length = 0;
  log.lines.length = 0;
});
after(async () => {
  await gateway?.close({ deadlineMs: 0 });
  for (const { socket } of opened) socket.destroy();
  await orders?.close({ deadlineMs: 0 });
  for (const server of servers) {
    server.close();
    server.closeAllConnections?.();
  }
  await rm(folder, { recursive: true, force: true });
});

const port = () => gateway.listeners[0]!.port;
const request = (path: string, fields: readonly string[] = HANDSHAKE, method = "GET") =>
  [`${method} ${path} HTTP/1.1`, "Host: edge.example", ...fields, "", ""].join("\r\n");

/** Everything that comes back until the gateway closes; what has come by then where it lets the upgrade through. */
async function refusalOf(who: Changeable, text: string): Promise<string> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const open = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(""), 60_000);
  });
  let switched = (_: string) => {};
  const through = new Promise<string>((resolve) => {
    switched = (answer) => void (/^HTTP\/1\.1 101 /.test(answer) && resolve(answer));
  });
  const whole = rawExchange(who, port(), text, GATEWAY, (answer) => switched(answer));
  return Promise.race([whole, open, through]).finally(() => clearTimeout(timer));
}

/** A caller that asked for an upgrade. */
async function open(
  who: Changeable,
  path: string,
  after = "",
): Promise<{ socket: TLSSocket; text: string; ended: boolean }> {
  const { socket } = await connect(who, { host: "127.0.0.1", port: port(), peer: GATEWAY, alpn: ["http/1.1"] });
  const caller = { socket, text: "", ended: false };
  socket.on("data", (chunk: Uint8Array) => {
    caller.text += new TextDecoder().decode(chunk);
  });
  socket.on("end", () => {
    caller.ended = true;
  });
  socket.write(request(path) + after);
  return caller;
}

describe("WebSocket through the gateway", () => {
  it("[S-21] goes both ways to upstreams of every kind, with the caller's identity", async () => {
    for (const name of ["plain", "unix", "secure"]) {
      opened.length = 0;
      log.lines.length = 0;
      const caller = await open(web, `/${name}/chat`, "early ");
      await until(() => caller.text.endsWith("hello EARLY "));
      assert.equal(statusOf(caller.text), 101, name);
      assert.match(caller.text, new RegExp(`sec-websocket-accept: ${ACCEPT.replace(/[+/]/g, "\\$&")}\r\n`, "i"));
      assert.doesNotMatch(caller.text, /x-spiffe-id/i);
      const [seen] = opened;
      assert.deepEqual(valuesOf(seen!.raw, "x-spiffe-id"), [idOf("web")]);
      assert.deepEqual(valuesOf(seen!.raw, "sec-websocket-key"), [KEY]);
      for (const word of ["one", "two"]) {
        caller.socket.write(word);
        await until(() => caller.text.endsWith(word.toUpperCase()));
      }
      // the caller's end goes on, and the upstream's comes back
      caller.socket.end();
      await until(() => seen!.ended && caller.ended);
      await until(() => log.lines.length === 1);
      const { status, bytesIn, bytesOut, complete, peer } = log.lines[0]!;
      assert.deepEqual([status, bytesIn, bytesOut, complete, peer], [101, 12, 18, true, idOf("web")], name);
    }
  });

  it("[A-6] a caller that the policy denies gets nowhere, and so does an upgrade to anything else", async () => {
    const cases: [Changeable, string, number][] = [
      [guest, request("/plain/chat"), 403],
      [web, request("/nowhere/chat"), 404],
      [web, request("/http/chat"), 400],
      [web, request("/plain/../chat"), 400],
      [web, request("/plain/chat", HANDSHAKE, "POST"), 400],
      [web, request("/plain/chat", [...HANDSHAKE, "Content-Length: 2"]), 400],
      [web, request("/plain/chat", HANDSHAKE.with(0, "Upgrade: h2c")), 400],
      [web, request("/plain/chat", HANDSHAKE.with(0, "Upgrade: websocket, h2c")), 400],
      [web, request("/plain/chat", HANDSHAKE.with(2, "Sec-WebSocket-Version: 8")), 400],
      [web, request("/plain/chat", HANDSHAKE.with(3, "Sec-WebSocket-Key: short")), 400],
      [web, request("/plain/chat", HANDSHAKE.slice(0, 3)), 400],
    ];
    for (const [who, text, status] of cases) {
      assert.equal(statusOf(await refusalOf(who, text)), status, text);
    }
    assert.equal(opened.length, 0);
    await until(() => log.lines.length === cases.length);
    const caller = await open(web, "/plain/chat");
    await until(() => opened.length === 1 && caller.text.endsWith("hello "));
    caller.socket.destroy();
  });

  it("who is refused and does not close is closed after two seconds, or after more bytes than two bodies", async () => {
    for (const [who, path, status] of [
      [guest, "/plain/chat", 403],
      [web, "/plain/no", 404],
    ] as const) {
      for (const sending of [1, 70_000]) {
        const caller = await open(who, path);
        caller.socket.allowHalfOpen = true;
        let closed = false;
        caller.socket
          .on("error", () => {})
          .on("close", () => {
            closed = true;
          });
        await until(() => caller.ended);
        assert.equal(statusOf(caller.text), status);
        await clock.advance(1_999);
        assert.equal(closed, false);
        if (sending === 1) await clock.advance(1);
        // a connection that is gone shows by what is written to it
        await until(() => {
          if (!closed) caller.socket.write(Buffer.alloc(sending));
          return closed;
        });
      }
    }
    const caller = await open(web, "/plain/chat");
    await until(() => caller.text.endsWith("hello "));
    caller.socket.destroy();
    await until(() => log.lines.at(-1)?.status === 101);
  });

  it("a field that cannot be sent on is the caller's fault, and says nothing against the upstream", async () => {
    for (let i = 0; i < 12; i++) {
      const odd = await refusalOf(web, request("/plain/no", [...HANDSHAKE, "X-Odd: \u0100"]));
      // where values are read as bytes, they go on as they came
      assert.ok([400, 404].includes(statusOf(odd)), odd);
      if (statusOf(odd) === 404) assert.deepEqual(valuesOf(opened.at(-1)!.raw, "x-odd"), ["\u00c4\u0080"]);
    }
    assert.equal(statusOf(await refusalOf(web, request("/plain/no"))), 404);
  });

  it("an upstream that refuses, lies, is another or is not there", async () => {
    for (const [path, status] of [
      ["/plain/no", 404],
      ["/plain/wrong", 502],
      ["/plain/other", 502],
      ["/wrong/chat", 502],
      ["/none/chat", 502],
    ] as const) {
      const answer = await refusalOf(web, request(path));
      assert.equal(statusOf(answer), status, path);
      assert.doesNotMatch(answer, /hello/);
    }
    assert.ok(opened.length === 3);
    const waiting = rawExchange(web, port(), request("/plain/silent"));
    await until(() => opened.length === 4);
    await clock.advance(5_000);
    assert.equal(statusOf(await waiting), 504);
  });

  it("an upstream that is reached after the time of the route is not asked, and its twin in time is", async () => {
    const answer = refusalOf(web, request("/slow/chat"));
    await until(() => held.length === 1);
    await clock.advance(2_500);
    held[0]!();
    assert.equal(statusOf(await answer), 504);
    assert.equal(opened.length, 0);
    const twin = await open(web, "/slow/chat");
    await until(() => held.length === 2);
    await clock.advance(1_500);
    held[1]!();
    await until(() => twin.text.endsWith("hello "));
    assert.equal(opened.length, 1);
    twin.socket.destroy();
  });

  it("interim answers may come with the one that counts, and not without end", async () => {
    const caller = await open(web, "/plain/interim-16");
    await until(() => caller.text.endsWith("hello "));
    assert.equal(statusOf(caller.text), 101);
    assert.doesNotMatch(caller.text, / 103 |link/i);
    caller.socket.destroy();
    assert.equal(statusOf(await refusalOf(web, request("/plain/interim-17"))), 502);
  });

  it("either side that leaves takes the other along, and one that stands still ends", async () => {
    const first = await open(web, "/plain/chat");
    await until(() => first.text.endsWith("hello "));
    first.socket.destroy();
    await until(() => opened[0]!.closed);
    const second = await open(web, "/plain/chat");
    await until(() => second.text.endsWith("hello "));
    opened[1]!.socket.destroy();
    await until(() => second.socket.destroyed);
    const third = await open(web, "/plain/chat");
    await until(() => third.text.endsWith("hello "));
    await clock.advance(15_000);
    third.socket.write("x");
    await until(() => third.text.endsWith("X"));
    await clock.advance(15_000);
    assert.equal(third.socket.destroyed, false);
    await clock.advance(6_000);
    await until(() => third.socket.destroyed && opened[2]!.closed);
    // refusals of other tests that were alike have their second line meanwhile
    const tunnels = () => log.lines.filter(({ status }) => status === 101);
    await until(() => tunnels().length === 3);
    assert.match(String(tunnels()[2]?.error), /stood still/);
  });

  it("[A-15] ends on both sides when the gateway's trust in the caller does", async () => {
    const caller = await open(web, "/plain/chat");
    await until(() => caller.text.endsWith("hello "));
    const { svid, bundles } = {
      svid: identity.x509.x509Svid(),
      bundles: [world.ca.x509Bundle(), world.partnerCa.x509Bundle()],
    };
    await clock.advance(2_000);
    assert.equal(caller.socket.destroyed, false);
    try {
      await identity.update({ svid: null });
      await clock.advance(1_000);
      await until(() => caller.socket.destroyed && opened[0]!.closed);
    } finally {
      await identity.update({ svid: svid as never, bundles });
    }
  });

  it("[S-9] [S-26] [A-15] ends when a new policy denies its caller, and another's goes on", async () => {
    await gateway.reload(config("web", "guest"));
    const [first, second] = [await open(web, "/plain/chat"), await open(guest, "/plain/chat")];
    await until(() => first.text.endsWith("hello ") && second.text.endsWith("hello "));
    await gateway.reload(config("web"));
    await until(() => second.socket.destroyed && opened.filter(({ closed }) => closed).length === 1);
    await until(() => log.lines.length === 1);
    assert.deepEqual([log.lines[0]?.peer, log.lines[0]?.ended], [idOf("guest"), "policy.default-deny"]);
    first.socket.write("x");
    await until(() => first.text.endsWith("X"));
    first.socket.destroy();
    await until(() => opened.every(({ closed }) => closed));
  });
});
