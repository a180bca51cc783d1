import assert from "node:assert/strict";
import { createServer, connect as dialTcp, type Server } from "node:net";
import { after, before, describe, it } from "node:test";
import { connect as dialTls, type TLSSocket } from "node:tls";
import { TestCa } from "../authority/test-ca.ts";
import { listen, type TlsListener } from "./listen.ts";
import { identityOf, rawOptions, shown } from "./wire.testing.ts";

const LONG = "x".repeat(100_000);

describe("an answer of HTTP/1.1 on the wire", () => {
  let server: TlsListener;
  let relay: Server;
  let client: TLSSocket;
  /** What the server sent through the relay, as it came. */
  let sent: Buffer[] = [];

  before(async () => {
    const ca = await TestCa.create();
    server = await listen(await identityOf("spiffe://example.org/orders", ca), {
      address: "127.0.0.1",
      port: 0,
      handler: async (request, response) => {
        if (request.url === "/later") await new Promise((resolve) => setImmediate(resolve));
        if (request.url === "/parts") response.write("short ");
        if (request.url === "/none") response.statusCode = 204;
        response.end(
          request.url === "/none" ? undefined : request.url === "/long" ? LONG : Buffer.from(`for ${request.url}`),
        );
      },
    });
    relay = createServer((below) => {
      const upstream = dialTcp(server.port, "127.0.0.1", () => below.pipe(upstream));
      upstream.on("data", (chunk: Buffer) => {
        sent.push(chunk);
        below.write(chunk);
      });
      for (const [from, to] of [
        [below, upstream],
        [upstream, below],
      ] as const) {
        from.on("error", () => to.destroy());
        from.on("close", () => to.destroy());
      }
    });
    await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
    const { port } = relay.address() as { port: number };
    client = dialTls(rawOptions(port, shown(await ca.issue({ id: "spiffe://example.org/web" })), "http/1.1"));
    client.on("error", () => {});
    await new Promise((resolve) => client.once("secureConnect", resolve));
    // what one runtime sends after a handshake, tickets, comes before the first answer
    await ask("/first", "for /first");
  });
  after(async () => {
    client.destroy();
    await server.close({ deadlineMs: 0 });
    await new Promise((resolve) => relay.close(resolve));
  });

  /** Sends a request on the kept connection; the answer up to its last characters, and how many TLS records it came in. */
  async function ask(path: string, last: string): Promise<{ text: string; records: number }> {
    sent = [];
    let text = "";
    await new Promise<void>((resolve) => {
      const onData = (chunk: Buffer) => {
        text += chunk.toString("latin1");
        if (!text.endsWith(last)) return;
        client.off("data", onData);
        resolve();
      };
      client.on("data", onData);
      client.write(`GET ${path} HTTP/1.1\r\nhost: orders\r\n\r\n`);
    });
    const bytes = Buffer.concat(sent);
    let records = 0;
    for (let at = 0; at < bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) records++;
    return { text, records };
  }

  for (const path of ["/at-once", "/later"]) {
    it(`head and body of ${path} are one TLS record`, async () => {
      const { text, records } = await ask(path, `for ${path}`);
      assert.match(text, /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nfor /);
      assert.equal(records, 1);
    });
  }

  it("long bodies, bodies in parts and answers without one come whole", async () => {
    const long = await ask("/long", LONG);
    assert.match(long.text, /content-length: 100000\r\n/i);
    const parts = await ask("/parts", "\r\n0\r\n\r\n");
    assert.match(parts.text, /short (?:\r\na\r\n)?for \/parts\r\n0\r\n\r\n$/);
    assert.match((await ask("/none", "\r\n\r\n")).text, /^HTTP\/1\.1 204 /);
    assert.match((await ask("/after", "for /after")).text, /^HTTP\/1\.1 200 OK\r\n/);
  });
});
