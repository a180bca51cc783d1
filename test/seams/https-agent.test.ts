/** `node:https` by `createAgent`. */
import assert from "node:assert/strict";
import type { Agent, IncomingMessage, RequestOptions } from "node:http";
import { request } from "node:https";
import type { Duplex } from "node:stream";
import { after, before, describe, it } from "node:test";
import { accept, isSpiffeError, refuse } from "../../src/base/index.ts";
import { capabilities } from "../../src/runtime/capabilities.ts";
import { type Authorizer, createAgent, listen, peerOf, type TlsListener, tlsOptions } from "../../src/tls/index.ts";
import { eventually } from "../support/eventually.ts";
import { skipWhen } from "../support/skip.ts";
import { assertOnlyTheExpectedPeer, openWorld, SERVER, type World } from "./world.ts";

interface Answer {
  status: number | undefined;
  /** Port that the request came from: which connection it was. */
  from: string;
  peer: string;
}

let world: World;
let listener: TlsListener;
const agents: Agent[] = [];

function agent(more: object = {}): Agent {
  const made = createAgent(world.app, { peer: SERVER, ...more });
  agents.push(made);
  return made;
}

function call(options: RequestOptions, port = listener.port): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: "127.0.0.1", port, method: "POST", ...options }, (answer: IncomingMessage) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (part: string) => {
        text += part;
      });
      answer.once("end", () => resolve({ status: answer.statusCode, ...JSON.parse(text) }));
    });
    sent.once("error", reject);
    sent.end("a secret");
  });
}

/** Connections of one agent, once the identities stand still: two requests over the same one. */
async function settled(by: Agent): Promise<string> {
  let from = "";
  await eventually(async () => {
    const before = (await call({ agent: by })).from;
    from = (await call({ agent: by })).from;
    return from === before;
  });
  return from;
}

const { keptConnections } = capabilities;
const only = (name: string) => skipWhen(name, keptConnections.value ? undefined : keptConnections.why);

