/** Rate limits that gateways share, against a real Redis. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect as connectTcp, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { missingRedis, RedisServer, type RedisServerOptions } from "../../../test/support/redis.ts";
import { skipMissing } from "../../../test/support/skip.ts";
import { ManualClock } from "../../authority/testing.ts";
import { createFetch } from "../../tls/index.ts";
import type { GatewayInput } from "../config-types.ts";
import { createGateway } from "../gateway.ts";
import type { Gateway, GatewayOptions } from "../gateway-types.ts";
import { RateLimits } from "../rate-limits.ts";
import { type CountingUpstream, countingUpstream, GATEWAY, idOf, World } from "../world.testing.ts";
import type { RateStoreInput } from "./config-store.ts";
import { TAKE } from "./script.ts";
import type { StoreState } from "./store.ts";

const STORE = idOf("valkey");
const PASSWORD = "s3cret-of-the-store";
let world: World;
let upstream: CountingUpstream;
let folder: string;
const closing: (() => unknown)[] = [];

before(async () => {
  world = await World.create();
  upstream = await countingUpstream();
  folder = mkdtempSync(join(tmpdir(), "rates-"));
});
after(async () => {
  for (const close of closing.reverse()) await close();
  await upstream.close();
  rmSync(folder, { recursive: true, force: true });
});

async function redis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const server = await RedisServer.start(options);
  closing.push(() => server.close());
  return server;
}

/** An hour to a request: nothing comes back within a test. */
const config = (store: RateStoreInput | undefined, burst = 3, rate = "1/h"): GatewayInput => ({
  status: { port: 0 },
  listen: { address: "127.0.0.1", port: 0 },
  upstreams: { up: { url: upstream.url } },
  routes: [{ name: "up", path: "/**", upstream: "up" }],
  policy: [{ rule: "all", allow: { trustDomains: ["example.org"] } }],
  limits: { perIdentity: { rate, burst, ...(store === undefined ? {} : { store }) } },
});

/** Everything that a gateway says. */
function fullLog(): { lines: string[]; logger: NonNullable<GatewayOptions["logger"]> } {
  const lines: string[] = [];
  const log = (message: string, fields?: object) => void lines.push(`${message} ${JSON.stringify(fields ?? {})}`);
  return { lines, logger: { debug: log, info: log, warn: log, error: log } };
}

/** A gateway of a test whose time the test moves: what it says, and what became of requests. */
class Replica {
  readonly gateway: Gateway;
  readonly lines: string[];
  readonly clock: ManualClock;

  private constructor(gateway: Gateway, lines: string[], clock: ManualClock) {
    this.gateway = gateway;
    this.lines = lines;
    this.clock = clock;
  }

  static async start(input: GatewayInput): Promise<Replica> {
    const { lines, logger } = fullLog();
    const clock = new ManualClock();
    const gateway = await createGateway(input, { workload: await world.identity("gateway"), logger, clock });
    closing.push(() => gateway.close({ deadlineMs: 0 }));
    return new Replica(gateway, lines, clock);
  }

  get store(): StoreState | undefined {
    return (this.gateway.report() as { rateStore?: StoreState }).rateStore;
  }

  /** Statuses of so many requests of an identity, one after the other. */
  async ask(name: string, count = 1): Promise<string> {
    const call = createFetch(await world.identity(name), { peer: GATEWAY });
    const statuses: number[] = [];
    for (let i = 0; i < count; i++) {
      const answer = await call(`https://127.0.0.1:${this.gateway.listeners[0]!.port}/x`);
      await answer.text();
      statuses.push(answer.status);
    }
    return statuses.join(" ");
  }

  async get(path: string): Promise<string> {
    return (await fetch(`http://127.0.0.1:${this.gateway.status.port}${path}`)).text();
  }

  count(text: RegExp): number {
    return this.lines.filter((line) => text.test(line)).length;
  }

