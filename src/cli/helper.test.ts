import assert from "node:assert/strict";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { eventually } from "../../test/support/eventually.ts";
import { onThisRuntime, Program, spiffeEdge } from "../../test/support/programs.ts";
import { Authority } from "../authority/index.ts";
import { systemClock } from "../base/index.ts";
import { safeValidateJwtSvid } from "../jwt/index.ts";
import { FileSource } from "../workload/index.ts";
import { safeVerifyX509Svid, X509Bundle, X509Svid } from "../x509/index.ts";
import { FolderLock } from "./helper/lock.ts";

const ENTRY = { id: "spiffe://example.org/web", socket: "web" };
const FILES = {
  svid_file_name: "svid.pem",
  svid_key_file_name: "key.pem",
  svid_bundle_file_name: "bundle.pem",
  jwt_bundle_file_name: "jwt.json",
  jwt_svids: [
    { jwt_audience: "orders", jwt_extra_audiences: ["reports"], jwt_svid_file_name: "orders.jwt" },
    { jwt_audience: "cron", jwt_svid_file_name: "cron.jwt" },
  ],
};
const LOCK = ".spiffe-edge-helper.lock";
const NAMES = ["bundle.pem", "cron.jwt", "jwt.json", "key.pem", "orders.jwt", "svid.pem"];

let authority: Authority;
let folder: string;
let certs: string;
let programs: Program[] = [];

/** What others see of the folder: all but its lock. */
const visible = () => (existsSync(certs) ? readdirSync(certs).filter((name) => name !== LOCK) : []);
const at = (name: string) => join(certs, "current", name);
const read = (name: string) => readFileSync(at(name), "utf8");

/** Writes the helper's file: JSON is YAML as well. */
function configure(more: Record<string, unknown> = {}): string[] {
  const file = join(folder, "helper.yaml");
  const address = { agent_address: authority.socketFor("web") };
  writeFileSync(file, JSON.stringify({ ...address, cert_dir: certs, ...FILES, ...more }));
  return ["helper", "--config", file];
}

/** A daemon that does not outlive its test. */
function start(args: readonly string[]): Program {
  const program = new Program(onThisRuntime("src/cli/main.ts", args));
  programs.push(program);
  return program;
}

/** That `current` leads to one whole, valid state. */
async function assertWhole(): Promise<void> {
  for (;;) {
    const generation = readlinkSync(join(certs, "current"));
    try {
      return await assertGeneration(join(certs, generation));
    } catch (error) {
      // Two swaps meanwhile, and it was removed while it was read.
      if (readlinkSync(join(certs, "current")) === generation) throw error;
    }
  }
}

async function assertGeneration(path: string): Promise<void> {
  assert.deepEqual(readdirSync(path).sort(), NAMES);
  const svid = await X509Svid.load(join(path, "svid.pem"), join(path, "key.pem"));
  const bundle = await X509Bundle.load("example.org", join(path, "bundle.pem"));
  const verdict = await safeVerifyX509Svid(svid.certificates, { x509BundleFor: () => bundle });
  assert.ok(verdict.ok, JSON.stringify(verdict));
  for (const name of NAMES) assert.notEqual(statSync(join(path, name)).size, 0, name);
}

before(async () => {
  authority = await Authority.start({ trustDomain: "example.org", prepareMs: 200, entries: [ENTRY] });
});

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "helper-"));
  certs = join(folder, "certs");
  await authority.setEntries([ENTRY]);
});

afterEach(async () => {
  for (const { child, ended } of programs) {
    child.kill("SIGKILL");
    await ended;
  }
  programs = [];
  rmSync(folder, { recursive: true, force: true });
});

after(() => authority.close());

