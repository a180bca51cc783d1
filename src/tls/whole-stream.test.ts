/** Calls over HTTP/2 that break off: neither side takes the half of a message for the whole one. */
import assert from "node:assert/strict";
import type { ClientHttp2Stream } from "node:http2";
import type { Duplex } from "node:stream";
import { after, before, beforeEach, describe, it } from "node:test";
import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { soon } from "../../test/support/eventually.ts";
import { http2Frame } from "../../test/support/http2-frames.ts";
import { TestCa } from "../authority/test-ca.ts";
import { until } from "../gateway/world.testing.ts";
import { ServerReflection } from "../gen/reflection/reflection_pb.js";
import { SpiffeWorkloadAPI } from "../gen/workload/workload_pb.js";
import { type Http2Options, http2Options } from "./http2-options.ts";
import { listen, type TlsListener } from "./listen.ts";
import type { PeerSessions } from "./peer-sessions.ts";
import { identityOf } from "./wire.testing.ts";

const ORDERS = "spiffe://example.org/orders";
const NONE = new Uint8Array(0);

/** What the server heard of the last stream, in order. */
const heard: string[] = [];
/** What it does once the request is whole, or all of it came that will. */
let answer: (socket: Duplex, stream: number) => void = () => {};

function serve(socket: Duplex): void {
  let bytes: Buffer = Buffer.alloc(0);
  let preface = 24;
  socket.on("error", () => {});
  socket.write(http2Frame(4, 0, 0, NONE));
  socket.on("data", (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    if (bytes.length < preface) return;
    bytes = bytes.subarray(preface);
    preface = 0;
    for (let length = 0; bytes.length >= 9; bytes = bytes.subarray(9 + length)) {
      length = bytes.readUIntBE(0, 3);
      if (bytes.length < 9 + length) return;
      const [type, flags, stream] = [bytes[3], bytes[4] as number, bytes.readUInt32BE(5)];
      if (type === 4 && (flags & 1) === 0) socket.write(http2Frame(4, 1, 0, NONE));
      if (type === 0 && length > 0) heard.push("data");
      if (type === 3) heard.push(`reset ${bytes.readUInt32BE(9)}`);
      if (type !== 0 && type !== 1) continue;
      if ((flags & 1) === 0) continue;
      heard.push("end");
      answer(socket, stream);
    }
  });
}

const literal = (text: string) => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
const field = (name: string, value: string) => Buffer.concat([Buffer.from([0]), literal(name), literal(value)]);
/** `:status: 200` and a type; flags 4. */
const head = (stream: number, type: string) =>
  http2Frame(1, 4, stream, Buffer.concat([Buffer.from([0x88]), field("content-type", type)]));
const reset = (stream: number, code: number) => http2Frame(3, 0, stream, Buffer.from([0, 0, 0, code]));
/** A message whose first half is a message, too: an ID, and claims behind it. */
const ID = Buffer.concat([Buffer.from([0x0a]), literal("spiffe://example.org/web")]);
const CLAIMS = Buffer.from([0x12, 0x00]);

