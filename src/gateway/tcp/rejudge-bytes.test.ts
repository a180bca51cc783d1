/** Connections for bytes that are open when the configuration is replaced, and the external authorizer. */
import assert from "node:assert/strict";
import type { Duplex } from "node:stream";
import { after, before, beforeEach, describe, it } from "node:test";
import { ManualClock } from "../../authority/testing.ts";
import { type Question, TestAuthorizer } from "../authorizer.testing.ts";
import type { GatewayInput } from "../config-types.ts";
import { createGateway } from "../gateway.ts";
import type { Gateway } from "../gateway-types.ts";
import { type Changeable, idOf, until, World } from "../world.testing.ts";
import { ByteServer, connectionLog, dial, echo, whole } from "./bytes.testing.ts";

describe("[S-9] [S-26] connections for bytes when the configuration is replaced, and the external authorizer", () => {
  const clock = new ManualClock();
  const log = connectionLog();
  let web: Changeable;
  let cron: Changeable;
  let up: ByteServer;
  let authorizer: TestAuthorizer;
  let gateway: Gateway;
  /** Whom the authorizer was asked about, and by which listener. */
  const asked = () => authorizer.asked.map(({ peer, body }) => `${peer} ${body.listener}`);

  const config = (names: readonly string[], path = "/"): GatewayInput => ({
    status: { port: 0 },
    listen: ["a", "b"].map((name) => ({ name, address: "127.0.0.1", port: 0, protocol: "tcp" as const })),
    upstreams: { db: { url: up.url } },
    routes: ["a", "b"].map((name) => ({ name, listen: [name], upstream: "db" })),
    policy: {
      rules: [{ rule: "all", allow: { ids: names.map((name) => idOf(name)) } }],
      authorizer: authorizer.at(path),
    },
  });

  before(async () => {
    const world = await World.create();
    [web, cron] = [await world.identity("web"), await world.identity("cron")];
    up = await new ByteServer(echo).start();
    authorizer = await TestAuthorizer.start();
    const options = { workload: await world.identity("gateway"), logger: log, clock };
    gateway = await createGateway(config(["web", "cron"]), options);
  });
  beforeEach(() => {
    authorizer.reset();
    log.lines.length = 0;
  });
  after(async () => {
    await gateway?.close({ deadlineMs: 0 });
    await up?.close();
    await authorizer?.close();
  });

  /** An open connection; `heard` settles once it is over. */
  async function open(who: Changeable, listener = 0): Promise<{ socket: Duplex; heard: Promise<unknown> }> {
    const socket = await dial(who, gateway.listeners[listener]!.port);
    const heard = whole(socket);
    const before = up.bytes;
    socket.write("ping");
    await until(() => up.bytes === before + 4);
    return { socket, heard };
  }
  const over = async (...all: { socket: Duplex }[]) => {
    for (const { socket } of all) socket.destroy();
    await until(() => up.open === 0);
  };

  it("whom it confirms goes on, whom it denies ends, each ID asked about once for a listener", async () => {
    const stays = [await open(web), await open(web), await open(web, 1)];
    const goes = [await open(cron), await open(cron)];
    authorizer.reset();
    await gateway.reload(config(["web", "cron"]));
    assert.deepEqual(asked().sort(), [`${idOf("cron")} a`, `${idOf("web")} a`, `${idOf("web")} b`]);
    assert.equal(up.open, 5);
    authorizer.answer = (question) => question.say(question.peer !== idOf("cron"));
    await gateway.reload(config(["web", "cron"]));
    await until(() => log.lines.length === 2 && up.open === 3);
    await Promise.all(goes.map(({ heard }) => heard));
    for (const { ended, endedBecause, peer } of log.lines)
      assert.deepEqual([ended, endedBecause, peer], ["identity", "policy.authorizer-denied", idOf("cron")]);
    await over(...stays);
  });

  it("its failure ends what is open, and whom the rules deny it is not asked about", async () => {
    const [first, second] = [await open(web), await open(cron)];
    authorizer.reset();
    authorizer.answer = (question) => question.send(500);
    await gateway.reload(config(["web"]));
    await until(() => log.lines.length === 2);
    await Promise.all([first.heard, second.heard]);
    assert.deepEqual(asked(), [`${idOf("web")} a`]);
    assert.deepEqual(
      new Set(log.lines.map(({ peer, endedBecause }) => `${peer} ${endedBecause}`)),
      new Set([`${idOf("web")} policy.authorizer-status`, `${idOf("cron")} policy.default-deny`]),
    );
    authorizer.reset();
    await gateway.reload(config(["web", "cron"]));
  });

  it("what it has not confirmed within a second ends", async () => {
    const one = await open(web);
    const held = authorizer.hold();
    let done = false;
    const reloaded = gateway.reload(config(["web", "cron"])).then(() => {
      done = true;
    });
    await until(() => held.length === 1);
    await clock.advance(899);
    assert.deepEqual([done, up.open], [false, 1]);
    await clock.advance(1);
    await reloaded;
    await until(() => log.lines.length === 1);
    await one.heard;
    assert.equal(log.lines[0]?.endedBecause, "policy.authorizer-timeout");
  });

  it("an authorizer that has been replaced while it is asked ends nobody", async () => {
    const one = await open(web);
    const held: Question[] = [];
    authorizer.answer = (question) => (question.at === "/old" ? void held.push(question) : question.say(true));
    const first = gateway.reload(config(["web", "cron"], "/old"));
    await until(() => held.length === 1);
    await gateway.reload(config(["web", "cron"], "/new"));
    held[0]!.say(false);
    await first;
    // it still carries bytes: an end would be heard of only later
    const before = up.bytes;
    one.socket.write("ping");
    await until(() => up.bytes === before + 4 || up.open === 0);
    assert.deepEqual([up.open, up.bytes - before, log.lines.length], [1, 4, 0]);
    await over(one);
  });
});
