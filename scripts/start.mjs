/**
 * Starts `spiffe-edge dev` on the first runtime that is there: Bun from node_modules, Bun on PATH, Node from
 * node_modules, the Node this file runs in. Plain JavaScript for Node ≥ 20, because it runs before anything is known
 * about the machine.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const modules = join(root, "node_modules");
const source = ["--conditions=spiffe-edge-source", join(root, "src", "cli", "main.ts")];
const exe = process.platform === "win32" ? ".exe" : "";

/** The version a runtime prints, or undefined when it is not there or does not run on this machine. */
function versionOf(command) {
  const run = spawnSync(command, ["--version"], { encoding: "utf8", timeout: 10_000 });
  return run.status === 0 ? run.stdout.trim().replace(/^v/, "") : undefined;
}

/** Where npm puts Bun: the package itself, or, when npm ran no install scripts, the package of the platform. */
function bunsOfModules() {
  const scope = join(modules, "@oven");
  const platforms = existsSync(scope) ? readdirSync(scope).filter((name) => name.startsWith("bun-")) : [];
  const paths = [join(modules, "bun", "bin", "bun.exe")];
  for (const name of platforms) paths.push(join(scope, name, "bin", `bun${exe}`));
  return paths.filter((path) => existsSync(path));
}

/** Whether this Node runs TypeScript files by itself (type stripping without a flag). */
function stripsTypes(version) {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 23 || (major === 23 && minor >= 6) || (major === 22 && minor >= 18);
}

/** The runtime to use: `{ label, command, args }`. */
function choose() {
  for (const command of [...bunsOfModules(), "bun"]) {
    const version = versionOf(command);
    if (version) return { label: `bun ${version}`, command, args: source };
  }
  for (const command of [join(modules, "node", "bin", `node${exe}`), process.execPath]) {
    const version = existsSync(command) ? versionOf(command) : undefined;
    if (version && stripsTypes(version)) return { label: `node ${version}`, command, args: source };
  }
  const built = join(root, "dist", "src", "cli", "main.js");
  if (existsSync(built)) return { label: `node ${process.versions.node}`, command: process.execPath, args: [built] };
  return undefined;
}

if (!existsSync(join(modules, "commander"))) {
  console.error(`spiffe-edge: the dependencies are not installed in ${root}. Run: npm ci`);
  process.exit(2);
}
const runtime = choose();
if (runtime === undefined) {
  console.error(
    `spiffe-edge: expected Bun, Node 22.18 or newer, or a built dist/; found Node ${process.versions.node} alone. ` +
      "Install Bun or a newer Node, or run: npm run build",
  );
  process.exit(2);
}
// The first line of `dev` names the runtime; a stand-in for Bun is named here too.
if (!runtime.label.startsWith("bun")) console.error(`spiffe-edge: Bun is not there, starting on ${runtime.label}`);
const child = spawn(runtime.command, [...runtime.args, "dev", ...process.argv.slice(2)], { stdio: "inherit" });
// A terminal sends Ctrl-C to the child as well; the child takes signals that come close together as one.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("error", (error) => {
  console.error(`spiffe-edge: ${runtime.command} did not start (${error.message})`);
  process.exit(1);
});
child.on("exit", (code, signal) => {
  if (signal === null) process.exit(code ?? 1);
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.removeAllListeners(name);
  process.kill(process.pid, signal);
});
