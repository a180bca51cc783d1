/** `ioredis` by a connector of `streamFactory`, against a real Redis. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { AbstractConnector, Redis, type RedisOptions } from "ioredis";
import { type StreamTarget, streamFactory } from "../../src/tls/index.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/ports.ts";
import { skipMissing } from "../support/skip.ts";
import { findProgram, Home, ServerProcess } from "./programs.ts";
import { assertOnlyTheExpectedPeer, openWorld, SERVER, type World } from "./world.ts";

const program = findProgram("redis-server");
const missing = program === undefined ? "Redis: apt-get install redis-server" : undefined;

let world: World;
let port: number;
let home: Home;
let server: ServerProcess | undefined;

function open(at: number, peer = SERVER, retryStrategy: (() => number | null) | undefined = undefined): Redis {
  const workload = world.app;
  const streams = streamFactory(workload, { peer });
  class Connector extends AbstractConnector {
    readonly #to: StreamTarget;
    constructor({ host = "localhost", port = 6379, disconnectTimeout = 2_000 }: RedisOptions) {
      super(disconnectTimeout);
      this.#to = { host, port };
    }
    async connect() {
      this.stream = streams(this.#to) as never;
      return this.stream;
    }
  }
  const more = retryStrategy === undefined ? {} : { retryStrategy };
  return new Redis({ host: "127.0.0.1", port: at, Connector: Connector as never, lazyConnect: true, ...more });
}

/** Sets a key with a client of its own; rejects with what the client reports of its first connection. */
async function set(at: number, peer = SERVER): Promise<unknown> {
  const redis = open(at, peer, () => null);
  try {
    return await new Promise((resolve, reject) => {
      redis.once("error", reject);
      redis.set("key", "a secret").then(resolve, reject);
    });
  } finally {
    redis.disconnect();
  }
}

describe("ioredis with streamFactory", () => {
  before(async () => {
    world = await openWorld();
    if (missing !== undefined) return;
    home = new Home();
    await home.writeSvid(world.server);
    port = await freePort();
    const settings = {
      port: 0,
      "tls-port": port,
      bind: "127.0.0.1",
      "tls-cert-file": home.file("svid.pem"),
      "tls-key-file": home.file("key.pem"),
      "tls-ca-cert-file": home.file("bundle.pem"),
      "tls-auth-clients": "yes",
      "tls-protocols": "TLSv1.3",
      appendonly: "no",
      dir: home.path,
    };
    const flags = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
    server = new ServerProcess(home, program!, [...flags, "--save", ""]);
    await eventually(() => /Ready to accept connections/.test(server!.output));
  });
  after(async () => {
    await server?.end();
    home?.remove();
    await world.close();
  });

  it("[S-5] [A-5] a wrong peer of the same domain gets no byte, the expected one does", async () => {
    await assertOnlyTheExpectedPeer(world, (at) => set(at));
  });

  const real = "[S-5] a real Redis that asks for certificates is used, and refused where another peer is expected";
  it(real, skipMissing(real, missing), async () => {
    assert.equal(await set(port), "OK");
    await assert.rejects(set(port, `${SERVER}2`), /is not who was expected/);
    const redis = open(port);
    assert.equal(await redis.get("key"), "a secret");
    const big = "x".repeat(300_000);
    assert.equal(await redis.set("big", big), "OK");
    assert.equal(await redis.get("big"), big);
    await redis.quit();
  });

  const rotation =
    "connections of after a rotation use the new SVIDs of both sides, also those that a client opens again";
  it(rotation, skipMissing(rotation, missing), async () => {
    const redis = open(port);
    redis.on("error", () => {});
    assert.equal(await redis.set("key", "before"), "OK");
    await world.rotate();
    await home.writeSvid(world.server);
    const files = ["tls-cert-file", "svid.pem", "tls-key-file", "key.pem", "tls-ca-cert-file", "bundle.pem"];
    await redis.call("CONFIG", "SET", ...files.map((word, i) => (i % 2 === 0 ? word : home.file(word))));
    assert.equal(await set(port), "OK");
    redis.disconnect(true);
    await eventually(() => redis.status === "ready");
    assert.equal(await redis.get("key"), "a secret");
    await redis.quit();
  });

  const again = "a dial that fails is tried again, as the client's own are";
  it(again, skipMissing(again, missing), async () => {
    const at = await freePort();
    const redis = open(at, SERVER, () => 20);
    let failures = 0;
    redis.on("error", () => failures++);
    redis.connect().catch(() => {});
    await eventually(() => failures >= 3);
    redis.disconnect();
    assert.equal(await set(port), "OK");
  });
});
