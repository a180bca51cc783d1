/** Streams of HTTP/2 that a client opens and resets, each by a code of its own choice: work without a price (S-25). */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { connect as dialTls } from "node:tls";
import { eventually } from "../../test/support/eventually.ts";
import { type Frame, http2Frame, http2Frames } from "../../test/support/http2-frames.ts";
import { TestCa } from "../authority/test-ca.ts";
import { listen, type TlsListener } from "./listen.ts";
import {
  http2Answers,
  http2Request,
  http2Requests,
  identityOf,
  Opened,
  rawOptions,
  type Shown,
  shown,
} from "./wire.testing.ts";

const WHOLE = 5;
const BODY_FOLLOWS = 4;
/** Never named by a stream that is reset. */
const LAST = 9_001;
const PING = 6;
/** Whether it answers a PING. */
const isPong = ({ type, flags }: Frame) => type === PING && flags === 1;
const reset = (code: number) => http2Frame(3, 0, 1, [0, 0, 0, code]);

describe("streams that are opened and reset", () => {
  const opened = new Opened();
  let good: Shown;
  let server: TlsListener;
  let handled = 0;
  let apps: TlsListener;
  let begun = 0;
  /** Bodies as handlers read them; undefined for what breaks off. */
  const read: (string | undefined)[] = [];

  before(async () => {
    const ca = await TestCa.create();
    good = shown(await ca.issue({ id: "spiffe://example.org/web" }));
    server = opened.add(
      await listen(await identityOf("spiffe://example.org/orders", ca), {
        address: "127.0.0.1",
        port: 0,
        throttle: false,
        handler: (_request, response) => {
          // only the last one is there long enough
          handled++;
          setTimeout(() => response.destroyed || response.end("ok"), 200);
        },
      }),
    );
    apps = opened.add(
      await listen(await identityOf("spiffe://example.org/orders", ca), {
        address: "127.0.0.1",
        port: 0,
        throttle: false,
        fetch: async (request) => {
          begun++;
          read.push(await request.text().catch(() => undefined));
          return new Response("ok");
        },
      }),
    );
  });
  after(() => opened.close());

  /** Resets so many streams, ten at a time once the server has read the ten before, and asks for an answer then; whether it came. */
  async function isAnswered(count: number, code: number, flags: number): Promise<boolean> {
    const socket = dialTls(rawOptions(server.port, good, "h2"));
    let seen: Buffer = Buffer.alloc(0);
    let over = false;
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      seen = Buffer.concat([seen, chunk]);
    });
    socket.once("close", () => {
      over = true;
    });
    await new Promise((resolve) => socket.once("secureConnect", resolve));
    socket.write(http2Requests(0));
    for (let i = 0; i < count && !over; i++) {
      const stream = 2 * i + 1;
      socket.write(Buffer.concat([http2Request(stream, flags), http2Frame(3, 0, stream, [0, 0, 0, code])]));
      if (i % 10 < 9) continue;
      socket.write(http2Frame(PING, 0, 0, Buffer.alloc(8)));
      await eventually(() => over || http2Frames(seen).filter(isPong).length === (i + 1) / 10);
    }
    if (!over) socket.write(http2Request(LAST, WHOLE));
    await eventually(() => over || http2Answers(seen, LAST));
    socket.destroy();
    return http2Answers(seen, LAST);
  }

  for (const [name, code, flags] of [
    ["CANCEL", 8, WHOLE],
    ["NO_ERROR", 0, WHOLE],
    ["NO_ERROR in the middle of a body", 0, BODY_FOLLOWS],
  ] as const) {
    it(`[S-25] [A-9] by ${name}: more than a hundred end the connection, and fewer do not`, async () => {
      const before = server.counters.ended["peer.stream-resets"] ?? 0;
      assert.equal(await isAnswered(80, code, flags), true);
      assert.equal(server.counters.ended["peer.stream-resets"] ?? 0, before);
      handled = 0;
      assert.equal(await isAnswered(400, code, flags), false);
      assert.equal(server.counters.ended["peer.stream-resets"], before + 1);
      assert.ok(handled < 200, `${handled} of 400 were handled`);
    });
  }

  for (const [name, end, whole] of [
    ["reset by CANCEL", reset(8), false],
    ["reset by NO_ERROR", reset(0), false],
    ["ended", http2Frame(0, 1, 1), true],
  ] as const) {
    it(`[S-25] a body that is ${name} is ${whole ? "whole" : "not whole"} for a handler in the shape of fetch`, async () => {
      const socket = dialTls(rawOptions(apps.port, good, "h2")).on("error", () => {});
      await new Promise((resolve) => socket.once("secureConnect", resolve));
      read.length = 0;
      begun = 0;
      const part = http2Frame(0, 0, 1, Buffer.from("abc"));
      const post = Buffer.from(http2Requests(1, [], "POST"));
      // the flags of its head: the body follows
      post[http2Requests(0).length + 4] = BODY_FOLLOWS;
      socket.write(Buffer.concat([post, part]));
      await eventually(() => begun > 0);
      socket.write(end);
      await eventually(() => read.length > 0);
      assert.deepEqual(read, [whole ? "abc" : undefined]);
      socket.destroy();
    });
  }
});
