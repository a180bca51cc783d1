/** The way out: who may come in, who must answer, and whose socket is whose. */
import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect, type NetConnectOpts } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { isSpiffeError, systemClock } from "../../base/index.ts";
import { silentLogger } from "../../telemetry/logger.ts";
import { listen, peerOf, type TlsListener } from "../../tls/index.ts";
import { Opened } from "../../tls/wire.testing.ts";
import type { EgressInput } from "../config-tcp.ts";
import type { GatewayInput } from "../config-types.ts";
import { createGateway } from "../gateway.ts";
import { type Changeable, GATEWAY, idOf, until, World } from "../world.testing.ts";
import type { ByteUpstream } from "./byte-upstream.ts";
import { afterAll, ByteServer, connectionLog, echo, payload, whole } from "./bytes.testing.ts";
import { Egress } from "./egress.ts";

let world: World;
let home: string;
let orders: TlsListener;
let other: TlsListener;
/** Closed at the end, also after a failure. */
const opened = new Opened();
/** Bytes that reached the wrong peer. */
let stolen = 0;

before(async () => {
  world = await World.create();
  home = mkdtempSync(join(tmpdir(), "egress-"));
  const serve = async (name: string, take: Parameters<typeof listen>[1]["onConnection"]) =>
    opened.add(
      await listen(await world.identity(name), {
        address: "127.0.0.1",
        port: 0,
        throttle: false,
        onConnection: take as NonNullable<typeof take>,
      }),
    );
  orders = await serve("orders", (socket) => {
    assert.equal(peerOf(socket).id.uri, GATEWAY);
    socket.allowHalfOpen = true;
    afterAll(socket);
  });
  other = await serve("orders2", (socket) => {
    socket.on("data", (chunk: Buffer) => {
      stolen += chunk.length;
    });
  });
});
after(async () => {
  await opened.close();
  await ByteServer.closeAll();
  rmSync(home, { recursive: true, force: true });
});

const config = (egress: Partial<EgressInput>, port = orders.port): GatewayInput => ({
  status: { port: 0 },
  upstreams: { orders: { url: `tls://127.0.0.1:${port}`, id: idOf("orders") } },
  egress: [{ name: "out", upstream: "orders", ...egress }],
});

async function start(input: GatewayInput, identity?: Changeable) {
  const log = connectionLog();
  const workload = identity ?? (await world.identity("gateway"));
  const gateway = opened.add(await createGateway(input, { workload, logger: log }));
  return { gateway, lines: log.lines, port: gateway.listeners[0]!.port };
}

function exchange(to: NetConnectOpts, bytes: Uint8Array): Promise<{ bytes: Buffer; clean: boolean }> {
  const socket = connect({ ...to, allowHalfOpen: true });
  const heard = whole(socket);
  socket.end(bytes);
  return heard;
}

describe("egress", () => {
  it("carries bytes of loopback and of a unix socket to the pinned peer, with half-closes", async () => {
    const path = join(home, "out.sock");
    for (const place of [{ port: 0 }, { address: "::1", port: 0 }, { socket: path }]) {
      const { gateway, lines, port } = await start(config(place));
      const to = "socket" in place ? { path } : { host: "address" in place ? "::1" : "127.0.0.1", port };
      for (const length of [1, 3_000_000]) {
        const heard = await exchange(to, payload(length, length));
        assert.ok(heard.clean && heard.bytes.equals(payload(length, length)), `${heard.bytes.length} of ${length}`);
      }
      await until(() => lines.length === 2);
      const { listener, peer, upstream, ended, bytesIn, bytesOut } = lines[1]!;
      assert.deepEqual(
        { listener, peer, upstream, ended, bytesIn, bytesOut },
        {
          listener: "out",
          peer: undefined,
          upstream: "orders",
          ended: "done",
          bytesIn: 3_000_000,
          bytesOut: 3_000_000,
        },
      );
      assert.deepEqual(await gateway.close({ deadlineMs: 0 }), { cut: 0 });
    }
    assert.equal(existsSync(path), false);
  });

  it("[S-5] [A-5] a wrong peer gets 0 bytes, whatever was said before, and the twin with the pinned one all", async () => {
    const wrong = await start(config({ port: 0 }, other.port));
    for (let i = 0; i < 50; i++) {
      const heard = await exchange({ host: "127.0.0.1", port: wrong.port }, payload(i, 4_000));
      assert.equal(heard.bytes.length, 0);
    }
    await until(() => wrong.lines.length === 50);
    // five refused peers in a row, and it is left alone
    const ends = wrong.lines.map((line) => line.ended);
    assert.ok(ends.slice(0, 5).every((ended) => ended === "upstream.identity"));
    assert.ok(ends.slice(5).every((ended) => ended === "upstream.breaker-open" || ended === "upstream.identity"));
    assert.equal(stolen, 0);
    const right = await start(config({ port: 0 }));
    assert.equal((await exchange({ host: "127.0.0.1", port: right.port }, payload(1, 4_000))).bytes.length, 4_000);
    for (const { gateway } of [wrong, right]) await gateway.close({ deadlineMs: 0 });
  });

  it("[S-9] [S-10] ends when the own identity is lost, takes none meanwhile, and works again after", async () => {
    const quiet = await listen(await world.identity("orders"), {
      address: "127.0.0.1",
      port: 0,
      throttle: false,
      onConnection: (socket) => void socket.pipe(socket),
    });
    const identity = await world.identity("gateway");
    const { gateway, lines, port } = await start(config({ port: 0 }, quiet.port), identity);
    const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    const heard = whole(socket);
    socket.write(payload(1, 80));
    await until(() => quiet.counters.open === 1);
    const svid = await world.ca.issue({ id: GATEWAY });
    await identity.update({ svid: null });
    await heard;
    await until(() => lines.length === 1);
    assert.deepEqual([lines[0]!.ended, lines[0]!.endedBecause], ["identity", "peer.own-identity-lost"]);
    assert.equal((await exchange({ host: "127.0.0.1", port }, payload(1, 80))).bytes.length, 0);
    await until(() => lines.length === 2);
    assert.equal(lines[1]!.ended, "upstream.identity");
    await identity.update({ svid });
    assert.equal((await exchange({ host: "127.0.0.1", port }, payload(1, 80))).bytes.length, 80);
    await gateway.close({ deadlineMs: 0 });
    await quiet.close({ deadlineMs: 0 });
  });

  it("drains, cuts at the deadline, and takes no more than it may", async () => {
    const quiet = await listen(await world.identity("orders"), {
      address: "127.0.0.1",
      port: 0,
      onConnection: (socket) => void socket.pipe(socket),
    });
    const { gateway, lines, port } = await start(config({ port: 0, maxConnections: 1 }, quiet.port));
    const held = connect({ host: "127.0.0.1", port });
    const heard = whole(held);
    await until(() => quiet.counters.open === 1);
    assert.equal((await exchange({ host: "127.0.0.1", port }, payload(1, 8))).bytes.length, 0);
    assert.deepEqual(await gateway.close({ deadlineMs: 30 }), { cut: 1 });
    await heard;
    await until(() => lines.length === 1);
    assert.equal(lines[0]!.ended, "drain-deadline");
    await quiet.close({ deadlineMs: 0 });
  });
});

