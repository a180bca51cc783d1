/** The command from outside: what it prints, what it writes, and how it ends, good input beside bad. */
import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Authority } from "../src/authority/index.ts";
import { createFetch } from "../src/tls/index.ts";
import { Workload } from "../src/workload/index.ts";
import { takenPort } from "./support/ports.ts";
import { type Ended, onThisRuntime, Program, spiffeEdge } from "./support/programs.ts";

const WEB = "spiffe://x0tta6bl4.local/web";

let folder: string;
let authority: Authority;
let socket: string;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "cli-"));
  authority = await Authority.start({ trustDomain: "x0tta6bl4.local", entries: [{ id: WEB, socket: "web" }] });
  socket = authority.socketFor("web");
});

after(async () => {
  await authority.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A failure is one sentence on stderr, without a stack, and nothing on stdout. */
function assertSentence(ended: Ended, code: number, words: RegExp): void {
  const shown = `${ended.stdout}\n${ended.stderr}`;
  assert.equal(ended.code, code, shown);
  assert.equal(ended.stdout, "", shown);
  assert.match(ended.stderr, /^spiffe-edge: [^\n]+\n$/);
  assert.doesNotMatch(ended.stderr, /\bat .*:\d+:\d+|Error:|undefined|\[object/);
  assert.match(ended.stderr, words);
}

const withSocket = (value: string | undefined) => ({ env: { SPIFFE_ENDPOINT_SOCKET: value } });

describe("spiffe-edge: help and usage", () => {
  for (const args of [
    [],
    ["dev"],
    ["gateway"],
    ["fetch"],
    ["fetch", "x509"],
    ["fetch", "jwt"],
    ["validate"],
    ["validate", "jwt"],
  ]) {
    it(`${[...args, "--help"].join(" ")} explains itself`, async () => {
      const ended = await spiffeEdge([...args, "--help"]);
      assert.equal(ended.code, 0, ended.stderr);
      assert.match(ended.stdout, /^Usage: spiffe-edge/);
      if (args.join() !== "fetch" && args.join() !== "validate")
        assert.match(ended.stdout, /\nExamples:\n {2}(?:\w+=\S+ )?spiffe-edge /);
    });
  }

  it("--version prints the version of the package", async () => {
    const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
      version: string;
    };
    const ended = await spiffeEdge(["--version"]);
    assert.equal(ended.stdout, `${version}\n`);
    assert.equal(ended.code, 0);
  });

  const wrong: [name: string, args: string[], words: RegExp][] = [
    ["an unknown command", ["serve"], /serve/],
    ["an unknown option", ["fetch", "x509", "--outt", "x"], /--outt.*See: spiffe-edge fetch x509 --help/],
    ["a missing option", ["fetch", "jwt"], /--audience/],
    ["a missing value", ["gateway", "--config"], /--config/],
    ["too many arguments", ["fetch", "x509", "now"], /too many arguments/],
    ["a duration that is none", ["fetch", "x509", "--timeout", "soon"], /500ms, 30s or 5m, but got "soon"/],
    ["a port that is none", ["dev", "--port", "http"], /port from 0 to 65535, but got "http"/],
    ["a port out of range", ["dev", "--port", "65536"], /65536/],
    ["an ID that is none", ["fetch", "jwt", "--audience", "a", "--id", "web"], /scheme|spiffe:\/\//],
  ];
  for (const [name, args, words] of wrong) {
    it(`${name} ends with code 2`, async () => {
      assertSentence(await spiffeEdge(args, withSocket(socket)), 2, words);
    });
  }
});

describe("spiffe-edge fetch", () => {
  it("x509 shows identity and life", async () => {
    const ended = await spiffeEdge(["fetch", "x509"], withSocket(socket));
    assert.equal(ended.code, 0, ended.stderr);
    assert.match(
      ended.stdout,
      /^spiffe:\/\/x0tta6bl4\.local\/web {2}expires \S+Z \(in \d+ min \d+ s\) {2}1 in chain\n/,
    );
    assert.equal(ended.stderr, "");
  });

  it("--socket goes before the environment", async () => {
    const ended = await spiffeEdge(["fetch", "x509", "--socket", socket], withSocket("unix:///nowhere.sock"));
    assert.equal(ended.code, 0, ended.stderr);
  });

  it("x509 --out writes certificate, key and bundle for the owner alone", async () => {
    const out = join(folder, "new", "svid");
    const ended = await spiffeEdge(["fetch", "x509", "--out", out], withSocket(socket));
    assert.equal(ended.code, 0, ended.stderr);
    assert.deepEqual(readdirSync(out).sort(), ["bundle.pem", "key.pem", "svid.pem"]);
    for (const name of readdirSync(out)) assert.equal(statSync(join(out, name)).mode & 0o777, 0o600, name);
    assert.equal(statSync(out).mode & 0o777, 0o700);
    assert.match(readFileSync(join(out, "key.pem"), "utf8"), /^-----BEGIN PRIVATE KEY-----\n/);
    assert.doesNotMatch(ended.stdout, /PRIVATE/);
  });

  it("jwt prints the token alone, and validate accepts it from stdin and from a file", async () => {
    const fetched = await spiffeEdge(["fetch", "jwt", "--audience", "orders"], withSocket(socket));
    assert.equal(fetched.code, 0, fetched.stderr);
    assert.match(fetched.stdout, /^[\w-]+\.[\w-]+\.[\w-]+\n$/);
    const args = ["validate", "jwt", "--audience", "orders"];
    const file = join(folder, "token.jwt");
    writeFileSync(file, fetched.stdout);
    const piped = await spiffeEdge(args, { ...withSocket(socket), input: fetched.stdout });
    const read = await spiffeEdge([...args, file], withSocket(socket));
    for (const ended of [piped, read]) {
      assert.equal(ended.code, 0, ended.stderr);
      const printed = JSON.parse(ended.stdout) as { id: string; audience: string[] };
      assert.equal(printed.id, WEB);
      assert.deepEqual(printed.audience, ["orders"]);
    }
    const other = await spiffeEdge(["validate", "jwt", "--audience", "reports", file], withSocket(socket));
    assertSentence(other, 1, /refused \(jwt\.audience\)/);
    const [head, claims, signature] = fetched.stdout.trim().split(".") as [string, string, string];
    const flipped = `${head}.${claims}.${signature[0] === "A" ? "B" : "A"}${signature.slice(1)}`;
    const tampered = await spiffeEdge(args, { ...withSocket(socket), input: flipped });
    assertSentence(tampered, 1, /refused \(jwt\.signature\)/);
    const onArgv = await spiffeEdge([...args, fetched.stdout.trim()], withSocket(socket));
    assertSentence(onArgv, 2, /looks like a token/);
    for (const ended of [other, tampered, onArgv])
      assert.ok(!ended.stderr.includes(signature.slice(1)), "the token is told");
  });

  const addresses: [name: string, value: string | undefined, code: number, words: RegExp][] = [
    ["no address", undefined, 2, /SPIFFE_ENDPOINT_SOCKET.*--socket/],
    ["an empty address", "", 2, /SPIFFE_ENDPOINT_SOCKET.*--socket/],
    ["a path without a scheme", "/run/agent.sock", 2, /unix:\/\/\/run\/agent\.sock/],
    ["a path that is too long", `unix:///${"long/".repeat(30)}agent.sock`, 2, /bytes, more than a socket's 107/],
    ["a socket that is not there", "unix:///nowhere/agent.sock", 1, /no such socket.*Start the agent/],
  ];
  for (const [name, value, code, words] of addresses) {
    it(`${name} ends with code ${code}`, async () => {
      assertSentence(await spiffeEdge(["fetch", "x509"], withSocket(value)), code, words);
    });
  }

  it("a socket that may not be opened ends with code 1", async () => {
    const locked = join(folder, "locked");
    mkdirSync(locked);
    const other = await Authority.start({
      trustDomain: "x0tta6bl4.local",
      entries: [{ id: WEB, socket: "web" }],
      directory: join(locked, "s"),
    });
    try {
      const address = withSocket(other.socketFor("web"));
      assert.equal((await spiffeEdge(["fetch", "x509"], address)).code, 0);
      chmodSync(locked, 0o000);
      // The superuser passes every mode, so the command runs as somebody else.
      const nobody = process.getuid?.() === 0 ? { uid: 65_534 } : {};
      const env = { ...address.env, HOME: "/tmp", DENO_DIR: join(folder, "deno") };
      mkdirSync(env.DENO_DIR, { recursive: true });
      chmodSync(folder, 0o777);
      chmodSync(env.DENO_DIR, 0o777);
      assertSentence(await spiffeEdge(["fetch", "x509"], { env, ...nobody }), 1, /permission denied.*Give this user/);
    } finally {
      chmodSync(locked, 0o700);
      await other.close();
    }
  });

  it("--out where a file is leaves it alone and ends with code 2", async () => {
    const file = join(folder, "a-file");
    writeFileSync(file, "mine");
    assertSentence(
      await spiffeEdge(["fetch", "x509", "--out", file], withSocket(socket)),
      2,
      /folder.*a-file.*nothing was written/,
    );
    assert.equal(readFileSync(file, "utf8"), "mine");
  });

  it("--out leaves nothing behind when a name cannot be taken", async () => {
    const out = join(folder, "half");
    mkdirSync(join(out, "key.pem", "in-the-way"), { recursive: true });
    assertSentence(await spiffeEdge(["fetch", "x509", "--out", out], withSocket(socket)), 2, /nothing was written/);
    assert.deepEqual(readdirSync(out), ["key.pem"]);
  });

  it("--out makes no folder when there is no SVID", async () => {
    const out = join(folder, "never");
    assertSentence(
      await spiffeEdge(["fetch", "x509", "--out", out], withSocket("unix:///nowhere.sock")),
      1,
      /no such socket/,
    );
    assert.equal(existsSync(out), false);
  });
});

const CONFIG = {
  identity: { socket: ["$", "{SPIFFE_ENDPOINT_SOCKET}"].join(""), startupTimeout: "60s" },
  status: { port: 0 },
  listen: { address: "127.0.0.1", port: 0 },
  upstreams: { orders: { url: "http://127.0.0.1:9" } },
  routes: [{ name: "orders", path: "/orders/**", upstream: "orders" }],
  policy: [{ rule: "web", allow: { ids: [WEB] } }],
};

describe("spiffe-edge gateway", () => {
  const write = (text: string): string => {
    const file = join(folder, "gateway.yaml");
    writeFileSync(file, text);
    return file;
  };

  it("serves with the identity of the Workload API, and drains on SIGTERM", async () => {
    const file = write(JSON.stringify(CONFIG));
    const program = new Program(onThisRuntime("src/cli/main.ts", ["gateway", "--config", file]), withSocket(socket));
    await program.until(/"message":"gateway serves"/);
    const ended = await program.end("SIGTERM");
    assert.equal(ended.code, 0, ended.stderr);
    assert.equal(ended.stderr, "");
  });

  it("--check accepts the good file and starts nothing", async () => {
    const ended = await spiffeEdge(
      ["gateway", "--config", write(JSON.stringify(CONFIG)), "--check"],
      withSocket("unix:///nowhere.sock"),
    );
    assert.equal(ended.code, 0, ended.stderr);
    assert.match(ended.stdout, /1 listener, 1 route, 1 rule/);
  });

  it("the file may be named by SPIFFE_EDGE_CONFIG", async () => {
    const env = { ...withSocket(socket).env, SPIFFE_EDGE_CONFIG: write(JSON.stringify(CONFIG)) };
    assert.equal((await spiffeEdge(["gateway", "--check"], { env })).code, 0);
  });

  it("never falls back to the embedded authority", async () => {
    const file = write(JSON.stringify({ ...CONFIG, identity: undefined }));
    assertSentence(await spiffeEdge(["gateway", "--config", file], withSocket(undefined)), 2, /SPIFFE_ENDPOINT_SOCKET/);
  });

  const broken: [name: string, text: string, words: RegExp][] = [
    ["a file that is no YAML", "listen: [\n", /gateway\.yaml:\d+:\d+/],
    ["an unknown key", JSON.stringify({ ...CONFIG, listn: {} }), /gateway\.yaml:1:\d+.*listn.*listen/],
    [
      "a variable that is not set",
      JSON.stringify(CONFIG).replace("SPIFFE_ENDPOINT_SOCKET", "NO_SUCH_VARIABLE"),
      /NO_SUCH_VARIABLE/,
    ],
    ["a missing block", JSON.stringify({ ...CONFIG, policy: undefined }), /policy/],
  ];
  for (const [name, text, words] of broken) {
    it(`${name} ends with code 2`, async () => {
      assertSentence(await spiffeEdge(["gateway", "--config", write(text)], withSocket(socket)), 2, words);
    });
  }

  it("a file that is not there ends with code 2", async () => {
    assertSentence(
      await spiffeEdge(["gateway", "--config", join(folder, "none.yaml")], withSocket(socket)),
      2,
      /none\.yaml/,
    );
  });

  it("an agent that is not there ends with code 1, after the startup timeout of the file", async () => {
    const file = write(JSON.stringify({ ...CONFIG, identity: { ...CONFIG.identity, startupTimeout: "500ms" } }));
    const ended = await spiffeEdge(["gateway", "--config", file], withSocket("unix:///nowhere.sock"));
    assert.equal(ended.code, 1, ended.stdout);
    assert.match(ended.stderr, /^spiffe-edge: [^\n]*nowhere\.sock[^\n]*\n$/);
  });

  /** A gateway with one request that its upstream never answers. */
  const busyGateway = async (deadline: string): Promise<{ program: Program; release: () => Promise<void> }> => {
    const upstream = createServer(() => {});
    await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
    const asked = new Promise((resolve) => upstream.once("request", resolve));
    const url = `http://127.0.0.1:${(upstream.address() as { port: number }).port}`;
    const file = write(JSON.stringify({ ...CONFIG, upstreams: { orders: { url } }, drain: { deadline } }));
    const program = new Program(onThisRuntime("src/cli/main.ts", ["gateway", "--config", file]), withSocket(socket));
    const [, port] = await program.until(/"listeners":\[\{"name":"main","address":"127\.0\.0\.1","port":(\d+)\}\]/);
    const web = await Workload.open({ socket });
    const call = createFetch(web, { peer: WEB })(`https://127.0.0.1:${port}/orders`).catch(() => undefined);
    await asked;
    const release = async () => {
      await call;
      await web.close();
      upstream.closeAllConnections();
      upstream.close();
    };
    return { program, release };
  };

  it("a request that outlives drain.deadline ends it with code 3", async () => {
    const { program, release } = await busyGateway("300ms");
    const ended = await program.end("SIGTERM");
    assert.equal(ended.code, 3, ended.stdout);
    assert.match(ended.stdout, /"message":"told to end","signal":"SIGTERM"\}\n.*"message":"draining","deadlineMs":300/);
    await release();
  });

  it("a second Ctrl-C does not wait for the drain", async () => {
    const { program, release } = await busyGateway("10m");
    process.kill(program.child.pid!, "SIGINT");
    await program.until(/"message":"draining"/);
    // What follows within half a second counts as the same key press, delivered twice.
    await new Promise((resolve) => setTimeout(resolve, 700));
    const ended = await program.end("SIGINT");
    assert.equal(ended.code, 3, ended.stdout);
    await release();
  });

  it("a port in use ends with code 1", async () => {
    const { port, free } = await takenPort();
    const file = write(JSON.stringify({ ...CONFIG, listen: { ...CONFIG.listen, port } }));
    const ended = await spiffeEdge(["gateway", "--config", file], withSocket(socket));
    await free();
    assert.equal(ended.code, 1, ended.stderr);
    assert.match(ended.stderr, new RegExp(`^spiffe-edge: [^\\n]*127\\.0\\.0\\.1:${port}[^\\n]*\\n$`));
  });
});

describe("spiffe-edge dev", () => {
  it("a port in use ends with code 1 and leaves no socket behind", async () => {
    const { port, free } = await takenPort();
    const runtimeDir = mkdtempSync(join(tmpdir(), "d-"));
    const env = { XDG_RUNTIME_DIR: runtimeDir };
    assertSentence(
      await spiffeEdge(["dev", "--once", "--port", String(port)], { env }),
      1,
      new RegExp(`127\\.0\\.0\\.1:${port}`),
    );
    assert.deepEqual(readdirSync(runtimeDir), []);
    await free();
    const other = await spiffeEdge(["dev", "--once", "--port", "0"], { env });
    assert.equal(other.code, 0, other.stderr);
    assert.deepEqual(readdirSync(runtimeDir), []);
    rmSync(runtimeDir, { recursive: true });
  });

  const entries = (text: string): string => {
    const file = join(folder, "entries.yaml");
    writeFileSync(file, text);
    return file;
  };
  const ORDERS = '- { id: "spiffe://x0tta6bl4.local/orders", socket: orders, ttl: 2m }\n';

  it("--entries adds workloads, each with its socket", async () => {
    const program = new Program(onThisRuntime("src/cli/main.ts", ["dev", "--entries", entries(ORDERS)]));
    const [, directory] = await program.until(/^Workload API {2}(\S+)\/\{gateway,web,cron,guest,orders\}\.sock/m);
    await program.until(/^ready/m);
    const fetched = await spiffeEdge(["fetch", "x509"], withSocket(`unix://${directory}/orders.sock`));
    assert.match(
      fetched.stdout,
      /^spiffe:\/\/x0tta6bl4\.local\/orders {2}expires \S+ \(in (?:1 min|2 min)/,
      fetched.stderr,
    );
    assert.equal((await program.end("SIGINT")).code, 0);
  });

  const broken: [name: string, text: string, words: RegExp][] = [
    ["an unknown key", ORDERS.replace("ttl", "tll"), /entries\.yaml:1:\d+ .*tll.*ttl/],
    ["a missing key", ORDERS.replace("socket: orders, ", ""), /entries\.yaml:1:3 .*needs "socket"/],
    [
      "a socket of the demo",
      ORDERS.replace("socket: orders", "socket: web"),
      /entries\.yaml:1:\d+ .*"web" belongs to the demo/,
    ],
    ["an ID of another trust domain", ORDERS.replace("x0tta6bl4", "other"), /entries\.yaml: entries\[0\]\.id/],
    ["a file that is no list", "id: x\n", /entries\.yaml:1:1 .*list/],
  ];
  for (const [name, text, words] of broken) {
    it(`--entries with ${name} ends with code 2`, async () => {
      assertSentence(await spiffeEdge(["dev", "--once", "--entries", entries(text)]), 2, words);
    });
  }

  it("--entries beside a real agent ends with code 2", async () => {
    const args = ["dev", "--once", "--entries", entries(ORDERS)];
    assertSentence(await spiffeEdge(args, withSocket(socket)), 2, /embedded authority/);
  });

  it("an agent that is not there ends with code 1, and nothing embedded takes its place", async () => {
    assertSentence(await spiffeEdge(["dev", "--once"], withSocket("unix:///nowhere.sock")), 1, /no such socket/);
  });
});
