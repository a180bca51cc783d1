/** `pg` by `streamFactory` with `startTls: "postgres"`, against a real PostgreSQL. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import pg from "pg";
import { peerOf, streamFactory, type VerifiedStream } from "../../src/tls/index.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/ports.ts";
import { skipMissing } from "../support/skip.ts";
import { findProgram, Home, ServerProcess } from "./programs.ts";
import { assertOnlyTheExpectedPeer, openWorld, SERVER, type World } from "./world.ts";

const postgres = findProgram("postgres");
const initdb = findProgram("initdb");
const missing = postgres && initdb ? undefined : "PostgreSQL: apt-get install postgresql";

/** Answers the request for TLS as a server does that has it. */
async function sayYes(tcp: Socket): Promise<void> {
  await new Promise((resolve) => tcp.once("data", resolve));
  tcp.pause();
  tcp.write("S");
}

let world: World;
let port: number;
let home: Home;
let server: ServerProcess | undefined;

function config(at: number, stream: () => VerifiedStream): pg.ClientConfig {
  return { host: "127.0.0.1", port: at, user: "app", database: "postgres", stream };
}

async function query(at: number, text = "select 1 as n"): Promise<Record<string, unknown>> {
  const client = new pg.Client(config(at, streamFactory(world.app, { peer: SERVER, startTls: "postgres" })));
  try {
    await client.connect();
    return (await client.query(text)).rows[0];
  } finally {
    await client.end().catch(() => {});
  }
}

const SESSION =
  "select ssl, version, client_serial::text, clock_timestamp() as now from pg_stat_ssl where pid = pg_backend_pid()";

describe("pg with streamFactory", () => {
  before(async () => {
    world = await openWorld();
    if (missing !== undefined) return;
    home = new Home("postgres");
    const data = home.file("data");
    home.run(initdb!, ["-D", data, "-U", "app", "-A", "trust", "--no-sync", "-E", "UTF8"]);
    await home.writeSvid(world.server);
    writeFileSync(home.file("hba.conf"), "hostssl all all 127.0.0.1/32 trust clientcert=verify-ca\n");
    home.give(home.file("hba.conf"));
    port = await freePort();
    const settings = {
      port,
      listen_addresses: "127.0.0.1",
      unix_socket_directories: "",
      fsync: "off",
      hba_file: home.file("hba.conf"),
      ssl: "on",
      ssl_min_protocol_version: "TLSv1.3",
      ssl_cert_file: home.file("svid.pem"),
      ssl_key_file: home.file("key.pem"),
      ssl_ca_file: home.file("bundle.pem"),
    };
    const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    server = new ServerProcess(home, postgres!, ["-D", data, ...flags]);
    await eventually(() => /ready to accept connections/.test(server!.output));
  });
  after(async () => {
    await server?.end();
    home?.remove();
    await world.close();
  });

  it("[S-5] [A-5] a wrong peer of the same domain gets no byte, the expected one does", async () => {
    await assertOnlyTheExpectedPeer(world, (at) => query(at), { prelude: sayYes });
  });

  const real = "a real PostgreSQL that asks for certificates is used with the own SVID";
  it(real, skipMissing(real, missing), async () => {
    let stream: VerifiedStream | undefined;
    const make = streamFactory(world.app, { peer: SERVER, startTls: "postgres" });
    const client = new pg.Client(
      config(port, () => {
        stream = make();
        return stream;
      }),
    );
    await client.connect();
    const { rows } = await client.query("select $1::text || repeat('x', 200000) as big", ["a"]);
    assert.equal(rows[0].big.length, 200_001);
    const session = (await client.query(SESSION)).rows[0];
    assert.deepEqual([session.ssl, session.version], [true, "TLSv1.3"]);
    assert.equal(peerOf(stream).id.uri, SERVER);
    await client.end();
    // The twin: the same server has no answer for a client without a certificate.
    const without = new pg.Client({ host: "127.0.0.1", port, user: "app", ssl: { rejectUnauthorized: false } });
    without.on("error", () => {});
    await assert.rejects(without.connect());
  });

  const other = "[S-5] the real server is refused where another peer is expected";
  it(other, skipMissing(other, missing), async () => {
    const dial = (peer: string) =>
      new pg.Client(config(port, streamFactory(world.app, { peer, startTls: "postgres" })));
    const wrong = dial(`${SERVER}2`);
    wrong.on("error", () => {});
    await assert.rejects(wrong.connect(), /is not who was expected/);
    const right = dial(SERVER);
    await right.connect();
    await right.end();
  });

  const rotation = "new connections of a pool use the SVIDs of after a rotation, on both sides";
  it(rotation, skipMissing(rotation, missing), async () => {
    const [workload, peer, host] = [world.app, SERVER, "127.0.0.1"];
    const stream = streamFactory(workload, { peer, startTls: "postgres" });
    const pool = new pg.Pool({ host, port, user: "app", database: "postgres", stream });
    pool.on("error", () => {});
    const held = await pool.connect();
    const before = (await held.query(SESSION)).rows[0];
    await world.rotate();
    await home.writeSvid(world.server);
    server!.reload();
    // The server takes a moment to read its files.
    await eventually(() =>
      pool.query(SESSION).then(
        ({ rows }) => rows[0].client_serial !== before.client_serial,
        () => false,
      ),
    );
    assert.equal((await held.query("select 1 as n")).rows[0].n, 1);
    held.release();
    await pool.end();
  });
});
