import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";
import { TestCa } from "../authority/testing.ts";
import { runtime } from "../runtime/detect.ts";
import { createFetch, listen, type TlsListener } from "../tls/index.ts";
import { X509Bundle } from "../x509/index.ts";
import type { GatewayInput, UpstreamInput } from "./config-types.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import {
  type Changeable,
  type CountingUpstream,
  countingUpstream,
  GATEWAY,
  http2Client,
  http2Once,
  idOf,
  rawExchange,
  rawRequest,
  requestLog,
  statusOf,
  until,
  valuesOf,
  World,
} from "./world.testing.ts";

const MIB = 1_048_576;
const log = requestLog();
let world: World;
let web: Changeable;

function start(
  upstreams: Record<string, UpstreamInput>,
  limits: GatewayInput["limits"],
  identity: Changeable,
  timeouts: Readonly<Record<string, string>> = {},
): Promise<Gateway> {
  const names = Object.keys(upstreams);
  const config: GatewayInput = {
    status: { port: 0 },
    listen: { address: "127.0.0.1", port: 0 },
    upstreams,
    routes: names.map((name) => ({ name, path: `/${name}/**`, upstream: name, timeout: timeouts[name] ?? "10s" })),
    policy: [{ rule: "web", allow: { ids: [idOf("web")] } }],
    ...(limits === undefined ? {} : { limits }),
  };
  return createGateway(config, { workload: identity, logger: log });
}
const caller = (gateway: Gateway) => {
  const call = createFetch(web, { peer: GATEWAY });
  return (path: string, init?: RequestInit) => call(`https://127.0.0.1:${gateway.listeners[0]!.port}${path}`, init);
};
/** Status and reason of the gateway's own answer. */
async function problemOf(answer: Promise<Response>): Promise<string> {
  const response = await answer;
  return `${response.status} ${((await response.json()) as { reason: string }).reason}`;
}

before(async () => {
  world = await World.create();
  web = await world.identity("web");
});
beforeEach(() => {
  log.lines.length = 0;
});

