import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, beforeEach, describe, it } from "node:test";
import { ManualClock } from "../authority/testing.ts";
import { connect, createFetch } from "../tls/index.ts";
import { type Question, TestAuthorizer } from "./authorizer.testing.ts";
import type { GatewayInput } from "./config-types.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import {
  type Changeable,
  type CountingUpstream,
  countingUpstream,
  GATEWAY,
  http2Client,
  idOf,
  requestLog,
  until,
  World,
} from "./world.testing.ts";

const SWITCHED =
  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const UPGRADE = [
  "GET /ws/1 HTTP/1.1",
  "host: edge.example",
  "connection: upgrade",
  "upgrade: websocket",
  "sec-websocket-version: 13",
  "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
  "",
  "",
].join("\r\n");

describe("[S-26] streams that run when the policy is replaced, and the external authorizer", () => {
  const clock = new ManualClock();
  const log = requestLog();
  let world: World;
  let web: Changeable;
  let cron: Changeable;
  let upstream: CountingUpstream;
  /** Takes upgrades, and sends everything back. */
  let sockets: Server;
  let authorizer: TestAuthorizer;
  let gateway: Gateway;
  /** Whom the authorizer was asked about. */
  const asked = () => authorizer.asked.map(({ peer }) => peer);

  const config = (names: readonly string[], note: string): GatewayInput => ({
    status: { port: 0 },
    listen: [
      { name: "main", address: "127.0.0.1", port: 0 },
      { name: "db", address: "127.0.0.1", port: 0, protocol: "tcp" },
    ],
    upstreams: {
      up: { url: upstream.url },
      sockets: { url: `http://127.0.0.1:${(sockets.address() as AddressInfo).port}` },
      db: { url: `tcp://127.0.0.1:${upstream.port}` },
    },
    routes: [
      { name: "up", listen: ["main"], path: "/**", upstream: "up" },
      { name: "sockets", listen: ["main"], path: "/ws/**", upstream: "sockets", websocket: true },
      { name: "db", listen: ["db"], upstream: "db" },
    ],
    policy: {
      rules: [
        { rule: "all", allow: { ids: names.map((name) => idOf(name)) } },
        { rule: note, deny: { via: ["jwt"] } },
      ],
      authorizer: authorizer.at(`/${note}`),
    },
  });

  before(async () => {
    world = await World.create();
    [web, cron] = [await world.identity("web"), await world.identity("cron")];
    upstream = await countingUpstream((_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("begun ");
    });
    authorizer = await TestAuthorizer.start();
    sockets = createServer();
    sockets.on("upgrade", (_, socket) => {
      socket.on("error", () => {});
      socket.write(SWITCHED);
      socket.pipe(socket);
    });
    await new Promise<void>((resolve) => sockets.listen(0, "127.0.0.1", resolve));
    const options = { workload: await world.identity("gateway"), logger: log, clock };
    gateway = await createGateway(config(["web", "cron"], "first"), options);
  });
  beforeEach(() => {
    authorizer.reset();
    log.lines.length = 0;
  });
  after(async () => {
    await gateway?.close({ deadlineMs: 0 });
    await upstream?.close();
    await authorizer?.close();
    sockets?.closeAllConnections();
    sockets?.close();
  });

  /** A stream that has begun; whether it has been cut. */
  async function stream(who: Changeable): Promise<{ cut: boolean; leave: () => Promise<void> }> {
    const leaving = new AbortController();
    const url = `https://127.0.0.1:${gateway.listeners[0]!.port}/events`;
    const response = await createFetch(who, { peer: GATEWAY })(url, { signal: leaving.signal });
    assert.equal(response.status, 200);
    const reader = response.body!.getReader();
    await reader.read();
    const one = { cut: false, leave: () => Promise.resolve() };
    const over = reader.read().then(
      () => {},
      () => {
        one.cut = !leaving.signal.aborted;
      },
    );
    one.leave = () => {
      leaving.abort();
      return over;
    };
    return one;
  }

  it("whom it confirms goes on, whom it denies ends, each by its own answer", async () => {
    const [first, second] = [await stream(web), await stream(cron)];
    assert.deepEqual(asked(), [idOf("web"), idOf("cron")]);
    await gateway.reload(config(["web", "cron"], "second"));
    assert.deepEqual(asked().slice(2).sort(), [idOf("cron"), idOf("web")]);
    assert.equal(log.lines.length, 0);
    authorizer.answer = (question) => question.say(question.peer !== idOf("cron"));
    await gateway.reload(config(["web", "cron"], "third"));
    await until(() => second.cut && log.lines.length === 1);
    assert.deepEqual([log.lines[0]?.ended, log.lines[0]?.peer], ["policy.authorizer-denied", idOf("cron")]);
    assert.equal(first.cut, false);
    await first.leave();
    await until(() => log.lines.length === 2);
  });

  it("its failure ends what runs, with a reason of its own", async () => {
    const one = await stream(web);
    authorizer.answer = (question) => question.send(500);
    await gateway.reload(config(["web", "cron"], "fourth"));
    await until(() => one.cut && log.lines.length === 1);
    assert.equal(log.lines[0]?.ended, "policy.authorizer-status");
  });

  it("what it has not confirmed within a second ends, however long it may take for a request", async () => {
    const one = await stream(web);
    authorizer.answer = () => {};
    let over = false;
    const reloaded = gateway.reload(config(["web", "cron"], "fifth")).then(() => {
      over = true;
    });
    await until(() => authorizer.asked.length === 2);
    await clock.advance(899);
    assert.deepEqual([over, one.cut], [false, false]);
    await clock.advance(1);
    await reloaded;
    await until(() => one.cut && log.lines.length === 1);
    assert.equal(log.lines[0]?.ended, "policy.authorizer-timeout");
  });

  it("a connection for bytes that the rules deny ends at once, whoever waits for an answer about a request", async () => {
    const one = await stream(web);
    const bytes = async (who: Changeable) => {
      const { socket } = await connect(who, { host: "127.0.0.1", port: gateway.listeners[1]!.port, peer: GATEWAY });
      const seen = { begun: false, over: false, socket };
      socket
        .on("error", () => {})
        .once("data", () => {
          seen.begun = true;
        });
      socket.once("close", () => {
        seen.over = true;
      });
      socket.write("GET / HTTP/1.1\r\nhost: db\r\n\r\n");
      await until(() => seen.begun);
      return seen;
    };
    const [denied, allowed] = [await bytes(cron), await bytes(web)];
    authorizer.answer = () => {};
    const reloaded = gateway.reload(config(["web"], "bytes-denied"));
    await until(() => denied.over);
    assert.deepEqual([one.cut, allowed.over], [false, false]);
    await clock.advance(900);
    await reloaded;
    await until(() => allowed.over && one.cut && log.lines.length === 1);
    authorizer.reset();
    await gateway.reload(config(["web", "cron"], "bytes-over"));
  });

  it("whom the rules deny it is not asked about", async () => {
    const [first, second] = [await stream(web), await stream(cron)];
    await gateway.reload(config(["web"], "sixth"));
    await until(() => second.cut && log.lines.length === 1);
    assert.equal(log.lines[0]?.ended, "policy.default-deny");
    assert.deepEqual(asked().slice(2), [idOf("web")]);
    assert.equal(first.cut, false);
    await first.leave();
    await until(() => log.lines.length === 2);
  });

  /** Numbered streams over HTTP/2 that have begun; `over` holds the paths of those that are. */
  async function streams(count: number): Promise<{ over: Set<string>; leave: () => void }> {
    const { port } = gateway.listeners[0]!;
    // a connection has 128 at most
    const sessions = [await http2Client(web, port), await http2Client(web, port)];
    const over = new Set<string>();
    const begun = Array.from({ length: count }, (_, i) => {
      const path = `/events/${i}`;
      const one = sessions[i % 2]!.request({ ":path": path });
      one.on("error", () => {}).resume();
      one.on("close", () => over.add(path));
      return new Promise((resolve) => one.once("response", resolve));
    });
    await Promise.all(begun);
    return { over, leave: () => sessions.forEach((session) => void session.destroy()) };
  }

  it("of more than 64 that run each is asked about, 64 at a time, and each has its own answer", async () => {
    const MANY = 150;
    const isOdd = (path: string) => Number(path.slice("/events/".length)) % 2 === 1;
    const { over, leave } = await streams(MANY);
    authorizer.asked.length = 0;
    let open = 0;
    let most = 0;
    const held: (() => void)[] = [];
    authorizer.answer = (question) => {
      most = Math.max(most, ++open);
      held.push(() => {
        open--;
        question.say(!isOdd(question.path));
      });
    };
    const reloaded = gateway.reload(config(["web", "cron"], "seventh"));
    await until(() => held.length >= 64);
    // one more would have come by now
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(held.length, 64);
    await until(() => {
      for (const release of held.splice(0)) release();
      return authorizer.asked.length === MANY && open === 0;
    });
    await reloaded;
    assert.equal(most, 64);
    await until(() => log.lines.length === MANY / 2 && over.size === MANY / 2);
    assert.deepEqual(new Set(log.lines.map(({ ended }) => ended)), new Set(["policy.authorizer-denied"]));
    assert.deepEqual(new Set(log.lines.map(({ path }) => path)), over);
    assert.ok([...over].every(isOdd));
    leave();
    await until(() => log.lines.length === MANY);
  });

  it("what another configuration has come into force for meanwhile goes by that one alone", async () => {
    const MANY = 80;
    const { over, leave } = await streams(MANY);
    const held: Question[] = [];
    authorizer.answer = (question) => (question.at === "/eighth" ? void held.push(question) : question.say(true));
    const first = gateway.reload(config(["web", "cron"], "eighth"));
    await until(() => held.length === 64);
    await clock.advance(800);
    authorizer.asked.length = 0;
    await gateway.reload(config(["web", "cron"], "ninth"));
    assert.equal(authorizer.asked.length, MANY);
    for (const question of held.splice(0, 32)) question.say(false);
    // the time of the first is over, not that of the second
    await clock.advance(100);
    await first;
    assert.deepEqual([over.size, log.lines.length, authorizer.asked.length], [0, 0, MANY]);
    // the twin: an answer of the one that is in force
    authorizer.answer = (question) => question.say(false);
    await gateway.reload(config(["web", "cron"], "tenth"));
    await until(() => over.size === MANY && log.lines.length === MANY);
    leave();
  });

  it("a WebSocket that it denies ends, and one that it confirms goes on", async () => {
    const open = async (who: Changeable) => {
      const { port } = gateway.listeners[0]!;
      const { socket } = await connect(who, { host: "127.0.0.1", port, peer: GATEWAY, alpn: ["http/1.1"] });
      socket.on("error", () => {});
      const one = { socket, seen: "", over: false };
      socket.on("data", (chunk: Uint8Array) => {
        one.seen += new TextDecoder().decode(chunk);
      });
      socket.once("close", () => {
        one.over = true;
      });
      socket.write(UPGRADE);
      await until(() => one.seen.includes("\r\n\r\n"));
      assert.match(one.seen, /^HTTP\/1\.1 101 /);
      return one;
    };
    const [first, second] = [await open(web), await open(cron)];
    authorizer.answer = (question) => question.say(question.peer !== idOf("cron"));
    await gateway.reload(config(["web", "cron"], "eleventh"));
    await until(() => second.over && log.lines.length === 1);
    const [line] = log.lines;
    assert.deepEqual([line?.status, line?.ended, line?.peer], [101, "policy.authorizer-denied", idOf("cron")]);
    first.socket.write("still here");
    await until(() => first.seen.endsWith("still here"));
    first.socket.destroy();
    await until(() => log.lines.length === 2);
  });
});
