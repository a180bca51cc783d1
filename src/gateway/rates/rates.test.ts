/** What a gateway makes of a store's answers, and what it asks; the store is a few lines that speak its protocol. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { eventually } from "../../../test/support/eventually.ts";
import { ManualClock } from "../../authority/testing.ts";
import { isSpiffeError } from "../../base/index.ts";
import { SpiffeId } from "../../id/index.ts";
import { silentLogger } from "../../telemetry/logger.ts";
import { MAX_ROWS } from "../rate-limits.ts";
import { idOf, World } from "../world.testing.ts";
import type { RateStoreConfig } from "./config-store.ts";
import { Rates } from "./rates.ts";
import { RateStore, type StoreGrounds } from "./store.ts";

const id = (name: string, domain = "example.org") => SpiffeId.parse(idOf(name, domain));

/** Answers a number to each question but the first, by which a connection is tried; notes the keys. */
class Store {
  readonly keys: string[] = [];
  /** A number, or a refusal in place of one. */
  answer: number | string = 0;
  connections = 0;
  readonly #sockets = new Set<Socket>();
  readonly #server: Server = createServer((socket) => {
    this.#sockets.add(socket.on("error", () => {}));
    this.connections++;
    socket.on("data", (chunk) => {
      // the only such text in a question is its key
      const asked = [...chunk.toString().matchAll(/\r\n(spiffe-edge:[^\r]+)\r\n/g)].map(([, key]) => key as string);
      const answer = typeof this.answer === "number" ? `:${this.answer}` : `-${this.answer}`;
      for (const key of asked) socket.write(key === "spiffe-edge:probe" ? ":0\r\n" : `${answer}\r\n`);
      this.keys.push(...asked.filter((key) => key !== "spiffe-edge:probe"));
    });
  });

  async start(socketPath?: string): Promise<RateStoreConfig> {
    await new Promise<void>((resolve) =>
      socketPath === undefined
        ? this.#server.listen(0, "127.0.0.1", resolve)
        : this.#server.listen(socketPath, resolve),
    );
    const { port } = (socketPath === undefined ? this.#server.address() : { port: 0 }) as { port: number };
    const place = { url: `redis://127.0.0.1:${port}`, host: "127.0.0.1", port };
    const rest = { id: undefined, unsafePlain: false, username: undefined, passwordFile: undefined };
    return { ...place, ...rest, prefix: "spiffe-edge:", timeoutMs: 1_000 };
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

describe("limits that a store has a say in", () => {
  let grounds: StoreGrounds;
  let folder: string;
  before(async () => {
    const identity = await (await World.create()).identity("gateway");
    grounds = { identity, clock: new ManualClock(), logger: silentLogger };
    folder = mkdtempSync(join(tmpdir(), "rates-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** Limits with a store, from before it is reached. */
  async function limits(config: { rate: number; burst: number }, use: (rates: Rates, store: Store) => Promise<void>) {
    const store = new Store();
    const rates = Rates.after(undefined, { ...config, store: await store.start() }, grounds);
    try {
      await use(rates, store);
    } finally {
      await Rates.change(rates, undefined);
      store.close();
    }
  }
  const open = async (rates: Rates) => {
    await Rates.change(undefined, rates);
    await eventually(() => rates.store?.up === true, "a store that is reached");
  };

  it("[S-27] who has no bucket of its own is counted under its trust domain's name there too", async () => {
    await limits({ rate: 1, burst: 3 }, async (rates, store) => {
      const own = id("first");
      assert.deepEqual(await rates.take(own), { ok: true, shared: false });
      for (let i = 1; i < MAX_ROWS; i++) await rates.take(id(`w/${i}`));
      await open(rates);
      for (const one of [id("a"), id("b"), id("c", "partner.example"), own])
        assert.deepEqual(await rates.take(one), { ok: true, shared: one !== own });
      const [a, b, partner, first] = store.keys;
      assert.equal(a, b);
      assert.equal(new Set([a, partner, first]).size, 3);
    });
  });

  it("[S-27] a store cannot make anybody wait longer than the limit itself does", async () => {
    await limits({ rate: 4, burst: 3 }, async (rates, store) => {
      await open(rates);
      store.answer = 249;
      assert.deepEqual(await rates.take(id("a")), { ok: false, shared: false, waitMs: 249 });
      store.answer = 86_400_000;
      assert.deepEqual(await rates.take(id("a")), { ok: false, shared: false, waitMs: 250 });
      store.answer = 0;
      assert.deepEqual(await rates.take(id("a")), { ok: true, shared: false });
    });
  });

  it("[S-27] buckets go on where the limit is the same, and begin anew where it is another", async () => {
    const before = Rates.after(undefined, { rate: 1, burst: 1 }, grounds);
    assert.deepEqual(await before.take(id("a")), { ok: true, shared: false });
    const same = Rates.after(before, { rate: 1, burst: 1 }, grounds);
    assert.deepEqual(await same.take(id("a")), { ok: false, shared: false, waitMs: 1_000 });
    for (const other of [
      { rate: 1, burst: 2 },
      { rate: 2, burst: 1 },
    ])
      assert.deepEqual(await Rates.after(same, other, grounds).take(id("a")), { ok: true, shared: false });
  });

  it("a store that refuses all is left for another connection, one that refuses a key is not", async () => {
    await limits({ rate: 1, burst: 9 }, async (rates, store) => {
      await open(rates);
      store.answer = "ERR value is not a valid float";
      assert.deepEqual(await rates.take(id("a")), { ok: true, shared: false });
      assert.deepEqual([rates.store?.up, rates.store?.results.refused, store.connections], [true, 1, 1]);
      store.answer = "READONLY You can't write against a read only replica.";
      assert.deepEqual(await rates.take(id("a")), { ok: true, shared: false });
      await eventually(() => rates.store?.up === false, "a store that is left");
      await (grounds.clock as ManualClock).advance(100);
      await eventually(() => rates.store?.up === true, "another connection");
      assert.deepEqual([rates.store?.results.refused, store.connections], [2, 2]);
    });
  });

  it("a store is reached over a unix socket", async () => {
    const store = new Store();
    const socketPath = join(folder, "store.sock");
    const { host: _, port: __, ...place } = await store.start(socketPath);
    const rates = Rates.after(undefined, { rate: 4, burst: 3, store: { ...place, socketPath } }, grounds);
    try {
      await open(rates);
      store.answer = 100;
      assert.deepEqual(await rates.take(id("a")), { ok: false, shared: false, waitMs: 100 });
    } finally {
      await Rates.change(rates, undefined);
      store.close();
    }
  });

  it("a store that is away is tried again after 100 ms, twice as long each time, and never more than 5 s", async () => {
    const store = new Store();
    const place = await store.start();
    store.close();
    const slept: number[] = [];
    const clock = {
      now: () => 0,
      monotonic: () => 0,
      sleep: (ms: number, signal?: AbortSignal) => {
        slept.push(ms);
        if (slept.length < 9) return Promise.resolve();
        return new Promise<void>((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
      },
    };
    const rates = Rates.after(undefined, { rate: 1, burst: 1, store: place }, { ...grounds, clock });
    await Rates.change(undefined, rates);
    try {
      await eventually(() => slept.length === 9);
      assert.deepEqual(slept, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
    } finally {
      await Rates.change(rates, undefined);
    }
  });

  it("a password is one line of a file, neither empty nor too long", async () => {
    const store = new Store();
    const place = await store.start();
    store.close();
    const passwordFile = join(folder, "password");
    const made = (text: string) => {
      writeFileSync(passwordFile, text);
      try {
        return new RateStore({ ...place, passwordFile }, grounds).state.up ? "up" : "made";
      } catch (error) {
        assert.ok(isSpiffeError(error, "ERR_SPIFFE_CONFIG"));
        return error.message.replace(/^.* cannot be used: /, "");
      }
    };
    const refused = "Expected one line of at most 4096 characters";
    for (const text of ["x".repeat(4_096), "x\n", "x\r\n", " "]) assert.equal(made(text), "made");
    for (const text of ["x".repeat(4_097), "", "\n", "\r\n", "x\ny", "x\n\n"]) assert.equal(made(text), refused);
  });
});
