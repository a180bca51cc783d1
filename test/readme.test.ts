/** README shows what runs: its blocks are the example files, and those do on this runtime what it says. */
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Authority } from "../src/authority/index.ts";
import { createGateway } from "../src/gateway/index.ts";
import { runtime } from "../src/runtime/detect.ts";
import { createFetch } from "../src/tls/index.ts";
import { Workload } from "../src/workload/index.ts";
import { type Ended, launcherNode, onThisRuntime, Program, root, runProgram, spiffeEdge } from "./support/programs.ts";
import { skipWhen } from "./support/skip.ts";
import { START_LINES } from "./support/start-lines.ts";

const readme = readFileSync(`${root}README.md`, "utf8");
const SERVING = /^spiffe:\/\/x0tta6bl4\.local\/orders serves https:\/\/127\.0\.0\.1:(\d+)\/orders$/m;

describe("README", () => {
  const blocks = [...readme.matchAll(/<!-- example: (examples\/\S+) -->\n```\w+\n([\s\S]*?)```/g)];

  it("shows every example, each as it is in its file", () => {
    const shown = blocks.map(([, path]) => path!);
    const there = readdirSync(`${root}examples`).map((name) => `examples/${name}`);
    assert.deepEqual([...shown].sort(), there.sort());
    for (const [, path = "", text] of blocks) assert.equal(text, readFileSync(`${root}${path}`, "utf8"), path);
  });

  it("shows what npm start prints", () => {
    const lines = /<!-- output: npm start -->\n```text\n([\s\S]*?)\n```/.exec(readme)?.[1]?.split("\n") ?? [];
    assert.equal(lines.length, START_LINES.length);
    for (const [index, line] of START_LINES.entries()) assert.match(lines[index]!, line);
  });

  it("shows each program also in a form for Node 22, the same without `await using`", async () => {
    const read = (path: string) => readFileSync(`${root}${path}`, "utf8");
    const modern = blocks.map(([, path = ""]) => path).filter((path) => /await using/.test(read(path)));
    assert.ok(modern.length >= 3);
    const folder = mkdtempSync(join(tmpdir(), "parse-"));
    for (const path of modern) {
      const older = path.replace(".ts", "-node22.ts");
      const lines = read(older).split("\n");
      const same = lines.filter((line) => !/^await \w+\.close\(\);$/.test(line)).join("\n");
      assert.equal(same, read(path).replaceAll("await using", "const").replace(", then server and workload close", ""));
      for (const [, name] of read(path).matchAll(/await using (\w+)/g)) {
        assert.ok(name === "server" || lines.includes(`await ${name}.close();`), `${older} closes ${name}`);
      }
      // It holds no types either, so the oldest Node at hand can tell whether it parses.
      copyFileSync(`${root}${older}`, join(folder, "program.mjs"));
      const checked = await runProgram([launcherNode, ["--check", join(folder, "program.mjs")]]);
      assert.equal(checked.code, 0, checked.stderr);
    }
    rmSync(folder, { recursive: true });
  });
});

