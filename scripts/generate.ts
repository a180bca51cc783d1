/**
 * Generates `src/gen` from `proto` with buf and protoc-gen-es.
 *
 * `--check` generates into a temporary directory, compares, and exits 1 with one sentence when they differ.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

const root = join(import.meta.dirname, "..");
const proto = join(root, "proto");
const gen = join(root, "src", "gen");
const bin = join(root, "node_modules", ".bin");

/** Runs buf; the template's output paths are taken relative to `output`. */
function generate(output: string): void {
  const env = { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH ?? ""}` };
  execFileSync(join(bin, "buf"), ["generate", "--output", output], { cwd: proto, env, stdio: "inherit" });
}

function files(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort();
}

function firstDifference(expected: string, actual: string): string | undefined {
  const [want, have] = [files(expected), files(actual)];
  const missing = want.find((name) => !have.includes(name));
  if (missing !== undefined) return `${missing} is missing`;
  const surplus = have.find((name) => !want.includes(name));
  if (surplus !== undefined) return `${surplus} comes from no proto file`;
  const changed = want.find((name) => !readFileSync(join(expected, name)).equals(readFileSync(join(actual, name))));
  return changed && `${changed} differs`;
}

// The template says `../src/gen`, so buf works one level below a scratch directory.
const scratch = mkdtempSync(join(tmpdir(), "spiffe-edge-generate-"));
try {
  generate(join(scratch, "proto"));
  const fresh = join(scratch, "src", "gen");
  if (process.argv.includes("--check")) {
    const difference = firstDifference(fresh, gen);
    if (difference !== undefined) {
      console.error(`src/gen is not what proto generates (${difference}): run npm run generate.`);
      process.exitCode = 1;
    }
  } else {
    rmSync(gen, { recursive: true, force: true });
    cpSync(fresh, gen, { recursive: true });
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
