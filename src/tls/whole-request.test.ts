/** Request bodies over HTTP/2 that break off: a handler that reads them by events hears of no end. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { connect as dialTls, type TLSSocket } from "node:tls";
import { http2Frame } from "../../test/support/http2-frames.ts";
import { TestCa } from "../authority/test-ca.ts";
import { until } from "../gateway/world.testing.ts";
import { listen, type TlsListener } from "./listen.ts";
import { http2Requests, identityOf, rawOptions, type Shown, shown } from "./wire.testing.ts";

const BODY_FOLLOWS = 4;
const reset = (code: number) => http2Frame(3, 0, 1, Buffer.from([0, 0, 0, code]));
/** A POST whose body has begun, on stream 1 of a new connection. */
const POST = Buffer.concat([http2Requests(1, [], "POST"), http2Frame(0, 0, 1, Buffer.from("half"))]);
POST[http2Requests(0).length + 4] = BODY_FOLLOWS;

describe("bodies of requests over HTTP/2", () => {
  let show: Shown;
  let server: TlsListener;
  /** What a handler heard of the last request. */
  const heard: string[] = [];
  let begun = 0;

  before(async () => {
    const ca = await TestCa.create();
    show = shown(await ca.issue({ id: "spiffe://example.org/web" }));
    server = await listen(await identityOf("spiffe://example.org/orders", ca), {
      address: "127.0.0.1",
      port: 0,
      throttle: false,
      handler: (request, response) => {
        begun++;
        request.on("data", () => {});
        request.on("error", () => {});
        response.on("error", () => {});
        request.once("end", () => {
          heard.push("end");
          response.end("ok");
        });
        request.once("close", () => heard.push("close"));
      },
    });
  });
  after(() => server.close({ deadlineMs: 0 }));

  for (const [name, act, whole] of [
    ["are reset by NO_ERROR", (socket) => socket.write(reset(0)), false],
    ["are reset by CANCEL", (socket) => socket.write(reset(8)), false],
    ["are reset by INTERNAL_ERROR", (socket) => socket.write(reset(2)), false],
    ["end with their connection", (socket) => socket.end(), false],
    ["are cut with their connection", (socket) => socket.destroy(), false],
    ["have their end", (socket) => socket.write(http2Frame(0, 1, 1, new Uint8Array(0))), true],
  ] as readonly (readonly [string, (socket: TLSSocket) => unknown, boolean])[]) {
    it(`[S-25] that ${name} ${whole ? "have one" : "have none"} for a handler`, async () => {
      const socket = dialTls(rawOptions(server.port, show, "h2")).on("error", () => {});
      await new Promise((resolve) => socket.once("secureConnect", resolve));
      heard.length = 0;
      begun = 0;
      socket.resume();
      socket.write(POST);
      await until(() => begun === 1);
      act(socket);
      await until(() => heard.includes("close"));
      // one runtime closes a request before its end
      await new Promise((resolve) => setTimeout(resolve, 30));
      assert.deepEqual(heard, whole ? ["end", "close"] : ["close"]);
      socket.destroy();
    });
  }
});
