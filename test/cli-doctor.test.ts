/** The doctor from outside: what it prints, and what it finds on the way to an agent. */
import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Authority, FakeWorkloadApi } from "../src/authority/testing.ts";
import { runtime } from "../src/runtime/detect.ts";
import { CHECKS, judged, look, type Report } from "./support/doctor.ts";
import { onThisRuntime, Program, root, runProgram, spiffeEdge } from "./support/programs.ts";
import { skipWhen } from "./support/skip.ts";

const HOME = "home.example";
const WEB = `spiffe://${HOME}/web`;

let folder: string;
let fake: FakeWorkloadApi;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "dr-"));
  fake = await FakeWorkloadApi.start({ trustDomain: HOME, identities: [{ id: WEB }] });
});

after(async () => {
  await fake.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs `doctor --json` in a process of its own. */
async function doctor(socket: string | undefined, args: readonly string[] = [], uid?: number) {
  const env = { SPIFFE_ENDPOINT_SOCKET: socket, HOME: folder, DENO_DIR: join(folder, "deno") };
  const ended = await spiffeEdge(["doctor", "--json", ...args], {
    env: uid === undefined ? { SPIFFE_ENDPOINT_SOCKET: socket } : env,
    ...(uid !== undefined && { uid }),
  });
  assert.equal(ended.stderr, "");
  assert.match(ended.stdout, /^\{.*\}\n$/);
  assert.doesNotMatch(ended.stdout, /eyJ[\w-]{20}|PRIVATE KEY/);
  const report = JSON.parse(ended.stdout) as Report;
  assert.equal(ended.code, report.ok ? 0 : 1);
  return judged(report);
}

describe("spiffe-edge doctor: when all is well", () => {
  it("prints a line per check and ends with code 0", async () => {
    const ended = await spiffeEdge(["doctor"], { env: { SPIFFE_ENDPOINT_SOCKET: fake.socket } });
    assert.equal(ended.code, 0, ended.stdout);
    const lines = ended.stdout.trimEnd().split("\n");
    assert.deepEqual(
      lines.map((line) => /^[✓✗–] (\S+) +\S/.exec(line)?.[1]),
      CHECKS,
    );
    assert.doesNotMatch(ended.stdout, /✗|eyJ[\w-]{20}|PRIVATE/);
    assert.match(ended.stdout, /^✓ x509-svid +spiffe:\/\/home\.example\/web, 1 in chain, expires \S+Z$/m);
    assert.match(ended.stdout, /^✓ jwt-svid .*verified here and by the agent$/m);
    assert.equal(ended.stderr, "");
  });

  it("--json tells the same as one object, with what this process is", async () => {
    const { report, found } = await doctor(fake.socket);
    assert.equal(report.ok, true);
    assert.deepEqual(found("x509-svid").ids, [WEB]);
    assert.deepEqual(found("x509-svid").serial, fake.serials[0]);
    assert.deepEqual(found("x509-bundles").bundles, { [HOME]: 1 });
    assert.equal(found("socket").mode, "0600");
    assert.equal(report.process.uid, process.getuid?.());
    assert.equal(report.process.gid, process.getgid?.());
  });

  it("is content with the embedded authority, and names federated bundles", async () => {
    const entry = { id: "spiffe://a.example/web", socket: "web", federatesWith: ["b.example"] };
    const a = await Authority.start({ trustDomain: "a.example", entries: [entry] });
    const b = await Authority.start({
      trustDomain: "b.example",
      entries: [{ id: "spiffe://b.example/x", socket: "x" }],
    });
    a.federate(b);
    const { report, found } = await doctor(undefined, ["--socket", a.socketFor("web")]);
    assert.equal(report.ok, true);
    assert.deepEqual(found("jwt-bundles").bundles, { "a.example": 1, "b.example": 1 });
    await a.close();
    await b.close();
  });
});

describe("spiffe-edge doctor: the address", () => {
  const cases: [name: string, value: string | undefined, check: string, words: RegExp, fix: RegExp][] = [
    ["unset", undefined, "variable", /is not set/, /export SPIFFE_ENDPOINT_SOCKET=unix:\/\/\//],
    ["empty", "", "variable", /is empty/, /--socket/],
    ["a path alone", "/run/agent.sock", "address", /has no scheme/, /write unix:\/\/\/run\/agent\.sock$/],
    ["an authority", "unix://run/agent.sock", "address", /authority/, /write unix:\/\/\/run\/agent\.sock$/],
    ["a name for tcp", "tcp://localhost:80", "address", /not an IP address/, /write tcp:\/\/127\.0\.0\.1:80$/],
    ["nothing there", "unix:///nowhere/agent.sock", "socket", /\/nowhere is not there \(ENOENT\)/, /start the agent/],
  ];
  for (const [name, value, check, words, fix] of cases) {
    it(`${name}: ${check} fails, and what needs it is left out`, async () => {
      const { report, found, failed } = await (value ? look(value) : doctor(value));
      assert.deepEqual(failed, [check]);
      assert.match(found(check).detail, words);
      assert.match(found(check).fix!, fix);
      const rest = report.checks.slice(CHECKS.indexOf(check) + 1);
      for (const { status, detail } of rest) assert.match(`${status}: ${detail}`, /^skipped: needs /);
    });
  }

  it("--socket goes before the variable", async () => {
    assert.equal((await doctor("unix:///nowhere.sock", ["--socket", fake.socket])).report.ok, true);
  });

  const title = "Deno's missing permissions are told with the exact flags, and enough with them";
  it(title, skipWhen(title, runtime.name === "deno" ? undefined : "only Deno has permissions"), async () => {
    const run = async (...flags: string[]) => {
      // Without any permission named, Deno gives a child that it takes for a Node program all of them.
      const fixed = [
        "run",
        "--allow-run=none",
        "--no-prompt",
        "--no-check",
        "--conditions=spiffe-edge-source",
        ...flags,
      ];
      const command: [string, string[]] = [process.execPath, [...fixed, `${root}src/cli/main.ts`, "doctor", "--json"]];
      const ended = await runProgram(command, { env: { SPIFFE_ENDPOINT_SOCKET: fake.socket } });
      return JSON.parse(ended.stdout) as Report;
    };
    const fixOf = (report: Report) => {
      const { fix = "" } = report.checks.find(({ status }) => status === "failed")!;
      return fix.match(/--allow-\S+/g) ?? [];
    };
    const variable = fixOf(await run());
    assert.deepEqual(variable, ["--allow-env=SPIFFE_ENDPOINT_SOCKET"]);
    const all = fixOf(await run(...variable));
    assert.deepEqual(all, [`--allow-read=${fake.path}`, `--allow-write=${fake.path}`, `--allow-net=unix:${fake.path}`]);
    assert.equal((await run(...variable, ...all)).ok, true);
    for (const flag of all) assert.deepEqual(fixOf(await run(...variable, ...all.filter((f) => f !== flag))), [flag]);
  });
});

describe("spiffe-edge doctor: the socket", () => {
  /** A socket on which the listener does as it is told. */
  const listening = async (name: string, server: Server): Promise<string> => {
    const path = join(folder, name);
    await new Promise<void>((resolve) => server.listen(path, resolve));
    return path;
  };

  it("what is there and is no socket", async () => {
    const file = join(folder, "file.sock");
    writeFileSync(file, "");
    const { failed, found } = await look(`unix://${file}`);
    assert.deepEqual(failed, ["socket"]);
    assert.match(found("socket").detail, /is not a socket/);
    assert.match((await look(`unix://${file}/x.sock`)).found("socket").detail, /file\.sock is not a directory/);
    symlinkSync("/nowhere", join(folder, "link.sock"));
    assert.match((await look(`unix://${folder}/link.sock`)).found("socket").detail, /a link that leads nowhere/);
    symlinkSync(fake.path, join(folder, "good.sock"));
    assert.equal((await look(`unix://${folder}/good.sock`)).report.ok, true);
  });

  it("what an agent left behind when it ended", async () => {
    const server = createServer();
    const path = await listening("live.sock", server);
    renameSync(path, join(folder, "stale.sock"));
    await new Promise((resolve) => server.close(resolve));
    const { failed, found } = await look(`unix://${folder}/stale.sock`);
    assert.deepEqual(failed, ["connect"]);
    assert.match(found("connect").detail, /nobody listens.*ECONNREFUSED/);
  });

  it("a directory or a socket that this user may not use, each with owner and mode", async () => {
    const locked = join(folder, "locked");
    const path = join(locked, "s", "web.sock");
    mkdirSync(locked);
    const entries = [{ id: "spiffe://a.example/web", socket: "web" }];
    const authority = await Authority.start({ trustDomain: "a.example", entries, directory: join(locked, "s") });
    // The superuser passes every mode, so the command runs as somebody else.
    const uid = process.getuid?.() === 0 ? 65_534 : undefined;
    mkdirSync(join(folder, "deno"));
    for (const open of [folder, join(folder, "deno")]) chmodSync(open, 0o777);
    try {
      chmodSync(locked, 0o000);
      const directory = await doctor(`unix://${path}`, [], uid);
      assert.deepEqual(directory.failed, ["socket"]);
      assert.match(directory.found("socket").detail, /locked may not be searched .*owner uid \d+, gid \d+, mode 00\)/);
      assert.match(directory.found("socket").fix!, /^chmod o\+x \S+locked,/);
      for (const open of [locked, join(locked, "s")]) chmodSync(open, 0o755);
      chmodSync(path, 0o000);
      const socket = await doctor(`unix://${path}`, [], uid);
      assert.deepEqual(socket.failed, ["socket"]);
      assert.match(socket.found("socket").detail, /web\.sock may not be opened .*mode 00\)/);
      chmodSync(path, 0o666);
      assert.equal((await doctor(`unix://${path}`, [], uid)).report.ok, true);
    } finally {
      chmodSync(locked, 0o700);
      await authority.close();
      chmodSync(folder, 0o700);
    }
  });

  it("a directory into which everybody may write is worth a note", async () => {
    const open = join(folder, "open");
    mkdirSync(open);
    const link = join(open, "good.sock");
    symlinkSync(fake.path, link);
    assert.equal((await look(`unix://${link}`)).found("socket").status, "ok");
    chmodSync(open, 0o777);
    const { report, found } = await look(`unix://${link}`);
    assert.equal(report.ok, true);
    assert.equal(found("socket").status, "noted");
    assert.match(found("socket").fix!, /^chmod o-w \S+open:/);
  });

  it("who is silent, who does not speak gRPC, and who offers something else", async () => {
    const silent = createServer();
    const path = await listening("silent.sock", silent);
    const hung = await look(`unix://${path}`, 200);
    assert.deepEqual(hung.failed, ["header", "health", "x509-svid"]);
    assert.match(hung.found("header").detail, /No answer .* within 200 ms/);
    silent.close();
    const web = createServer((socket) => {
      socket.on("error", () => {});
      socket.resume().end("HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    const spoken = await look(`unix://${await listening("web.sock", web)}`);
    assert.match(spoken.found("header").detail, /does not speak gRPC/);
    web.close();
  });
});

describe("spiffe-edge doctor --watch", () => {
  it("prints again when something has changed, and ends with the last result", async () => {
    const program = new Program(onThisRuntime("src/cli/main.ts", ["doctor", "--json", "--watch"]), {
      env: { SPIFFE_ENDPOINT_SOCKET: fake.socket },
    });
    await program.until(/^\{"ok":true.*\n$/);
    fake.redact();
    await program.until(/^\{"ok":true.*\n\{"ok":false.*\n$/);
    await fake.heal();
    await program.until(/^\{"ok":true.*\n\{"ok":false.*\n\{"ok":true.*\n$/);
    await fake.rotate();
    await program.until(new RegExp(`(?:\\{.*\\n){3}\\{"ok":true.*"serial":"${fake.serials[0]}".*\\n$`));
    const ended = await program.end("SIGINT");
    assert.equal(ended.code, 0, ended.stderr);
    assert.equal(ended.stdout.split("\n").length, 5);
  });
});

describe("spiffe-edge doctor: usage", () => {
  it("--help explains itself", async () => {
    const ended = await spiffeEdge(["doctor", "--help"]);
    assert.equal(ended.code, 0);
    assert.match(ended.stdout, /^Usage: spiffe-edge doctor.*\n[\s\S]*\nExamples:\n {2}spiffe-edge doctor\n/);
  });

  for (const args of [["now"], ["--jsn"], ["--timeout", "soon"], ["--socket"]]) {
    it(`${args.join(" ")} ends with code 2 and one sentence`, async () => {
      const ended = await spiffeEdge(["doctor", ...args]);
      assert.equal(ended.code, 2);
      assert.match(ended.stderr, /^spiffe-edge: [^\n]+\n$/);
      assert.equal(ended.stdout, "");
    });
  }
});
