import assert from "node:assert/strict";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, beforeEach, describe, it } from "node:test";
import { ManualClock } from "../authority/testing.ts";
import { connect, createFetch } from "../tls/index.ts";
import type { GatewayInput } from "./config-types.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import {
  type Changeable,
  type CountingUpstream,
  countingUpstream,
  GATEWAY,
  idOf,
  requestLog,
  until,
  World,
} from "./world.testing.ts";

describe("[S-26] streams that run when the policy is replaced, and the external authorizer", () => {
  const clock = new ManualClock();
  const log = requestLog();
  let world: World;
  let web: Changeable;
  let cron: Changeable;
  let upstream: CountingUpstream;
  let authorizer: Server;
  let gateway: Gateway;
  /** Whom the authorizer was asked about. */
  const asked: string[] = [];
  let answer: (response: ServerResponse, peer: string) => void;
  const say = (response: ServerResponse, allow: boolean) =>
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ allow }));

  const config = (names: readonly string[], note: string): GatewayInput => ({
    status: { port: 0 },
    listen: [
      { name: "main", address: "127.0.0.1", port: 0 },
      { name: "db", address: "127.0.0.1", port: 0, protocol: "tcp" },
    ],
    upstreams: { up: { url: upstream.url }, db: { url: `tcp://127.0.0.1:${upstream.port}` } },
    routes: [
      { name: "up", listen: ["main"], path: "/**", upstream: "up" },
      { name: "db", listen: ["db"], upstream: "db" },
    ],
    policy: {
      rules: [
        { rule: "all", allow: { ids: names.map((name) => idOf(name)) } },
        { rule: note, deny: { via: ["jwt"] } },
      ],
      authorizer: { url: `http://127.0.0.1:${(authorizer.address() as AddressInfo).port}/`, timeout: "10s" },
    },
  });

  before(async () => {
    world = await World.create();
    [web, cron] = [await world.identity("web"), await world.identity("cron")];
    upstream = await countingUpstream((_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("begun ");
    });
    authorizer = createServer((request, response) => {
      let text = "";
      request.on("data", (chunk: Uint8Array) => {
        text += new TextDecoder().decode(chunk);
      });
      request.on("end", () => {
        const { peer } = JSON.parse(text) as { peer: string };
        asked.push(peer);
        answer(response, peer);
      });
    });
    await new Promise<void>((resolve) => authorizer.listen(0, "127.0.0.1", resolve));
    const options = { workload: await world.identity("gateway"), logger: log, clock };
    gateway = await createGateway(config(["web", "cron"], "first"), options);
  });
  beforeEach(() => {
    asked.length = 0;
    log.lines.length = 0;
    answer = (response) => say(response, true);
  });
  after(async () => {
    await gateway?.close({ deadlineMs: 0 });
    await upstream?.close();
    authorizer?.closeAllConnections();
    authorizer?.close();
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
    assert.deepEqual(asked, [idOf("web"), idOf("cron")]);
    await gateway.reload(config(["web", "cron"], "second"));
    assert.deepEqual(asked.slice(2).sort(), [idOf("cron"), idOf("web")]);
    assert.equal(log.lines.length, 0);
    answer = (response, peer) => say(response, peer !== idOf("cron"));
    await gateway.reload(config(["web", "cron"], "third"));
    await until(() => second.cut && log.lines.length === 1);
    assert.deepEqual([log.lines[0]?.ended, log.lines[0]?.peer], ["policy.authorizer-denied", idOf("cron")]);
    assert.equal(first.cut, false);
    await first.leave();
    await until(() => log.lines.length === 2);
  });

  it("its failure ends what runs, with a reason of its own", async () => {
    const one = await stream(web);
    answer = (response) => response.writeHead(500).end();
    await gateway.reload(config(["web", "cron"], "fourth"));
    await until(() => one.cut && log.lines.length === 1);
    assert.equal(log.lines[0]?.ended, "policy.authorizer-status");
  });

  it("what it has not confirmed within a second ends, however long it may take for a request", async () => {
    const one = await stream(web);
    answer = () => {};
    let over = false;
    const reloaded = gateway.reload(config(["web", "cron"], "fifth")).then(() => {
      over = true;
    });
    await until(() => asked.length === 2);
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
    answer = () => {};
    const reloaded = gateway.reload(config(["web"], "sixth"));
    await until(() => denied.over);
    assert.deepEqual([one.cut, allowed.over], [false, false]);
    await clock.advance(900);
    await reloaded;
    assert.equal(allowed.over, false);
    allowed.socket.destroy();
    await until(() => one.cut && log.lines.length === 1);
    await gateway.reload(config(["web", "cron"], "seventh"));
  });

  it("whom the rules deny it is not asked about", async () => {
    const [first, second] = [await stream(web), await stream(cron)];
    await gateway.reload(config(["web"], "eighth"));
    await until(() => second.cut && log.lines.length === 1);
    assert.equal(log.lines[0]?.ended, "policy.default-deny");
    assert.deepEqual(asked.slice(2), [idOf("web")]);
    assert.equal(first.cut, false);
    await first.leave();
    await until(() => log.lines.length === 2);
  });
});
