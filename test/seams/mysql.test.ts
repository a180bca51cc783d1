/** `mysql2` by `streamFactory` with `startTls: "mysql"`, against a real MariaDB. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import type { TLSSocket } from "node:tls";
import mysql2 from "mysql2";
import mysql from "mysql2/promise";
import { listen, type StreamTarget, streamFactory } from "../../src/tls/index.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/ports.ts";
import { skipMissing } from "../support/skip.ts";
import { findProgram, Home, ServerProcess } from "./programs.ts";
import { assertOnlyTheExpectedPeer, listening, openWorld, relayTo, SERVER, type World } from "./world.ts";

const mariadbd = findProgram("mariadbd");
const install = findProgram("mariadb-install-db");
const defaults = findProgram("my_print_defaults");
const missing =
  mariadbd && install && defaults ? undefined : "MariaDB: apt-get install mariadb-server-core mariadb-client-core";

let world: World;
let port: number;
let home: Home;
let server: ServerProcess | undefined;

/** The greeting of a server that has TLS. */
const GREETING = (() => {
  const parts = ["0a", Buffer.from("8.0.0\0").toString("hex"), "07000000", "11".repeat(8), "00", "ffff", "21", "0200"];
  const more = [
    "0f00",
    "15",
    "00".repeat(10),
    "22".repeat(12),
    "00",
    Buffer.from("mysql_native_password\0").toString("hex"),
  ];
  const payload = Buffer.from([...parts, ...more].join(""), "hex");
  return Buffer.concat([Buffer.from([payload.length, 0, 0, 0]), payload]);
})();

/** Greets, and takes the request for TLS, which is nothing but that: 32 bytes, and no user in it. */
async function greet(tcp: Socket): Promise<void> {
  tcp.write(GREETING);
  const request = await new Promise<Buffer>((resolve) => tcp.once("data", resolve));
  tcp.pause();
  assert.equal(request.readUIntLE(0, 3), 32);
  assert.equal(request.subarray(0, 36).indexOf("app"), -1);
  // The handshake may have come with it.
  if (request.length > 36) tcp.unshift(request.subarray(36));
}

const packet = (number: number, payload: Buffer) => {
  return Buffer.concat([Buffer.from([payload.length, payload.length >> 8, 0, number]), payload]);
};

/** The login of MySQL 8 with a password that it has not seen lately, after TLS; notes what comes, with its packet number. */
function mysql8(socket: TLSSocket, got: string[]): void {
  const ok = Buffer.from([0, 0, 0, 2, 0, 0, 0]);
  const change = Buffer.concat([
    Buffer.from("\xfecaching_sha2_password\0", "latin1"),
    Buffer.alloc(20, 0x33),
    Buffer.of(0),
  ]);
  const answers = [change, Buffer.from([1, 4]), ok];
  let seen: Buffer = Buffer.alloc(0);
  socket.on("error", () => {});
  socket.on("data", (chunk: Buffer) => {
    seen = Buffer.concat([seen, chunk]);
    while (seen.length >= 4 && seen.length >= 4 + seen.readUIntLE(0, 3)) {
      const payload = seen.subarray(4, 4 + seen.readUIntLE(0, 3));
      const number = seen[3]!;
      const names = ["login", "token", payload.toString()];
      got.push(`${names[got.length] ?? (payload[0] === 0x0e ? "ping" : "something else")} ${number}`);
      socket.write(packet(number + 1, answers[got.length - 1] ?? ok));
      seen = seen.subarray(4 + payload.length);
    }
  });
}

function config(at: number, peer = SERVER): mysql.ConnectionOptions {
  const streams = streamFactory(world.app, { peer, startTls: "mysql" });
  const stream = ({ config: to }: { config: StreamTarget }) => streams({ host: to.host, port: to.port });
  return { host: "127.0.0.1", port: at, user: "app", password: "open sesame", stream };
}

async function query(at: number, peer = SERVER): Promise<unknown> {
  const connection = await mysql.createConnection(config(at, peer));
  try {
    const [rows] = await connection.query("select 1 as n");
    return rows;
  } finally {
    connection.destroy();
  }
}

