/** Starts the worker of this folder in workerd, built from source. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = fileURLToPath(new URL("../../", import.meta.url));
const exec = promisify(execFile);

/** An early date gives a worker no part of Node.js; a late one gives it node:crypto. */
export const DATES = { webcrypto: "2024-01-01", "node:crypto": "2026-10-01" } as const;

/** What runs in workerd. */
export interface WorkerOptions {
  /** Its file in this folder. */
  readonly worker?: string;
  /** Whether the WebAssembly module comes compiled, by a static import. */
  readonly wasm?: boolean;
}

function config(date: string, wasm: boolean): string {
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

/** A worker that runs until it is closed. */
export class Workerd {
  readonly #child: ChildProcess;
  readonly #directory: string;
  readonly #port: number;

  private constructor(child: ChildProcess, directory: string, port: number) {
    this.#child = child;
    this.#directory = directory;
    this.#port = port;
  }

  /** @param date the compatibility date */
  static async start(date: string, { worker = "worker.ts", wasm = false }: WorkerOptions = {}): Promise<Workerd> {
    const directory = await mkdtemp(`${tmpdir()}/spiffe-edge-workerd-`);
    let child: ChildProcess | undefined;
    try {
      const bundle = ["build", `test/workerd/${worker}`, "--target=browser", "--format=esm"];
      const conditions = ["--conditions=spiffe-edge-source"];
      if (wasm) conditions.push("--conditions=workerd", "--external=*.wasm");
      const bun = `${root}node_modules/.bin/bun`;
      await exec(bun, [...bundle, ...conditions, `--outfile=${directory}/worker.js`], { cwd: root });
      if (wasm) await cp(`${root}src/crypto/wasm/ecdsa.wasm`, `${directory}/ecdsa.wasm`);
      await writeFile(`${directory}/config.capnp`, config(date, wasm));
      child = spawn(`${root}node_modules/.bin/workerd`, ["serve", "--control-fd=3", `${directory}/config.capnp`], {
        stdio: ["ignore", "ignore", "pipe", "pipe"],
      });
      return new Workerd(child, directory, await listening(child));
    } catch (error) {
      child?.kill("SIGKILL");
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /** The worker's answer to a question in JSON. */
  async ask(path: string, question: unknown): Promise<unknown> {
    const answer = await fetch(`http://127.0.0.1:${this.#port}${path}`, {
      method: "POST",
      body: JSON.stringify(question),
    });
    if (answer.status !== 200) throw new Error(`workerd answered ${answer.status}: ${await answer.text()}`);
    return answer.json();
  }

  async close(): Promise<void> {
    this.#child.kill("SIGKILL");
    await rm(this.#directory, { recursive: true, force: true });
  }
}
