/** `npm start` from outside: its output, its gateway under curl and openssl, its end. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type Ended, launcherNode, Program, root, runProgram, spiffeEdge } from "./support/programs.ts";
import { START_LINES } from "./support/start-lines.ts";

const READY = /^ready in [\d.]+ s\./m;

/** What `npm start` runs, without npm around it. */
function start(args: readonly string[], runtimeDir: string): Program {
  return new Program([launcherNode, [`${root}scripts/start.mjs`, ...args]], { env: { XDG_RUNTIME_DIR: runtimeDir } });
}

function tool(command: string, args: readonly string[], input = ""): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const child = execFile(command, [...args], { timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === "number" ? error.code : error ? -1 : 0, output: `${stdout}${stderr}` });
    });
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
  });
}

/** Status and body of a request by curl. */
async function curl(port: number, ...args: string[]): Promise<{ status: number; body: string }> {
  const url = `https://127.0.0.1:${port}/orders`;
  // An SVID has no host name, so curl cannot compare one; openssl looks at the chain below.
  const { output } = await tool("curl", [
    "--insecure",
    "--silent",
    "--max-time",
    "60",
    "--write-out",
    "\n%{http_code}",
    ...args,
    url,
  ]);
  const end = output.lastIndexOf("\n");
  return { status: Number(output.slice(end + 1)), body: output.slice(0, end) };
}

