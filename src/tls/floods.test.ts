/** Clients with a good certificate that send to make work, and clients that never end their handshake. */
import assert from "node:assert/strict";
import { connect as dialTcp } from "node:net";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { connect as dialTls } from "node:tls";
import { collectGarbage } from "../../test/support/collect.ts";
import { eventually } from "../../test/support/eventually.ts";
import { http2Frame, http2Settings } from "../../test/support/http2-frames.ts";
import { ManualClock } from "../authority/manual-clock.ts";
import { TestCa } from "../authority/test-ca.ts";
import type { Handler } from "./entries.ts";
import { type ListenOptions, listen, type TlsListener } from "./listen.ts";
import {
  http1Done,
  http1Get,
  http2Answers,
  http2Ended,
  http2Request,
  http2Requests,
  identityOf,
  Opened,
  rawExchange,
  rawOptions,
  type Shown,
  shown,
} from "./wire.testing.ts";

const MEBI = 1_048_576;
const opened = new Opened();

let ca: TestCa;
let good: Shown;

/** Answers after a while, as work does. */
const later: Handler = (_request, response) => {
  setTimeout(() => response.end("ok"), 20);
};

async function serve(options: Partial<ListenOptions> = {}): Promise<TlsListener> {
  const identity = await identityOf("spiffe://example.org/orders", ca);
  const handler = options.fetch === undefined ? { handler: later } : {};
  return opened.add(await listen(identity, { address: "127.0.0.1", port: 0, throttle: false, ...handler, ...options }));
}

async function isServed({ port }: TlsListener): Promise<boolean> {
  return http1Done((await rawExchange(rawOptions(port, good, "http/1.1"), http1Get(), http1Done)).bytes);
}

interface Flooded {
  /** Whether the server ended the connection. */
  readonly ended: boolean;
  /** Bytes that the server took. */
  readonly taken: number;
}

/** After so long without an end a client gives up: one that reads hears of its end, the other never does. */
const GIVES_UP_MS = { reads: 60_000, deaf: 300 };

/** Sends part after part for as long as the server takes them. What the server keeps is ended after `meanwhile`. */
function flood(
  { port }: TlsListener,
  parts: Iterable<Uint8Array>,
  { reads, meanwhile }: { reads: boolean; meanwhile: () => Promise<void> },
): Promise<Flooded> {
  return new Promise((resolve, reject) => {
    let [ended, taken] = [false, 0];
    const socket = dialTls(rawOptions(port, good, "h2"));
    const iterator = parts[Symbol.iterator]();
    const over = () => socket.destroy();
    const stalled = () =>
      setTimeout(() => meanwhile().then(over, reject), reads ? GIVES_UP_MS.reads : GIVES_UP_MS.deaf);
    let waits = stalled();
    socket.on("error", () => {
      ended = true;
    });
    socket.once("end", () => {
      ended = true;
    });
    socket.once("close", () => {
      clearTimeout(waits);
      resolve({ ended, taken });
    });
    const send = () => {
      clearTimeout(waits);
      waits = stalled();
      for (let part = iterator.next(); part.done !== true; part = iterator.next()) {
        taken += part.value.length;
        if (!socket.write(part.value)) return void socket.once("drain", send);
      }
    };
    socket.once("secureConnect", () => {
      socket.write(http2Requests(0));
      if (reads) socket.resume();
      else socket.pause();
      send();
    });
  });
}

function* repeated(part: Uint8Array, count: number): Generator<Uint8Array> {
  const block = Buffer.concat(new Array(100).fill(part));
  for (let i = 0; i < count / 100; i++) yield block;
}

/** Requests, each followed by something; the last of them is a plain one. */
function* streams(count: number, spoil: (stream: number) => Buffer, flags = WHOLE): Generator<Uint8Array> {
  for (let i = 0; i < count; i++) yield Buffer.concat([http2Request(2 * i + 1, flags), spoil(2 * i + 1)]);
}

