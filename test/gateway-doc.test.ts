/** docs/gateway.md says what is so: its file is read, its tables are compared with a running gateway. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { EXIT } from "../src/cli/exit.ts";
import { parseGatewayConfig } from "../src/gateway/index.ts";
import { GatewayWorld, idOf } from "./support/gateway.ts";
import { root, spiffeEdge } from "./support/programs.ts";

const guide = readFileSync(`${root}docs/gateway.md`, "utf8");

/** The names in the first column of the table below a heading. */
function namesBelow(heading: string): string[] {
  const section = guide.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? "";
  return section
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .flatMap((line) => [...line.split("|")[1]!.matchAll(/`([^`]+)`/g)].map(([, name]) => name!));
}

/** The keys of a block of the published schema. */
function gatewayKeys(block: string): string[] {
  const schema = JSON.parse(readFileSync(`${root}src/gateway/gateway.schema.json`, "utf8")) as {
    $defs: Record<string, { properties: object }>;
  };
  return Object.keys(schema.$defs[block]!.properties);
}

describe("docs/gateway.md", () => {
  it("its file is one that a gateway takes", () => {
    const text = /<!-- config: whole -->\n```yaml\n([\s\S]*?)```/.exec(guide)?.[1] ?? "";
    const config = parseGatewayConfig(text, { env: {} });
    assert.deepEqual([config.listeners.length, config.routes.length, config.drain.delayMs], [2, 2, 5_000]);
  });

  it("its store of rate limits is one that a gateway takes", () => {
    const text = (name: string) =>
      new RegExp(`<!-- config: ${name} -->\\n\`\`\`yaml\\n([\\s\\S]*?)\`\`\``).exec(guide)?.[1] ?? "";
    const whole = text("whole").replace(/^limits: .*\n/m, text("limits"));
    const { store } = parseGatewayConfig(whole, { env: {} }).limits.perIdentity!;
    assert.deepEqual([store?.host, store?.timeoutMs], ["valkey", 50]);
    assert.deepEqual(namesBelow("Rate limits").sort(), [...gatewayKeys("rateStore")].sort());
  });

  it("its unit starts a gateway, gives it the time to drain, and knows its exit codes", async () => {
    const unit = /<!-- unit -->\n```ini\n([\s\S]*?)```/.exec(guide)?.[1] ?? "";
    const value = (key: string) => new RegExp(`^${key}=(.*)$`, "m").exec(unit)?.[1] ?? "";
    const folder = mkdtempSync(join(tmpdir(), "unit-"));
    const file = join(folder, "gateway.yaml");
    const text = /<!-- config: whole -->\n```yaml\n([\s\S]*?)```/.exec(guide)?.[1] ?? "";
    writeFileSync(file, text);
    const [, command = ""] = value("ExecStart").split("/node_modules/.bin/spiffe-edge ");
    const args = command.replace("/etc/spiffe-edge/gateway.yaml", file).split(" ");
    const checked = await spiffeEdge([...args, "--check"]);
    rmSync(folder, { recursive: true });
    assert.equal(checked.code, 0, checked.stderr);
    const { delayMs, deadlineMs } = parseGatewayConfig(text, { env: {} }).drain;
    assert.ok(Number(value("TimeoutStopSec")) * 1_000 > delayMs + deadlineMs);
    assert.deepEqual(
      [value("SuccessExitStatus"), value("RestartPreventExitStatus")],
      [`${EXIT.drainDeadline}`, `${EXIT.usage}`],
    );
  });

  it("its metrics are those that a gateway has, and its log fields those of the log", async () => {
    const world = await GatewayWorld.start();
    try {
      const rules = [
        { rule: "web", allow: { ids: [idOf("web")] } },
        { rule: "soon", deny: { ids: [idOf("web")] }, mode: "audit" as const, until: "2099-01-01T00:00:00Z" },
      ];
      const gateway = await world.gateway(world.config({ policy: { rules, candidate: [rules[0]!] }, accessLog: {} }));
      for (const who of [world.web, world.guest, world.guest]) await gateway.ask(who);
      const { text } = await gateway.get("/metrics");
      const told = [...text.matchAll(/^# HELP spiffe_edge_(\S+) /gm)].map(([, name]) => name!);
      assert.deepEqual(namesBelow("Metrics").sort(), told.sort());
      await gateway.end();
      const fields = namesBelow("The access log");
      const common = ["time", "level", "message"];
      const seen = new Set(gateway.lines("request").flatMap((line) => Object.keys(line)));
      assert.deepEqual(
        [...seen].filter((name) => ![...common, ...fields].includes(name)),
        [],
      );
      for (const name of ["requestId", "rule", "audited", "auditedRule", "code", "equal", "upstreamMs"])
        assert.ok(seen.has(name) && fields.includes(name), name);
    } finally {
      await world.close();
    }
  });
});
