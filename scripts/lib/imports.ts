/** Reads which module imports what, without compiling. */
import { globSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { init, parse } from "es-module-lexer";
import { root } from "./run.ts";

await init;

export interface ImportRecord {
  /** As written, such as `../base/index.ts` or `node:tls`; empty for a computed name. */
  specifier: string;
  /** The imported file from the checkout's root, for a relative specifier. */
  target?: string;
  line: number;
  /** Erased when types are stripped. */
  typeOnly: boolean;
}

export interface SourceFile {
  /** Path from the checkout's root. */
  path: string;
  text: string;
  imports: readonly ImportRecord[];
}

function lineAt(text: string, index: number): number {
  return text.slice(0, index).split("\n").length;
}

function importsOf(path: string, text: string): ImportRecord[] {
  const records: ImportRecord[] = [];
  for (const found of parse(text, path)[0]) {
    if (found.type === "import-meta") continue;
    const specifier = found.specifier ?? "";
    const typeOnly = found.type === "dynamic" ? found.probablyTypeOnly : found.typeOnly;
    const record: ImportRecord = { specifier, line: lineAt(text, found.importStart), typeOnly };
    if (specifier.startsWith(".")) record.target = posix.join(posix.dirname(path), specifier);
    records.push(record);
  }
  return records;
}

/** A source from its text; the path is from the checkout's root. */
export function sourceFile(path: string, text: string): SourceFile {
  return { path, text, imports: importsOf(path, text) };
}

/** All TypeScript sources that match the patterns, generated code aside. */
export function readSources(patterns: readonly string[]): SourceFile[] {
  const paths = globSync([...patterns], { cwd: root, exclude: (name) => name === "node_modules" || name === "dist" });
  return paths
    .filter((path) => !path.startsWith("src/gen/") && !path.endsWith(".d.ts"))
    .sort()
    .map((path) => sourceFile(path, readFileSync(`${root}/${path}`, "utf8")));
}

/** Every import statement that runs when `entry` is loaded, each with the chain of files that leads to it. */
export function* reachable(
  entry: string,
  files: ReadonlyMap<string, SourceFile>,
): Generator<{ chain: readonly string[]; record: ImportRecord }> {
  const seen = new Set([entry]);
  const queue: string[][] = [[entry]];
  for (let chain = queue.shift(); chain !== undefined; chain = queue.shift()) {
    for (const record of files.get(chain.at(-1)!)?.imports ?? []) {
      if (record.typeOnly) continue;
      yield { chain, record };
      if (record.target === undefined || seen.has(record.target)) continue;
      seen.add(record.target);
      queue.push([...chain, record.target]);
    }
  }
}
