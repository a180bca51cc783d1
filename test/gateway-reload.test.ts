/** The gateway as a process: what a changed, a broken and a vanished file do to it while requests run. */
import assert from "node:assert/strict";
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { createFetch } from "../src/tls/index.ts";
import type { Workload } from "../src/workload/index.ts";
import { GATEWAY, type GatewayProcess, GatewayWorld, idOf } from "./support/gateway.ts";

let world: GatewayWorld;
before(async () => {
  world = await GatewayWorld.start();
});
after(() => world?.close());

/** Asks again and again, and notes every answer there was. */
class Asking {
  readonly answers = new Set<string>();
  count = 0;
  #over = false;
  readonly #running: Promise<void>;

  constructor(gateway: GatewayProcess, who: Workload, path: string) {
    const call = createFetch(who, { peer: GATEWAY });
    this.#running = (async () => {
      while (!this.#over) {
        const answer = await call(`https://127.0.0.1:${gateway.port}${path}`).then(
          async (response) => {
            const text = await response.text();
            return `${response.status} ${response.status === 200 ? text : ""}`;
          },
          (error) => {
            // whatever comes next, it would be this again
            this.#over = true;
            return String(error);
          },
        );
        this.answers.add(answer.trim());
        this.count++;
      }
    })();
  }

  async stop(): Promise<string[]> {
    this.#over = true;
    await this.#running;
    return [...this.answers];
  }
}