describe("bodies through the gateway", () => {
  let upstream: CountingUpstream;
  let gateway: Gateway;
  let call: ReturnType<typeof caller>;
  /** Events of the exchange that is open at the upstream. */
  let open: { request: IncomingMessage; response: ServerResponse; gone: boolean } | undefined;

  before(async () => {
    upstream = await countingUpstream((request, response) => {
      const path = (request.url ?? "").replace("/up", "");
      const current = { request, response, gone: false };
      open = current;
      response.on("close", () => {
        if (!response.writableFinished) current.gone = true;
      });
      if (path === "/hang") return;
      if (path === "/head") return void response.flushHeaders();
      if (path === "/events") {
        response.writeHead(200, { "content-type": "text/event-stream" });
        return void response.write("data: 1\n\n");
      }
      if (path === "/echo") {
        response.writeHead(200);
        return void request.pipe(response);
      }
      if (path === "/large") {
        response.writeHead(200, { "content-length": String(16 * MIB) });
        for (let i = 0; i < 16; i++) response.write(new Uint8Array(MIB).fill(i));
        return void response.end();
      }
      if (path === "/sum") return void request.once("end", () => response.end("ok"));
      if (path === "/cookies") response.setHeader("set-cookie", ["a=1", "b=2"]);
      if (path === "/204") response.statusCode = 204;
      if (path === "/304") response.statusCode = 304;
      if (path === "/redirect") response.writeHead(302, { location: "http://elsewhere/" });
      if (path === "/trailers") {
        response.writeHead(200, { trailer: "x-sum, x-spiffe-id" });
        response.write("body");
        response.addTrailers({ "x-sum": "4", "x-spiffe-id": idOf("admin") });
        return void response.end();
      }
      if (path === "/doubled") {
        response.writeHead(200, ["content-type", "text/plain", "content-type", "text/html", "etag", "a", "etag", "b"]);
        return void response.end("doubled");
      }
      if (path === "/doubled-trailers") {
        response.writeHead(200);
        response.write("body");
        response.addTrailers([
          ["etag", "a"],
          ["etag", "b"],
          ["x-odd", "1"],
          ["x-odd", "2"],
        ]);
        return void response.end();
      }
      if (path === "/cut" || path === "/cut-length") {
        response.writeHead(200, path === "/cut" ? {} : { "content-length": "100" });
        return void response.write("half");
      }
      if (path === "/reset") return void request.once("end", () => request.socket.destroy());
      if (path === "/early") {
        response.writeHead(403, { "content-length": "5" });
        return void response.end("early");
      }
      if (path === "/length")
        return void response.end(`${request.headers["content-length"]} ${request.headers["transfer-encoding"]}`);
      response.end("ok");
    });
    gateway = await start(
      { up: { url: upstream.url } },
      { body: "8MiB", idle: "10s" },
      await world.identity("gateway"),
    );
    call = caller(gateway);
  });
  beforeEach(() => {
    upstream.seen.length = 0;
    upstream.heads = 0;
    open = undefined;
  });
  after(async () => {
    await gateway?.close({ deadlineMs: 0 });
    await upstream?.close();
  });
  const port = () => gateway.listeners[0]!.port;

  it("an event arrives while the upstream's answer is still open", async () => {
    const response = await call("/up/events");
    assert.equal(response.headers.get("content-type"), "text/event-stream");
    const reader = response.body!.getReader();
    const read = async () => new TextDecoder().decode((await reader.read()).value);
    assert.equal(await read(), "data: 1\n\n");
    open!.response.write("data: 2\n\n");
    assert.equal(await read(), "data: 2\n\n");
    open!.response.end();
    assert.equal((await reader.read()).done, true);
    await until(() => log.lines.length === 1);
    assert.equal(log.lines[0]?.complete, true);
  });

  it("a head arrives before any byte of the body", async () => {
    const response = await call("/up/head");
    assert.equal(response.status, 200);
    open!.response.end("late");
    assert.equal(await response.text(), "late");
  });

  it("HTTP/2: an event arrives while the answer is open, and the body goes both ways at once", async () => {
    const session = await http2Client(web, port());
    try {
      const stream = session.request({ ":path": "/up/echo", ":method": "POST" }, { endStream: false });
      const chunks: string[] = [];
      stream.on("data", (chunk: Uint8Array) => chunks.push(new TextDecoder().decode(chunk)));
      stream.write("one");
      await until(() => chunks.join("") === "one");
      stream.write("two");
      await until(() => chunks.join("") === "onetwo");
      stream.end();
      await new Promise((resolve) => stream.once("close", resolve));
      assert.equal(upstream.seen[0]?.bytes, 6);
    } finally {
      session.destroy();
    }
  });

  it("16 MiB down arrive whole", async () => {
    const hash = createHash("sha256");
    const wanted = createHash("sha256");
    for (let i = 0; i < 16; i++) wanted.update(new Uint8Array(MIB).fill(i));
    let bytes = 0;
    const response = await call("/up/large");
    assert.equal(response.headers.get("content-length"), String(16 * MIB));
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      hash.update(chunk);
      bytes += chunk.byteLength;
    }
    assert.equal(bytes, 16 * MIB);
    assert.equal(hash.digest("hex"), wanted.digest("hex"));
  });

  it("6 MiB up and back arrive whole, in chunks and with a length", async () => {
    const data = new Uint8Array(6 * MIB).map((_, i) => (i * 31) ^ (i >> 11));
    const stream = () =>
      new ReadableStream<Uint8Array>({
        start(controller) {
          for (let i = 0; i < data.length; i += 65_536) controller.enqueue(data.subarray(i, i + 65_536));
          controller.close();
        },
      });
    for (const body of [data, stream()]) {
      const response = await call("/up/echo", { method: "POST", body, duplex: "half" } as RequestInit);
      const back = new Uint8Array(await response.arrayBuffer());
      assert.equal(back.length, data.length);
      assert.ok(back.every((byte, i) => byte === data[i]));
    }
    assert.deepEqual(
      upstream.seen.map(({ bytes }) => bytes),
      [data.length, data.length],
    );
  });

  it("the length of a body is kept, and a body without one goes in chunks", async () => {
    assert.equal(await (await call("/up/length", { method: "POST", body: "hello" })).text(), "5 undefined");
    const stream = new Response("hello").body;
    assert.equal(
      await (await call("/up/length", { method: "POST", body: stream, duplex: "half" } as RequestInit)).text(),
      "undefined chunked",
    );
    assert.equal(await (await call("/up/length", { method: "POST" })).text(), "0 undefined");
    assert.equal(await (await call("/up/length")).text(), "undefined undefined");
    assert.equal(
      (await http2Once(web, port(), { ":path": "/up/length", ":method": "PUT" }, "hello")).text,
      "undefined chunked",
    );
    assert.equal(
      (await http2Once(web, port(), { ":path": "/up/length", ":method": "DELETE" })).text,
      "undefined undefined",
    );
  });

  it("answers without body, several cookies, redirects", async () => {
    const head = await call("/up/any", { method: "HEAD" });
    assert.equal(`${head.status} ${await head.text()}`, "200 ");
    for (const status of [204, 304]) {
      const response = await call(`/up/${status}`);
      assert.equal(`${response.status} ${await response.text()}`, `${status} `);
    }
    const cookies = await call("/up/cookies");
    assert.deepEqual(cookies.headers.getSetCookie(), ["a=1", "b=2"]);
    await cookies.text();
    const redirect = await call("/up/redirect");
    assert.equal(`${redirect.status} ${redirect.headers.get("location")}`, "302 http://elsewhere/");
    await redirect.text();
  });

  it("[A-11] trailers of an answer pass, identity fields among them do not", async () => {
    const h1 = await rawExchange(web, port(), rawRequest("/up/trailers"));
    // Bun writes no trailers for HTTP/1.1 on a server that speaks HTTP/2 as well
    const written = runtime.name === "bun" ? /\r\n0\r\n\r\n$/ : /\r\n0\r\nx-sum: 4\r\n\r\n$/i;
    assert.match(h1, written);
    assert.doesNotMatch(h1, /x-spiffe-id/i);
    const h2 = await http2Once(web, port(), { ":path": "/up/trailers" });
    assert.equal(h2.text, "body");
    assert.equal(h2.trailers["x-sum"], "4");
    assert.equal(h2.trailers["x-spiffe-id"], undefined);
  });

  it("a body over the limit is 413 by its length and by its bytes; one at the limit passes", async () => {
    const over = new Uint8Array(8 * MIB + 1);
    assert.equal(await problemOf(call("/up/any", { method: "POST", body: over })), "413 request.too-large");
    assert.equal(upstream.heads, 0);
    const chunked = [
      `POST /up/hang HTTP/1.1`,
      "Host: a",
      "Transfer-Encoding: chunked",
      "Connection: close",
      "",
      `${(8 * MIB + 1).toString(16)}`,
      "x".repeat(8 * MIB + 1),
      "0",
      "",
      "",
    ];
    assert.equal(statusOf(await rawExchange(web, port(), chunked.join("\r\n"))), 413);
    await until(() => open!.gone);
    assert.equal(upstream.seen.length, 0);
    const response = await call("/up/sum", { method: "POST", body: over.subarray(1) });
    assert.equal(await response.text(), "ok");
    await until(() => upstream.seen[0]?.bytes === 8 * MIB);
  });

  it("a caller that leaves ends the upstream's exchange, before the answer and during it", async () => {
    for (const path of ["/up/hang", "/up/events"]) {
      open = undefined;
      const leaving = new AbortController();
      const answer = call(path, { signal: leaving.signal });
      await until(() => open !== undefined);
      if (path === "/up/events") await (await answer).body!.getReader().read();
      leaving.abort();
      await answer.catch(() => {});
      await until(() => open!.gone);
    }
    await until(() => log.lines.length === 2);
    assert.deepEqual(
      log.lines.map(({ status, complete }) => [status, complete]),
      [
        [0, false],
        [200, false],
      ],
    );
  });

  it("HTTP/2: a stream that is reset ends the upstream's exchange, the connection goes on", async () => {
    const session = await http2Client(web, port());
    try {
      const stream = session.request({ ":path": "/up/hang" });
      stream.on("error", () => {});
      await until(() => open !== undefined);
      stream.close(8);
      await until(() => open!.gone);
      const again = session.request({ ":path": "/up/any" });
      let status = 0;
      again.on("response", (headers) => {
        status = Number(headers[":status"]);
      });
      again.resume();
      await new Promise((resolve) => again.once("close", resolve));
      assert.equal(status, 200);
    } finally {
      session.destroy();
    }
  });

  it("an answer that breaks off never looks whole", async () => {
    for (const path of ["/up/cut", "/up/cut-length"]) {
      // each breaks off once its half is through
      const breakOff = () => void open!.response.destroy();
      const response = await call(path);
      assert.equal(response.status, 200);
      breakOff();
      await assert.rejects(response.text());
      const h1 = await rawExchange(
        web,
        port(),
        rawRequest(path),
        GATEWAY,
        (seen) => seen.includes("half") && breakOff(),
      );
      assert.match(h1, /half/);
      assert.doesNotMatch(h1, /\r\n0\r\n\r\n$/);
      const session = await http2Client(web, port());
      try {
        const stream = session.request({ ":path": path });
        let error: unknown;
        let ended = false;
        stream.on("error", (thrown) => {
          error = thrown;
        });
        stream.on("end", () => {
          ended = true;
        });
        stream.on("data", breakOff);
        await new Promise((resolve) => stream.once("close", resolve));
        assert.ok(error !== undefined || stream.rstCode !== 0, `reset ${stream.rstCode}, ended ${ended}`);
      } finally {
        session.destroy();
      }
    }
    await until(() => log.lines.length === 6);
    for (const line of log.lines) {
      assert.equal(line.complete, false);
      assert.doesNotMatch(String(line.error), /stood still/);
    }
  });

  it("[S-24] [A-22] a POST whose upstream resets after reading it is 502 and arrives once", async () => {
    assert.equal(await problemOf(call("/up/reset", { method: "POST", body: "pay" })), "502 upstream.aborted");
    assert.equal(upstream.seen.length, 1);
    assert.equal(await (await call("/up/any")).text(), "ok");
  });

  it("an answer that comes before the body is read reaches the caller", async () => {
    const response = await call("/up/early", { method: "POST", body: new Uint8Array(2 * MIB) });
    assert.equal(`${response.status} ${await response.text()}`, "403 early");
    const h2 = await http2Once(web, port(), { ":path": "/up/early", ":method": "POST" }, "x".repeat(MIB));
    assert.equal(`${h2.status} ${h2.text}`, "403 early");
  });

  it("[A-9] an HTTP/2 body of another length than stated is no body, and leaves nothing behind upstream", async () => {
    // the rest of a body that was answered early may still arrive
    const seen = () => upstream.seen.filter(({ url }) => url !== "/up/early");
    for (const [length, body] of [
      ["100", "short"],
      ["2", "longer"],
    ] as const) {
      const headers = { ":path": "/up/sum", ":method": "POST", "content-length": length };
      const { status } = await http2Once(web, port(), headers, body);
      assert.ok(status === 400 || status === 0, String(status));
    }
    assert.deepEqual(seen(), []);
    const right = await http2Once(
      web,
      port(),
      { ":path": "/up/sum", ":method": "POST", "content-length": "5" },
      "right",
    );
    assert.equal(`${right.status} ${right.text}`, "200 ok");
    assert.deepEqual(
      seen().map(({ bytes }) => bytes),
      [5],
    );
    for (let i = 0; i < 4; i++) assert.equal(await (await call("/up/any")).text(), "ok");
    assert.ok(
      seen()
        .slice(1)
        .every(({ method }) => method === "GET"),
    );
  });

  it("fields and trailers that HTTP/2 does not take twice end that exchange, not the process", async () => {
    const { status } = await http2Once(web, port(), { ":path": "/up/doubled" });
    assert.ok(status === 502 || status === 200, String(status));
    const trailers = await http2Once(web, port(), { ":path": "/up/doubled-trailers" });
    assert.equal(`${trailers.status} ${trailers.text}`, "200 body");
    assert.equal((await http2Once(web, port(), { ":path": "/up/any" })).text, "ok");
  });

  it("connections to the upstream are kept", async () => {
    const before = upstream.connections;
    for (let i = 0; i < 5; i++) await (await call("/up/any?kept")).text();
    assert.ok(upstream.connections - before <= 1);
    assert.equal(upstream.seen.filter(({ url }) => url === "/up/any?kept").length, 5);
  });
});