describe("spiffe-edge helper --once", () => {
  it("writes every file, the secret ones for their owner alone, and ends with code 0", async () => {
    const ended = await spiffeEdge([...configure(), "--once"]);
    assert.equal(ended.code, 0, ended.stderr);
    await assertWhole();
    const mode = (name: string) => statSync(at(name)).mode & 0o777;
    assert.deepEqual(NAMES.map(mode), [0o644, 0o600, 0o600, 0o600, 0o600, 0o644]);
    const token = await safeValidateJwtSvid(read("orders.jwt"), authority.jwtBundle(), { audience: "reports" });
    assert.ok(token.ok && token.value.id.uri === ENTRY.id);
    assert.ok(!ended.stdout.includes(read("orders.jwt")) && !ended.stdout.includes("PRIVATE"));
  });

  it("daemon_mode: false does the same", async () => {
    const ended = await spiffeEdge(configure({ daemon_mode: false }));
    assert.equal(ended.code, 0, ended.stderr);
    await assertWhole();
  });

  it("runs and signals nobody", async () => {
    const more = { cmd: "/bin/sh", cmd_args: ["-c", `touch ${folder}/ran`], cmd_timeout: "10s" };
    const ended = await spiffeEdge([...configure(more), "--once"]);
    assert.equal(ended.code, 0, ended.stderr);
    assert.ok(!existsSync(join(folder, "ran")));
  });

  const failures: [what: string, more: Record<string, unknown>, code: number, says: RegExp, timeout?: string][] = [
    ["the agent is not there", { agent_address: "/nowhere/agent.sock" }, 1, /no such socket/, "2s"],
    ["no SVID has the hint", { hint: "internal" }, 1, /No X509-SVID has the hint "internal"/],
    ["the folder can not be made", { cert_dir: "/dev/null/certs" }, 2, /\/dev\/null/],
    [
      "the file is wrong",
      { svid_file: "x" },
      2,
      /helper\.yaml:1:\d+ svid_file: unknown key \(did you mean "svid_file_name"/,
    ],
  ];
  for (const [what, more, code, says, timeout = "30s"] of failures) {
    it(`ends with code ${code} when ${what}, and writes nothing`, async () => {
      const ended = await spiffeEdge([...configure(more), "--once", "--timeout", timeout]);
      assert.equal(ended.code, code, ended.stdout);
      assert.match(ended.stderr, says);
      assert.doesNotMatch(ended.stderr, /\bat .*:\d+:\d+\)/);
      assert.deepEqual(existsSync(certs) ? readdirSync(certs) : [], []);
    });
  }

  it("ends with code 1 when the workload has no identity, and leaves what is there", async () => {
    const args = [...configure(), "--once"];
    assert.equal((await spiffeEdge(args)).code, 0);
    const before = readlinkSync(join(certs, "current"));
    await authority.setEntries([]);
    const ended = await spiffeEdge([...args, "--timeout", "1500ms"]);
    assert.equal(ended.code, 1);
    assert.match(ended.stderr, /PermissionDenied/);
    assert.equal(readlinkSync(join(certs, "current")), before);
  });

  it("explains itself", async () => {
    const ended = await spiffeEdge(["helper", "--help"]);
    assert.equal(ended.code, 0);
    assert.match(ended.stdout, /^Usage: spiffe-edge helper [\s\S]*\nExamples:\n {2}spiffe-edge helper --config/);
  });

  it("needs a file", async () => {
    assert.equal((await spiffeEdge(["helper"])).code, 2);
    const missing = await spiffeEdge(["helper", "--config", join(folder, "none.yaml"), "--once"]);
    assert.equal(missing.code, 2);
    assert.match(missing.stderr, /none\.yaml: the helper's file cannot be read \(ENOENT\)/);
  });
});

describe("spiffe-edge helper", () => {
  it("follows rotations, tells others after each swap, and keeps the last two generations", async () => {
    const log = join(folder, "log");
    const script = `readlink ${certs}/current >> ${log}; basename "$SPIFFE_EDGE_GENERATION" >> ${log}`;
    const health = { listener_enabled: true, bind_port: 0, liveness_path: "/alive", readiness_path: "/go" };
    const more = { cmd: "/bin/sh", cmd_args: ["-c", script], health_checks: health };
    const program = start(configure(more));
    const [, port] = await program.until(/"port":(\d+)/);
    const runs = () => (existsSync(log) ? readFileSync(log, "utf8").split("\n").slice(0, -1) : []);
    const get = async (path: string) => {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`);
      return { status: answer.status, text: await answer.text() };
    };
    await eventually(() => runs().length === 2, "the first run");
    await using source = await FileSource.open({
      certificates: at("svid.pem"),
      privateKey: at("key.pem"),
      bundles: { "example.org": at("bundle.pem") },
    });
    const first = source.x509Svid();
    for (let n = 1; n <= 3; n++) {
      await authority.rotate();
      await eventually(() => runs().length >= 2 * (n + 1), `run ${n + 1}`);
      await assertWhole();
      await eventually(() => visible().length <= 3, "the removal of the others");
    }
    // The command saw the link where its own generation is.
    for (let i = 0; i < runs().length; i += 2) assert.equal(runs()[i], runs()[i + 1]);
    await eventually(() => !source.x509Svid().leaf.equals(first.leaf), "a file source that reads along");
    assert.equal((await get("/alive")).status, 200);
    assert.deepEqual(JSON.parse((await get("/go")).text), { ready: true, reasons: [], warnings: [] });
    assert.match((await get("/metrics")).text, /spiffe_edge_helper_renewals_total\{kind="command",result="done"\} \d/);
    assert.equal((await get("/other")).status, 404);
    const ended = await program.end("SIGTERM");
    assert.equal(ended.code, 0, ended.stderr);
    await assertWhole();
  });

  it("goes on when a command fails: a metric counts it, and the next rotation is written", async () => {
    const more = { cmd: "/bin/false", health_checks: { listener_enabled: true, bind_port: 0 } };
    const program = start(configure(more));
    const [, port] = await program.until(/"port":(\d+)/);
    await program.until(/"message":"renewal failed, tried again later"/);
    const before = readlinkSync(join(certs, "current"));
    await authority.rotate();
    await eventually(() => readlinkSync(join(certs, "current")) !== before, "the next generation");
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    assert.match(metrics, /spiffe_edge_helper_renewals_total\{kind="command",result="failed"\} \d/);
    assert.equal((await fetch(`http://127.0.0.1:${port}/ready`)).status, 200);
    assert.equal((await program.end()).code, 0);
  });

  it("[WL-29] removes the files of a withdrawn identity, and writes them anew when it is back", async () => {
    const more = { health_checks: { listener_enabled: true, bind_port: 0 } };
    const program = start(configure(more));
    const [, port] = await program.until(/"port":(\d+)/);
    const status = async () => (await fetch(`http://127.0.0.1:${port}/ready`)).status;
    await eventually(() => existsSync(at("svid.pem")), "the files");
    assert.equal(await status(), 200);
    await authority.setEntries([]);
    await eventually(() => visible().length === 0, "the removal");
    assert.equal(await status(), 503);
    await authority.setEntries([ENTRY]);
    await eventually(() => existsSync(at("svid.pem")), "the files again");
    await assertWhole();
    assert.equal(await status(), 200);
    assert.equal((await program.end()).code, 0);
  });

  it("waits for an agent that is not there yet, not ready meanwhile, and ends when told", async () => {
    const more = { agent_address: join(folder, "agent.sock"), health_checks: { listener_enabled: true, bind_port: 0 } };
    const program = start(configure(more));
    const [, port] = await program.until(/"port":(\d+)/);
    const answer = await fetch(`http://127.0.0.1:${port}/ready`);
    assert.equal(answer.status, 503);
    assert.deepEqual(((await answer.json()) as { reasons: string[] }).reasons, ["no generation is written"]);
    assert.equal((await fetch(`http://127.0.0.1:${port}/live`)).status, 200);
    assert.equal((await program.end("SIGINT")).code, 0);
    assert.deepEqual(readdirSync(certs), []);
  });

  it("is the only one that writes to its folder: a second one ends with code 2, also with --once", async () => {
    const args = configure();
    const first = start(args);
    await first.until(/generation written/);
    const before = readlinkSync(join(certs, "current"));
    for (const more of [[], ["--once"]]) {
      const second = await spiffeEdge([...args, ...more]);
      assert.equal(second.code, 2);
      assert.match(second.stdout, /"level":"error","message":"the helper ends","code":"ERR_SPIFFE_CONFIG"/);
      assert.match(
        second.stderr,
        /^spiffe-edge: Expected to be the only helper that writes to \S+, but another one does already\. Stop that one, or give each a cert_dir of its own\.?\n$/,
      );
      assert.equal(readlinkSync(join(certs, "current")), before);
    }
    assert.equal((await first.end()).code, 0);
    const third = await spiffeEdge([...args, "--once"]);
    assert.equal(third.code, 0, third.stderr);
    assert.notEqual(readlinkSync(join(certs, "current")), before);
  });

  it("ends with code 2 instead of writing where another one took its folder", async () => {
    const first = start(configure());
    await first.until(/generation written/);
    const other = new FolderLock(join(folder, "other"), systemClock);
    await other.hold();
    renameSync(join(folder, "other", LOCK), join(certs, LOCK));
    const before = readlinkSync(join(certs, "current"));
    await authority.rotate();
    assert.equal((await first.ended).code, 2);
    assert.match(first.stderr, /another one does already/);
    assert.equal(readlinkSync(join(certs, "current")), before);
    other.release();
    const again = start(configure());
    await again.until(/generation written/);
    assert.equal((await again.end()).code, 0);
  });

  it("signals the process of the pid file", async () => {
    const target = new Program(["/bin/sh", ["-c", 'trap "echo got" HUP; echo "up $$"; while :; do sleep 0.02; done']]);
    programs.push(target);
    const [, pid] = await target.until(/up (\d+)/);
    const pidFile = join(folder, "pid");
    writeFileSync(pidFile, `${pid}\n`);
    const args = configure({ pid_file_name: pidFile, renew_signal: "SIGHUP" });
    const program = start(args);
    await target.until(/got\n/);
    await authority.rotate();
    await target.until(/got\n(?:.*\n)*?got\n/);
    assert.equal((await program.end()).code, 0);
  });

  it("killed at any moment, leaves the last whole generation behind", async () => {
    const short = await Authority.start({ trustDomain: "example.org", x509TtlMs: 1_000, entries: [ENTRY] });
    try {
      const args = configure({ agent_address: short.socketFor("web") });
      for (let round = 0; round < 4; round++) {
        const program = start(args);
        await program.until(/generation written/);
        await new Promise((resolve) => setTimeout(resolve, 200 + Math.random() * 600));
        program.child.kill("SIGKILL");
        await program.ended;
        const path = join(certs, "current");
        assert.deepEqual(readdirSync(path).sort(), NAMES);
        const svid = await X509Svid.load(join(path, "svid.pem"), join(path, "key.pem"));
        assert.equal(svid.id.uri, ENTRY.id);
        // The link, two generations, and of a third what there is of it.
        assert.ok(visible().length <= 5);
      }
    } finally {
      await short.close();
    }
  });
});
