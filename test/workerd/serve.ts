/** Starts the worker of this folder in workerd, built from source. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = fileURLToPath(new URL("../../", import.meta.url));
const exec = promisify(execFile);

/** An early date gives a worker no part of Node.js; a late one gives it node:crypto. */
export const DATES = { webcrypto: "2024-01-01", "node:crypto": "2026-10-01" } as const;

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
  static async start(date: string): Promise<Workerd> {
    const directory = await mkdtemp(`${tmpdir()}/spiffe-edge-workerd-`);
    let child: ChildProcess | undefined;
    try {
      const bundle = ["build", "test/workerd/worker.ts", "--target=browser", "--format=esm"];
      const bun = `${root}node_modules/.bin/bun`;
      await exec(bun, [...bundle, "--conditions=spiffe-edge-source", `--outfile=${directory}/worker.js`], {
        cwd: root,
      });
      await writeFile(`${directory}/config.capnp`, config(date));
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
