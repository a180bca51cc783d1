import assert from "node:assert/strict";
import http2 from "node:http2";
import { type AddressInfo, connect as connectTcp, createServer as createTcp, type Server, type Socket } from "node:net";
import { after, before, beforeEach, describe, it } from "node:test";
import { type Frame, http2Frame, serveFrames } from "../../test/support/http2-frames.ts";
import { type Counting, CountingServers } from "../tls/counting.testing.ts";
import { connect, createFetch, listen, type TlsListener } from "../tls/index.ts";
import type { UpstreamInput } from "./config-types.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import {
  type Changeable,
  GATEWAY,
  http2Client,
  http2Once,
  idOf,
  rawExchange,
  statusOf,
  until,
  World,
} from "./world.testing.ts";

interface Stream {
  readonly headers: http2.IncomingHttpHeaders;
  readonly stream: http2.ServerHttp2Stream;
  body: string;
  trailers: http2.IncomingHttpHeaders;
  ended: boolean;
}

/** A server of bare frames, which says exactly what it is told to. */
class RawServer {
  answers: string[] = [];
  arrivals = 0;
  readonly server: Server;

  constructor() {
    this.server = createTcp((socket) => serveFrames(socket, (frame) => this.#take(socket, frame)));
  }

  #take(socket: Socket, { type, flags, stream }: Frame): void {
    // the end of a request, in its head or its body
    if ((type !== 0 && type !== 1) || (flags & 1) === 0) return;
    this.arrivals++;
    const goaway = (last: number) => http2Frame(7, 0, 0, [0, 0, 0, last, 0, 0, 0, 0]);
    switch (this.answers.shift()) {
      case "ok":
        // HEADERS with END_STREAM and END_HEADERS: ":status: 200" of the static table
        return void socket.write(http2Frame(1, 5, stream, [0x88]));
      case "length 2":
        return void socket.write(this.#lengthThenTwo(stream, "2"));
      case "length 1":
        return void socket.write(this.#lengthThenTwo(stream, "1"));
      case "length 3":
        return void socket.write(this.#lengthThenTwo(stream, "3"));
      case "length 1, 2":
        return void socket.write(this.#lengthThenTwo(stream, "1", "2"));
      case "refused":
        return void socket.write(http2Frame(3, 0, stream, [0, 0, 0, 7]));
      case "reset":
        return void socket.write(http2Frame(3, 0, stream, [0, 0, 0, 2]));
      case "goaway-before":
        return void socket.end(goaway(0));
      case "goaway-after":
        return void socket.end(goaway(stream));
      default:
        socket.destroy();
    }
  }

  /** An answer of two bytes that states lengths. */
  #lengthThenTwo(stream: number, ...lengths: readonly string[]): Buffer {
    // ":status: 200", then "content-length" of the static table with a literal value, not indexed
    const fields = lengths.flatMap((length) => [0x0f, 0x0d, length.length, ...Buffer.from(length)]);
    return Buffer.concat([
      http2Frame(1, 4, stream, [0x88, ...fields]),
      http2Frame(0, 1, stream, [...Buffer.from("ok")]),
    ]);
  }
}

const raw = new RawServer();
/** Who orders is, and says nothing: one agrees on no protocol, one on HTTP/2. */
const counting = new CountingServers();
let mute: Counting;
let muteH2: Counting;
let world: World;
let web: Changeable;
let server: http2.Http2Server;
let gateway: Gateway;
let orders: TlsListener;
let only1: ReturnType<typeof createTcp>;
let own: Changeable;
/** A way to orders that waits before the first byte. */
let slow: Server;
let held: () => Promise<void> = async () => {};
const seen: Stream[] = [];
const sessions: http2.ServerHttp2Session[] = [];
let answer: (one: Stream) => void;
const served: string[] = [];

before(async () => {
  world = await World.create();
  web = await world.identity("web");
  server = http2.createServer();
  server.on("session", (session) => {
    sessions.push(session);
    session.on("error", () => {});
  });
  server.on("stream", (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    const one: Stream = { headers, stream, body: "", trailers: {}, ended: false };
    seen.push(one);
    stream.on("error", () => {});
    stream.on("data", (chunk: Uint8Array) => {
      one.body += new TextDecoder().decode(chunk);
    });
    stream.on("trailers", (trailers) => {
      one.trailers = trailers;
    });
    stream.on("end", () => {
      one.ended = true;
    });
    answer(one);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  orders = await listen(await world.identity("orders"), {
    address: "127.0.0.1",
    port: 0,
    handler: (request, response) => {
      served.push(`${request.httpVersion} ${request.url}`);
      request.once("end", () => response.end("orders"));
      request.resume();
    },
  });
  only1 = createTcp((socket) => socket.on("error", () => {}).once("data", () => socket.end("HTTP/1.1 400 No\r\n\r\n")));
  await new Promise<void>((resolve) => only1.listen(0, "127.0.0.1", resolve));
  await new Promise<void>((resolve) => raw.server.listen(0, "127.0.0.1", resolve));
  slow = createTcp(async (socket) => {
    socket.on("error", () => {});
    await held();
    const onwards = connectTcp(orders.port, "127.0.0.1");
    onwards.on("error", () => socket.destroy());
    socket.pipe(onwards).pipe(socket);
  });
  await new Promise<void>((resolve) => slow.listen(0, "127.0.0.1", resolve));
  own = await world.identity("gateway");
  const { certificates: cert, privateKey: key } = (await world.identity("orders")).x509.x509Svid().toPem();
  mute = await counting.open({ cert, key }, []);
  muteH2 = await counting.open({ cert, key }, ["h2"]);
  const secure = `https://127.0.0.1:${orders.port}`;
  const upstreams: Record<string, UpstreamInput> = {
    up: { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, protocol: "h2" },
    orders: { url: secure, id: idOf("orders"), protocol: "h2", retries: { max: 0 } },
    slow: {
      url: `https://127.0.0.1:${(slow.address() as AddressInfo).port}`,
      id: idOf("orders"),
      protocol: "h2",
      retries: { max: 0 },
    },
    wrong: { url: secure, id: idOf("other"), protocol: "h2" },
    old: { url: `http://127.0.0.1:${(only1.address() as AddressInfo).port}`, protocol: "h2" },
    raw: { url: `http://127.0.0.1:${(raw.server.address() as AddressInfo).port}`, protocol: "h2" },
    none: { url: "http://127.0.0.1:1", protocol: "h2" },
    mute: { url: `https://127.0.0.1:${mute.port}`, id: idOf("orders"), protocol: "h2", retries: { max: 0 } },
    muteH2: { url: `https://127.0.0.1:${muteH2.port}`, id: idOf("orders"), protocol: "h2", retries: { max: 0 } },
  };
  gateway = await createGateway(
    {
      status: { port: 0 },
      listen: { address: "127.0.0.1", port: 0 },
      upstreams,
      routes: Object.keys(upstreams).map((name) => ({ name, path: `/${name}/**`, upstream: name, timeout: "60s" })),
      policy: [{ rule: "web", allow: { ids: [idOf("web")] } }],
    },
    { workload: own },
  );
});
beforeEach(() => {
  seen.length = 0;
  served.length = 0;
  answer = ({ stream }) => {
    stream.respond({ ":status": 200 });
    stream.end("ok");
  };
});
after(async () => {
  await gateway?.close({ deadlineMs: 0 });
  await orders?.close({ deadlineMs: 0 });
  for (const session of sessions) session.destroy();
  server?.close();
  only1?.close();
  slow?.close();
  raw.server.close();
  counting.close();
});

const port = () => gateway.listeners[0]!.port;
const call = (path: string, init?: RequestInit) =>
  createFetch(web, { peer: GATEWAY })(`https://127.0.0.1:${port()}${path}`, init);
const problemOf = async (path: string, init?: RequestInit) => {
  const response = await call(path, init);
  const text = await response.text();
  return `${response.status} ${text.startsWith("{") ? JSON.parse(text).reason : text}`;
};

describe("upstreams that speak HTTP/2", () => {
  it("a gRPC call arrives with its trailers, and so does its answer", async () => {
    answer = ({ stream }) => {
      stream.on("end", () => {
        stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
        stream.on("wantTrailers", () =>
          stream.sendTrailers({ "grpc-status": "5", "grpc-message": "no such order", "x-spiffe-id": idOf("admin") }),
        );
        stream.end("message");
      });
    };
    const headers = {
      ":method": "POST",
      ":path": "/up/orders.Orders/Get",
      "content-type": "application/grpc",
      "grpc-timeout": "3S",
      te: "trailers",
      "x-spiffe-id": idOf("admin"),
    };
    const trailers = { "x-sum": "7", "x-spiffe-id": idOf("admin") };
    const result = await http2Once(web, port(), headers, "request", trailers);
    assert.equal(`${result.status} ${result.headers["content-type"]} ${result.text}`, "200 application/grpc message");
    assert.equal(`${result.trailers["grpc-status"]} ${result.trailers["grpc-message"]}`, "5 no such order");
    assert.equal(result.trailers["x-spiffe-id"], undefined);
    const [one] = seen;
    assert.equal(one?.headers.te, "trailers");
    assert.equal(one?.headers["grpc-timeout"], "3S");
    assert.equal(one?.headers["x-spiffe-id"], idOf("web"));
    assert.equal(one?.headers["transfer-encoding"], undefined);
    assert.equal(one?.headers.connection, undefined);
    assert.equal(one?.body, "request");
    assert.equal(one?.trailers["x-sum"], "7");
    assert.equal(one?.trailers["x-spiffe-id"], undefined);
  });

  it("an answer of trailers alone, as gRPC gives refusals, passes", async () => {
    answer = ({ stream }) =>
      stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": "16" }, { endStream: true });
    const result = await http2Once(web, port(), { ":path": "/up/x", ":method": "POST" }, "request");
    assert.equal(`${result.status} ${result.headers["grpc-status"]}`, "200 16");
  });

  it("an answer that is not as long as it says is not whole, and nothing of it goes beyond its length", async () => {
    const exchange = (kind: string) => {
      raw.answers = Array(4).fill(kind);
      return problemOf("/raw/x").catch(() => "cut");
    };
    assert.equal(await exchange("length 2"), "200 ok");
    // over HTTP/1.1, more than stated would be read as the beginning of the next answer
    for (const kind of ["length 1", "length 3", "length 1, 2"]) {
      assert.match(await exchange(kind), /^(?:502 upstream\.aborted|cut)$/, kind);
    }
  });

  it("answers of stated length end on a kept HTTP/1.1 connection, one after another", async () => {
    answer = ({ stream }) => {
      stream.respond({ ":status": 200, "content-length": "2" });
      stream.end("ok");
    };
    const { socket } = await connect(web, { host: "127.0.0.1", port: port(), peer: GATEWAY, alpn: ["http/1.1"] });
    let text = "";
    socket.on("data", (chunk: Uint8Array) => {
      text += new TextDecoder().decode(chunk);
    });
    const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    const ask = (field: string) => socket.write(`GET /up/x HTTP/1.1\r\nHost: edge.example\r\n${field}\r\n`);
    ask("");
    await until(() => /\r\n\r\n(?:2\r\n)?ok/.test(text));
    ask("Connection: close\r\n");
    await closed;
    assert.equal(text.split("HTTP/1.1 200 OK").length, 3, text);
    assert.equal(text.split("ok").length, 3, text);
  });

  it("a field that HTTP/2 has once is the caller's fault, not the upstream's", async () => {
    const twice = [
      "GET /up/x HTTP/1.1",
      "Host: edge.example",
      "If-Match: a",
      "If-Match: b",
      "Connection: close",
      "",
      "",
    ];
    const statuses: (number | undefined)[] = [];
    for (let i = 0; i < 12; i++) statuses.push(statusOf(await rawExchange(web, port(), twice.join("\r\n"))));
    assert.equal(`${await problemOf("/up/x")} ${new Set(statuses).size}`, "200 ok 1", String(statuses));
    assert.ok(statuses[0] === 400 || seen.length === 13, String(statuses));
  });

  it("streams go both ways at once", async () => {
    answer = ({ stream }) => {
      stream.respond({ ":status": 200 });
      stream.pipe(stream);
    };
    const session = await http2Client(web, port());
    try {
      const stream = session.request({ ":path": "/up/echo", ":method": "POST" }, { endStream: false });
      let text = "";
      stream.on("data", (chunk: Uint8Array) => {
        text += new TextDecoder().decode(chunk);
      });
      for (const word of ["one", "two", "three"]) {
        stream.write(word);
        await until(() => text.endsWith(word));
      }
      stream.end();
      await new Promise((resolve) => stream.once("close", resolve));
      assert.equal(text, "onetwothree");
    } finally {
      session.destroy();
    }
  });

  it("4 MiB go up and come back whole, from HTTP/1.1 too", async () => {
    answer = ({ stream }) => {
      stream.respond({ ":status": 200 });
      stream.pipe(stream);
    };
    const data = new Uint8Array(4 * 1_048_576).map((_, i) => (i * 31) ^ (i >> 11));
    const response = await call("/up/echo", { method: "POST", body: data });
    const back = new Uint8Array(await response.arrayBuffer());
    assert.equal(back.length, data.length);
    assert.ok(back.every((byte, i) => byte === data[i]));
  });

  it("many requests share one connection", async () => {
    const before = sessions.length;
    const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => problemOf(`/up/${i}`)));
    assert.ok(answers.every((text) => text === "200 ok"));
    assert.equal(seen.length, 50);
    assert.ok(sessions.length - before <= 1);
  });

  it("[A-5] that do not agree on it get no byte, though they are who they should be", async () => {
    for (const [name, peer, wanted] of [
      ["mute", mute, "502 upstream.unreachable"],
      ["muteH2", muteH2, "bytes"],
    ] as const) {
      const stop = new AbortController();
      let over: string | undefined;
      const done = problemOf(`/${name}/1`, { signal: stop.signal }).then(
        (text) => {
          over = text;
        },
        () => {},
      );
      await until(() => over !== undefined || peer.bytes > 0);
      assert.equal(over ?? "bytes", wanted);
      assert.equal(peer.bytes > 0, wanted === "bytes");
      stop.abort();
      await done;
    }
  });

  it("[S-5] are asked over mTLS by the pinned ID alone", async () => {
    assert.equal(await problemOf("/orders/1"), "200 orders");
    assert.equal(await problemOf("/wrong/2"), "502 upstream.identity");
    assert.deepEqual(served, ["2.0 /orders/1"]);
  });

  it("[G-3] requests that wait for a session are served, though the identity rotates before it is open", async () => {
    const another = await world.ca.issue({ id: GATEWAY });
    let rotated = 0;
    held = async () => {
      if (rotated++ === 0) await own.update({ svid: another });
    };
    const all = Array.from({ length: 3 }, (_, i) => problemOf(`/slow/${i}`, { method: "POST", body: "once" }));
    assert.deepEqual(await Promise.all(all), Array(3).fill("200 orders"));
    assert.ok(rotated > 0);
    assert.equal(served.length, 3);
  });

  it("[G-3] hundreds of bodies over kept sessions are no flood to a listener", async () => {
    const session = await http2Client(web, port());
    const late = (path: string) =>
      new Promise<unknown>((resolve) => {
        const stream = session.request({ ":method": "POST", ":path": path });
        stream.on("response", (headers) => resolve(headers[":status"]));
        stream.on("error", resolve);
        stream.resume();
        stream.write("body");
        // the end comes by itself, as from callers that are not so near
        setTimeout(() => stream.end(), 2);
      });
    for (let i = 0; i < 50; i++) {
      const all = Array.from({ length: 6 }, (_, j) => late(`/orders/${i}/${j}`));
      assert.deepEqual(await Promise.all(all), Array(6).fill(200));
    }
    session.destroy();
    assert.equal(served.length, 300);
  });

  it("[S-24] what the upstream says it did not look at is sent again, whatever the method; nothing else is", async () => {
    for (const [answers, outcome, arrivals] of [
      [["refused", "ok"], "200 ", 2],
      [["goaway-before", "ok"], "200 ", 2],
      [["reset", "ok"], "502 upstream.aborted", 1],
      [["goaway-after", "ok"], "502 upstream.aborted", 1],
      [["cut", "ok"], "502 upstream.aborted", 1],
      [["ok"], "200 ", 1],
    ] as const) {
      raw.answers = [...answers];
      raw.arrivals = 0;
      assert.equal(await problemOf("/raw/pay", { method: "POST", body: "pay" }), outcome, answers.join());
      assert.equal(raw.arrivals, arrivals, answers.join());
    }
    raw.answers = ["reset", "ok"];
    raw.arrivals = 0;
    assert.equal(await problemOf("/raw/get"), "200 ");
    assert.equal(raw.arrivals, 2);
  });

  it("a stream that breaks after its head never looks whole", async () => {
    answer = ({ stream }) => {
      stream.respond({ ":status": 200 });
      stream.write("half");
    };
    const response = await call("/up/cut");
    assert.equal(response.status, 200);
    seen[0]!.stream.destroy(new Error("broken"));
    await assert.rejects(response.text());
  });

  it("a caller that leaves ends the stream at the upstream", async () => {
    answer = () => {};
    const leaving = new AbortController();
    const gone = call("/up/hang", { signal: leaving.signal }).catch(() => {});
    await until(() => seen.length === 1);
    leaving.abort();
    await gone;
    await until(() => seen[0]?.stream.closed === true || seen[0]?.stream.destroyed === true);
  });

  it("those that speak another protocol, or are not there, are 502", async () => {
    assert.equal(await problemOf("/old/x", { method: "POST", body: "pay" }), "502 upstream.aborted");
    assert.equal(await problemOf("/none/x"), "502 upstream.unreachable");
    assert.equal(await problemOf("/up/x"), "200 ok");
  });
});