describe("upstreams that do not answer", () => {
  let gateway: Gateway;
  let call: ReturnType<typeof caller>;
  const sockets: { close(): void }[] = [];
  let good: CountingUpstream;
  let stale: Server;
  let staleConnections = 0;

  const tcp = async (onConnection: Parameters<typeof createTcp>[1]) => {
    const server = createTcp(onConnection!);
    sockets.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  };

  before(async () => {
    good = await countingUpstream();
    const silent = await tcp((socket) => socket.on("error", () => {}).resume());
    const closing = await tcp((socket) => socket.on("error", () => {}).once("data", () => socket.destroy()));
    const junk = await tcp((socket) =>
      socket.on("error", () => {}).once("data", () => socket.end("220 smtp ready\r\n")),
    );
    const switching = await tcp((socket) =>
      socket
        .on("error", () => {})
        .once("data", () =>
          socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
        ),
    );
    // answers one request per connection, then waits for the second and closes instead
    stale = createServer((request, response) => {
      const socket = request.socket as typeof request.socket & { served?: true };
      if (socket.served) return void socket.destroy();
      socket.served = true;
      response.end("ok");
    });
    stale.on("connection", () => staleConnections++);
    await new Promise<void>((resolve) => stale.listen(0, "127.0.0.1", resolve));
    gateway = await start(
      {
        silent: { url: silent },
        closing: { url: closing },
        junk: { url: junk },
        switching: { url: switching },
        none: { url: "http://127.0.0.1:1" },
        nosocket: { url: "unix:/nonexistent/upstream.sock" },
        half: { url: ["http://127.0.0.1:1", good.url] },
        stale: { url: `http://127.0.0.1:${(stale.address() as { port: number }).port}` },
      },
      { idle: "10s" },
      await world.identity("gateway"),
      { silent: "500ms" },
    );
    call = caller(gateway);
  });
  after(async () => {
    await gateway?.close({ deadlineMs: 0 });
    await good?.close();
    stale?.close();
    stale?.closeAllConnections();
    for (const server of sockets) server.close();
  });

  it("are 502 or 504 with a reason, and say nothing of addresses", async () => {
    const table = [
      ["silent", "504 upstream.timeout"],
      ["closing", "502 upstream.aborted"],
      ["junk", "502 upstream.aborted"],
      ["switching", "502 upstream.aborted"],
      ["none", "502 upstream.unreachable"],
      ["nosocket", "502 upstream.unreachable"],
    ] as const;
    for (const [name, outcome] of table) {
      const answer = call(`/${name}/x`);
      const text = answer.then((response) => response.clone().text());
      assert.equal(`${name} ${await problemOf(answer)}`, `${name} ${outcome}`);
      assert.doesNotMatch(await text, /127\.0\.0\.1|nonexistent/);
    }
    // the line is written once the caller's side is over
    await until(() => log.lines.length === table.length);
    assert.match(String(log.lines[4]?.error), /ECONNREFUSED/);
  });

  it("[S-24] another address is tried when the first cannot be reached, with a body as well", async () => {
    for (let i = 0; i < 4; i++) {
      const response = await call("/half/x", { method: "POST", body: "hello" });
      assert.equal(`${response.status} ${await response.text()}`, "200 ok");
    }
    assert.deepEqual(
      good.seen.map(({ bytes }) => bytes),
      [5, 5, 5, 5],
    );
  });

  it("[S-24] a kept connection that the upstream closes is replaced for a GET, and costs a POST an answer", async () => {
    assert.equal(await (await call("/stale/1")).text(), "ok");
    assert.equal(await (await call("/stale/2")).text(), "ok");
    assert.equal(staleConnections, 2);
    const post = call("/stale/3", { method: "POST", body: "pay" });
    assert.equal(await problemOf(post), "502 upstream.aborted");
  });
});

