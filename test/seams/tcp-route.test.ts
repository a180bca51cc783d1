/** Programs that speak no TLS: out by an egress, in by a tcp route, to a real Redis and a real PostgreSQL on unix sockets. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { createGateway, type Gateway } from "../../src/gateway/index.ts";
import { eventually } from "../support/eventually.ts";
import { skipMissing } from "../support/skip.ts";
import { findProgram, Home, ServerProcess } from "./programs.ts";
import { openWorld, SERVER, type World } from "./world.ts";

const redis = { server: findProgram("redis-server"), cli: findProgram("redis-cli") };
const pg = { server: findProgram("postgres"), init: findProgram("initdb"), cli: findProgram("psql") };
const noRedis = redis.server && redis.cli ? undefined : "Redis: apt-get install redis-server";
const noPostgres = pg.server && pg.init && pg.cli ? undefined : "PostgreSQL: apt-get install postgresql";

let world: World;
const gateways: Gateway[] = [];
const ends: (() => Promise<void> | void)[] = [];

async function open(...[config, options]: Parameters<typeof createGateway>): Promise<Gateway> {
  const gateway = await createGateway(config, options);
  gateways.push(gateway);
  return gateway;
}

/** A gateway before a unix socket, and the ports of two ways to it: of who is allowed, and of who is not. */
async function wayTo(path: string): Promise<{ allowed: number; denied: number }> {
  const inside = await open(
    {
      status: { port: 0 },
      listen: { name: "in", address: "127.0.0.1", port: 0, protocol: "tcp" },
      upstreams: { up: { url: `unix:${path}` } },
      routes: [{ name: "up", listen: ["in"], upstream: "up" }],
      policy: [{ rule: "app", allow: { ids: ["spiffe://seams.example/app"] }, routes: ["up"] }],
    },
    { workload: world.server },
  );
  const upstreams = { in: { url: `tls://127.0.0.1:${inside.listeners[0]!.port}`, id: SERVER } };
  const egress = [{ name: "out", port: 0, upstream: "in" }];
  const out = async (workload: World["app"]) =>
    (await open({ status: { port: 0 }, upstreams, egress }, { workload })).listeners[0]!.port;
  return { allowed: await out(world.app), denied: await out(world.intruder) };
}

function run(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, [...args], { timeout: 60_000, maxBuffer: 1 << 26 }, (error, stdout) => {
      if (error === null) resolve(stdout);
      else reject(error);
    });
  });
}

describe("programs without TLS, by egress and tcp route", () => {
  before(async () => {
    world = await openWorld();
  });
  after(async () => {
    for (const gateway of gateways) await gateway.close({ deadlineMs: 0 });
    for (const end of ends) await end();
    await world.close();
  });

  const withRedis = "redis-cli reaches a real Redis, and not with an identity that no rule names";
  it(withRedis, skipMissing(withRedis, noRedis), async () => {
    const home = new Home();
    const path = home.file("redis.sock");
    const flags = ["--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no", "--dir", home.path];
    const server = new ServerProcess(home, redis.server!, flags);
    ends.push(async () => {
      await server.end();
      home.remove();
    });
    await eventually(() => /Ready to accept connections|ready to accept connections/.test(server.output));
    const { allowed, denied } = await wayTo(path);
    const cli = (port: number, ...words: string[]) =>
      run(redis.cli!, ["-h", "127.0.0.1", "-p", String(port), ...words]);
    const seen = async () => {
      const stats = await run(redis.cli!, ["-s", path, "info", "stats"]);
      return Number(/total_connections_received:(\d+)/.exec(stats)![1]);
    };
    assert.equal((await cli(allowed, "set", "key", "a secret")).trim(), "OK");
    const big = "x".repeat(100_000);
    await cli(allowed, "set", "big", big);
    assert.equal((await cli(allowed, "get", "big")).trim(), big);
    const before = await seen();
    const refused = await cli(denied, "get", "key").catch((error: Error) => error.message);
    assert.doesNotMatch(refused, /a secret/);
    assert.equal(await seen(), before + 1, "only this question came in meanwhile");
    assert.equal((await cli(allowed, "get", "key")).trim(), "a secret");
  });

  const withPostgres = "psql reaches a real PostgreSQL, and not with an identity that no rule names";
  it(withPostgres, skipMissing(withPostgres, noPostgres), async () => {
    const home = new Home("postgres");
    const data = home.file("data");
    home.run(pg.init!, ["-D", data, "-U", "app", "-A", "trust", "--no-sync", "-E", "UTF8"]);
    const settings = { listen_addresses: "", unix_socket_directories: home.path, fsync: "off", port: "5432" };
    const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    const server = new ServerProcess(home, pg.server!, ["-D", data, ...flags]);
    ends.push(async () => {
      await server.end();
      home.remove();
    });
    await eventually(() => /ready to accept connections/.test(server.output));
    const { allowed, denied } = await wayTo(home.file(".s.PGSQL.5432"));
    const psql = (port: number, query: string) => {
      const to = ["-h", "127.0.0.1", "-p", String(port), "-U", "app", "-d", "postgres"];
      return run(pg.cli!, [...to, "-X", "-A", "-t", "-c", query]);
    };
    assert.equal((await psql(allowed, "select sum(i) from generate_series(1, 1000) i")).trim(), "500500");
    const rows = (await psql(allowed, "select repeat('x', 100) from generate_series(1, 20000)")).trim().split("\n");
    assert.equal(rows.length, 20_000);
    await assert.rejects(psql(denied, "select 1"));
    assert.equal((await psql(allowed, "select 1")).trim(), "1");
  });
});
