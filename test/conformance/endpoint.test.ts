/** From outside: which address the harness takes, what it sends with each call, when it is ready, and how it ends. */
import assert from "node:assert/strict";
import { connect, createServer, type Server, type Socket } from "node:net";
import { after, afterEach, before, describe, it } from "node:test";
import { FakeWorkloadApi } from "../../src/authority/testing.ts";
import { runtime } from "../../src/runtime/detect.ts";
import { eventually } from "../support/eventually.ts";
import { launcherNode, Program, runProgram } from "../support/programs.ts";
import { endHarnesses, Harness, launch } from "./harness-process.ts";

/** A TCP port that leads to a unix socket. */
async function relay(path: string): Promise<{ port: number; server: Server }> {
  const server = createServer((client) => {
    const agent = connect(path);
    const tie = (from: Socket, to: Socket) => from.on("error", () => to.destroy()).on("close", () => to.destroy());
    tie(client, agent).pipe(agent);
    tie(agent, client).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: (server.address() as { port: number }).port, server };
}

let fake: FakeWorkloadApi;

before(async () => {
  fake = await FakeWorkloadApi.start();
});

afterEach(async () => {
  await fake.heal();
  await endHarnesses();
  await eventually(() => fake.openStreams() === 0, "the end of the last harness");
});

after(() => fake.close());

describe("harness: the endpoint variable", () => {
  let tcp: Awaited<ReturnType<typeof relay>>;

  before(async () => {
    tcp = await relay(fake.path);
  });

  after(() => tcp.server.close());

  it("[WE-08] [WE-09] takes unix:///path, unix:/path and tcp://address:port", async () => {
    for (const socket of [`unix://${fake.path}`, `unix:${fake.path}`, `tcp://127.0.0.1:${tcp.port}`]) {
      const harness: Harness = await Harness.start(socket);
      assert.match((await harness.probe(undefined)).chain[0]!.uriSans[0] ?? "", /^spiffe:\/\/example\.org\/workload$/);
    }
  });

  it("[WE-09] [WE-10] [WE-11] is never ready with a malformed address, and calls nobody", async () => {
    const path = fake.path;
    const tcpAddress = `tcp://127.0.0.1:${tcp.port}`;
    const malformed = [
      undefined,
      "",
      path,
      `unix://localhost${path}`,
      `unix:${path.slice(1)}`,
      `unix://${path}?x`,
      `unix://${path}#x`,
      `http+unix://${path}`,
      `tcp://localhost:${tcp.port}`,
      "tcp://127.0.0.1",
      `${tcpAddress}/`,
      `${tcpAddress}?x`,
      `tcp://u@127.0.0.1:${tcp.port}`,
    ];
    const before = fake.calls().length;
    const accepted = fake.connections.accepted;
    await Promise.all(
      malformed.map(async (socket) => {
        const ended = await launch(socket).ended;
        assert.equal(ended.stdout, "", `${socket}`);
        assert.match(ended.stderr, /ERR_SPIFFE_ENDPOINT/, `${socket}`);
      }),
    );
    assert.equal(fake.calls().length, before);
    assert.equal(fake.connections.accepted, accepted);
    await Harness.start(fake.socket);
    assert.ok(fake.calls().length > before);
  });

  it("[WE-05] sends workload.spiffe.io: true with every call", async () => {
    const before = fake.calls().length;
    const harness = await Harness.start(fake.socket);
    const fetched = await harness.ask("/v1/jwt/fetch", { audience: ["conformance"], spiffe_id: "" });
    assert.equal(fetched.status, "ok");
    const [{ token }] = fetched.svids as [{ token: string }];
    assert.equal((await harness.validate(token)).status, "ok");
    const calls = fake.calls().slice(before);
    const methods = new Set(calls.map(({ method }) => method));
    for (const method of ["FetchX509SVID", "FetchJWTSVID", "FetchJWTBundles"]) assert.ok(methods.has(method), method);
    // Validation is done here, not by the agent.
    assert.ok(!methods.has("ValidateJWTSVID"));
    assert.deepEqual([...new Set(calls.map(({ metadata }) => metadata["workload.spiffe.io"]))], ["true"]);
  });
});

describe("harness: READY", () => {
  it("[WE-16] comes when the socket does, however late", async () => {
    await fake.stop();
    const program = launch(fake.socket);
    await eventually(() => /ENOENT/.test(program.stderr), "a try in vain");
    assert.equal(program.stdout, "");
    await fake.heal();
    await Harness.ready(program);
  });

  for (const fault of [{ empty: "svids" }, { empty: "bundle" }, "wrong-key", "corrupt"] as const) {
    const name = typeof fault === "string" ? fault : `empty ${fault.empty}`;
    it(`[WL-11] [S-11] does not come by an answer that breaks a rule: ${name}`, async () => {
      fake.spoil(fault);
      const program = launch(fake.socket);
      await eventually(() => /update dropped|stream lost/.test(program.stderr), "the refusal of the first answer");
      assert.equal(program.stdout, "");
      await fake.rotate();
      await Harness.ready(program);
    });
  }
});

describe("harness: the control port", () => {
  it("says who it is, and tells what it cannot do from what it refuses", async () => {
    const harness = await Harness.start(fake.socket);
    const info = await harness.ask("/v1/info");
    assert.deepEqual(Object.keys(info).sort(), ["code", "language", "sdk", "sdk_version", "status"]);
    assert.deepEqual([info.code, info.status, info.sdk], [200, "ok", "spiffe-edge"]);
    const cases: [path: string, body: object | string, code: number, status: string][] = [
      ["/v1/jwt/sing", {}, 501, "unsupported"],
      ["/v1/jwt/validate", "{", 500, "error"],
      ["/v1/jwt/validate", { token: "a.b.c" }, 500, "error"],
      ["/v1/jwt/validate", { token: "a.b.c", audience: "conformance" }, 422, "rejected"],
      ["/v1/jwt/validate", { audience: "conformance" }, 422, "rejected"],
      ["/v1/jwt/fetch", { audience: [] }, 500, "error"],
      ["/v1/x509/dial", { address: "127.0.0.1:1" }, 500, "error"],
      ["/v1/x509/dial", { address: "nowhere" }, 500, "error"],
    ];
    for (const [path, body, code, status] of cases) {
      const answer = await harness.ask(path, body);
      assert.deepEqual([answer.code, answer.status], [code, status], `${path} ${JSON.stringify(body)}`);
    }
  });
});

describe("harness: SIGTERM", () => {
  const assertEnds = async (program: Program): Promise<void> => {
    const ended = await program.end("SIGTERM");
    assert.deepEqual([ended.code, ended.signal], [0, null], ended.stderr);
  };

  it("ends it, open connections or not", async () => {
    const harness = await Harness.start(fake.socket);
    const silent = connect(harness.x509Port, "127.0.0.1");
    silent.on("error", () => {});
    await new Promise((resolve) => silent.once("connect", resolve));
    await harness.ask("/v1/info");
    await assertEnds(harness.program);
    silent.destroy();
  });

  it("ends it also before it is ready", async () => {
    const before = fake.calls("FetchX509SVID").length;
    fake.redact();
    const program = launch(fake.socket);
    await eventually(() => fake.calls("FetchX509SVID").length > before, "a call in vain");
    await assertEnds(program);
    assert.equal(program.stdout, "");
  });
});

describe("harness: npm run", () => {
  it("starts it on this runtime, with nothing else on stdout, and ends it with its process group", async () => {
    const npm = process.env.npm_execpath === undefined ? ["npm"] : [launcherNode, process.env.npm_execpath];
    const command: [string, string[]] = ["setsid", [...npm, "run", "-s", `harness:${runtime.name}`]];
    const program = new Program(command, { env: { SPIFFE_ENDPOINT_SOCKET: fake.socket } });
    const harness = await Harness.ready(program);
    assert.equal((await harness.ask("/v1/info")).status, "ok");
    await runProgram(["sh", ["-c", `kill -TERM -${program.child.pid}`]]);
    await program.ended;
    await assert.rejects(harness.ask("/v1/info"));
  });
});