describe("mysql2 with streamFactory", () => {
  before(async () => {
    world = await openWorld();
    if (missing !== undefined) return;
    home = new Home();
    const data = home.file("data");
    const common = ["--no-defaults", `--datadir=${data}`, ...(process.getuid?.() === 0 ? ["--user=root"] : [])];
    home.run(install!, [...common, "--auth-root-authentication-method=normal", "--skip-test-db"]);
    await home.writeSvid(world.server);
    writeFileSync(
      home.file("setup.sql"),
      [
        "create user app@'%' identified by 'open sesame' require x509;",
        "create user plain@'%' identified by 'open sesame';",
        "grant reload on *.* to app@'%';",
        "",
      ].join("\n"),
    );
    port = await freePort();
    server = new ServerProcess(home, mariadbd!, [
      ...common,
      `--port=${port}`,
      "--bind-address=127.0.0.1",
      `--socket=${home.file("s")}`,
      `--pid-file=${home.file("pid")}`,
      `--init-file=${home.file("setup.sql")}`,
      "--skip-log-bin",
      "--innodb-flush-method=nosync",
      `--ssl-cert=${home.file("svid.pem")}`,
      `--ssl-key=${home.file("key.pem")}`,
      `--ssl-ca=${home.file("bundle.pem")}`,
      "--tls-version=TLSv1.3",
    ]);
    await eventually(() => /ready for connections/.test(server!.output));
  });
  after(async () => {
    await server?.end();
    home?.remove();
    await world.close();
  });

  it("[S-5] [A-5] a wrong peer of the same domain gets no byte, the expected one does", async () => {
    await assertOnlyTheExpectedPeer(world, (at) => query(at), { prelude: greet });
  });

  it("the whole login of MySQL 8 works: its password goes to the verified peer alone", async () => {
    const got: string[] = [];
    const listener = await listen(world.server, {
      port: 0,
      address: "127.0.0.1",
      onConnection: (it) => mysql8(it, got),
    });
    const relay = relayTo(listener.port, greet);
    const at = await listening(relay);
    // A driver that takes the connection for open asks for a key to hide the password, which a server does not give over TLS.
    const caching_sha2_password = mysql2.authPlugins.caching_sha2_password({ overrideIsSecure: true });
    const connection = await mysql.createConnection({ ...config(at), authPlugins: { caching_sha2_password } });
    await connection.ping();
    connection.destroy();
    assert.deepEqual(got, ["login 2", "token 4", "open sesame\0 6", "ping 0"]);
    relay.close();
    await listener.close({ deadlineMs: 0 });
  });

  const real = "a real MariaDB that asks for certificates is used with the own SVID";
  it(real, skipMissing(real, missing), async () => {
    const connection = await mysql.createConnection(config(port));
    const [rows] = await connection.query("show status like 'Ssl_version'");
    assert.equal((rows as { Value: string }[])[0]?.Value, "TLSv1.3");
    const [big] = await connection.execute("select repeat('x', ?) as big", [200_000]);
    assert.equal((big as { big: string }[])[0]?.big.length, 200_000);
    await connection.end();
    // The twin: the same user without a certificate is not let in, another one without the demand is.
    const own = { host: "127.0.0.1", port, password: "open sesame", ssl: { rejectUnauthorized: false } };
    await assert.rejects(mysql.createConnection({ ...own, user: "app" }), /Access denied/);
    await (await mysql.createConnection({ ...own, user: "plain" })).end();
  });

  const refused =
    "[S-5] the real server is refused where another peer is expected; a wrong password is the server's to refuse";
  it(refused, skipMissing(refused, missing), async () => {
    await assert.rejects(query(port, `${SERVER}2`), /is not who was expected/);
    await assert.rejects(mysql.createConnection({ ...config(port), password: "sesame" }), /Access denied/);
    assert.deepEqual(await query(port), [{ n: 1 }]);
  });

  const compressed = "compression and another user on the same connection work";
  it(compressed, skipMissing(compressed, missing), async () => {
    const connection = await mysql.createConnection({ ...config(port), compress: true });
    const [rows] = await connection.query("select repeat('y', 100000) as big");
    assert.equal((rows as { big: string }[])[0]?.big.length, 100_000);
    await connection.end();
    const other = await mysql.createConnection(config(port));
    await other.changeUser({ user: "plain", password: "open sesame" });
    const [who] = await other.query("select current_user() as who");
    assert.deepEqual(who, [{ who: "plain@%" }]);
    await other.end();
  });

  const rotation = "new connections of a pool use the SVIDs of after a rotation, on both sides";
  const shown = "is used as docs/seams.md shows it";
  it(shown, skipMissing(shown, missing), async () => {
    const [workload, peer, host, password] = [world.app, SERVER, "127.0.0.1", "open sesame"];
    const { createConnection } = mysql;
    const streams = streamFactory(workload, { peer, startTls: "mysql" });
    const stream = ({ config }: { config: StreamTarget }) => streams({ host: config.host, port: config.port });
    const connection = await createConnection({ host, port, user: "app", password, stream });
    await connection.ping();
    await connection.end();
  });

  it(rotation, skipMissing(rotation, missing), async () => {
    const pool = mysql.createPool({ ...config(port), connectionLimit: 3 });
    const held = await pool.getConnection();
    await held.query("select 1");
    await world.rotate();
    await home.writeSvid(world.server);
    await held.query("flush ssl");
    const next = await pool.getConnection();
    const [rows] = await next.query("select 1 as n");
    assert.deepEqual(rows, [{ n: 1 }]);
    next.release();
    held.release();
    await pool.end();
  });
});
