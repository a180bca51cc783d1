/** The gateway as a process: its end, while requests run, and what else comes meanwhile. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { createFetch } from "../src/tls/index.ts";
import { Load } from "./soak-gateway/load.ts";
import { GATEWAY, type GatewayProcess, GatewayWorld, idOf } from "./support/gateway.ts";

let world: GatewayWorld;
before(async () => {
  world = await GatewayWorld.start();
});
after(() => world?.close());

const stream = async (gateway: GatewayProcess) => {
  const response = await createFetch(world.web, { peer: GATEWAY })(`https://127.0.0.1:${gateway.port}/open`);
  return response.text().then(
    (text) => `whole ${text}`,
    () => "broken",
  );
};
const finish = () => {
  for (const response of world.upstream.open.splice(0)) response.end("done");
};

describe("a gateway that ends", () => {
  it("SIGTERM: /readyz is 503, running requests finish, new connections are refused, code 0", async () => {
    const gateway = await world.gateway();
    const streams = Array.from({ length: 10 }, () => stream(gateway));
    await gateway.until(({ running }) => running === 10);
    gateway.signal("SIGTERM");
    await gateway.until(({ state }) => state === "draining");
    const ready = await gateway.get("/readyz");
    assert.deepEqual([ready.status, JSON.parse(ready.text).reasons], [503, ["draining"]]);
    await assert.rejects(gateway.ask(world.web));
    finish();
    assert.deepEqual(await Promise.all(streams), Array(10).fill("whole begun done"));
    const { code, stderr } = await gateway.program.ended;
    assert.deepEqual([code, stderr], [0, ""]);
    assert.equal(gateway.lines("request").length, 10);
    assert.equal(gateway.lines("gateway closed")[0]?.cut, 0);
  });

  it("drain.delay: /readyz is 503 at once, and requests are served until the delay is over", async () => {
    const gateway = await world.gateway(world.config({ drain: { delay: "3s" } }));
    assert.equal(await gateway.ask(world.web), "200 ok");
    gateway.signal("SIGTERM");
    await gateway.until(({ state }) => state === "draining");
    assert.equal((await gateway.get("/readyz")).status, 503);
    // answered, or the machine was so slow that the delay is over, which the log tells
    const late = await gateway.ask(world.web).catch(() => "refused");
    const { code } = await gateway.program.ended;
    assert.equal(code, 0);
    if (late === "refused") assert.equal(gateway.lines("gateway closed").length, 1);
    else assert.equal(late, "200 ok");
  });

  it("SIGHUP while it drains does nothing, whatever the file says", async () => {
    const gateway = await world.gateway();
    const running = stream(gateway);
    await gateway.until((status) => status.running === 1);
    gateway.signal("SIGTERM");
    await gateway.until(({ state }) => state === "draining");
    world.write(world.config({ policy: [{ rule: "guest", allow: { ids: [idOf("guest")] } }] }));
    gateway.signal("SIGHUP");
    await wait(700);
    const { reload, state } = await gateway.status();
    assert.equal(state, "draining");
    assert.deepEqual([reload.last, reload.counts.changed], [undefined, 0]);
    finish();
    assert.equal(await running, "whole begun done");
    assert.equal((await gateway.program.ended).code, 0);
    assert.deepEqual(gateway.lines("configuration reloaded"), []);
  });

  it("under load: what reached the upstream has its exact answer, and what has none never reached it", async () => {
    const gateway = await world.gateway();
    const load = new Load(world.web, gateway.port);
    await load.start();
    while (load.sent < 200 && load.lost.length === 0) await wait(10);
    assert.deepEqual(load.lost, []);
    const ended = gateway.end();
    await wait(200);
    await load.stop();
    const { code, stderr } = await ended;
    assert.deepEqual([code, stderr], [0, ""]);
    const { numbers } = world.upstream;
    const unanswered = new Set<number>(load.lost.map(({ number }) => number));
    for (let number = 0; number < load.sent; number++) {
      const expected = unanswered.has(number) ? 0 : 1;
      assert.equal(numbers[number] ?? 0, expected, `${number} ${JSON.stringify(load.lost)}`);
    }
  });

  it("what is left at the deadline is cut: code 3", async () => {
    const gateway = await world.gateway(world.config({ drain: { deadline: "200ms" } }));
    const running = stream(gateway);
    await gateway.until((status) => status.running === 1);
    const { code } = await gateway.end();
    assert.equal(code, 3);
    assert.equal(await running, "broken");
    assert.equal(gateway.lines("gateway closed")[0]?.cut, 1);
    finish();
  });
});