const usage = (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_USAGE");

describe("node:https with createAgent", () => {
  before(async () => {
    world = await openWorld();
    listener = await listen(world.server, {
      port: 0,
      address: "127.0.0.1",
      handler: (req, res) => {
        const from = String(req.socket.remotePort);
        req.resume().once("end", () => res.end(JSON.stringify({ from, peer: peerOf(req).id.uri })));
      },
    });
  });
  after(async () => {
    for (const each of agents) each.destroy();
    await listener.close();
    await world.close();
  });

  it("[S-5] [A-5] a wrong peer of the same domain gets no byte, the expected one does", async () => {
    await assertOnlyTheExpectedPeer(world, (port) => call({ agent: agent(), timeout: 60_000 }, port), {
      alpn: ["http/1.1"],
    });
    assert.equal((await call({ agent: agent() })).peer, "spiffe://seams.example/app");
  });

  const again = "[S-6] a connection is used again, and no more after a rotation of either side";
  it(again, only(again), async () => {
    const kept = agent();
    const first = await settled(kept);
    assert.equal((await call({ agent: kept })).from, first);
    await world.rotate();
    assert.notEqual((await call({ agent: kept })).from, first);
    await settled(kept);
  });

  const asks = "[S-6] a function is asked before a connection is used again";
  it(asks, only(asks), async () => {
    let welcome = true;
    let asked = 0;
    const kept = agent({
      peer: (peer: Parameters<Authorizer>[0]) => {
        asked++;
        return welcome ? accept(peer.id) : refuse("peer.not-authorized", "no more");
      },
    });
    await settled(kept);
    const before = asked;
    assert.equal((await call({ agent: kept })).status, 200);
    assert.ok(asked > before);
    welcome = false;
    await assert.rejects(call({ agent: kept }), (error) => isSpiffeError(error, "ERR_SPIFFE_PEER_REFUSED"));
    welcome = true;
    assert.equal((await call({ agent: kept })).status, 200);
  });

  const waits = "[S-6] a request that waits for a busy connection does not get it after a rotation";
  it(waits, only(waits), async () => {
    const one = agent({ maxSockets: 1 });
    await settled(one);
    const [first, second] = await Promise.all([call({ agent: one }), call({ agent: one })]);
    assert.equal(first.from, second.from);
    let rotated: Promise<void> | undefined;
    const answers = await new Promise<Answer[]>((resolve, reject) => {
      // Held open until the rotation is over.
      const slow = request({ host: "127.0.0.1", port: listener.port, method: "POST", agent: one }, (answer) => {
        let text = "";
        answer.on("data", (part) => {
          text += part;
        });
        answer.once("end", () => waiting.then((next) => resolve([JSON.parse(text), next]), reject));
      });
      slow.once("error", reject);
      slow.write("begin");
      const waiting = call({ agent: one });
      rotated = world.rotate();
      rotated.then(() => slow.end("end"), reject);
    });
    await rotated;
    assert.notEqual(answers[0]?.from, answers[1]?.from);
  });

  it("[S-6] connections over all hosts are bounded: one more waits, and idle ones of other hosts make room", async () => {
    let [now, most] = [0, 0];
    const open = () =>
      listen(world.server, {
        port: 0,
        address: "127.0.0.1",
        handler: (_req, res) => {
          most = Math.max(most, ++now);
          res.once("close", () => now--);
          setTimeout(() => res.end('{"from":"x"}'), 5);
        },
      });
    const hosts = await Promise.all(Array.from({ length: 8 }, open));
    const opened = () => hosts.reduce((sum, { counters }) => sum + counters.open, 0);
    const all = (by: Agent) =>
      Promise.all(Array.from({ length: 40 }, (_, i) => call({ agent: by }, hosts[i % hosts.length]!.port)));
    try {
      const bounded = agent({ maxTotalSockets: 3 });
      for (let round = 0; round < 3; round++) {
        assert.deepEqual(
          (await all(bounded)).map(({ status }) => status),
          new Array(40).fill(200),
        );
      }
      assert.ok(most <= 3, `${most} at a time`);
      await eventually(() => opened() <= 3);
      // A dial that fails leaves its place, and so does a host that closes.
      for (let i = 0; i < 5; i++) await assert.rejects(call({ agent: bounded }, 1));
      assert.equal((await call({ agent: bounded }, hosts[0]!.port)).status, 200);
      most = 0;
      await all(agent());
      assert.ok(most > 3, "without the bound more run at a time");
    } finally {
      for (const host of hosts) await host.close({ deadlineMs: 0 });
    }
  });

  it("[S-6] connections per host are bounded by maxSockets, also when all are asked for in one turn", async () => {
    let [open, most] = [0, 0];
    const host = await listen(world.server, {
      port: 0,
      address: "127.0.0.1",
      throttle: false,
      onConnection: (socket) => {
        most = Math.max(most, ++open);
        socket.once("close", () => open--);
        socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"));
      },
    });
    const all = (by: Agent, port = host.port) =>
      Promise.allSettled(Array.from({ length: 20 }, () => call({ agent: by }, port)));
    const answered = (outcomes: PromiseSettledResult<Answer>[]) =>
      outcomes.filter((outcome) => outcome.status === "fulfilled").length;
    try {
      const bounded = agent({ maxSockets: 2 });
      for (let round = 0; round < 3; round++) assert.equal(answered(await all(bounded)), 20);
      assert.ok(most <= 2, `${most} at a time`);
      // Who waited for a dial that fails gets one of its own.
      assert.equal(answered(await all(bounded, 1)), 0);
      assert.equal(answered(await all(bounded)), 20);
      bounded.destroy();
      await eventually(() => open === 0);
      most = 0;
      assert.equal(answered(await all(agent())), 20);
      assert.ok(most > 3, "without the bound more run at a time");
    } finally {
      await host.close({ deadlineMs: 0 });
    }
  });

  it("[S-6] requests that wait go on when the connection before them breaks and no other can be opened", async () => {
    const open = (port: number, busy: (socket: Duplex) => void) =>
      listen(world.server, {
        port,
        address: "127.0.0.1",
        throttle: false,
        onConnection: (socket) => void socket.on("data", () => busy(socket)),
      });
    let asked = 0;
    const silent = await open(0, () => void asked++);
    const { port } = silent;
    const one = agent({ maxSockets: 1 });
    const all = () => Array.from({ length: 4 }, () => call({ agent: one }, port));
    let failed = 0;
    for (const each of all()) each.catch(() => failed++);
    await eventually(() => asked > 0);
    await silent.close({ deadlineMs: 0 });
    await eventually(() => failed === 4);
    const answering = await open(port, (socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"));
    try {
      for (const { status } of await Promise.all(all())) assert.equal(status, 200);
    } finally {
      await answering.close({ deadlineMs: 0 });
    }
  });

  it("[S-5] what a request or program brings along to decide by itself is refused", async () => {
    const kept = agent();
    await call({ agent: kept });
    for (const brought of [
      { rejectUnauthorized: false },
      { ca: "" },
      { checkServerIdentity: () => undefined },
      { createConnection: () => assert.fail("dialled") },
      { session: Buffer.alloc(8) },
      tlsOptions(world.app, { peer: `${SERVER}2` }),
    ]) {
      // Some runtimes throw at once, some by the request.
      await assert.rejects(
        async () => call({ agent: kept, ...(brought as RequestOptions) }),
        usage,
        Object.keys(brought)[0],
      );
    }
    assert.throws(() => {
      (kept as unknown as { createConnection: unknown }).createConnection = () => {};
    }, usage);
    assert.equal((await call({ agent: kept })).status, 200);
  });

  it("is used as docs/seams.md shows it", async () => {
    const [workload, peer, host, { port }] = [world.app, SERVER, "127.0.0.1", listener];
    const agent = createAgent(workload, { peer });
    const status = await new Promise((resolve, reject) => {
      const sent = request({ host, port, path: "/", agent });
      sent.once("response", (answer) => answer.resume().once("end", () => resolve(answer.statusCode)));
      sent.once("error", reject).end();
    });
    agent.destroy();
    assert.equal(status, 200);
  });

  it("wants to know who shall answer, and nothing it does not know", () => {
    for (const options of [
      {},
      { peer: undefined },
      { peer: SERVER, rejectUnauthorized: false },
      { peer: SERVER, maxSockets: 0 },
      { peer: SERVER, maxTotalSockets: 0 },
    ]) {
      assert.throws(() => createAgent(world.app, options as never), usage);
    }
    createAgent(world.app, { peer: SERVER, maxSockets: 1 }).destroy();
    // Only where a runtime keeps connections without sending a request twice.
    const keep = () => createAgent(world.app, { peer: SERVER, keepAlive: true }).destroy();
    if (keptConnections.value) keep();
    else assert.throws(keep, usage);
  });
});
