/** Callers of an app that hold their body back: nobody is asked for it who is refused. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { TLSSocket } from "node:tls";
import { Hono } from "hono";
import { http2Frame } from "../../test/support/http2-frames.ts";
import {
  http1Get,
  http2Requests,
  http2Told,
  Opened,
  rawExchange,
  rawOptions,
  type Shown,
  shown,
} from "../tls/wire.testing.ts";
import { authorize, type SpiffeEnv, spiffe } from "./middleware/index.ts";
import { type ServeOptions, serve } from "./serve.ts";
import { GATEWAY, idOf, World } from "./world.testing.ts";

type Alpn = "http/1.1" | "h2";

const opened = new Opened();
let world: World;
let web: Shown;
let guest: Shown;
/** Bodies that the app's handler got. */
let bodies: string[] = [];

async function start(more: Partial<ServeOptions> = {}): Promise<number> {
  const workload = await world.identity("gateway");
  const app = new Hono<SpiffeEnv>()
    .use(spiffe(workload, { jwt: { audience: GATEWAY } }))
    .post("/", authorize({ ids: [idOf("web")] }), async (c) => {
      bodies.push(await c.req.text());
      return c.text("ok");
    })
    .get("/after", (c) => c.text("ok"));
  return opened.add(await serve(app, { workload, address: "127.0.0.1", port: 0, signals: [], ...more })).port;
}

/** A POST whose body of two bytes is held back. */
function held(alpn: Alpn, fields: readonly (readonly [string, string])[]): Uint8Array {
  const all = [["expect", "100-continue"], ["content-length", "2"], ...fields] as (readonly [string, string])[];
  if (alpn === "http/1.1")
    return Buffer.from(["POST / HTTP/1.1", "host: orders", ...all.map((one) => one.join(": ")), "", ""].join("\r\n"));
  const bytes = Buffer.from(http2Requests(1, all, "POST"));
  // its head does not end the stream
  bytes[http2Requests(0).length + 4] = 4;
  return bytes;
}

/** Statuses that come back, the body being sent once it is asked for; over HTTP/1.1, then those of another request. */
async function told(port: number, show: Shown, alpn: Alpn, fields: [string, string][] = []): Promise<string> {
  let socket: TLSSocket | undefined;
  let sent = 0;
  const statuses = (seen: Buffer) =>
    alpn === "h2"
      ? http2Told(seen, 1).filter((each) => each !== "reset")
      : [...seen.toString("latin1").matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => String(status));
  const enough = (seen: Buffer) => {
    const now = statuses(seen);
    if (sent === 0 && now.includes("100")) {
      sent = 1;
      socket?.write(alpn === "h2" ? http2Frame(0, 1, 1, Buffer.from("hi")) : "hi");
    }
    const answers = now.filter((each) => each !== "100").length;
    if (alpn === "h2") return answers === 1;
    if (sent < 2 && answers === 1) {
      sent = 2;
      socket?.write(http1Get("/after"));
    }
    return answers === 2;
  };
  const { bytes } = await rawExchange(rawOptions(port, show, alpn), held(alpn, fields), enough, (secure) => {
    socket = secure;
  });
  return statuses(bytes).join(" ");
}

describe("callers of an app that wait to be asked for their body", () => {
  before(async () => {
    world = await World.create();
    [web, guest] = await Promise.all(
      ["web", "guest"].map(async (name) => shown(await world.ca.issue({ id: idOf(name) }))),
    );
  });
  after(() => opened.close());

  for (const alpn of ["http/1.1", "h2"] as const) {
    // after an answer that nobody was asked for first, HTTP/1.1 ends the connection; after the other it goes on
    const next = alpn === "h2" ? "" : " 200";
    it(`[A-6] [G-2] are not asked where authorize() refuses them, and their twin is (${alpn})`, async () => {
      const port = await start();
      bodies = [];
      assert.equal(await told(port, guest, alpn), "403");
      assert.deepEqual(bodies, []);
      assert.equal(await told(port, web, alpn), `100 200${next}`);
      assert.deepEqual(bodies, ["hi"]);
    });

    it(`[A-6] [G-2] are not asked where spiffe() refuses them, and their twin is (${alpn})`, async () => {
      const port = await start({ clientCertificate: "optional" });
      bodies = [];
      assert.equal(await told(port, undefined, alpn), "401");
      assert.deepEqual(bodies, []);
      assert.equal(await told(port, web, alpn), `100 200${next}`);
      assert.deepEqual(bodies, ["hi"]);
    });
  }

  it("[A-6] [G-2] are not asked with a token that does not verify, and with one that does they are", async () => {
    const port = await start({ clientCertificate: "none" });
    const token = await world.token("web");
    const bearer = (text: string): [string, string][] => [["authorization", `Bearer ${text}`]];
    bodies = [];
    assert.equal(await told(port, undefined, "http/1.1", bearer(`${token.slice(0, -4)}AAAA`)), "401");
    assert.deepEqual(bodies, []);
    // the request after it shows none
    assert.equal(await told(port, undefined, "http/1.1", bearer(token)), "100 200 401");
    assert.deepEqual(bodies, ["hi"]);
  });
});
