/** `spiffe-edge gateway --workers`: several processes behind one port, told and ended together. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { capabilities } from "../src/runtime/capabilities.ts";
import { createFetch } from "../src/tls/index.ts";
import { eventually } from "./support/eventually.ts";
import { GATEWAY, GatewayProcess, GatewayWorld, type Status } from "./support/gateway.ts";
import { freePort } from "./support/ports.ts";
import { skipWhen } from "./support/skip.ts";

let world: GatewayWorld;
before(async () => {
  world = await GatewayWorld.start();
});
after(() => world?.close());

describe("gateway workers", () => {
  const without = capabilities.workers.value ? undefined : capabilities.workers.why;
  const alone = capabilities.workers.value ? "this runtime has workers" : undefined;

  const only = (title: string, reason: string | undefined, test: () => Promise<void>) =>
    it(title, skipWhen(title, reason), test);

  const start = async () => {
    // the status port of a worker is its number after the first's
    const [port, statusPort] = [await freePort(), await freePort(2)];
    world.write(world.config({ listen: { address: "127.0.0.1", port }, status: { port: statusPort } }));
    const program = world.program(["--config", world.file, "--workers", "2"]);
    await program.until(/("message":"gateway serves"[\s\S]*){2}/);
    return { program, each: [0, 1].map((number) => new GatewayProcess(program, port, statusPort + number)) };
  };
  const call = async (port: number) => {
    const response = await createFetch(world.web, { peer: GATEWAY })(`https://127.0.0.1:${port}/n/1`, {
      method: "POST",
      body: "a",
    });
    return `${response.status} ${await response.text()}`;
  };
  const statuses = (each: GatewayProcess[]): Promise<Status[]> => Promise.all(each.map((one) => one.status()));

  only("share the port, reload and drain together, each with its own status port", without, async () => {
    const { program, each } = await start();
    for (let i = 0; i < 60; i++) assert.equal(await call(each[0]!.port), "200 1 a");
    const accepted = (await statuses(each)).map(({ listeners }) => listeners[0]!.counters.accepted);
    assert.equal(
      accepted.reduce((sum, one) => sum + one, 0),
      60,
    );
    assert.ok(
      accepted.every((one) => one > 0),
      accepted.join(),
    );
    process.kill(program.child.pid!, "SIGHUP");
    await Promise.all(each.map((one) => one.until(({ reload }) => reload.counts.unchanged === 1)));
    const { code, stderr } = await program.end();
    assert.deepEqual([code, stderr], [0, ""]);
    assert.equal(program.stdout.split('"message":"gateway closed"').length, 3);
    const lines = program.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    for (const message of ["starting", "gateway serves", "request", "gateway closed"]) {
      const told = lines.filter((line) => line.message === message).map(({ worker }) => worker);
      assert.deepEqual(new Set(told), new Set([0, 1]), message);
    }
    const { worker } = lines.find(({ message }) => message === "starting workers") ?? {};
    assert.equal(worker, undefined);
  });

  only("do not outlive the process that started them", without, async () => {
    const { program, each } = await start();
    program.child.kill("SIGKILL");
    await eventually(async () => {
      const asked = await Promise.allSettled(each.map((one) => one.status()));
      return asked.every(({ status }) => status === "rejected");
    }, "the end of both workers");
    await assert.rejects(call(each[0]!.port));
  });

  only("need a port that is named, and a number that makes sense: code 2", without, async () => {
    world.write(world.config());
    const { code, stderr } = await world.program(["--config", world.file, "--workers", "2"]).ended;
    assert.equal(code, 2);
    assert.match(stderr, /Expected a port of its own for listener main, which workers share, but got 0/);
    const none = await world.program(["--config", world.file, "--workers", "0"]).ended;
    assert.deepEqual([none.code, none.stdout], [2, ""]);
    assert.match(none.stderr, /--workers from 1 to 64/);
  });

  only("are refused with the reason where a runtime has none: code 2", alone, async () => {
    world.write(world.config());
    const { code, stderr } = await world.program(["--config", world.file, "--workers", "2"]).ended;
    assert.equal(code, 2);
    assert.match(stderr, /Expected one worker on this runtime: a program does not learn the permissions/);
  });
});
