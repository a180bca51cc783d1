import assert from "node:assert/strict";
import { connect as openSession } from "node:http2";
import type { Duplex } from "node:stream";
import { after, before, describe, it } from "node:test";
import { skipWhen } from "../../test/support/skip.ts";
import { TestCa } from "../authority/test-ca.ts";
import { runtime } from "../runtime/detect.ts";
import { connect } from "./connect.ts";
import { listen, type TlsListener } from "./listen.ts";
import { peerOf } from "./peer.ts";
import { identityOf, rawExchange, rawOptions, type Shown, shown } from "./wire.testing.ts";

const ORDERS = "spiffe://example.org/orders";
const WEB = "spiffe://example.org/web";

let ca: TestCa;
let good: Shown;
let server: TlsListener;

describe("what HTTP carries through a listener", () => {
  before(async () => {
    ca = await TestCa.create();
    good = shown(await ca.issue({ id: WEB }));
    server = await listen(await identityOf(ORDERS, ca), {
      address: "127.0.0.1",
      port: 0,
      throttle: false,
      handler: async (request, response) => {
        let body = "";
        for await (const chunk of request as AsyncIterable<Buffer>) body += chunk;
        response.writeHead(200, { trailer: "x-sum" });
        response.write(`${body} ${request.trailers["x-end"]};`);
        response.addTrailers({ "x-sum": String(body.length) });
        response.end();
      },
      onUpgrade: (request, socket, head) => {
        socket.write(`HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n${head}`);
        socket.write(`for ${peerOf(request).id};`);
        socket.on("data", (chunk: Buffer) => socket.write(chunk));
      },
    });
  });
  after(() => server.close({ deadlineMs: 0 }));

  /** Sends a body with a trailer over HTTP/1.1; what came back, up to the last chunk and its trailers. */
  async function withTrailer(): Promise<string> {
    const bytes = [
      "POST / HTTP/1.1\r\nhost: orders\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n",
      "5\r\nhello\r\n0\r\nx-end: yes\r\n\r\n",
    ].join("");
    const enough = (seen: Buffer) => /\r\n0\r\n(?:[^\r\n]+\r\n)*\r\n$/.test(seen.toString("latin1"));
    const seen = await rawExchange(rawOptions(server.port, good, "http/1.1"), Buffer.from(bytes), enough);
    return seen.bytes.toString();
  }

  it("trailers of an HTTP/1.1 request", async () => {
    assert.match(await withTrailer(), /hello yes;/);
  });

  it("an idle connection is kept for longer than clients keep theirs", async () => {
    const bytes = Buffer.from("GET / HTTP/1.1\r\nhost: orders\r\n\r\n");
    const enough = (seen: Buffer) => seen.includes("\r\n0\r\n");
    const { bytes: seen } = await rawExchange(rawOptions(server.port, good, "http/1.1"), bytes, enough);
    assert.match(seen.toString(), /^keep-alive: timeout=65\r$/im);
  });

  const answered = "trailers of an HTTP/1.1 response";
  const bun = runtime.name === "bun" ? "Bun writes none on a server that speaks HTTP/2 as well (1.4.5)" : undefined;
  it(answered, skipWhen(answered, bun), async () => {
    assert.match(await withTrailer(), /\r\n0\r\nx-sum: 5\r\n/i);
  });

  it("trailers of HTTP/2, both ways", async () => {
    const web = await identityOf(WEB, ca);
    const { socket } = await connect(web, { host: "127.0.0.1", port: server.port, peer: ORDERS, alpn: ["h2"] });
    const session = openSession("https://orders", { createConnection: () => socket as Duplex });
    const stream = session.request({ ":method": "POST", ":path": "/" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-end": "yes" }));
    let body = "";
    const trailers = new Promise<{ "x-sum"?: string }>((resolve) => stream.once("trailers", resolve));
    stream.setEncoding("utf8").on("data", (chunk) => (body += chunk));
    stream.end("hello");
    assert.equal((await trailers)["x-sum"], "5");
    assert.equal(body, "hello yes;");
    session.destroy();
  });

  it("an upgrade, with what the client sent along", async () => {
    const bytes = Buffer.from("GET / HTTP/1.1\r\nhost: orders\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nfirst;");
    const enough = (seen: Buffer) => seen.includes("second;");
    const seen = await rawExchange(rawOptions(server.port, good, "http/1.1"), bytes, enough, (socket) => {
      socket.on("data", (chunk: Buffer) => chunk.includes("for ") && socket.write("second;"));
    });
    assert.match(seen.bytes.toString(), new RegExp(`101 Switching[\\s\\S]*first;[\\s\\S]*for ${WEB};[\\s\\S]*second;`));
  });
});
