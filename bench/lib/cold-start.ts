/** How long a fresh process takes to print an SVID: from its start to its first output. */
import { spawn } from "node:child_process";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { bin, root, run } from "../../scripts/lib/run.ts";
import { type Row, rowOf } from "./rows.ts";

/** Path of the built command, which is built anew when a source is newer. */
export async function builtCommand(): Promise<string> {
  const path = join(root, "dist", "src", "cli", "main.js");
  const sources = (await readdir(join(root, "src"), { recursive: true })).map((name) => join(root, "src", name));
  const changed = Math.max(...(await Promise.all(sources.map(changedAt))));
  if ((await changedAt(path)) < changed) {
    const built = await run(bin("node"), [join(root, "scripts", "build.ts")]);
    if (built.code !== 0) throw new Error(`The command could not be built:\n${built.output}`);
  }
  return path;
}

async function changedAt(path: string): Promise<number> {
  return stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );
}

/** Starts a program so many times, one after the other. */
export async function coldStarts(
  program: readonly [command: string, args: readonly string[]],
  count: number,
  endpoint: string,
  by: Pick<Row, "runtime"> & Partial<Pick<Row, "stack">>,
): Promise<Row> {
  const samples: number[] = [];
  for (let i = 0; i < count; i++) samples.push(await firstOutput(program, endpoint));
  return rowOf({ subject: "workload", name: "cold start", stack: "spiffe-edge", ...by }, samples);
}

/** Microseconds from the start of a program to its first output; throws when it ends otherwise than with 0. */
function firstOutput([command, args]: readonly [string, readonly string[]], endpoint: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, SPIFFE_ENDPOINT_SOCKET: endpoint };
    const start = process.hrtime.bigint();
    const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "pipe"], timeout: 60_000 });
    let took: number | undefined;
    let errors = "";
    child.stdout.on("data", () => {
      took ??= Number(process.hrtime.bigint() - start) / 1_000;
    });
    child.stderr.on("data", (text) => {
      errors += text;
    });
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0 && took !== undefined) resolve(took);
      else reject(new Error(`${command} ${args.join(" ")} ended with ${code} before it printed an SVID: ${errors}`));
    });
  });
}