/** A head that goes on and on, until the last frame says that it ends. */
function* head(frames: number, fields: number): Generator<Uint8Array> {
  yield http2Request(1, HEAD_GOES_ON);
  // A new name of one octet, and a value of 1,000.
  const field = Buffer.concat([Buffer.from([0, 1, 0x78, 0x7f, 0xe9, 0x06]), Buffer.alloc(1_000, 0x61)]);
  const block = Buffer.concat(new Array(fields).fill(field));
  for (let i = 1; i <= frames; i++) yield http2Frame(9, i === frames ? 4 : 0, 1, block);
}

const WHOLE = 5;
const HEAD_GOES_ON = 1;
const BODY_FOLLOWS = 4;
const four = (value: number) => Buffer.from([0, 0, 0, value]);
const ping = http2Frame(6, 0, 0, Buffer.alloc(8));
const settings = http2Frame(4, 0, 0);

/** What is sent without end, and its twin: little of it, or the same as it should be. The last stream has to be answered. */
const FLOODS: readonly {
  name: string;
  parts: () => Iterable<Uint8Array>;
  twin: () => Iterable<Uint8Array>;
}[] = [
  {
    name: "streams that are opened and reset",
    parts: () => streams(20_000, (stream) => http2Frame(3, 0, stream, four(8))),
    twin: () => streams(20, (stream) => http2Frame(3, 0, stream, four(8))),
  },
  {
    name: "streams that the server has to reset, by an empty WINDOW_UPDATE",
    parts: () => streams(20_000, (stream) => http2Frame(8, 0, stream, four(0))),
    twin: () => streams(20, (stream) => http2Frame(8, 0, stream, four(1))),
  },
  {
    name: "streams that the server has to reset, by DATA after their end",
    parts: () => streams(20_000, (stream) => http2Frame(0, 0, stream, Buffer.alloc(1))),
    twin: () => streams(20, (stream) => http2Frame(0, 1, stream, Buffer.alloc(1)), BODY_FOLLOWS),
  },
  { name: "CONTINUATION", parts: () => head(10_000, 15), twin: () => head(3, 1) },
  { name: "PING", parts: () => repeated(ping, 1_000_000), twin: () => repeated(ping, 100) },
  { name: "SETTINGS", parts: () => repeated(settings, 1_000_000), twin: () => [settings, settings, settings] },
];

/** Bytes that floods may leave behind. */
const MOST = 64_000_000;

/**
 * Runs the work; bytes that the process has grown by at the end, after a first time in which it takes what it needs. The
 * least of up to three: what is left behind is so each time, what the process needs for something else is not.
 */
async function growth(work: () => Promise<void>): Promise<number> {
  await work();
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 3 && least >= MOST; round++) {
    collectGarbage();
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 2; i++) await work();
    collectGarbage();
    least = Math.min(least, process.memoryUsage().rss - before);
  }
  return least;
}

/** A stream number that no flood and no twin uses. */
const LAST = 50_001;