describe("the socket of an egress", () => {
  it("[A-19] has its mode, replaces a dead one, and leaves a live one and other files alone", async () => {
    const path = join(home, "mine.sock");
    const shared = await start(config({ socket: path, mode: "0660" }));
    assert.equal(lstatSync(path).mode & 0o777, 0o660);
    await assert.rejects(start(config({ socket: path })), (error: unknown) =>
      isSpiffeError(error, "ERR_SPIFFE_PORT_IN_USE"),
    );
    assert.equal((await exchange({ path }, payload(1, 8))).bytes.length, 8);
    await shared.gateway.close({ deadlineMs: 0 });

    const dead = new ByteServer(echo);
    await dead.start({ path: join(home, "bound.sock") });
    symlinkSync(join(home, "bound.sock"), join(home, "link.sock"));
    await assert.rejects(start(config({ socket: join(home, "link.sock") })), /is not a socket; it is left alone/);
    await dead.close();
    writeFileSync(join(home, "file.sock"), "kept");
    await assert.rejects(start(config({ socket: join(home, "file.sock") })), /is not a socket; it is left alone/);
    assert.equal(lstatSync(join(home, "file.sock")).size, 4);
    const gone = await new ByteServer(echo).start({ path: join(home, "gone.sock") });
    linkSync(join(home, "gone.sock"), path);
    await gone.close();
    assert.ok(lstatSync(path).isSocket());
    const own = await start(config({ socket: path }));
    assert.equal((await exchange({ path }, payload(1, 8))).bytes.length, 8);
    assert.equal(lstatSync(path).mode & 0o777, 0o600);
    await own.gateway.close({ deadlineMs: 0 });
  });

  it("is not put where others can put another in its place, and is in the twin", async () => {
    const folder = join(home, "open");
    mkdirSync(folder);
    chmodSync(folder, 0o777);
    await assert.rejects(start(config({ socket: join(folder, "a.sock") })), (error: unknown) =>
      isSpiffeError(error, "ERR_SPIFFE_CONFIG"),
    );
    chmodSync(folder, 0o700);
    const { gateway } = await start(config({ socket: join(folder, "a.sock") }));
    await gateway.close({ deadlineMs: 0 });
  });

  it("[S-18] [S-21] an address that others reach is refused, also when only its name says loopback", async () => {
    for (const address of ["0.0.0.0", "::", "192.0.2.1", "localhost.example", "127.0.0.1.example", "10.0.0.1"]) {
      await assert.rejects(start(config({ address, port: 0 })), (error: unknown) => {
        assert.ok(isSpiffeError(error, "ERR_SPIFFE_CONFIG"));
        assert.match(error.message, /^egress\[0\]\.address: .* is not loopback; everybody who reaches it would speak/);
        return true;
      });
    }
    for (const address of ["127.0.0.1", "127.8.9.1", "::1", "localhost"]) {
      const { gateway } = await start(config({ address, port: 0 }));
      await gateway.close({ deadlineMs: 0 });
    }
  });

  it("[S-18] [S-21] an address that turns out to be one that others reach is left again", async () => {
    // what a name leads to shows only once it is bound
    for (const [address, isRefused] of [
      ["0.0.0.0", true],
      ["127.0.0.1", false],
    ] as const) {
      const place = { address, port: 0 };
      const way = new Egress(
        { name: "out", upstream: "orders", idleMs: 1_000, maxConnections: 1, place },
        { name: "orders" } as ByteUpstream,
        { clock: systemClock, logger: silentLogger, metrics: { connection() {} } },
      );
      try {
        const started = await way.start().then(
          () => "open",
          (error: unknown) => (isSpiffeError(error, "ERR_SPIFFE_CONFIG") ? error.message : String(error)),
        );
        assert.match(started, isRefused ? /^Expected egress out on loopback; .* others can reach$/ : /^open$/);
      } finally {
        await way.close(0);
      }
    }
  });
});
