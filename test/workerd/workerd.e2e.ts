/** The portable core inside workerd: with WebCrypto alone, and with the native crypto of its Node.js compatibility. */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type JudgedCase, judgedCases } from "../support/cases.ts";
import { skipMissing } from "../support/skip.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const exec = promisify(execFile);
const vectors = process.env.VECTORS_DIR ?? `${root}../shared/vectors`;

interface VectorFile {
  testGroups: {
    publicKeyDer: string;
    sha: string;
    tests: { tcId: number; comment: string; msg: string; sig: string; result: string }[];
  }[];
}

function config(date: string, wasm = false): string {
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (
    modules = [(name = "worker", esModule = embed "worker.js")${wasm ? ', (name = "ecdsa.wasm", wasm = embed "ecdsa.wasm")' : ""}],
    compatibilityDate = "${date}",
  ))],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
`;
}

/** Resolves with the port as soon as workerd says that it listens. */
function listening(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let said = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`workerd ended with code ${code}: ${said}`)));
    createInterface({ input: child.stdio[3] as Readable }).on("line", (line) => {
      const message = JSON.parse(line) as { event: string; port?: number };
      if (message.event === "listen" && message.port !== undefined) resolve(message.port);
    });
  });
}

/** A worker in workerd: built, started, asked by POST, and gone at the end. */
class Worker {
  #directory = "";
  #child: ChildProcess | undefined;
  #port = 0;

  async start(source: string, date: string, wasm = false): Promise<void> {
    this.#directory = await mkdtemp(`${tmpdir()}/spiffe-edge-workerd-`);
    const bundle = ["build", `test/workerd/${source}`, "--target=browser", "--format=esm"];
    const conditions = [
      "--conditions=spiffe-edge-source",
      ...(wasm ? ["--conditions=workerd", "--external=*.wasm"] : []),
    ];
    const bun = `${root}node_modules/.bin/bun`;
    await exec(bun, [...bundle, ...conditions, `--outfile=${this.#directory}/worker.js`], { cwd: root });
    if (wasm) await cp(`${root}src/crypto/wasm/ecdsa.wasm`, `${this.#directory}/ecdsa.wasm`);
    await writeFile(`${this.#directory}/config.capnp`, config(date, wasm));
    const args = ["serve", "--control-fd=3", `${this.#directory}/config.capnp`];
    this.#child = spawn(`${root}node_modules/.bin/workerd`, args, { stdio: ["ignore", "ignore", "pipe", "pipe"] });
    this.#port = await listening(this.#child);
  }

  async ask(body: unknown): Promise<unknown> {
    const answer = await fetch(`http://127.0.0.1:${this.#port}/`, { method: "POST", body: JSON.stringify(body) });
    assert.equal(answer.status, 200);
    return answer.json();
  }

  async stop(): Promise<void> {
    this.#child?.kill("SIGKILL");
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** An early date gives a worker no part of Node.js; a late one gives it node:crypto. */
for (const { date, verifier, wasm } of [
  { date: "2024-01-01", verifier: "webcrypto", wasm: false },
  { date: "2026-10-01", verifier: "node:crypto", wasm: false },
  { date: "2024-01-01", verifier: "wasm+webcrypto", wasm: true },
  { date: "2026-10-01", verifier: "wasm+node:crypto", wasm: true },
]) {
  describe(`workerd as of ${date}${wasm ? " with the compiled module" : ""}`, () => {
    const worker = new Worker();
    let cases: readonly JudgedCase[];
    before(async () => {
      cases = await judgedCases();
      await worker.start(wasm ? "wasm-worker.ts" : "worker.ts", date, wasm);
    });
    after(() => worker.stop());

    for (const kind of ["x509", "jwt"] as const) {
      it(`judges each ${kind} case as it should, by ${verifier}`, async () => {
        const chosen = cases.filter((testCase) => testCase.kind === kind);
        assert.ok(chosen.some(({ expected }) => expected.ok) && chosen.some(({ expected }) => !expected.ok));
        for (const testCase of chosen) {
          assert.deepEqual(await worker.ask(testCase), { verdict: testCase.expected, verifier }, testCase.name);
        }
      });
    }

    if (!wasm) return;
    for (const curve of ["secp256r1_sha256", "secp384r1_sha384", "secp521r1_sha512"]) {
      const file = `ecdsa_${curve}_test.json`;
      const title = `[G-5] ${file} has the vectors' results without tables, with them, and as chosen`;
      it(
        title,
        skipMissing(title, existsSync(vectors) ? undefined : `there are no test vectors at ${vectors}`),
        async () => {
          const { testGroups } = JSON.parse(readFileSync(`${vectors}/wycheproof/${file}`, "utf8")) as VectorFile;
          for (const { publicKeyDer: spki, sha: hash, tests } of testGroups) {
            const { verdicts } = (await worker.ask({ spki, hash, encoding: "der", tests })) as {
              verdicts: boolean[][];
            };
            for (const [index, { tcId, comment, result }] of tests.entries()) {
              const row = verdicts[index]!;
              assert.equal(new Set(row).size, 1, `${tcId} (${comment}): ${row}`);
              if (result !== "acceptable") assert.equal(row[0], result === "valid", `${tcId}: ${comment}`);
            }
          }
        },
      );
    }
  });
}
