/** Express, Fastify and Hono on `listen`: the examples as programs, and `peerOf` in their handlers over both protocols. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { getRequestListener } from "@hono/node-server";
import express from "express";
import fastify from "fastify";
import { Hono } from "hono";
import { Authority } from "../../src/authority/index.ts";
import { createFetch, type Handler, http2Options, listen, peerOf, type TlsListener } from "../../src/tls/index.ts";
import { Workload } from "../../src/workload/index.ts";
import { onThisRuntime, Program } from "../support/programs.ts";

const DOMAIN = "x0tta6bl4.local";
const ORDERS = `spiffe://${DOMAIN}/orders`;
const SERVING = /^spiffe:\/\/x0tta6bl4\.local\/orders serves (https:\/\/127\.0\.0\.1:\d+\/orders)$/m;

let authority: Authority;
let orders: Workload;
let web: Workload;
let guest: Workload;

before(async () => {
  const entries = ["orders", "web", "guest"].map((name) => ({ id: `spiffe://${DOMAIN}/${name}`, socket: name }));
  authority = await Authority.start({ trustDomain: DOMAIN, entries });
  const open = (name: string) => Workload.open({ socket: authority.socketFor(name) });
  [orders, web, guest] = await Promise.all([open("orders"), open("web"), open("guest")]);
});

after(async () => {
  for (const workload of [orders, web, guest]) await workload.close();
  await authority.close();
});

/** One GET over HTTP/2. */
async function get2(by: Workload, url: string): Promise<{ status: number; text: string }> {
  const { sessionManager } = http2Options(by, { baseUrl: url, peer: ORDERS });
  const stream = await sessionManager.request("GET", new URL(url).pathname, {});
  return new Promise((resolve, reject) => {
    let status = 0;
    let text = "";
    stream.once("response", (headers) => {
      status = Number(headers[":status"]);
    });
    stream.on("data", (part) => {
      text += part;
    });
    stream.once("error", reject);
    stream.once("close", () => {
      sessionManager.close();
      resolve({ status, text });
    });
    stream.end();
  });
}

async function get1(by: Workload, url: string): Promise<{ status: number; text: string }> {
  const answer = await createFetch(by, { peer: ORDERS })(url, { signal: AbortSignal.timeout(60_000) });
  return { status: answer.status, text: await answer.text() };
}

const YOU = `{"you":"spiffe://${DOMAIN}/web"}`;

describe("examples of frameworks", () => {
  for (const [name, over2] of [
    ["express", { status: 505, text: "" }],
    ["fastify", { status: 200, text: YOU }],
  ] as const) {
    it(`${name}.ts lets web in and not guest, and ends on SIGTERM`, async () => {
      const env = { SPIFFE_ENDPOINT_SOCKET: authority.socketFor("orders"), PORT: "0" };
      const server = new Program(onThisRuntime(`examples/${name}.ts`), { env });
      const [, url = ""] = await server.until(SERVING);
      assert.deepEqual(await get1(web, url), { status: 200, text: YOU });
      assert.equal((await get1(guest, url)).status, 403);
      assert.deepEqual(await get2(web, url), over2);
      const ended = await server.end("SIGTERM");
      assert.equal(ended.code, 0, ended.stderr);
      assert.equal(ended.stderr, "");
    });
  }
});

describe("peerOf in handlers", () => {
  const hono = new Hono().get("/orders", (c) => c.json({ you: peerOf(c).id }));
  hono.onError((error, c) => c.text(error.message, 500));
  const express1 = express().get("/orders", (req, res) => void res.json({ you: peerOf(req).id }));
  // Elsewhere it prints what a handler throws.
  express1.set("env", "test");
  const fastify12 = fastify();
  fastify12.get("/orders", (request) => ({ you: peerOf(request).id }));
  const handlers: Record<string, Handler> = {
    "node:http": (req, res) => void res.end(JSON.stringify({ you: peerOf(req).id })),
    Hono: getRequestListener(hono.fetch, { overrideGlobalObjects: false }) as unknown as Handler,
    Express: express1 as unknown as Handler,
    Fastify: (req, res) => fastify12.routing(req as never, res as never),
  };

  for (const [name, handler] of Object.entries(handlers)) {
    it(`[S-1] ${name}: gives the verified peer, and throws where no certificate was asked for`, async () => {
      await fastify12.ready();
      const start = (clientCertificate: "require" | "none"): Promise<TlsListener> =>
        listen(orders, { port: 0, address: "127.0.0.1", clientCertificate, handler });
      const required = await start("require");
      const none = await start("none");
      for (const get of name === "Express" ? [get1] : [get1, get2]) {
        assert.deepEqual(await get(web, `https://127.0.0.1:${required.port}/orders`), { status: 200, text: YOU });
        const without = await get(web, `https://127.0.0.1:${none.port}/orders`);
        assert.equal(without.status, 500, without.text);
        assert.doesNotMatch(without.text, /spiffe:\/\//);
      }
      await required.close();
      await none.close();
    });
  }
});