describe("npm start", () => {
  let folder: string;
  let runtimeDir: string;
  let program: Program;
  let port: number;
  let sockets: string;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "start-"));
    runtimeDir = join(folder, "run");
    mkdirSync(runtimeDir, { mode: 0o700 });
    program = start([], runtimeDir);
    await program.until(READY);
    port = Number(/^gateway +https:\/\/127\.0\.0\.1:(\d+) /m.exec(program.stdout)?.[1]);
    sockets = /^Workload API +(\S+)\/\{/m.exec(program.stdout)?.[1] ?? "";
    for (const name of ["web", "guest"]) {
      const written = await spiffeEdge(["fetch", "x509", "--out", join(folder, name)], {
        env: { SPIFFE_ENDPOINT_SOCKET: `unix://${sockets}/${name}.sock` },
      });
      assert.equal(written.code, 0, written.stderr);
    }
  });

  after(async () => {
    program.child.kill("SIGKILL");
    await program.ended;
    rmSync(folder, { recursive: true, force: true });
  });

  const pem = (name: string) => ["--cert", join(folder, name, "svid.pem"), "--key", join(folder, name, "key.pem")];
  const token = async (name: string, audience = "spiffe://x0tta6bl4.local/gateway"): Promise<string> => {
    const fetched = await spiffeEdge(["fetch", "jwt", "--audience", audience], {
      env: { SPIFFE_ENDPOINT_SOCKET: `unix://${sockets}/${name}.sock` },
    });
    assert.equal(fetched.code, 0, fetched.stderr);
    return fetched.stdout.trim();
  };

  it("prints the lines that the documents promise", () => {
    const printed = program.stdout.trimEnd().split("\n");
    assert.equal(printed.length, START_LINES.length, program.stdout);
    for (const [index, line] of START_LINES.entries()) assert.match(printed[index]!, line);
  });

  it("[S-28] keeps its sockets where nobody else can enter", () => {
    assert.equal(statSync(sockets).mode & 0o777, 0o700);
    assert.deepEqual(readdirSync(sockets).sort(), ["cron.sock", "gateway.sock", "guest.sock", "web.sock"]);
  });

  it("lets the right SVID in, and neither another one nor none", async () => {
    const right = await curl(port, ...pem("web"));
    assert.equal(right.status, 200, right.body);
    assert.equal((JSON.parse(right.body) as { caller: string }).caller, "spiffe://x0tta6bl4.local/web");
    const other = await curl(port, ...pem("guest"));
    assert.equal(other.status, 403, other.body);
    assert.equal((JSON.parse(other.body) as { reason: string }).reason, "policy.default-deny");
    const none = await curl(port);
    assert.equal(none.status, 401, none.body);
    assert.equal((JSON.parse(none.body) as { reason: string }).reason, "request.no-credentials");
  });

  it("lets the right token in, and neither a tampered one nor one for somebody else", async () => {
    const good = await token("cron");
    const bearer = (value: string) => ["--header", `authorization: Bearer ${value}`];
    const right = await curl(port, ...bearer(good));
    assert.equal(right.status, 200, right.body);
    assert.equal((JSON.parse(right.body) as { caller: string }).caller, "spiffe://x0tta6bl4.local/cron");
    const [head, claims, signature] = good.split(".") as [string, string, string];
    const flipped = `${head}.${claims}.${signature[0] === "A" ? "B" : "A"}${signature.slice(1)}`;
    const tampered = await curl(port, ...bearer(flipped));
    assert.equal(tampered.status, 401, tampered.body);
    assert.equal((JSON.parse(tampered.body) as { reason: string }).reason, "jwt.signature");
    const elsewhere = await curl(port, ...bearer(await token("cron", "spiffe://x0tta6bl4.local/reports")));
    assert.equal(elsewhere.status, 401, elsewhere.body);
    const notAllowed = await curl(port, ...bearer(await token("guest")));
    assert.equal(notAllowed.status, 403, notAllowed.body);
  });

  it("shows a chain that openssl verifies against the bundle, and no other bundle does", async () => {
    const look = (ca: string) => {
      const client = ["-cert", join(folder, "web", "svid.pem"), "-key", join(folder, "web", "key.pem")];
      const args = [
        "s_client",
        "-connect",
        `127.0.0.1:${port}`,
        "-CAfile",
        ca,
        "-verify_return_error",
        "-brief",
        ...client,
      ];
      return tool("openssl", args, "");
    };
    const right = await look(join(folder, "web", "bundle.pem"));
    assert.match(right.output, /Verification: OK/);
    assert.match(right.output, /Protocol version: TLSv1\.3/);
    const wrong = join(folder, "wrong.pem");
    const subject = ["-subj", "/CN=wrong", "-keyout", join(folder, "wrong.key"), "-out", wrong];
    const made = await tool("openssl", [
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      ...subject,
    ]);
    assert.equal(made.code, 0, made.output);
    const refused = await look(wrong);
    assert.doesNotMatch(refused.output, /Verification: OK/);
    assert.notEqual(refused.code, 0);
  });

  it("reports itself on the status port", async () => {
    const url = /status {2}(http:\S+)$/m.exec(program.stdout)![1]!;
    const status = (await (await fetch(url)).json()) as object;
    assert.ok(JSON.stringify(status).includes("spiffe://x0tta6bl4.local/gateway"));
    assert.equal((await fetch(new URL("/readyz", url))).status, 200);
  });

  it("ends on Ctrl-C with code 0, its sockets and ports gone", async () => {
    assert.ok(existsSync(sockets));
    const ended: Ended = await program.end("SIGINT");
    assert.equal(ended.code, 0, ended.stderr);
    assert.equal(ended.signal, null);
    assert.equal(existsSync(sockets), false);
    assert.deepEqual(readdirSync(runtimeDir), []);
    assert.equal((await curl(port)).status, 0);
  });
});

describe("npm start itself", () => {
  it("ends with code 0 on Ctrl-C, which a terminal sends to npm and all it has started", async () => {
    const runtimeDir = mkdtempSync(join(tmpdir(), "npm-"));
    const npm = process.env.npm_execpath === undefined ? ["npm"] : [launcherNode, process.env.npm_execpath];
    const program = new Program(["setsid", [...npm, "start"]], { env: { XDG_RUNTIME_DIR: runtimeDir } });
    await program.until(READY);
    await tool("sh", ["-c", `kill -INT -${program.child.pid}`]);
    const ended = await program.ended;
    assert.equal(ended.code, 0, `${ended.signal} ${ended.stderr}`);
    assert.deepEqual(readdirSync(runtimeDir), []);
    rmSync(runtimeDir, { recursive: true });
  });
});

