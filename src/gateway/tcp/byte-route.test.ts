/** Routes for bytes: who is let in, what goes through, and how connections end. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { soon } from "../../../test/support/eventually.ts";
import { freePort } from "../../../test/support/ports.ts";
import { ManualClock } from "../../authority/testing.ts";
import { type Clock, isSpiffeError, systemClock } from "../../base/index.ts";
import { Policy } from "../../policy/index.ts";
import { capabilities } from "../../runtime/capabilities.ts";
import { connect, listen } from "../../tls/index.ts";
import { readOn, stopReading } from "../../tls/read-stop.ts";
import { Opened } from "../../tls/wire.testing.ts";
import { TestAuthorizer } from "../authorizer.testing.ts";
import { parseGatewayConfig } from "../config.ts";
import type { GatewayInput } from "../config-types.ts";
import { createGateway } from "../gateway.ts";
import type { Gateway } from "../gateway-types.ts";
import { type Changeable, GATEWAY, idOf, until, World } from "../world.testing.ts";
import { byteRoute } from "./byte-route.ts";
import { ByteUpstream } from "./byte-upstream.ts";
import { afterAll, ByteServer, connectionLog, dial, echo, exchange, payload, whole } from "./bytes.testing.ts";
import { openByteRoutes } from "./open.ts";

let world: World;
let web: Changeable;
let guest: Changeable;
/** Closed at the end, also after a failure. */
const opened = new Opened();

before(async () => {
  world = await World.create();
  [web, guest] = await Promise.all([world.identity("web"), world.identity("guest")]);
});
after(async () => {
  await opened.close();
  await ByteServer.closeAll();
});

const config = (
  url: string,
  more: Partial<GatewayInput> = {},
  route: object = {},
  upstream: object = {},
): GatewayInput => ({
  status: { port: 0 },
  listen: { name: "db", address: "127.0.0.1", port: 0, protocol: "tcp" },
  upstreams: { db: { url, ...upstream } },
  routes: [{ name: "db", listen: ["db"], upstream: "db", ...route }],
  policy: [{ rule: "web", allow: { ids: [idOf("web")] }, routes: ["db"] }],
  ...more,
});

async function start(input: GatewayInput, identity?: Changeable, clock: Clock = systemClock) {
  const log = connectionLog();
  const workload = identity ?? (await world.identity("gateway"));
  const gateway = opened.add(await createGateway(input, { workload, logger: log, clock }));
  return { gateway, port: gateway.listeners[0]!.port, lines: log.lines };
}
const metrics = async (gateway: Gateway) => (await fetch(`http://127.0.0.1:${gateway.status.port}/metrics`)).text();

