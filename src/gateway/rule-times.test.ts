/** What runs when a rule begins or ends to hold: windows of time and audits, whose end nobody reloads. */
import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, beforeEach, describe, it } from "node:test";
import { ManualClock } from "../authority/testing.ts";
import type { Clock } from "../base/index.ts";
import { Policy } from "../policy/index.ts";
import { connect, createFetch } from "../tls/index.ts";
import { TestAuthorizer } from "./authorizer.testing.ts";
import type { GatewayInput } from "./config-types.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import { RuleTimes } from "./rule-times.ts";
import { ByteServer, dial, echo, whole } from "./tcp/bytes.testing.ts";
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
const SWITCHED =
  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/** What goes on until somebody ends it. */
interface Ongoing {
  over: boolean;
  leave(): void;
}

describe("[S-9] [S-26] what runs when a window of time opens or closes, or an audit ends", () => {
  const clock = new ManualClock();
  const log = requestLog();
  let world: World;
  let web: Changeable;
  let cron: Changeable;
  let upstream: CountingUpstream;
  let sockets: Server;
  let bytes: ByteServer;
  let authorizer: TestAuthorizer;
  let gateway: Gateway;

  type Rules = Extract<GatewayInput["policy"], readonly unknown[]>;
  const at = (ms: number) => new Date(clock.now() + ms).toISOString();
  const both = [idOf("web"), idOf("cron")];
  const config = (rules: Rules, asks = false): GatewayInput => ({
    status: { port: 0 },
    listen: [
      { name: "main", address: "127.0.0.1", port: 0 },
      { name: "db", address: "127.0.0.1", port: 0, protocol: "tcp" },
    ],
    upstreams: {
      up: { url: upstream.url },
      sockets: { url: `http://127.0.0.1:${(sockets.address() as AddressInfo).port}` },
      db: { url: bytes.url },
    },
    routes: [
      { name: "up", listen: ["main"], path: "/**", upstream: "up" },
      { name: "sockets", listen: ["main"], path: "/ws/**", upstream: "sockets", websocket: true },
      { name: "db", listen: ["db"], upstream: "db" },
    ],
    policy: {
      rules,
      candidate: [{ rule: "nobody", allow: { ids: [idOf("nobody")] } }],
      ...(asks && { authorizer: authorizer.at() }),
    },
  });

  before(async () => {
    world = await World.create();
    [web, cron] = [await world.identity("web"), await world.identity("cron")];
    bytes = await new ByteServer(echo).start();
    upstream = await countingUpstream((_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("begun ");
    });
    sockets = createServer();
    sockets.on("upgrade", (_, socket) => {
      socket.on("error", () => {});
      socket.write(SWITCHED);
    });
    await new Promise<void>((resolve) => sockets.listen(0, "127.0.0.1", resolve));
    authorizer = await TestAuthorizer.start();
    const options = { workload: await world.identity("gateway"), logger: log, clock };
    gateway = await createGateway(config([{ rule: "all", allow: { ids: both } }]), options);
  });
  beforeEach(() => {
    authorizer.reset();
    log.lines.length = 0;
  });
  after(async () => {
    await gateway?.close({ deadlineMs: 0 });
    await upstream?.close();
    await bytes?.close();
    await authorizer?.close();
    sockets?.closeAllConnections();
    sockets?.close();
  });

  async function stream1(who: Changeable): Promise<Ongoing> {
    const leaving = new AbortController();
    const url = `https://127.0.0.1:${gateway.listeners[0]!.port}/events`;
    const response = await createFetch(who, { peer: GATEWAY })(url, { signal: leaving.signal });
    assert.equal(response.status, 200);
    const reader = response.body!.getReader();
    await reader.read();
    const one = { over: false, leave: () => leaving.abort() };
    const over = () => void (one.over = true);
    void reader.read().then(over, over);
    return one;
  }

  async function stream2(who: Changeable): Promise<Ongoing> {
    const session = await http2Client(who, gateway.listeners[0]!.port);
    const stream = session.request({ ":path": "/events" });
    const one = { over: false, leave: () => session.destroy() };
    stream.on("error", () => {}).resume();
    stream.once("close", () => void (one.over = true));
    await new Promise((resolve) => stream.once("response", resolve));
    return one;
  }

  async function webSocket(who: Changeable): Promise<Ongoing> {
    const { port } = gateway.listeners[0]!;
    const { socket } = await connect(who, { host: "127.0.0.1", port, peer: GATEWAY, alpn: ["http/1.1"] });
    const one = { over: false, leave: () => void socket.destroy() };
    let seen = "";
    socket
      .on("error", () => {})
      .on("data", (chunk: Uint8Array) => {
        seen += new TextDecoder().decode(chunk);
      });
    socket.once("close", () => void (one.over = true));
    socket.write(UPGRADE);
    await until(() => seen.includes("\r\n\r\n"));
    assert.match(seen, /^HTTP\/1\.1 101 /);
    return one;
  }

  async function byteConnection(who: Changeable): Promise<Ongoing> {
    const socket = await dial(who, gateway.listeners[1]!.port);
    const one = { over: false, leave: () => void socket.destroy() };
    const before = bytes.bytes;
    void whole(socket).then(() => void (one.over = true));
    socket.write("ping");
    await until(() => bytes.bytes === before + 4);
    return one;
  }

  const KINDS = {
    "HTTP/1.1": stream1,
    "HTTP/2": stream2,
    WebSocket: webSocket,
    "a connection for bytes": byteConnection,
  };
  const begin = async (who: Changeable): Promise<Ongoing[]> => {
    const all: Ongoing[] = [];
    for (const open of Object.values(KINDS)) all.push(await open(who));
    return all;
  };
  const states = (all: readonly Ongoing[]) => all.map(({ over }) => over);
  const leave = async (...all: readonly Ongoing[]) => {
    for (const one of all) one.leave();
    await until(() => (gateway.report() as { running: number }).running === 0 && bytes.open === 0);
  };
  const [ended, going] = [
    [true, true, true, true],
    [false, false, false, false],
  ];

  const WINDOWS: readonly [title: string, rules: () => Rules][] = [
    [
      "an allow rule whose window closes",
      () => [
        { rule: "web", allow: { ids: [idOf("web")] }, time: { to: at(10_000) } },
        { rule: "cron", allow: { ids: [idOf("cron")] }, time: { to: at(3_600_000) } },
      ],
    ],
    [
      "a deny rule whose window opens",
      () => [
        { rule: "all", allow: { ids: both } },
        { rule: "no-web", deny: { ids: [idOf("web")] }, time: { from: at(10_000) } },
        { rule: "no-cron", deny: { ids: [idOf("cron")] }, time: { from: at(3_600_000) } },
      ],
    ],
    [
      "a deny rule whose audit ends",
      () => [
        { rule: "all", allow: { ids: both } },
        { rule: "no-web", deny: { ids: [idOf("web")] }, mode: "audit", until: at(10_000) },
        { rule: "no-cron", deny: { ids: [idOf("cron")] }, mode: "audit", until: at(3_600_000) },
      ],
    ],
  ];
  for (const [title, rules] of WINDOWS) {
    it(`${title} ends within a second whom it does not let in any more, and nobody else`, async () => {
      await gateway.reload(config(rules()));
      const [first, second] = [await begin(web), await begin(cron)];
      await clock.advance(9_900);
      assert.deepEqual([states(first), states(second)], [going, going]);
      await clock.advance(1_000);
      await until(() => states(first).every((over) => over));
      assert.deepEqual([states(first), states(second)], [ended, going]);
      await until(() => log.lines.length === 3);
      for (const line of log.lines) assert.match(String(line.ended), /^policy\.(?:denied|default-deny)$/);
      await leave(...first, ...second);
    });
  }

  it("a step of the wall clock over the end of a window, there or back, is one", async () => {
    const window = { from: at(-10_000), to: at(10_000) };
    await gateway.reload(config([{ rule: "all", allow: { ids: both }, time: window }]));
    const first = await begin(web);
    clock.step(20_000);
    await clock.advance(1_000);
    await until(() => states(first).every((over) => over));
    clock.step(-20_000);
    await clock.advance(1_000);
    const second = await begin(web);
    clock.step(-20_000);
    await clock.advance(1_000);
    await until(() => states(second).every((over) => over));
    clock.step(20_000);
    await clock.advance(1_000);
    const third = await begin(web);
    await clock.advance(1_000);
    assert.deepEqual(states(third), going);
    await leave(...first, ...second, ...third);
  });

  it("who waits for the authorizer over the end of a window is judged by the rules of then", async () => {
    for (const [to, outcome] of [
      [5_000, "403 policy.default-deny"],
      [3_600_000, "200 undefined"],
    ] as const) {
      authorizer.reset();
      await gateway.reload(config([{ rule: "all", allow: { ids: both }, time: { to: at(to) } }], true));
      const held = authorizer.hold();
      const before = upstream.heads;
      const session = await http2Client(web, gateway.listeners[0]!.port);
      const stream = session.request({ ":path": "/events" });
      stream.on("error", () => {}).resume();
      const status = new Promise<unknown>((resolve) => stream.once("response", (head) => resolve(head[":status"])));
      const socket = await dial(web, gateway.listeners[1]!.port);
      let over = false;
      void whole(socket).then(() => void (over = true));
      await until(() => held.length === 2);
      await clock.advance(6_000);
      const connected = bytes.connections;
      authorizer.reset();
      for (const question of held.splice(0)) question.say(true);
      const found = await status;
      await until(() => over || bytes.connections > connected);
      assert.equal(upstream.heads - before, found === 200 ? 1 : 0);
      assert.equal(bytes.connections - connected, found === 200 ? 1 : 0);
      session.destroy();
      socket.destroy();
      await until(() => log.lines.length > 0);
      const { status: told, verdict, reason } = log.lines.pop()!;
      assert.equal(`${told} ${verdict === "allow" ? undefined : reason}`, outcome);
      await until(() => bytes.open === 0);
    }
  });

  for (const [said, outcome] of [
    [false, ended],
    [true, going],
  ] as const) {
    it(`whom the authorizer is still asked about after a reload it is asked about again, and says ${said}`, async () => {
      await gateway.reload(config([{ rule: "all", allow: { ids: both } }], true));
      const first = await begin(web);
      const held = authorizer.hold();
      const rules: Rules = [
        { rule: "all", allow: { ids: both } },
        { rule: "early", allow: { ids: [idOf("cron")] }, time: { to: at(400) } },
      ];
      const reloading = gateway.reload(config(rules, true));
      await until(() => held.length === first.length);
      await clock.advance(500);
      await until(() => held.length === 2 * first.length);
      for (const question of held.splice(0, first.length)) question.say(true);
      for (const question of held.splice(0)) question.say(said);
      await reloading;
      await until(() => states(first).join() === outcome.join());
      await leave(...first);
    });
  }

  it("whom the rules still let in the authorizer is not asked about, and the candidate's counts go on", async () => {
    const window = { time: { to: at(5_000) } };
    const rules: Rules = [
      { rule: "web", allow: { ids: [idOf("web")] } },
      { rule: "cron", allow: { ids: [idOf("cron")] }, ...window },
    ];
    await gateway.reload(config(rules, true));
    authorizer.reset();
    const [first, second] = [await begin(web), await begin(cron)];
    const counts = () => (gateway.report() as { candidate: { wouldDeny: number } }).candidate.wouldDeny;
    const [before, questions] = [counts(), authorizer.asked.length];
    assert.deepEqual([before, questions], [8, 8]);
    authorizer.hold();
    await clock.advance(6_000);
    await until(() => states(second).every((over) => over));
    assert.deepEqual([states(first), authorizer.asked.length, counts()], [going, questions, before]);
    await leave(...first, ...second);
  });
});

