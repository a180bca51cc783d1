/** Packs the package, lays it out as a user has it, and runs consumers of it on every runtime. */
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname } from "node:path";
import { bin, type RunResult, root, run } from "./run.ts";
import { CONDITION, type RuntimeName } from "./runtimes.ts";
import type { Filter, StageResult } from "./stage-result.ts";

/** Packages of the checkout that the type check of a consumer needs besides. */
const FOR_TYPES = ["@types/node", "undici-types"];

/** A node of the system's own, as npm tells it, else the first on the path that no dependency brought. */
function systemNode(): string | undefined {
  const told = process.env.npm_node_execpath;
  if (told !== undefined && existsSync(told)) return told;
  const directories = (process.env.PATH ?? "").split(delimiter).filter((path) => !path.includes("node_modules"));
  return directories.map((path) => `${path}/node`).find((path) => existsSync(path));
}

/** Lines `ok NAME` of a program's output are its passed checks. */
function counted(name: string, result: RunResult): StageResult {
  const passed = result.stdout.split("\n").filter((line) => line.startsWith("ok ")).length;
  const failed = result.code === 0 && passed > 0 ? 0 : 1;
  return {
    name: `packed: ${name}`,
    passed,
    failed,
    skipped: 0,
    seconds: result.seconds,
    output: result.output,
    skips: [],
  };
}

/** The archive unpacked, and only the declared dependencies beside it: what is not declared is not found. */
async function layOut(archive: string, project: string): Promise<RunResult> {
  const installed = `${project}/node_modules/spiffe-edge`;
  await mkdir(installed, { recursive: true });
  const unpacked = await run("tar", ["-xzf", archive, "-C", installed, "--strip-components=1"]);
  if (unpacked.code !== 0) return unpacked;
  const { dependencies } = JSON.parse(await readFile(`${installed}/package.json`, "utf8")) as {
    dependencies: Record<string, string>;
  };
  for (const name of [...Object.keys(dependencies), ...FOR_TYPES]) {
    await mkdir(dirname(`${project}/node_modules/${name}`), { recursive: true });
    await symlink(`${root}/node_modules/${name}`, `${project}/node_modules/${name}`);
  }
  await cp(`${root}/test/packed`, project, { recursive: true });
  await writeFile(`${project}/package.json`, JSON.stringify({ name: "consumer", private: true, type: "module" }));
  return run(bin("node"), [CONDITION, "test/support/write-cases.ts", `${project}/cases.json`]);
}

export async function packed({ runtimes }: Filter): Promise<StageResult[]> {
  const directory = await mkdtemp(`${tmpdir()}/spiffe-edge-packed-`);
  try {
    const npm = process.env.npm_execpath;
    const pack = ["pack", "--pack-destination", directory];
    const made = npm === undefined ? await run("npm", pack) : await run(bin("node"), [npm, ...pack]);
    const archive = (await readdir(directory)).find((name) => name.endsWith(".tgz"));
    if (made.code !== 0 || archive === undefined) return [{ ...counted("npm pack", made), failed: 1 }];
    const project = `${directory}/project`;
    const laidOut = await layOut(`${directory}/${archive}`, project);
    if (laidOut.code !== 0) return [{ ...counted("layout", laidOut), failed: 1 }];

    const env = { SPIFFE_ENDPOINT_SOCKET: undefined, NODE_OPTIONS: undefined };
    const results: StageResult[] = [];
    const consume = async (name: string, command: string, ...args: string[]) => {
      results.push(counted(name, await run(command, args, { cwd: project, env, timeoutMs: 120_000 })));
    };
    const wanted = (runtime: RuntimeName) => runtimes.length === 0 || runtimes.includes(runtime);

    const types = await run(bin("node"), [bin("tsc"), "-p", "tsconfig.json", "--pretty", "false"], { cwd: project });
    // The compiler says nothing when all is well.
    results.push({ ...counted("types", types), passed: types.code === 0 ? 1 : 0, failed: types.code === 0 ? 0 : 1 });

    if (wanted("bun")) await consume("bun", bin("bun"), "run", "full.mjs");
    if (wanted("deno")) await consume("deno", bin("deno"), "run", "-A", "--no-check", "full.mjs");
    if (wanted("node")) {
      await consume("node", bin("node"), "full.mjs");
      const system = systemNode();
      if (system !== undefined) {
        const version = (await run(system, ["--version"])).stdout.trim();
        // Below 22 only the portable core is promised.
        const modern = Number(/^v(\d+)/.exec(version)?.[1] ?? 0) >= 22;
        await consume(`system node ${version}`, system, modern ? "full.mjs" : "core.mjs");
      }
    }
    return results;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