describe("bytes through a tcp route", () => {
  let home: string;
  before(() => {
    home = mkdtempSync(join(tmpdir(), "bytes-"));
  });
  after(() => rmSync(home, { recursive: true, force: true }));

  it("[S-21] go to loopback, to a unix socket and to a pinned peer, with half-closes both ways", async () => {
    const orders = await world.identity("orders");
    const plain = await new ByteServer(afterAll).start();
    const path = join(home, "up.sock");
    const unix = await new ByteServer(afterAll).start({ path });
    const tls = await listen(orders, {
      address: "127.0.0.1",
      port: 0,
      onConnection: (socket) => {
        socket.allowHalfOpen = true;
        afterAll(socket);
      },
    });
    opened.add(tls);
    const servers = [plain, unix];
    const ways: [string, string, object][] = [
      ["loopback", plain.url, {}],
      ["unix", `unix:${path}`, {}],
      ["tls", `tls://127.0.0.1:${tls.port}`, { id: idOf("orders") }],
    ];
    for (const [name, url, upstream] of ways) {
      const { gateway, port, lines } = await start(config(url, {}, {}, upstream));
      const silent = await dial(web, port);
      const heardNothing = whole(silent);
      await until(() => servers.reduce((sum, one) => sum + one.open, 0) + tls.counters.open > 0);
      silent.end();
      assert.equal((await heardNothing).bytes.length, 0);
      for (const length of [1, 70_000, 3_000_000]) {
        const sent = payload(length, length);
        const heard = await exchange(web, port, sent);
        assert.ok(heard.clean && heard.bytes.equals(sent), `${name}: ${heard.bytes.length} of ${length}`);
      }
      await until(() => lines.length === 4);
      const { connectionId, address, durationMs, ...line } = lines[3]!;
      assert.deepEqual(line, {
        listener: "db",
        route: "db",
        peer: idOf("web"),
        via: "x509",
        verdict: "allow",
        reason: "policy.allowed",
        rule: "web",
        mode: "enforce",
        audited: undefined,
        auditedRule: undefined,
        candidate: undefined,
        candidateRule: undefined,
        authorizer: undefined,
        upstream: "db",
        target: url,
        ended: "done",
        endedBecause: undefined,
        error: undefined,
        bytesIn: 3_000_000,
        bytesOut: 3_000_000,
      });
      assert.equal(address, "127.0.0.1");
      assert.ok(typeof connectionId === "string" && typeof durationMs === "number");
      const text = await metrics(gateway);
      assert.match(text, /^spiffe_edge_tcp_connections_total\{listener="db",route="db",ended="done"\} 4$/m);
      assert.match(text, /^spiffe_edge_tcp_bytes_total\{listener="db",route="db",direction="in"\} 3070001$/m);
      assert.match(text, /^spiffe_edge_decisions_total\{verdict="allow",reason="policy.allowed"\} 4$/m);
      assert.match(text, /^spiffe_edge_handshakes_total\{listener="db",reason="",result="accepted"\} 4$/m);
      await gateway.close({ deadlineMs: 0 });
    }
    await plain.close();
    await unix.close();
    await tls.close({ deadlineMs: 0 });
  });

  it("[S-26] an authorizer that is replaced while it is asked does not let a connection in", async () => {
    const authorizer = opened.add(await TestAuthorizer.start());
    const held = authorizer.hold();
    const up = await new ByteServer(echo).start();
    const policy = (path: string) => ({
      policy: {
        rules: [{ rule: "web", allow: { ids: [idOf("web")] } }],
        authorizer: authorizer.at(path),
      },
    });
    for (const [path, allow, ended, reason, connections] of [
      ["/no", false, "denied", "policy.authorizer-denied", 0],
      ["/yes", true, "done", "policy.allowed", 1],
    ] as const) {
      const { gateway, port, lines } = await start(config(up.url, policy("/old")), undefined, new ManualClock());
      const heard = exchange(web, port, payload(1, 800));
      await until(() => held.length === 1);
      const reloaded = gateway.reload(config(up.url, policy(path)));
      // about the open connection, by the reload
      await until(() => held.length === 2);
      held[0]!.say(true);
      // about it again, as what said yes is not in force any more
      await until(() => held.length === 3);
      assert.deepEqual(
        held.map(({ at }) => at),
        ["/old", path, path],
      );
      assert.equal(up.connections, 0);
      held[2]!.say(allow);
      if (!allow) await until(() => lines.length === 1);
      held[1]!.say(allow);
      await reloaded;
      await heard;
      await until(() => lines.length === 1);
      assert.deepEqual([lines[0]?.ended, lines[0]?.reason, up.connections], [ended, reason, connections]);
      held.length = 0;
      await gateway.close({ deadlineMs: 0 });
    }
    await up.close();
    await authorizer.close();
  });

  it("an upstream that says all first still hears the caller to the end", async () => {
    const sent = payload(1, 1_000_000);
    const first = payload(2, 500_000);
    const heard: Promise<{ bytes: Buffer; clean: boolean }>[] = [];
    const up = await new ByteServer((socket) => {
      heard.push(whole(socket));
      socket.end(first);
    }).start();
    const { gateway, port, lines } = await start(config(up.url));
    const socket = await dial(web, port);
    const said = whole(socket);
    socket.once("end", () => socket.end(sent));
    assert.ok((await said).bytes.equals(first));
    const { bytes, clean } = await heard[0]!;
    assert.ok(clean && bytes.equals(sent), `${bytes.length}`);
    await until(() => lines.length === 1);
    assert.equal(lines[0]!.ended, "done");
    await gateway.close({ deadlineMs: 0 });
    await up.close();
  });

  it("agrees by ALPN on its one name or else on HTTP's, passes bytes whatever it is, and refuses who offers others alone", async () => {
    const up = await new ByteServer(echo).start();
    const usual = await start(config(up.url));
    const listener = { name: "db", address: "127.0.0.1", port: 0, protocol: "tcp", alpn: "postgresql" } as const;
    const named = await start(config(up.url, { listen: listener }));
    for (const [{ port }, alpn, agreed] of [
      [usual, [], "none"],
      [usual, ["h2"], "h2"],
      [usual, ["postgresql", "http/1.1"], "http/1.1"],
      [usual, ["postgresql"], "refused"],
      [named, [], "none"],
      [named, ["postgresql"], "postgresql"],
      [named, ["h2", "postgresql"], "postgresql"],
      [named, ["h2"], "refused"],
    ] as const) {
      const dialled = await connect(web, { host: "127.0.0.1", port, peer: GATEWAY, alpn }).catch(() => undefined);
      const found = dialled?.socket.alpnProtocol;
      assert.equal(dialled === undefined ? "refused" : found || "none", agreed, alpn.join());
      if (dialled === undefined) continue;
      const heard = new Promise((resolve) => dialled.socket.once("data", (bytes) => resolve(String(bytes))));
      dialled.socket.write("ping");
      assert.equal(await heard, "ping");
      dialled.socket.destroy();
    }
    assert.equal(up.connections, 6);
    for (const { gateway } of [usual, named]) await gateway.close({ deadlineMs: 0 });
    await up.close();
  });

  it("[G-3] 200 numbered connections at a time keep their bytes apart, and all arrive", async () => {
    const up = await new ByteServer(echo).start();
    // so many handshakes at a time may take a busy machine longer than a gateway waits for one
    const { gateway, port, lines } = await start(config(up.url), undefined, new ManualClock());
    const numbers = Array.from({ length: 200 }, (_, i) => i);
    const heard = await Promise.all(
      numbers.map((i) => exchange(web, port, payload(i, 8 * (1 + ((i * 997) % 20_000))))),
    );
    for (const i of numbers) {
      const sent = payload(i, 8 * (1 + ((i * 997) % 20_000)));
      assert.ok(heard[i]!.clean && heard[i]!.bytes.equals(sent), `${i}: ${heard[i]!.bytes.length} of ${sent.length}`);
    }
    await until(() => lines.length === 200);
    assert.deepEqual([...new Set(lines.map((line) => line.ended))], ["done"]);
    assert.equal(up.connections, 200);
    await gateway.close({ deadlineMs: 0 });
    await up.close();
  });

  it("what nobody reads waits with its sender, in both directions", async () => {
    const MIB = 1_048_576;
    for (const direction of ["in", "out"] as const) {
      const far: Socket[] = [];
      const up = await new ByteServer((socket) => {
        far.push(socket);
        if (direction === "in") socket.pause();
      }).start();
      const { gateway, port } = await start(config(up.url));
      const near = await dial(web, port);
      await until(() => far.length === 1);
      const [from, to] = direction === "in" ? [near, far[0]!] : [far[0]!, near];
      stopReading(to);
      let sent = 0;
      const pump = () => {
        while (sent < 256) {
          sent++;
          if (!from.write(Buffer.alloc(MIB, 7))) return void from.once("drain", pump);
        }
        from.end();
      };
      pump();
      let before = -1;
      for (let still = 0; still < 20; still = sent === before ? still + 1 : 0) {
        before = sent;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      // Two connections lie between, and the kernel holds up to 36 MiB for each.
      assert.ok(sent < 128, `${direction}: ${sent} MiB left though nobody reads`);
      let got = 0;
      to.on("data", (chunk: Buffer) => {
        got += chunk.length;
      });
      const end = new Promise((resolve) => to.once("end", resolve));
      readOn(to);
      await end;
      assert.equal(got, 256 * MIB, direction);
      near.destroy();
      await gateway.close({ deadlineMs: 0 });
      await up.close();
    }
  });
});

describe("who gets through a tcp route", () => {
  it("[S-1] [S-9] others than the rules name reach the upstream with 0 bytes, and their twin does", async () => {
    const up = await new ByteServer(echo).start();
    const { gateway, port, lines } = await start(config(up.url));
    const partner = await world.identity("web", "partner.example");
    for (let i = 0; i < 25; i++) {
      for (const other of [guest, partner]) {
        const heard = await exchange(other, port, payload(i, 64)).catch(() => ({ bytes: Buffer.alloc(0) }));
        assert.equal(heard.bytes.length, 0);
      }
      const sent = payload(i, 64);
      assert.ok((await exchange(web, port, sent)).bytes.equals(sent));
    }
    assert.equal(up.connections, 25);
    assert.equal(up.bytes, 25 * 64);
    await until(() => lines.length === 75);
    const denied = lines.filter((line) => line.ended === "denied");
    assert.equal(denied.length, 50);
    assert.ok(denied.every((line) => line.verdict === "deny" && line.reason === "policy.default-deny"));
    assert.match(await metrics(gateway), /decisions_total\{verdict="deny",reason="policy.default-deny"\} 50$/m);
    await gateway.close({ deadlineMs: 0 });
    await up.close();
  });

  it("a rule that asks for what only requests have lets no connection in, and a deny rule of that kind keeps it out", async () => {
    const up = await new ByteServer(echo).start();
    const allow = { rule: "web", allow: { ids: [idOf("web")] } };
    const cases: [string, object[], boolean][] = [
      ["allow", [allow], true],
      ["allow methods", [{ ...allow, methods: ["GET"] }], false],
      ["allow path", [{ ...allow, path: "/**" }], false],
      ["allow headers", [{ ...allow, headers: { "x-a": "*" } }], false],
      ["allow hosts", [{ ...allow, hosts: ["db.example"] }], false],
      ["deny methods", [allow, { rule: "no", deny: { ids: [idOf("web")] }, methods: ["DELETE"] }], false],
      ["deny headers", [allow, { rule: "no", deny: { ids: [idOf("web")] }, headers: { "x-a": "1" } }], false],
      ["deny path", [allow, { rule: "no", deny: { ids: [idOf("web")] }, path: "/admin/**" }], false],
      ["deny another", [allow, { rule: "no", deny: { ids: [idOf("guest")] }, methods: ["DELETE"] }], true],
      ["deny another route", [allow, { rule: "no", deny: { ids: [idOf("web")] }, routes: ["b"] }], true],
    ];
    for (const [name, policy, passes] of cases) {
      const routes = [
        { name: "db", listen: ["db"], upstream: "db" },
        { name: "b", listen: ["b"], upstream: "db" },
      ];
      const listeners = ["db", "b"].map((one) => ({
        name: one,
        address: "127.0.0.1",
        port: 0,
        protocol: "tcp" as const,
      }));
      const { gateway, port } = await start(config(up.url, { listen: listeners, routes, policy: policy as never }));
      const heard = await exchange(web, port, payload(1, 8)).catch(() => ({ bytes: Buffer.alloc(0) }));
      assert.equal(heard.bytes.length, passes ? 8 : 0, name);
      await gateway.close({ deadlineMs: 0 });
    }
    await up.close();
  });

  it("no more connections of one identity at a time than its route says, and others have their own", async () => {
    const up = await new ByteServer(echo).start();
    const policy = [{ rule: "all", allow: { trustDomains: ["example.org"] } }];
    const { gateway, port, lines } = await start(config(up.url, { policy }, { maxConnectionsPerIdentity: 2 }));
    const held = [await dial(web, port), await dial(web, port)];
    await until(() => up.open === 2);
    assert.equal((await exchange(web, port, payload(1, 8)).catch(() => ({ bytes: [] }))).bytes.length, 0);
    await until(() => lines.length === 1);
    assert.equal(lines[0]!.ended, "too-many");
    assert.equal(lines[0]!.endedBecause, "peer.too-many-connections");
    assert.equal((await exchange(guest, port, payload(1, 8))).bytes.length, 8);
    held[0]!.destroy();
    await until(() => up.open === 1);
    assert.equal((await exchange(web, port, payload(1, 8))).bytes.length, 8);
    held[1]!.destroy();
    await gateway.close({ deadlineMs: 0 });
    await up.close();
  });

  it("no more connections than the listener takes", async () => {
    const up = await new ByteServer(echo).start();
    const one = { name: "db", address: "127.0.0.1", port: 0, protocol: "tcp" as const, maxConnections: 1 };
    const { gateway, port, lines } = await start(config(up.url, { listen: one }));
    const held = await dial(web, port);
    await until(() => up.open === 1);
    await assert.rejects(exchange(web, port, payload(1, 8)));
    held.destroy();
    await until(() => lines.length === 1);
    assert.equal((await exchange(web, port, payload(1, 8))).bytes.length, 8);
    await gateway.close({ deadlineMs: 0 });
    await up.close();
  });
});

describe("the upstream of a tcp route", () => {
  it("[S-5] [A-5] a wrong peer gets 0 bytes of a caller, and the pinned one all", async () => {
    let bytes = 0;
    const serve = async (name: string) =>
      listen(await world.identity(name), {
        address: "127.0.0.1",
        port: 0,
        throttle: false,
        onConnection: (socket) => {
          socket.on("data", (chunk: Buffer) => {
            bytes += chunk.length;
          });
          socket.on("end", () => socket.end());
        },
      });
    const wrong = opened.add(await serve("orders2"));
    const right = opened.add(await serve("orders"));
    const upstream = { id: idOf("orders") };
    const bad = await start(config(`tls://127.0.0.1:${wrong.port}`, {}, {}, upstream));
    for (let i = 0; i < 20; i++) await exchange(web, bad.port, payload(i, 1_000)).catch(() => {});
    await until(() => bad.lines.length === 20);
    // five refused peers in a row, and it is left alone
    const ends = bad.lines.map((line) => line.ended);
    assert.ok(ends.slice(0, 5).every((ended) => ended === "upstream.identity"));
    assert.ok(ends.slice(5).every((ended) => ended === "upstream.breaker-open" || ended === "upstream.identity"));
    assert.equal(bytes, 0);
    const good = await start(config(`tls://127.0.0.1:${right.port}`, {}, {}, upstream));
    await exchange(web, good.port, payload(1, 1_000));
    assert.equal(bytes, 1_000);
    for (const { gateway } of [bad, good]) await gateway.close({ deadlineMs: 0 });
    for (const tls of [wrong, right]) await tls.close({ deadlineMs: 0 });
  });

  it("the next address is tried where one cannot be reached; with none the caller is cut and told of in the log", async () => {
    const dead = `tcp://127.0.0.1:${await freePort()}`;
    const up = await new ByteServer(echo).start();
    const several = await start({ ...config(up.url), upstreams: { db: { url: [dead, up.url] } } });
    for (let i = 0; i < 4; i++) assert.equal((await exchange(web, several.port, payload(i, 80))).bytes.length, 80);
    await until(() => several.lines.length === 4);
    assert.ok(several.lines.every((line) => line.target === up.url));
    const none = await start(config(dead));
    const heard = await exchange(web, none.port, payload(1, 8)).catch(() => ({ bytes: [] }));
    assert.equal(heard.bytes.length, 0);
    await until(() => none.lines.length === 1);
    assert.equal(none.lines[0]!.ended, "upstream.unreachable");
    for (const { gateway } of [several, none]) await gateway.close({ deadlineMs: 0 });
    await up.close();
  });
});

describe("the end of a connection for bytes", () => {
  it("a break of one side is a break for the other, and never looks like an end", async () => {
    const far: Socket[] = [];
    const up = await new ByteServer((socket) => void far.push(socket)).start();
    const { gateway, port, lines } = await start(config(up.url));
    const near = await dial(web, port);
    const heardNear = whole(near);
    near.write(payload(3, 80));
    await until(() => far.length === 1 && up.bytes === 80);
    far[0]!.resetAndDestroy();
    const { clean } = await soon(heardNear, "the caller hears of the end");
    if (capabilities.tlsReset.value) assert.equal(clean, false);
    await until(() => lines.length === 1);
    assert.deepEqual([lines[0]!.ended, lines[0]!.bytesIn], ["upstream-aborted", 80]);
    const other = await dial(web, port);
    await until(() => far.length === 2);
    other.destroy();
    // TLS on these runtimes does not tell a caller that is gone from one that has said all, until it is spoken to
    const gone = new Promise((resolve) => far[1]!.once("close", resolve));
    const speak = setInterval(() => void far[1]!.write(payload(4, 8)), 5);
    await soon(gone, "the upstream hears of the end").finally(() => clearInterval(speak));
    await until(() => lines.length === 2);
    assert.equal(lines[1]!.ended, "caller-aborted");
    await gateway.close({ deadlineMs: 0 });
    await up.close();
  });

  it("[S-9] [A-15] ends within a second when either side's identity is lost", async () => {
    const orders = await listen(await world.identity("orders"), {
      address: "127.0.0.1",
      port: 0,
      onConnection: (socket) => void socket.resume(),
    });
    opened.add(orders);
    const up = await new ByteServer(() => {}).start();
    const far = { url: `tls://127.0.0.1:${orders.port}`, id: idOf("orders") };
    for (const way of ["own", "bundle", "upstream"] as const) {
      const identity = await world.identity("gateway");
      const partner = await world.identity("web", "partner.example");
      const policy = [{ rule: "all", allow: { trustDomains: ["example.org", "partner.example"] } }];
      const upstreams = { db: way === "upstream" ? far : { url: up.url } };
      const { gateway, port, lines } = await start({ ...config(up.url, { policy }), upstreams }, identity);
      const caller = way === "upstream" ? partner : way === "bundle" ? partner : web;
      const heard = whole(await dial(caller, port));
      await until(() => (way === "upstream" ? orders.counters.open === 1 : up.open === 1));
      if (way === "own") await identity.update({ svid: null });
      // of the caller's domain, or of the upstream's and the own
      if (way === "bundle") await identity.update({ bundles: world.ca.x509Bundle() });
      if (way === "upstream") await identity.update({ bundles: world.partnerCa.x509Bundle() });
      await soon(heard, `the connection ends: ${way}`);
      await until(() => lines.length === 1);
      assert.equal(lines[0]!.ended, "identity", way);
      assert.ok(
        ["peer.own-identity-lost", "x509.no-bundle"].includes(String(lines[0]!.endedBecause)),
        `${way}: ${lines[0]!.endedBecause}`,
      );
      await until(() => up.open === 0 && orders.counters.open === 0);
      await gateway.close({ deadlineMs: 0 });
    }
    await up.close();
    await orders.close({ deadlineMs: 0 });
  });

  it("[S-9] ends within a second when a certificate of either side does, and not before", async () => {
    // certificates know whole seconds
    const clock = new ManualClock(Math.floor(Date.now() / 1_000) * 1_000);
    const end = clock.now() + 600_000;
    const brief = async (name: string) => {
      const identity = await world.identity(name);
      await identity.update({ svid: await world.ca.issue({ id: idOf(name), notAfter: new Date(end) }) });
      return identity;
    };
    const up = await new ByteServer(() => {}).start();
    const orders = await listen(await brief("orders"), {
      address: "127.0.0.1",
      port: 0,
      onConnection: (socket) => void socket.resume(),
    });
    opened.add(orders);
    const far = { db: { url: `tls://127.0.0.1:${orders.port}`, id: idOf("orders") } };
    for (const [side, caller, upstreams] of [
      ["caller", await brief("web"), { db: { url: up.url } }],
      ["upstream", web, far],
    ] as const) {
      const log = connectionLog();
      const options = { workload: await world.identity("gateway"), logger: log, clock };
      const gateway = opened.add(await createGateway({ ...config(up.url), upstreams }, options));
      const heard = whole(await dial(caller, gateway.listeners[0]!.port));
      await until(() => (side === "caller" ? up.open : orders.counters.open) === 1);
      await clock.advance(end - 1 - clock.now());
      assert.equal(log.lines.length, 0, side);
      await clock.advance(1_001);
      await soon(heard, `the connection ends: ${side}`);
      await until(() => log.lines.length === 1 && up.open === 0 && orders.counters.open === 0);
      assert.deepEqual([log.lines[0]!.ended, log.lines[0]!.endedBecause], ["identity", "x509.expired"], side);
      await gateway.close({ deadlineMs: 0 });
      clock.step(-1_000 - 600_000);
      await clock.advance(0);
    }
    await up.close();
    await orders.close({ deadlineMs: 0 });
  });

  it("[S-9] [S-26] ends when a gateway's new policy denies its peer, and others stay", async () => {
    const up = await new ByteServer(echo).start();
    const rules = (...names: string[]) => ({
      policy: names.map((name) => ({ rule: name, allow: { ids: [idOf(name)] } })),
    });
    const gateway = await createGateway(config(up.url, rules("web", "guest")), {
      workload: await world.identity("gateway"),
    });
    try {
      const { port } = gateway.listeners[0]!;
      const [first, second] = [await dial(web, port), await dial(guest, port)];
      await until(() => up.open === 2);
      const gone = whole(second);
      await gateway.reload(config(up.url, rules("web")));
      await soon(gone, "the denied connection ends");
      await until(() => up.open === 1);
      const heard = whole(first);
      first.end(payload(1, 800));
      assert.equal((await heard).bytes.length, 800);
      await assert.rejects(async () => gateway.reload(config("tcp://127.0.0.1:1", rules("web"))), /needs a restart/);
    } finally {
      await gateway.close({ deadlineMs: 0 });
      await up.close();
    }
  });

  it("[S-9] nothing is written for a caller who is cut in the turn in which the upstream is reached, for its twin is", async () => {
    let cutsCaller: (() => void) | undefined;
    const written: Uint8Array[] = [];
    class Watched extends ByteUpstream {
      override async connect(signal: AbortSignal) {
        const dialled = await super.connect(signal);
        const { socket } = dialled;
        const { write } = socket;
        socket.write = ((chunk: Uint8Array) => {
          written.push(chunk);
          return Reflect.apply(write, socket, [chunk]) as boolean;
        }) as typeof write;
        cutsCaller?.();
        return dialled;
      }
    }
    const up = await new ByteServer(echo).start();
    const { bytes } = parseGatewayConfig(config(up.url, {}, {}, { proxyProtocol: "v2" }));
    const own = await world.identity("gateway");
    const policy = Policy.compile([{ rule: "web", allow: { ids: [idOf("web")] } }]);
    const log = connectionLog();
    const take = byteRoute(
      { listener: "db", route: bytes.routes[0]!, upstream: new Watched(bytes.upstreams[0]!, own, systemClock) },
      {
        rules: () => ({ policy, shadow: undefined, authorizer: undefined }),
        clock: systemClock,
        logger: log,
        metrics: { connection() {}, decision() {} },
      },
    );
    for (const cuts of [true, false]) {
      const door = opened.add(
        await listen(own, {
          address: "127.0.0.1",
          port: 0,
          onConnection(socket) {
            cutsCaller = cuts ? () => socket.destroy() : undefined;
            return take(socket);
          },
        }),
      );
      written.length = log.lines.length = 0;
      const sent = payload(1, 800);
      const heard = await exchange(web, door.port, sent);
      await until(() => log.lines.length === 1);
      // it comes back behind the header
      assert.deepEqual([log.lines[0]!.verdict, heard.bytes.subarray(-800).equals(sent)], ["allow", !cuts]);
      assert.equal(written.length > 0, !cuts);
      await door.close({ deadlineMs: 0 });
    }
    await up.close();
  });

  it("[S-9] ends when the rules of now would not let it in, and others stay", async () => {
    const up = await new ByteServer(echo).start();
    const allow = (...names: string[]) =>
      Policy.compile([{ rule: "some", allow: { ids: names.map((name) => idOf(name)) }, routes: ["db"] }]);
    let policy = allow("web", "guest");
    const log = connectionLog();
    const { bytes } = parseGatewayConfig(config(up.url));
    const routes = await openByteRoutes(bytes, {
      identity: await world.identity("gateway"),
      rules: () => ({ policy, shadow: undefined, authorizer: undefined }),
      handshakeMs: 5_000,
      sharePort: false,
      sockets: new Map(),
      clock: systemClock,
      logger: log,
      metrics: { connection() {}, decision() {} },
    });
    opened.add({ close: ({ deadlineMs }) => routes.close(deadlineMs) });
    const { port } = routes.listeners[0]!;
    const [first, second] = [await dial(web, port), await dial(guest, port)];
    await until(() => up.open === 2);
    assert.deepEqual(await routes.rejudge(), { ended: 0 });
    policy = allow("web");
    const gone = whole(second);
    assert.deepEqual(await routes.rejudge(), { ended: 1 });
    await soon(gone, "the denied connection ends");
    await until(() => log.lines.length === 1);
    const { ended, endedBecause, peer } = log.lines[0]!;
    assert.deepEqual([ended, endedBecause, peer], ["identity", "policy.default-deny", idOf("guest")]);
    const heard = whole(first);
    first.end(payload(1, 800));
    assert.equal((await heard).bytes.length, 800);
    await routes.close(0);
    await up.close();
  });

  it("[G-3] cut in the middle by its upstream, 50 numbered callers have a beginning of their own bytes and no end", async () => {
    const MANY = 50;
    const up = await new ByteServer((socket) => {
      socket.once("data", (chunk: Buffer) => {
        const sent = payload(chunk.readUInt32BE(0), 400_000);
        socket.write(sent.subarray(0, 200_000), () => setTimeout(() => socket.resetAndDestroy(), 20));
      });
    }).start();
    const { gateway, port, lines } = await start(config(up.url), undefined, new ManualClock());
    const cut = Promise.all(
      Array.from({ length: MANY }, async (_, i) => {
        const socket = await dial(web, port);
        const all = whole(socket);
        socket.write(payload(i + 1, 8));
        return all;
      }),
    );
    const heard = await soon(cut, "all connections end");
    for (const [i, { bytes, clean }] of heard.entries()) {
      assert.ok(
        bytes.length <= 200_000 &&
          payload(i + 1, 400_000)
            .subarray(0, bytes.length)
            .equals(bytes),
        `${i}`,
      );
      if (capabilities.tlsReset.value) assert.equal(clean, false, `${i}`);
    }
    await until(() => lines.length === MANY && up.open === 0);
    assert.deepEqual([...new Set(lines.map((line) => line.ended))], ["upstream-aborted"]);
    await gateway.close({ deadlineMs: 0 });
    await up.close();
  });

  it("without a byte for long enough it ends, and bytes keep it", async () => {
    const up = await new ByteServer(echo).start();
    const clock = new ManualClock();
    const { gateway, port, lines } = await start(config(up.url, {}, { idle: "400ms" }), undefined, clock);
    const socket = await dial(web, port);
    const heard = whole(socket);
    let back = 0;
    socket.on("data", (chunk: Buffer) => {
      back += chunk.length;
    });
    for (let i = 0; i < 8; i++) {
      socket.write(payload(i, 8));
      await until(() => back === 8 * (i + 1));
      await clock.advance(399);
    }
    assert.equal(lines.length, 0);
    await clock.advance(1);
    assert.equal((await heard).bytes.length, 64);
    await until(() => lines.length === 1);
    assert.equal(lines[0]!.ended, "idle");
    await gateway.close({ deadlineMs: 0 });
    await up.close();
  });

  it("a drain waits for what runs, takes nothing new, and cuts at its deadline", async () => {
    const up = await new ByteServer(echo).start();
    const one = await start(config(up.url));
    const socket = await dial(web, one.port);
    const heard = whole(socket);
    await until(() => up.open === 1);
    const closing = one.gateway.close({ deadlineMs: 20_000 });
    await assert.rejects(dial(web, one.port), (error) => isSpiffeError(error));
    socket.end(payload(1, 8_000));
    assert.equal((await heard).bytes.length, 8_000);
    assert.deepEqual(await closing, { cut: 0 });
    const two = await start(config(up.url));
    const stays = whole(await dial(web, two.port));
    await until(() => up.open === 1);
    assert.deepEqual(await two.gateway.close({ deadlineMs: 50 }), { cut: 1 });
    await stays;
    await until(() => two.lines.length === 1);
    assert.equal(two.lines[0]!.ended, "drain-deadline");
    await up.close();
  });
});