describe("examples", () => {
  let authority: Authority;

  before(async () => {
    const entries = ["orders", "web", "guest", "gateway"].map((name) => ({
      id: `spiffe://x0tta6bl4.local/${name}`,
      socket: name,
    }));
    authority = await Authority.start({ trustDomain: "x0tta6bl4.local", entries });
  });

  after(() => authority.close());

  const env = (name: string, more: Record<string, string> = {}) => ({
    env: { SPIFFE_ENDPOINT_SOCKET: authority.socketFor(name), ...more },
  });
  const client = (name: string, port: string, form = "client"): Promise<Ended> => {
    return runProgram(
      onThisRuntime(`examples/${form}.ts`),
      env(name, { ORDERS_URL: `https://127.0.0.1:${port}/orders` }),
    );
  };
  const assertServes = async (server: Program): Promise<void> => {
    const [, port = ""] = await server.until(SERVING);
    const web = await client("web", port);
    assert.equal(web.stdout, '200 {"you":"spiffe://x0tta6bl4.local/web"}\n', web.stderr);
    const older = await client("web", port, "client-node22");
    assert.equal(older.stdout, web.stdout, older.stderr);
    const guest = await client("guest", port);
    assert.match(guest.stdout, /^403 .*policy\.default-deny/, guest.stderr);
    const ended = await server.end("SIGTERM");
    assert.equal(ended.code, 0, ended.stderr);
    assert.equal(ended.stderr, "");
  };

  for (const name of ["server", "server-node22"]) {
    it(`${name}.ts lets web in and not guest, and ends on SIGTERM`, async () => {
      await assertServes(new Program(onThisRuntime(`examples/${name}.ts`), env("orders", { PORT: "0" })));
    });
  }

  for (const name of ["without-a-socket", "without-a-socket-node22"]) {
    it(`${name}.ts prints what its comment says`, async () => {
      const ended = await runProgram(onThisRuntime(`examples/${name}.ts`));
      assert.equal(ended.stdout, "200 403\n", ended.stderr);
      assert.equal(ended.code, 0);
      assert.match(readFileSync(`${root}examples/${name}.ts`, "utf8"), /\/\/ 200 403$/m);
    });
  }

  it("behind-gateway.ts hears of the first caller from the gateway, and from nobody else", async () => {
    const id = (name: string) => `spiffe://x0tta6bl4.local/${name}`;
    const server = new Program(onThisRuntime("examples/behind-gateway.ts"), env("orders", { PORT: "0" }));
    const [, port = ""] = await server.until(SERVING);
    const open = (name: string) => Workload.open({ socket: authority.socketFor(name) });
    const [workload, web] = [await open("gateway"), await open("web")];
    const url = `https://127.0.0.1:${port}`;
    const gateway = await createGateway(
      {
        status: { port: 0 },
        listen: { address: "127.0.0.1", port: 0 },
        upstreams: { orders: { url, id: id("orders") } },
        routes: [{ name: "orders", path: "/orders", upstream: "orders" }],
        policy: [{ rule: "web", allow: { ids: [id("web")] } }],
      },
      { workload },
    );
    try {
      const headers = { "x-spiffe-id": id("guest") };
      const at = `https://127.0.0.1:${gateway.listeners[0]?.port}/orders`;
      const told = await createFetch(web, { peer: id("gateway") })(at, { headers });
      assert.equal(`${told.status} ${await told.text()}`, `200 {"gateway":"${id("gateway")}","caller":"${id("web")}"}`);
      const direct = await createFetch(web, { peer: id("orders") })(`${url}/orders`, { headers });
      assert.match(`${direct.status} ${await direct.text()}`, /^403 .*policy\.default-deny/);
    } finally {
      await gateway.close({ deadlineMs: 0 });
      await web.close();
      await workload.close();
    }
    const ended = await server.end("SIGTERM");
    assert.equal(ended.code, 0, ended.stderr);
    assert.equal(ended.stderr, "");
  });

  it("gateway.yaml is accepted by the gateway, and not with an unknown key", async () => {
    const address = env("orders");
    const good = await spiffeEdge(["gateway", "--config", `${root}examples/gateway.yaml`, "--check"], address);
    assert.equal(good.code, 0, good.stderr);
    assert.match(good.stdout, /2 listeners, 2 routes, 3 rules/);
    const folder = mkdtempSync(join(tmpdir(), "yaml-"));
    const file = join(folder, "gateway.yaml");
    writeFileSync(file, `${readFileSync(`${root}examples/gateway.yaml`, "utf8")}retries: 3\n`);
    const bad = await spiffeEdge(["gateway", "--config", file, "--check"], address);
    rmSync(folder, { recursive: true });
    assert.equal(bad.code, 2, bad.stdout);
    assert.match(bad.stderr, /gateway\.yaml:\d+:1 .*retries/);
  });

  const flags = "the permissions that README gives to Deno are enough, and each is needed";
  it(flags, skipWhen(flags, runtime.name === "deno" ? undefined : "only Deno has permissions"), async () => {
    const line = /^deno run (.*) server\.ts$/m.exec(readme)?.[1] ?? "";
    const path = authority.socketFor("orders").replace("unix://", "");
    const wanted = line.replaceAll("$SOCK", path).replace("0.0.0.0:8443", "0.0.0.0:0").split(" ");
    assert.equal(wanted.length, 4);
    const command = (args: readonly string[]): [string, string[]] => {
      const fixed = ["run", "--no-prompt", "--no-check", "--conditions=spiffe-edge-source"];
      return [process.execPath, [...fixed, ...args, `${root}examples/server.ts`]];
    };
    await assertServes(new Program(command(wanted), env("orders", { PORT: "0" })));
    const unix = `--allow-net=unix:${path}`;
    const lacking = wanted.map((flag) => [flag.replace(",PORT", "").replace(",0.0.0.0:0", ""), flag, ""]);
    lacking.push(["--allow-net=0.0.0.0:0", `${unix},0.0.0.0:0`, unix]);
    for (const [named = "", without, instead = ""] of lacking) {
      const rest = wanted.map((flag) => (flag === without ? instead : flag)).filter((flag) => flag !== "");
      const ended = await runProgram(command(rest), env("orders", { PORT: "0" }));
      assert.notEqual(ended.code, 0, `starts without ${named}`);
      const [first = ""] = ended.stderr.split("\n");
      assert.match(first, /SpiffeError: .*(?:Run it with|Run the program with) --allow/);
      assert.ok(first.includes(named.replace(path, first.includes(path) ? path : "PATH")), `${named}: ${first}`);
    }
    const dialling = /^deno run (.*) client\.ts$/m.exec(readme)?.[1] ?? "";
    assert.match(
      dialling,
      /^--allow-env=\S+ --allow-read=\$SOCK --allow-write=\$SOCK --allow-net=unix:\$SOCK,127\.0\.0\.1:8443$/,
    );
  });
});