describe("npm start -- --once", () => {
  it("makes the calls, prints the lines and ends with code 0", async () => {
    const runtimeDir = mkdtempSync(join(tmpdir(), "once-"));
    const ended = await start(["--once"], runtimeDir).ended;
    assert.equal(ended.code, 0, ended.stderr);
    assert.match(ended.stdout, READY);
    assert.deepEqual(readdirSync(runtimeDir), []);
    rmSync(runtimeDir, { recursive: true });
  });

  it("SIGTERM to the launcher ends the child too", async () => {
    const runtimeDir = mkdtempSync(join(tmpdir(), "term-"));
    const program = start([], runtimeDir);
    await program.until(READY);
    const ended = await program.end("SIGTERM");
    assert.equal(ended.code, 0, ended.stderr);
    assert.deepEqual(readdirSync(runtimeDir), []);
    rmSync(runtimeDir, { recursive: true });
  });

  // Stand-ins for the runtimes show what the launcher starts; the tests above start the real ones.
  const standIn = (version: string) =>
    `#!/bin/sh\n[ "$1" = --version ] && echo "${version}" || { echo "ran $*"; exit 7; }\n`;
  const choices: [name: string, files: Record<string, string>, ran: RegExp, code: number][] = [
    [
      "Bun of its package",
      { "node_modules/bun/bin/bun.exe": standIn("9.1.0") },
      /ran --conditions=spiffe-edge-source \S+\/src\/cli\/main\.ts dev --once/,
      7,
    ],
    [
      "Bun of the platform's package where no install script ran",
      {
        "node_modules/bun/bin/bun.exe": "#!/bin/sh\nexit 1\n",
        "node_modules/@oven/bun-other-musl/bin/bun": "not for this machine",
        "node_modules/@oven/bun-this/bin/bun": standIn("9.2.0"),
      },
      /ran --conditions=spiffe-edge-source \S+\/src\/cli\/main\.ts dev --once/,
      7,
    ],
    [
      "Node of its package",
      { "node_modules/node/bin/node": standIn("v26.0.0") },
      /starting on node 26\.0\.0\nran --conditions/,
      7,
    ],
  ];
  for (const [name, files, ran, code] of choices) {
    it(`takes ${name}, and ends with its code`, async () => {
      const copy = mkdtempSync(join(tmpdir(), "launch-"));
      for (const [path, content] of Object.entries({ ...files, "node_modules/commander/index.js": "" })) {
        mkdirSync(dirname(join(copy, path)), { recursive: true });
        writeFileSync(join(copy, path), content, { mode: 0o755 });
      }
      mkdirSync(join(copy, "scripts"));
      copyFileSync(`${root}scripts/start.mjs`, join(copy, "scripts", "start.mjs"));
      const env = { PATH: "/usr/bin:/bin" };
      const ended = await runProgram([launcherNode, [join(copy, "scripts", "start.mjs"), "--once"]], { env });
      assert.match(`${ended.stderr}${ended.stdout}`, ran);
      assert.equal(ended.code, code);
      rmSync(copy, { recursive: true });
    });
  }

  it("tells in one sentence what is missing where nothing is installed", async () => {
    const bare = mkdtempSync(join(tmpdir(), "bare-"));
    mkdirSync(join(bare, "scripts"));
    copyFileSync(`${root}scripts/start.mjs`, join(bare, "scripts", "start.mjs"));
    const ended = await runProgram([launcherNode, [join(bare, "scripts", "start.mjs")]], { cwd: dirname(bare) });
    assert.equal(ended.code, 2);
    assert.match(ended.stderr, /^spiffe-edge: [^\n]*npm ci\n$/);
    rmSync(bare, { recursive: true });
  });
});
