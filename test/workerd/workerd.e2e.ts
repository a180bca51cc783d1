/** The portable core inside workerd: with WebCrypto alone, and with the native crypto of its Node.js compatibility. */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type JudgedCase, judgedCases } from "../support/cases.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const exec = promisify(execFile);

function config(date: string): string {
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (
    modules = [(name = "worker", esModule = embed "worker.js")],
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

/** An early date gives a worker no part of Node.js; a late one gives it node:crypto. */
for (const { date, verifier } of [
  { date: "2024-01-01", verifier: "webcrypto" },
  { date: "2026-10-01", verifier: "node:crypto" },
]) {
  describe(`workerd as of ${date}`, () => {
    let directory: string;
    let child: ChildProcess | undefined;
    let port: number;
    let cases: readonly JudgedCase[];

    before(async () => {
      directory = await mkdtemp(`${tmpdir()}/spiffe-edge-workerd-`);
      cases = await judgedCases();
      const bundle = ["build", "test/workerd/worker.ts", "--target=browser", "--format=esm"];
      const bun = `${root}node_modules/.bin/bun`;
      await exec(bun, [...bundle, "--conditions=spiffe-edge-source", `--outfile=${directory}/worker.js`], {
        cwd: root,
      });
      await writeFile(`${directory}/config.capnp`, config(date));
      child = spawn(`${root}node_modules/.bin/workerd`, ["serve", "--control-fd=3", `${directory}/config.capnp`], {
        stdio: ["ignore", "ignore", "pipe", "pipe"],
      });
      port = await listening(child);
    });

    after(async () => {
      child?.kill("SIGKILL");
      await rm(directory, { recursive: true, force: true });
    });

    for (const kind of ["x509", "jwt"] as const) {
      it(`judges each ${kind} case as it should, by ${verifier}`, async () => {
        const chosen = cases.filter((testCase) => testCase.kind === kind);
        assert.ok(chosen.some(({ expected }) => expected.ok) && chosen.some(({ expected }) => !expected.ok));
        for (const testCase of chosen) {
          const answer = await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: JSON.stringify(testCase) });
          assert.equal(answer.status, 200, testCase.name);
          assert.deepEqual(await answer.json(), { verdict: testCase.expected, verifier }, testCase.name);
        }
      });
    }
  });
}