describe("upstreams over mTLS and unix sockets", () => {
  let orders: TlsListener;
  let impostor: TlsListener;
  let unix: Server;
  let directory: string;
  let gateway: Gateway;
  let identity: Changeable;
  let call: ReturnType<typeof caller>;
  const served: { name: string; peer: string | undefined; raw: readonly string[] }[] = [];

  before(async () => {
    const answer =
      (name: string) => (request: { rawHeaders: readonly string[] }, response: { end(text: string): unknown }) => {
        served.push({ name, peer: valuesOf(request.rawHeaders, "x-spiffe-id")[0], raw: request.rawHeaders });
        response.end(name);
      };
    const options = { address: "127.0.0.1", port: 0 };
    orders = await listen(await world.identity("orders"), { ...options, handler: answer("orders") as never });
    impostor = await listen(await world.identity("impostor"), { ...options, handler: answer("impostor") as never });
    directory = await mkdtemp(join(tmpdir(), "gw-"));
    unix = createServer(answer("unix"));
    await new Promise<void>((resolve) => unix.listen(join(directory, "u.sock"), resolve));
    identity = await world.identity("gateway");
    const id = idOf("orders");
    gateway = await start(
      {
        orders: { url: `https://127.0.0.1:${orders.port}`, id },
        wrong: { url: `https://127.0.0.1:${impostor.port}`, id },
        domain: { url: `https://127.0.0.1:${orders.port}`, id: idOf("orders", "partner.example") },
        unix: { url: `unix:${join(directory, "u.sock")}` },
      },
      {},
      identity,
    );
    call = caller(gateway);
  });
  beforeEach(() => {
    served.length = 0;
  });
  after(async () => {
    await gateway?.close({ deadlineMs: 0 });
    await orders?.close({ deadlineMs: 0 });
    await impostor?.close({ deadlineMs: 0 });
    unix?.close();
    unix?.closeAllConnections();
    await rm(directory, { recursive: true, force: true });
  });

  it("the upstream with the right ID answers; another ID gets nothing", async () => {
    assert.equal(await problemOf(call("/wrong/x", { method: "POST", body: "secret" })), "502 upstream.identity");
    assert.equal(await problemOf(call("/domain/x")), "502 upstream.identity");
    assert.deepEqual(served, []);
    assert.equal(await (await call("/orders/x", { method: "POST", body: "secret" })).text(), "orders");
    assert.deepEqual(
      served.map(({ name, peer }) => [name, peer]),
      [["orders", idOf("web")]],
    );
  });

  it("[S-6] a verified connection is kept until the own SVID or the bundle changes", async () => {
    const before = orders.counters.accepted;
    for (let i = 0; i < 3; i++) await (await call("/orders/x")).text();
    assert.ok(orders.counters.accepted - before <= 1);
    const kept = orders.counters.accepted;
    await identity.update({ svid: await world.ca.issue({ id: GATEWAY }) });
    await (await call("/orders/x")).text();
    assert.equal(orders.counters.accepted, kept + 1);
    // the same authorities once more change nothing
    const [own, partner] = [world.ca.x509Bundle(), world.partnerCa.x509Bundle()];
    await identity.update({ bundles: [own, partner] });
    await (await call("/orders/x")).text();
    assert.equal(orders.counters.accepted, kept + 1);
    const { authorities } = (await TestCa.create()).x509Bundle();
    await identity.update({
      bundles: [new X509Bundle(own.trustDomain, [...own.authorities, ...authorities]), partner],
    });
    await (await call("/orders/x")).text();
    assert.equal(orders.counters.accepted, kept + 2);
  });

  it("a unix socket", async () => {
    assert.equal(await (await call("/unix/x")).text(), "unix");
    assert.deepEqual(
      served.map(({ name, peer }) => [name, peer]),
      [["unix", idOf("web")]],
    );
  });
});
