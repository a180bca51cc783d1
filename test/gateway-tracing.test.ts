/** The command line with an SDK of OpenTelemetry in front, as docs/gateway.md says for each runtime. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { runtime } from "../src/runtime/detect.ts";
import { createFetch } from "../src/tls/index.ts";
import { GATEWAY, GatewayWorld } from "./support/gateway.ts";
import { onThisRuntime, Program, root } from "./support/programs.ts";

const PRELOAD = { node: "--import", bun: "--preload", deno: "--preload" } as const;
let world: GatewayWorld;

before(async () => {
  world = await GatewayWorld.start();
});
after(() => world.close());

/** The spans that the SDK wrote of one request, by the time the gateway had ended. */
async function spansWith(preload: boolean): Promise<unknown[]> {
  world.write(world.config());
  const [path, args] = onThisRuntime("src/cli/main.ts", ["gateway", "--config", world.file]);
  const flag = PRELOAD[runtime.name as keyof typeof PRELOAD];
  const at = args[0] === "run" ? 1 : 0;
  if (preload) args.splice(at, 0, flag, `${root}test/support/tracing.preload.ts`);
  const program = new Program([path, args], {
    env: { SPIFFE_ENDPOINT_SOCKET: world.authority.socketFor("gateway") },
  });
  try {
    const [, text] = await program.until(/^(\{[^\n]*"message":"gateway serves"[^\n]*\})$/m);
    const { listeners } = JSON.parse(text!) as { listeners: { port: number }[] };
    const url = `https://127.0.0.1:${listeners[0]!.port}/api/1?q=2`;
    assert.equal(await (await createFetch(world.web, { peer: GATEWAY })(url)).text(), "ok");
    const { stderr } = await program.end("SIGTERM");
    return [...stderr.matchAll(/^span (.*)$/gm)].map(([, line]) => JSON.parse(line!) as unknown);
  } finally {
    program.child.kill("SIGKILL");
  }
}

describe("spiffe-edge gateway with an SDK", () => {
  it("makes spans when one is loaded before it, and none otherwise", async () => {
    assert.deepEqual(await spansWith(true), [
      { name: "GET", kind: 2, path: "/api/1" },
      { name: "GET /**", kind: 1, path: "/api/1" },
    ]);
    assert.deepEqual(await spansWith(false), []);
  });

  it("is started in the way of the guide, which shows lines of the tests", () => {
    const guide = readFileSync(`${root}docs/gateway.md`, "utf8");
    const [, path, text = ""] = /<!-- lines of: (\S+) -->\n```ts\n([\s\S]*?)```/.exec(guide) ?? [];
    const run = readFileSync(`${root}${path}`, "utf8").split("\n");
    const shown = text.split("\n").filter((line) => line !== "");
    assert.equal(shown.length, 2);
    for (const line of shown)
      assert.ok(
        run.some((own) => own.trim() === line),
        line,
      );
    for (const [name, flag] of Object.entries(PRELOAD))
      assert.match(guide.replace(/\s+/g, " "), new RegExp(`\`${name}(?: run)? ${flag} \\./tracing\\.mjs\``));
  });
});