describe("streams of clients over HTTP/2", () => {
  const opened: PeerSessions[] = [];
  let server: TlsListener;
  let options: () => ReturnType<typeof http2Options>;

  before(async () => {
    const ca = await TestCa.create();
    const web = await identityOf("spiffe://example.org/web", ca);
    server = await listen(await identityOf(ORDERS, ca), {
      address: "127.0.0.1",
      port: 0,
      alpn: "h2",
      onConnection: serve,
    });
    const to: Http2Options = { peer: ORDERS, baseUrl: `https://127.0.0.1:${server.port}` };
    options = () => {
      const made = http2Options(web, to);
      opened.push(made.sessionManager);
      return made;
    };
  });
  beforeEach(() => {
    heard.length = 0;
    answer = () => {};
  });
  after(async () => {
    for (const sessions of opened) sessions.close();
    await server.close({ deadlineMs: 0 });
  });

  for (const [way, giveUp, code] of [
    ["closes it with CANCEL", (stream) => stream.close(8), 8],
    ["closes it with an error", (stream) => stream.close(2), 2],
    ["closes it without one", (stream) => stream.close(), 8],
    ["destroys it", (stream) => stream.destroy(), 8],
    ["destroys it with an error", (stream) => stream.destroy(new Error("not any more")), 2],
  ] as readonly (readonly [string, (stream: ClientHttp2Stream) => unknown, number])[]) {
    it(`[S-25] a body whose sender ${way} has no end`, async () => {
      const stream = await options().sessionManager.request("POST", "/", {});
      const closed = new Promise((resolve) => stream.once("close", resolve));
      // without one of its own nobody need listen for it
      if (code === 2) stream.on("error", () => {});
      stream.write("half");
      await until(() => heard.length === 1);
      giveUp(stream);
      await until(() => heard.length > 1);
      assert.deepEqual([...new Set(heard)], ["data", `reset ${code}`]);
      await soon(closed, "the stream is closed on this side");
    });
  }

  it("[S-25] a body that is ended has its end, and closing the stream takes nothing of it", async () => {
    const stream = await options().sessionManager.request("POST", "/", {});
    const closed = new Promise((resolve) => stream.on("error", () => {}).once("close", resolve));
    stream.end("whole");
    await until(() => heard.includes("end"));
    stream.close(8);
    await closed;
    await until(() => heard.includes("reset 8"));
    // one runtime may say it twice
    assert.deepEqual([...new Set(heard)], ["data", "end", "reset 8"]);
  });

  it("[S-25] a call with a stream of messages has no end when it is aborted, and one when all are sent", async () => {
    const client = createClient(ServerReflection, createGrpcTransport(options()));
    for (const aborts of [true, false]) {
      heard.length = 0;
      const stop = new AbortController();
      const rest = Promise.withResolvers<void>();
      const messages = async function* () {
        yield { host: "half" };
        await rest.promise;
      };
      const over = assert.rejects(async () => {
        for await (const _ of client.serverReflectionInfo(messages(), { signal: stop.signal }));
      });
      await until(() => heard.length === 1);
      if (!aborts) rest.resolve();
      await until(() => aborts || heard.includes("end"));
      stop.abort();
      await over;
      await until(() => heard.some((what) => what.startsWith("reset")));
      assert.deepEqual([...new Set(heard)], aborts ? ["data", "reset 8"] : ["data", "end", "reset 8"]);
      rest.resolve();
    }
  });

  for (const [protocol, make, type, framed] of [
    ["Connect", createConnectTransport, "application/proto", false],
    ["gRPC", createGrpcTransport, "application/grpc+proto", true],
  ] as readonly (readonly [string, (options: ReturnType<typeof http2Options>) => Transport, string, boolean])[]) {
    const message = (bytes: Buffer) =>
      framed ? Buffer.concat([Buffer.from([0, 0, 0, 0, bytes.length]), bytes]) : bytes;
    const call = () => createClient(SpiffeWorkloadAPI, make(options())).validateJWTSVID({ audience: "a", svid: "x" });
    const last = (stream: number) =>
      framed ? http2Frame(1, 5, stream, field("grpc-status", "0")) : http2Frame(0, 1, stream, NONE);

    for (const [name, breaks, later] of [
      ["NO_ERROR", (socket, stream) => socket.write(reset(stream, 0)), false],
      ["NO_ERROR, later", (socket, stream) => socket.write(reset(stream, 0)), true],
      ["CANCEL", (socket, stream) => socket.write(reset(stream, 8)), false],
      ["an error", (socket, stream) => socket.write(reset(stream, 2)), true],
      ["the end of its connection", (socket) => socket.end(), true],
    ] as readonly (readonly [string, (socket: Duplex, stream: number) => unknown, boolean])[]) {
      it(`[S-25] an answer over ${protocol} that breaks off by ${name} is none, a whole one is`, async () => {
        const after = (act: () => unknown) => void (later ? setTimeout(act, 20) : act());
        answer = (socket, stream) => {
          socket.write(Buffer.concat([head(stream, type), http2Frame(0, 0, stream, message(ID))]));
          after(() => breaks(socket, stream));
        };
        await assert.rejects(call());
        answer = (socket, stream) => {
          const whole = message(Buffer.concat([ID, CLAIMS]));
          socket.write(Buffer.concat([head(stream, type), http2Frame(0, 0, stream, whole)]));
          // the end of an answer may be followed by a reset (RFC 9113 section 8.1)
          after(() => socket.write(Buffer.concat([last(stream), reset(stream, 0)])));
        };
        const { spiffeId, claims } = await call();
        assert.deepEqual([spiffeId, claims], ["spiffe://example.org/web", {}]);
      });
    }
  }
});