describe("a gateway whose file changes", () => {
  it("a changed file is followed without a signal, SIGHUP asks at once, and no request notices", async () => {
    const gateway = await world.gateway();
    const asking = new Asking(gateway, world.web, "/");
    assert.equal(await gateway.ask(world.guest), "403 policy.default-deny");
    const policy = [...(world.config().policy as object[]), { rule: "guest", allow: { ids: [idOf("guest")] } }];
    world.write({ ...world.config(), policy });
    await gateway.until(({ reload }) => reload.counts.changed === 1);
    assert.equal(await gateway.ask(world.guest), "200 ok");
    world.write(world.config());
    gateway.signal("SIGHUP");
    await gateway.until(({ reload }) => reload.counts.changed === 2);
    assert.equal(await gateway.ask(world.guest), "403 policy.default-deny");
    assert.deepEqual(await asking.stop(), ["200 ok"]);
    assert.equal((await gateway.end()).code, 0);
  });

  it("a broken file keeps serving, says file and line in log, /readyz and metrics, and a good one ends it", async () => {
    const gateway = await world.gateway();
    const asking = new Asking(gateway, world.web, "/");
    world.write("listen: { port: 0 }\nroutes:\n  - { name: a, pth: /a }\n");
    const { reload } = await gateway.until(({ reload: { last } }) => last?.result === "refused");
    assert.match(reload.last!.error!, /gateway\.yaml:3:\d+ routes\[0\]/);
    await gateway.program.until(/"message":"configuration not reloaded[^\n]*\n/);
    const [line] = gateway.lines("configuration not reloaded; what was in force stays");
    assert.equal(line?.level, "error");
    assert.match(String(line?.error), /gateway\.yaml:3:\d+ routes\[0\]/);
    const ready = await gateway.get("/readyz");
    assert.equal(ready.status, 200);
    assert.match(ready.text, /the configuration was not reloaded at .*gateway\.yaml:/);
    const metrics = (await gateway.get("/metrics")).text;
    assert.match(metrics, /^spiffe_edge_config_reload_total\{result="refused"\} 1$/m);
    assert.match(metrics, /^spiffe_edge_config_last_reload_successful 0$/m);
    world.write(world.config());
    gateway.signal("SIGHUP");
    await gateway.until(({ reload: { last } }) => last?.result === "unchanged");
    assert.doesNotMatch((await gateway.get("/readyz")).text, /not reloaded/);
    assert.match((await gateway.get("/metrics")).text, /^spiffe_edge_config_last_reload_successful 1$/m);
    assert.deepEqual(await asking.stop(), ["200 ok"]);
    assert.equal((await gateway.end()).code, 0);
  });

  it("what needs a restart is refused with its name", async () => {
    const gateway = await world.gateway();
    world.write({ ...world.config(), listen: { address: "127.0.0.1", port: 1 } });
    const { reload } = await gateway.until(({ reload: { last } }) => last?.result === "refused");
    assert.match(reload.last!.error!, /port of listener main as in force; a change of it needs a restart/);
    assert.equal(await gateway.ask(world.web), "200 ok");
    assert.equal((await gateway.end()).code, 0);
  });

  it("[S-9] [S-26] a stream that the new policy denies is ended, another goes on", async () => {
    const rules = ["web", "guest"].map((name) => ({ rule: name, allow: { ids: [idOf(name)] } }));
    const gateway = await world.gateway(world.config({ policy: rules }));
    const stream = async (who: Workload) => {
      const response = await createFetch(who, { peer: GATEWAY })(`https://127.0.0.1:${gateway.port}/open`);
      return response.text().then(
        (text) => `whole ${text}`,
        () => "broken",
      );
    };
    const streams = [stream(world.web), stream(world.guest)];
    await gateway.until(({ running }) => running === 2);
    world.write(world.config());
    assert.equal(await streams[1], "broken");
    await gateway.until(({ running }) => running === 1);
    for (const response of world.upstream.open.splice(0)) response.end("done");
    assert.equal(await streams[0], "whole begun done");
    await gateway.program.until(/"message":"request"[^\n]*"ended":"[^\n]*\n/);
    const [ended] = gateway.lines("request").filter((line) => line.ended !== undefined);
    assert.deepEqual([ended?.peer, ended?.ended], [idOf("guest"), "policy.default-deny"]);
    assert.equal((await gateway.end()).code, 0);
  });

  it("[S-26] [A-16] a policy file cut, emptied, gone and swapped by symlink while requests run: the old policy holds", async () => {
    const rule = (name: string, what: string) => `- rule: ${name}\n  ${what}\n`;
    const text = (guest: string) =>
      `rules:\n${rule("web", `allow: { ids: ["${idOf("web")}"] }`)}${guest}${rule("no-secret", `deny: { trustDomains: [x0tta6bl4.local] }\n  path: /secret`)}end: true\n`;
    const old = text("");
    const next = text(rule("guest", `allow: { ids: ["${idOf("guest")}"] }`));
    // as a ConfigMap is laid out: name -> ..data/name, ..data -> ..version
    const folder = join(world.folder, "policy");
    mkdirSync(join(folder, "..1"), { recursive: true });
    writeFileSync(join(folder, "..1/a.yaml"), old);
    symlinkSync("..1", join(folder, "..data"));
    symlinkSync("..data/a.yaml", join(folder, "a.yaml"));
    let version = 1;
    const swap = (content: string | undefined) => {
      version++;
      mkdirSync(join(folder, `..${version}`));
      if (content !== undefined) writeFileSync(join(folder, `..${version}/a.yaml`), content);
      symlinkSync(`..${version}`, join(folder, "..data.new"));
      renameSync(join(folder, "..data.new"), join(folder, "..data"));
      rmSync(join(folder, `..${version - 1}`), { recursive: true });
    };
    const gateway = await world.gateway(
      world.config({ policy: { files: [{ glob: "policy/*.yaml", idPrefixes: [`spiffe://x0tta6bl4.local`] }] } }),
    );
    const asking = [
      new Asking(gateway, world.web, "/"),
      new Asking(gateway, world.web, "/secret"),
      new Asking(gateway, world.guest, "/"),
    ];
    // at the end of each line, where what is left is YAML, and in the middle of some
    const ends = [...next.matchAll(/\n/g)].map(({ index }) => index + 1).slice(0, -1);
    const cuts = [...ends, ...ends.slice(2, 5).map((end) => end + 9)];
    const states: [string, () => void][] = [
      ...cuts.map((length): [string, () => void] => [`cut at ${length}`, () => swap(next.slice(0, length))]),
      ["emptied", () => writeFileSync(join(folder, `..${version}/a.yaml`), "")],
      ["written in place and cut", () => writeFileSync(join(folder, `..${version}/a.yaml`), next.slice(0, 60))],
      ["gone", () => swap(undefined)],
    ];
    for (const [name, make] of states) {
      const before = (await gateway.status()).reload.counts.refused;
      make();
      gateway.signal("SIGHUP");
      const { reload } = await gateway.until(({ reload: { counts } }) => counts.refused > before);
      assert.equal(reload.counts.changed, 0, name);
    }
    const seen = await Promise.all(asking.map((one) => one.stop()));
    assert.deepEqual(seen, [["200 ok"], ["403"], ["403"]]);
    assert.ok(asking.every(({ count }) => count > states.length));
    swap(next);
    await gateway.until(({ reload: { counts } }) => counts.changed === 1);
    assert.deepEqual(await Promise.all([gateway.ask(world.guest), gateway.ask(world.web, "/secret")]), [
      "200 ok",
      "403 policy.denied",
    ]);
    assert.equal((await gateway.end()).code, 0);
  });
});