  /** Lets its time go on until something is so. */
  async until(what: () => boolean): Promise<void> {
    for (let i = 0; i < 3_000; i++) {
      if (what()) return;
      await this.clock.advance(20);
      await wait(2);
    }
    assert.fail(`it did not happen: ${this.lines.join("\n")}`);
  }

  up(): Promise<void> {
    return this.until(() => this.store?.up === true);
  }
}

const TOLD = /^the store of rate limits does not answer; this process counts alone /;
const plain = (server: RedisServer, more: Partial<RateStoreInput> = {}): RateStoreInput => ({
  url: `redis://127.0.0.1:${server.port}`,
  timeout: "1s",
  ...more,
});

/** What stands before a store and can stop passing bytes. */
async function relay(port: number): Promise<{ port: number; hung: boolean; held: number; release(): void }> {
  const sockets = new Set<Socket>();
  const state = { port: 0, hung: false, held: 0, release: () => {} };
  let waiting: (() => void)[] = [];
  const server: Server = createServer((client) => {
    const store = connectTcp(port, "127.0.0.1");
    for (const socket of [client, store]) {
      sockets.add(socket);
      socket.on("error", () => {});
    }
    const pass = (from: Socket, to: Socket) =>
      from.on("data", (chunk) => {
        if (!state.hung) return void to.write(chunk);
        state.held++;
        waiting.push(() => to.write(chunk));
      });
    pass(client, store);
    pass(store, client);
    client.on("close", () => store.destroy());
    store.on("close", () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  state.port = (server.address() as { port: number }).port;
  state.release = () => {
    state.hung = false;
    for (const go of waiting) go();
    waiting = [];
  };
  return state;
}

/** A test that needs a real Redis. */
function real(name: string, test: () => Promise<void>): void {
  it(name, skipMissing(name, missingRedis), test);
}

describe("shared rate limits", () => {
  real("[S-27] two gateways count as one, over mutual TLS to the store's own SPIFFE ID", async () => {
    const server = await redis({ tls: await world.identity("valkey") });
    const store = { url: `rediss://127.0.0.1:${server.port}`, id: STORE, timeout: "1s" };
    const [a, b] = [await Replica.start(config(store)), await Replica.start(config(store))];
    await a.up();
    await b.up();
    assert.equal(await a.ask("web", 2), "200 200");
    assert.equal(await b.ask("web", 2), "200 429");
    assert.equal(await a.ask("web"), "429");
    // each of the others has its own
    assert.equal(await b.ask("cron", 4), "200 200 200 429");
    const keys = await server.admin.keys("*");
    assert.equal(keys.length, 2);
    for (const key of keys) {
      assert.match(key, /^spiffe-edge:rate:[A-Za-z0-9_-]{43}$/);
      assert.ok((await server.admin.pttl(key)) > 0, "the key would stay");
    }
    // without the store each would have let three through
    const alone = await Replica.start(config(undefined));
    assert.equal(await alone.ask("web", 4), "200 200 200 429");
    assert.match(await a.get("/metrics"), /spiffe_edge_rate_store_up 1\n/);
    assert.match(await a.get("/metrics"), /spiffe_edge_rate_store_total\{result="answered"\} 3/);
  });

  real("[S-27] a store that is another workload of the domain is not counted with", async () => {
    const server = await redis({ tls: await world.identity("intruder") });
    const url = `rediss://127.0.0.1:${server.port}`;
    const wrong = await Replica.start(config({ url, id: STORE, timeout: "1s" }));
    await wrong.until(() => wrong.count(TOLD) > 0);
    assert.match(wrong.lines.join("\n"), /is not who was expected/);
    assert.equal(await wrong.ask("web", 4), "200 200 200 429");
    assert.deepEqual(await server.admin.keys("*"), []);
    const twin = await Replica.start(config({ url, id: idOf("intruder"), timeout: "1s" }));
    await twin.up();
    assert.equal(await twin.ask("web", 4), "200 200 200 429");
    assert.equal((await server.admin.keys("*")).length, 1);
  });

  real("[S-27] a store that is killed: the limit of this process holds, told once, and it recovers", async () => {
    const server = await redis();
    const [a, b] = [await Replica.start(config(plain(server))), await Replica.start(config(plain(server)))];
    await a.up();
    await b.up();
    assert.equal(await a.ask("web", 2), "200 200");
    await server.kill();
    for (const one of [a, b]) await one.until(() => one.store?.up === false);
    // of three, two are used up here
    assert.equal(await a.ask("web", 3), "200 429 429");
    assert.equal(await b.ask("web", 5), "200 200 200 429 429");
    assert.equal(a.count(TOLD), 1);
    assert.match(await a.get("/readyz"), /"ready": true[\s\S]*this process counts alone/);
    assert.match(await a.get("/metrics"), /spiffe_edge_rate_store_up 0\n/);
    assert.match(await a.get("/metrics"), /spiffe_edge_rate_store_total\{result="unreachable"\} 1\n/);
    await server.begin();
    await a.up();
    await b.up();
    assert.equal(await a.ask("cron", 2), "200 200");
    assert.equal(await b.ask("cron", 2), "200 429");
    assert.equal(a.count(/^the store of rate limits answers/), 1);
  });

  real("[S-27] a store that stops to answer: one request waits for its time, the next not at all", async () => {
    const server = await redis();
    const between = await relay(server.port);
    const store = { url: `redis://127.0.0.1:${between.port}`, timeout: "100ms" };
    const replica = await Replica.start(config(store));
    await replica.up();
    assert.equal(await replica.ask("web"), "200");
    between.hung = true;
    let answer: string | undefined;
    const waiting = replica.ask("web").then((status) => {
      answer = status;
    });
    await replica.until(() => answer !== undefined);
    await waiting;
    assert.equal(answer, "200");
    assert.equal(replica.store?.results.timeout, 1);
    assert.equal(await replica.ask("web", 2), "200 429");
    assert.equal(await replica.ask("cron", 4), "200 200 200 429");
    assert.equal(replica.count(TOLD), 1);
    // while one is not answered, nothing more is asked
    assert.equal(between.held, 1);
    assert.deepEqual([replica.store?.results.timeout, replica.store?.results.unreachable], [1, 4]);
    await replica.clock.advance(10_000);
    between.release();
    await replica.up();
    assert.equal(await replica.ask("guest", 4), "200 200 200 429");
    assert.equal(replica.store?.results.answered, 4);
  });

  it("[S-27] a store that takes connections and says nothing from the beginning, and one that is not there", async () => {
    const silent = createServer((socket) => void socket.on("error", () => {}));
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    closing.push(async () => void silent.close());
    const { port } = silent.address() as { port: number };
    const hung = await Replica.start(config({ url: `redis://127.0.0.1:${port}`, timeout: "1s" }));
    assert.equal(await hung.ask("web", 5), "200 200 200 429 429");
    assert.equal(hung.store?.up, false);
    const gone = await Replica.start(config({ url: `unix:${folder}/nobody.sock` }));
    assert.equal(await gone.ask("web", 5), "200 200 200 429 429");
    await gone.until(() => gone.count(TOLD) === 1);
    assert.equal(gone.store?.results.unreachable, 3);
    await gone.clock.advance(9_000);
    assert.equal(gone.count(TOLD), 1);
    await gone.clock.advance(1_000);
    await gone.until(() => gone.count(TOLD) === 2);
    await hung.gateway.close({ deadlineMs: 0 });
    silent.close();
  });

  it("[S-27] a store that answers with something else is not believed; one that lets all through widens nothing", async () => {
    for (const [answers, expected] of [
      [["$2\r\nOK\r\n"], [0, 0, 3]],
      [
        [":0\r\n", "$2\r\nOK\r\n"],
        [0, 1, 2],
      ],
      [
        [":0\r\n", ":-1\r\n"],
        [0, 1, 2],
      ],
      [
        [":0\r\n", ":0\r\n"],
        [3, 0, 0],
      ],
    ] as const) {
      const left: string[] = [...answers];
      const last = left.at(-1)!;
      const junk = createServer((socket) => {
        socket.on("error", () => {});
        socket.on("data", () => socket.write(left.shift() ?? last));
      });
      await new Promise<void>((resolve) => junk.listen(0, "127.0.0.1", resolve));
      closing.push(async () => void junk.close());
      const { port } = junk.address() as { port: number };
      const replica = await Replica.start(config({ url: `redis://127.0.0.1:${port}`, timeout: "1s" }));
      if (answers.length === 1) await replica.until(() => replica.count(TOLD) === 1);
      else await replica.up();
      assert.equal(await replica.ask("web", 4), "200 200 200 429", answers.join());
      const { answered, answer, unreachable } = replica.store!.results;
      assert.deepEqual([answered, answer, unreachable], expected, answers.join());
      await replica.gateway.close({ deadlineMs: 0 });
      junk.close();
    }
  });

  real("[S-27] a wrong password is shown nowhere; the right one is taken up from the file", async () => {
    const server = await redis({ password: PASSWORD });
    const passwordFile = join(folder, "password");
    writeFileSync(passwordFile, "s3cret-but-wrong\n");
    const replica = await Replica.start(config(plain(server, { passwordFile })));
    await replica.until(() => replica.count(TOLD) === 1);
    assert.match(replica.lines.join("\n"), /it refused with WRONGPASS/);
    assert.equal(await replica.ask("web", 4), "200 200 200 429");
    writeFileSync(passwordFile, `${PASSWORD}\n`);
    await replica.up();
    assert.equal(await replica.ask("cron", 4), "200 200 200 429");
    assert.equal((await server.admin.keys("*rate*")).length, 1);
    const shown = [...replica.lines, await replica.get("/status"), await replica.get("/metrics")].join("\n");
    assert.doesNotMatch(shown, /s3cret/);
  });

  real("a user of the store's access list needs what the guide says, and no less", async () => {
    const server = await redis();
    const passwordFile = join(folder, "user");
    writeFileSync(passwordFile, PASSWORD);
    const rights = ["+eval", "+evalsha", "+time", "+get", "+set"];
    const user = (name: string, rights: readonly string[]) =>
      server.admin.call("ACL", "SETUSER", name, "on", `>${PASSWORD}`, "~edge:*", ...rights);
    await user("gateway", rights);
    await user("less", rights.slice(0, -1));
    const [replica, less] = await Promise.all(
      ["gateway", "less"].map((username) =>
        Replica.start(config(plain(server, { username, passwordFile, prefix: "edge:" }))),
      ),
    );
    await replica!.up();
    await less!.until(() => less!.count(TOLD) === 1);
    assert.equal(await replica!.ask("web", 4), "200 200 200 429");
    assert.equal(replica!.store?.results.answered, 3);
    assert.equal(less!.store?.up, false);
  });

  real("[S-27] flushed scripts and keys: counted on, with what the process itself knows", async () => {
    const server = await redis();
    const replica = await Replica.start(config(plain(server)));
    await replica.up();
    assert.equal(await replica.ask("web"), "200");
    await server.admin.script("FLUSH");
    assert.equal(await replica.ask("web"), "200");
    await server.admin.flushall();
    assert.equal(await replica.ask("web", 2), "200 429");
    assert.equal(replica.store?.results.answered, 3);
    assert.equal(replica.count(TOLD), 0);
  });

  real("[S-27] a key that holds something else is trouble of one identity alone", async () => {
    const server = await redis();
    const replica = await Replica.start(config(plain(server), 4));
    await replica.up();
    assert.equal(await replica.ask("web"), "200");
    const [key] = await server.admin.keys("*rate*");
    await server.admin.set(key!, "nonsense");
    assert.equal(await replica.ask("web"), "200");
    await server.admin.del(key!);
    await server.admin.lpush(key!, "a list");
    assert.equal(await replica.ask("web", 3), "200 200 429");
    assert.equal(replica.store?.results.refused, 3);
    assert.equal(await replica.ask("cron"), "200");
    assert.equal(replica.store?.up, true);
  });

  real("a reload keeps the connection of the same store and replaces another; the end closes it", async () => {
    const [first, second] = [await redis(), await redis()];
    const replica = await Replica.start(config(plain(first)));
    await replica.up();
    const list = async () => String(await first.admin.call("CLIENT", "LIST", "TYPE", "normal"));
    const numbers = async () => [...(await list()).matchAll(/^id=(\d+) addr=127/gm)].map(([, number]) => number);
    const before = await numbers();
    assert.equal(before.length, 1);
    assert.equal(await replica.ask("web"), "200");
    await replica.gateway.reload(config(plain(first), 5));
    assert.deepEqual(await numbers(), before);
    // the store remembers what was taken there: of three one
    assert.equal(await replica.ask("web", 3), "200 200 429");
    const passwordFile = join(folder, "none");
    const unreadable = replica.gateway.reload(config(plain(second, { passwordFile })));
    await assert.rejects(unreadable, /ERR_SPIFFE_CONFIG|passwordFile: .*none cannot be used: ENOENT/);
    assert.deepEqual(await numbers(), before);
    await replica.gateway.reload(config(plain(second), 5));
    await replica.up();
    assert.deepEqual([await first.connections(), await second.connections()], [0, 1]);
    assert.equal(await replica.ask("cron"), "200");
    assert.equal((await second.admin.keys("*rate*")).length, 1);
    await replica.gateway.reload(config(undefined, 5));
    assert.equal(replica.store, undefined);
    await replica.gateway.reload(config(plain(second), 5));
    await replica.up();
    await replica.gateway.close({ deadlineMs: 0 });
    assert.equal(await second.connections(), 0);
  });

  real("a password file that cannot be used starts nothing", async () => {
    const server = await redis();
    const passwordFile = join(folder, "empty");
    writeFileSync(passwordFile, "\n");
    const input = config(plain(server, { passwordFile }));
    await assert.rejects(Replica.start(input), /passwordFile: .*empty cannot be used: Expected one line/);
  });

  real("[S-27] the script counts as the process does, for any times and rates", async () => {
    const server = await redis();
    // by given times, and without the end of keys, which is by the store's own
    const script = TAKE.replace("redis.call('TIME')", "{ARGV[3], ARGV[4]}").replace(/, 'PX', .*\)\n/, ")\n");
    assert.ok(!/TIME|PX/.test(script));
    let seed = 7;
    const random = (max: number) => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % max;
    };
    const id = (await world.identity("web")).x509.x509Svid().id;
    let [passed, refused] = [0, 0];
    for (const { rate, burst } of [
      { rate: 10, burst: 5 },
      { rate: 0.5, burst: 1 },
      { rate: 1_000_000, burst: 3 },
      { rate: 7, burst: 100 },
      { rate: 1 / 3_600, burst: 2 },
    ]) {
      const clock = new ManualClock();
      const limits = new RateLimits({ rate, burst }, clock);
      const start = 1_764_000_000_000;
      for (let i = 0; i < 100; i++) {
        await clock.advance(random(4) === 0 ? Math.round((random(3_000) / rate) * (burst / 3)) : random(3));
        const now = start + clock.monotonic();
        const time = [String(Math.floor(now / 1_000)), String(Math.round((now % 1_000) * 1_000))];
        const wait = await server.admin.eval(script, 1, `k${rate}`, rate, burst, ...time);
        const own = limits.take(id);
        assert.equal(wait === 0, own.ok, `${rate} ${burst} ${i}`);
        if (!own.ok) assert.ok(Math.abs(Number(wait) - own.waitMs) <= 1.01, `${wait} ${own.waitMs}`);
        if (own.ok) passed++;
        else refused++;
      }
    }
    assert.ok(passed > 100 && refused > 100, `${passed} ${refused}`);
  });
});