describe("floods", () => {
  before(async () => {
    ca = await TestCa.create();
    good = shown(await ca.issue({ id: "spiffe://example.org/web" }));
  });
  after(() => opened.close());

  for (const { name, parts, twin } of FLOODS) {
    it(`[S-25] [A-9] ${name}: cut or held back, others are served; its twin is answered`, async () => {
      const server = await serve();
      const meanwhile = async () => assert.ok(await isServed(server), "others are served");
      const grown = await growth(async () => {
        for (const reads of [true, false]) {
          const { ended, taken } = await flood(server, parts(), { reads, meanwhile });
          // A client that does not read does not hear of its end before it sends again.
          assert.ok(ended || !reads, "a connection with a flood was kept");
          assert.ok(taken < 16 * MEBI, `${taken} bytes of a flood were taken`);
          await meanwhile();
        }
      });
      assert.ok(grown < MOST, `grew by ${grown} bytes`);
      const bytes = Buffer.concat([http2Requests(0), ...twin(), http2Request(LAST, WHOLE)]);
      const { bytes: seen } = await rawExchange(rawOptions(server.port, good, "h2"), bytes, (so) =>
        http2Answers(so, LAST),
      );
      assert.ok(http2Answers(seen, LAST), "the twin was not answered");
      await server.close({ deadlineMs: 0 });
    });
  }

  it("[S-25] HTTP/2 is told 128 streams and heads of 64 KiB, and a head above that reaches no handler", async () => {
    let handled = 0;
    const server = await serve({
      handler: (_request, response) => {
        handled++;
        response.end("ok");
      },
    });
    for (const [fields, count] of [
      [60, 1],
      [75, 0],
    ] as const) {
      handled = 0;
      const wire = Buffer.concat([http2Requests(0), ...head(fields / 15, 15)]);
      const { bytes: seen } = await rawExchange(
        rawOptions(server.port, good, "h2"),
        wire,
        (so) => http2Answers(so, 1) || http2Ended(so) > 0,
      );
      const told = http2Settings(seen);
      assert.equal(handled, count, `${fields} fields of 1,000`);
      assert.deepEqual([told.get(3), told.get(6)], [128, 65_536]);
    }
    await server.close({ deadlineMs: 0 });
  });

  it("[S-25] [A-9] bodies that nobody makes room for are not read from their source, and are given up with the connection", async () => {
    const count = 100;
    let [pulled, cancelled] = [0, 0];
    const chunk = new Uint8Array(65_536);
    const body = () =>
      new ReadableStream({
        pull: (controller) => {
          pulled++;
          controller.enqueue(chunk);
        },
        cancel: () => void cancelled++,
      });
    const server = await serve({
      fetch: (request) => new Response(request.url.endsWith("/") && request.headers.has("x-stay") ? body() : "ok"),
    });
    const socket = dialTls(rawOptions(server.port, good, "h2"));
    let got = 0;
    socket.on("error", () => {});
    socket.on("data", (bytes: Buffer) => {
      got += bytes.length;
    });
    await new Promise((resolve) => socket.once("secureConnect", resolve));
    const before = process.memoryUsage().rss;
    // SETTINGS_INITIAL_WINDOW_SIZE: 0.
    socket.write(http2Requests(count, [["x-stay", "1"]], "GET", Buffer.from([0, 4, 0, 0, 0, 0])));
    await eventually(() => pulled >= count);
    await stands(() => pulled + got);
    assert.ok(await isServed(server), "others are served");
    assert.ok(pulled <= count * 8, `${pulled} chunks were read for nobody`);
    assert.ok(process.memoryUsage().rss - before < MOST);
    const idle = got;
    assert.ok(idle < count * 1_000, "bodies were sent without room for them");
    // The twin: room for one of them.
    socket.write(http2Frame(8, 0, 1, [0, 1, 0, 0]));
    await eventually(() => got >= idle + 60_000);
    socket.destroy();
    await eventually(() => cancelled >= count);
    await server.close({ deadlineMs: 0 });
  });

  it("[S-7] [A-9] handshakes that never end are closed in time, and others are served meanwhile", async () => {
    const count = 500;
    const clock = new ManualClock();
    const server = await serve({ clock, handshakeTimeoutMs: 2_000 });
    const before = process.memoryUsage().rss;
    let closed = 0;
    const hello = Buffer.from("1603010200010001fc0303", "hex");
    const sockets = Array.from({ length: count }, (_, i) => {
      const socket = dialTcp(server.port, "127.0.0.1", () => void (i % 2 === 0 && socket.write(hello)));
      socket.on("error", () => {});
      socket.once("close", () => closed++);
      return socket.resume();
    });
    await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
    assert.ok(await isServed(server), "others are served");
    assert.ok(process.memoryUsage().rss - before < MOST);
    assert.equal(closed, 0);
    await clock.advance(2_000);
    await eventually(() => closed === count);
    assert.equal(server.counters.timedOut, count);
    assert.ok(await isServed(server));
    await server.close({ deadlineMs: 0 });
  });
});

/** Waits until a count stays the same for a while. */
async function stands(count: () => number): Promise<void> {
  for (let last = -1, same = 0; same < 30; ) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    same = count() === last ? same + 1 : 0;
    last = count();
  }
}