describe("[S-17] times of rules by a clock that fails", () => {
  const END = 1_000_000;
  const policy = () => {
    const time = { to: new Date(END).toISOString() };
    return Policy.compile([{ rule: "web", allow: { ids: [idOf("web")] }, time }]);
  };
  const watch = async (clock: Clock, use: (changes: () => number) => Promise<void>) => {
    let changes = 0;
    const times = new RuleTimes(clock, async () => void changes++);
    times.follow(policy());
    await use(() => changes);
    times.stop();
  };

  it("one that can not wait keeps no window open", async () => {
    let now = END - 1;
    const sleep = () => Promise.reject(new Error("no timer"));
    await watch({ now: () => now, monotonic: () => 0, sleep }, async (changes) => {
      now = END;
      await until(() => changes() === 1);
    });
  });

  it("one that tells no time any more is a change, and the time that it tells again another", async () => {
    const clock = new ManualClock(END - 60_000);
    let broken = false;
    const now = () => (broken ? Number.NaN : clock.now());
    await watch({ now, monotonic: () => 0, sleep: (ms, signal) => clock.sleep(ms, signal) }, async (changes) => {
      await clock.advance(1_000);
      assert.equal(changes(), 0);
      broken = true;
      await clock.advance(1_000);
      assert.equal(changes(), 1);
      broken = false;
      await clock.advance(1_000);
      assert.equal(changes(), 2);
    });
  });
});
