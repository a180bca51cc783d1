/** `undici` by the `createConnection` of `tlsOptions`. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { runtime } from "../../src/runtime/detect.ts";
import { listen, peerOf, type TlsListener, tlsOptions } from "../../src/tls/index.ts";
import { assertOnlyTheExpectedPeer, openWorld, SERVER, type World } from "./world.ts";

type Undici = typeof import("undici");

let world: World;
let listener: TlsListener;
let undici: Undici;

/** Sends one request over a dispatcher of its own. */
async function call({ Agent, request }: Undici, port: number): Promise<string> {
  const [workload, peer] = [world.app, SERVER];
  const connect = tlsOptions(workload, { peer }).createConnection;
  const dispatcher = new Agent({ connect });
  try {
    const { body } = await request(`https://127.0.0.1:${port}/`, { method: "POST", body: "a secret", dispatcher });
    return await body.text();
  } finally {
    await dispatcher.destroy();
  }
}

describe("undici with tlsOptions", () => {
  before(async () => {
    world = await openWorld();
    undici = (await import("undici/index.js")).default as Undici;
    listener = await listen(world.server, {
      port: 0,
      address: "127.0.0.1",
      handler: (req, res) => void res.end(`${peerOf(req).id} ${req.socket.remotePort}`),
    });
  });
  after(async () => {
    await listener.close();
    await world.close();
  });

  it("[S-5] [A-5] a wrong peer of the same domain gets no byte, the expected one does", async () => {
    await assertOnlyTheExpectedPeer(world, (port) => call(undici, port), { alpn: ["http/1.1"] });
    assert.match(await call(undici, listener.port), /^spiffe:\/\/seams\.example\/app /);
  });

  it("fetch and pools work, before and after a rotation", async () => {
    const connect = tlsOptions(world.app, { peer: SERVER }).createConnection;
    const dispatcher = new undici.Agent({ connect, connections: 1 });
    const url = `https://127.0.0.1:${listener.port}/`;
    const fetched = async () => (await undici.fetch(url, { dispatcher })).text();
    const first = await fetched();
    assert.equal(await fetched(), first);
    await world.rotate();
    assert.match(await fetched(), /^spiffe:\/\/seams\.example\/app /);
    const next = new undici.Pool(`https://127.0.0.1:${listener.port}`, { connect });
    const { body } = await next.request({ path: "/", method: "GET" });
    assert.notEqual(await body.text(), first);
    await next.destroy();
    await dispatcher.destroy();
  });

  it("on Bun the name `undici` is another program that dials by itself; elsewhere it is the package", async () => {
    const named = (await import("undici")).default as Undici;
    if (runtime.name === "bun") {
      await assert.rejects(
        call(named, listener.port),
        (error: Error) => !/is not who was expected/.test(error.message),
      );
      assert.match(await call(undici, listener.port), /^spiffe:/);
    } else assert.match(await call(named, listener.port), /^spiffe:/);
  });

  it("the runtime's own fetch takes the dispatcher on Node alone", async () => {
    const dispatcher = new undici.Agent({ connect: tlsOptions(world.app, { peer: SERVER }).createConnection });
    const fetched = fetch(`https://127.0.0.1:${listener.port}/`, { dispatcher } as object);
    if (runtime.name === "node") assert.match(await (await fetched).text(), /^spiffe:/);
    else await assert.rejects(fetched);
    await dispatcher.destroy();
  });
});
