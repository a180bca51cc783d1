/** The gateway as a process: how it starts and does not, what it says, signals, and upstreams that come and go. */
import assert from "node:assert/strict";
import { readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { eventually } from "./support/eventually.ts";
import { GatewayWorld, idOf, NumberedUpstream } from "./support/gateway.ts";
import { freePort, takenPort } from "./support/ports.ts";
import { spiffeEdge } from "./support/programs.ts";

let world: GatewayWorld;
before(async () => {
  world = await GatewayWorld.start();
});
after(() => world?.close());

describe("a gateway that starts", () => {
  it("a status port that is taken: code 1 and one sentence; the same with another port serves", async () => {
    const { port, free } = await takenPort();
    world.write(world.config({ status: { port } }));
    const { code, stderr, stdout } = await world.program().ended;
    await free();
    assert.equal(code, 1);
    assert.match(stderr, /\[ERR_SPIFFE_PORT_IN_USE\]\n$/);
    assert.match(stdout, /"level":"error","message":"the gateway could not start","code":"ERR_SPIFFE_PORT_IN_USE"/);
    assert.match(stderr, new RegExp(`^spiffe-edge: [^\\n]*the status port on 127\\.0\\.0\\.1:${port}[^\\n]*\\n$`));
    const gateway = await world.gateway(world.config({ status: { port } }));
    assert.equal(await gateway.ask(world.web), "200 ok");
    assert.equal((await gateway.end()).code, 0);
  });

  const outside: [title: string, args: () => string[], words: RegExp][] = [
    ["an unknown flag", () => ["--config", world.file, "--listen", "1"], /unknown option '--listen'/],
    ["a flag without its value", () => ["--config"], /argument missing/],
    ["an argument too many", () => ["--config", world.file, "more"], /too many arguments/],
    ["a file that is not there", () => ["--config", `${world.file}.none`], /cannot be read \(ENOENT\)/],
  ];
  for (const [title, args, words] of outside) {
    it(`${title}: code 2, one sentence, nothing on stdout`, async () => {
      world.write(world.config());
      const { code, stdout, stderr } = await world.program(args()).ended;
      assert.deepEqual([code, stdout], [2, ""]);
      assert.match(stderr, /^spiffe-edge: [^\n]+\n$/);
      assert.match(stderr, words);
    });
  }

  it("an access log that cannot be written: code 2 with the path", async () => {
    const file = join(world.folder, "none/access.log");
    world.write(world.config({ accessLog: { file } }));
    const { code, stderr } = await world.program().ended;
    assert.equal(code, 2);
    assert.match(stderr, new RegExp(`${file}.*ENOENT`));
  });

  it("SIGHUP and SIGUSR2 before it serves do nothing; SIGTERM ends it with code 0", async () => {
    world.write(world.config({ identity: { socket: `unix://${world.folder}/none.sock`, startupTimeout: "5m" } }));
    const program = world.program();
    await program.until(/"message":"starting"/);
    for (const signal of ["SIGHUP", "SIGUSR2"] as const) process.kill(program.child.pid!, signal);
    await program.until(/SIGHUP does nothing before/);
    await program.until(/SIGUSR2 does nothing before/);
    const { code, stderr } = await program.end();
    assert.deepEqual([code, stderr], [0, ""]);
  });
});

describe("what a gateway says", () => {
  it("is quiet: one line per request, none without, every line JSON, nothing on stderr", async () => {
    const gateway = await world.gateway();
    for (let i = 0; i < 20; i++) assert.equal(await gateway.ask(world.web), "200 ok");
    for (let i = 0; i < 5; i++) assert.equal((await gateway.get("/readyz")).status, 200);
    const { code, stdout, stderr } = await gateway.end();
    assert.deepEqual([code, stderr], [0, ""]);
    const lines = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { message: string; level: string });
    const counts: Record<string, number> = {};
    // what differs between the runtimes is said at the start, once a listener
    for (const { message, level } of lines) if (level === "info") counts[message] = (counts[message] ?? 0) + 1;
    assert.deepEqual(counts, {
      starting: 1,
      "gateway serves": 1,
      request: 20,
      "told to end": 1,
      draining: 1,
      "gateway closed": 1,
    });
    assert.ok(lines.filter(({ level }) => level !== "info").length <= 2, stdout);
  });

  it("refusals that are alike are one line in ten seconds, all of them are counted", async () => {
    const gateway = await world.gateway(world.config({ accessLog: {} }));
    for (let i = 0; i < 10; i++) assert.equal(await gateway.ask(world.guest), "403 policy.default-deny");
    assert.equal(await gateway.ask(world.web), "200 ok");
    assert.match(
      (await gateway.get("/metrics")).text,
      /^spiffe_edge_requests_total\{listener="main",route="up",method="GET",status="403",via="x509"\} 10$/m,
    );
    assert.equal((await gateway.end()).code, 0);
    const refusals = gateway.lines("request").filter(({ status }) => status === 403);
    assert.ok(refusals.length < 10);
    assert.equal(
      refusals.reduce((sum, { equal = 1 }) => sum + Number(equal), 0),
      10,
    );
  });

  it("the access log file is whole after its end, and SIGHUP goes on in a new one", async () => {
    const file = join(world.folder, "access.log");
    const gateway = await world.gateway(world.config({ accessLog: { file } }));
    for (let i = 0; i < 10; i++) await gateway.ask(world.web, `/a?token=secret${i}`);
    await eventually(() => readFileSync(file, "utf8").split("\n").length === 11, "ten lines");
    renameSync(file, `${file}.1`);
    gateway.signal("SIGHUP");
    await gateway.until(({ reload }) => reload.counts.unchanged === 1);
    for (let i = 0; i < 5; i++) await gateway.ask(world.web, "/b");
    assert.equal((await gateway.end()).code, 0);
    const [old, young] = [readFileSync(`${file}.1`, "utf8"), readFileSync(file, "utf8")];
    assert.deepEqual(
      [old, young].map((text) => text.split("\n").length),
      [11, 6],
    );
    assert.doesNotMatch(old + young, /secret|token=/);
    assert.deepEqual(gateway.lines("request"), []);
  });

  it("SIGUSR2 logs the state; spiffe-edge status prints it, and tells a gateway that is not ready by its code", async () => {
    const gateway = await world.gateway();
    assert.equal(await gateway.ask(world.web), "200 ok");
    gateway.signal("SIGUSR2");
    await gateway.program.until(/"message":"status"[^\n]*\n/);
    const [line] = gateway.lines("status");
    assert.deepEqual([line?.state, line?.ready], ["serving", true]);
    const url = `http://127.0.0.1:${gateway.statusPort}`;
    const text = await spiffeEdge(["status", "--url", url]);
    assert.deepEqual([text.code, text.stderr], [0, ""]);
    assert.match(text.stdout, /^state {6}serving, ready\nidentity {3}spiffe:\/\/x0tta6bl4\.local\/gateway {2}until /);
    assert.match(text.stdout, /^upstream {3}up {2}breaker closed\n {11}1 of 1 addresses healthy, 1 answers/m);
    const json = await spiffeEdge(["status", "--url", url, "--json"]);
    assert.equal((JSON.parse(json.stdout) as { state: string }).state, "serving");
    assert.doesNotMatch(text.stdout + json.stdout + JSON.stringify(line), /PRIVATE|BEGIN|"claims"/);
    await gateway.end();
    const gone = await spiffeEdge(["status", "--url", url]);
    assert.deepEqual([gone.code, gone.stdout], [1, ""]);
    assert.match(gone.stderr, /^spiffe-edge: Expected the state of a gateway from \S+, but ECONNREFUSED\. [^\n]+\n$/);
    const other = await spiffeEdge(["status", "--url", world.upstream.url]);
    assert.match(other.stderr, /somebody else answers there/);
    assert.equal((await spiffeEdge(["status", "--url", "https://a.example"])).code, 2);
  });
});

describe("upstreams that come and go", () => {
  it("a flapping upstream: 502 or 503 while it is away, 200 when it is back, and the process lives", async () => {
    const port = await freePort();
    let flapping = await NumberedUpstream.start(port);
    const upstreams = { up: { url: flapping.url, retries: { max: 0 } } };
    const gateway = await world.gateway(world.config({ upstreams }));
    for (let round = 0; round < 3; round++) {
      assert.match(await gateway.ask(world.web), /^200 ok$/);
      await flapping.close();
      for (let i = 0; i < 8; i++) {
        const answer = await gateway.ask(world.web);
        assert.ok(["502 upstream.unreachable", "503 upstream.breaker-open"].includes(answer), answer);
      }
      flapping = await NumberedUpstream.start(port);
      // the breaker lets one through after a second, or two, and then all
      await eventually(
        async () => (await gateway.ask(world.web)) === "200 ok",
        "an answer of the upstream that is back",
      );
    }
    assert.equal(await gateway.ask(world.web), "200 ok");
    await flapping.close();
    const { code, stderr } = await gateway.end();
    assert.deepEqual([code, stderr], [0, ""]);
    assert.ok(gateway.lines("request").every(({ peer }) => peer === idOf("web")));
  });
});
