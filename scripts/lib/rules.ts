/** What the sources must hold to, as a table: each rule reads files and yields one line per violation. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { type ImportRecord, reachable, type SourceFile } from "./imports.ts";
import { root } from "./run.ts";

export interface Sources {
  /** Everything under src and mod.ts, tests included. */
  all: readonly SourceFile[];
  /** The product alone. */
  product: readonly SourceFile[];
  byPath: ReadonlyMap<string, SourceFile>;
  /** test, scripts, bench. */
  around: readonly SourceFile[];
}

export interface Rule {
  name: string;
  about: string;
  check(sources: Sources): Iterable<string>;
}

/** Height of each folder: it imports only what is lower. Folders of one height do not know each other. */
const RUNGS: readonly (readonly string[])[] = [
  ["base"],
  ["encoding", "id", "telemetry", "runtime", "gen"],
  ["crypto"],
  ["x509", "jwt"],
  ["bundle"],
  ["workload"],
  ["tls", "policy"],
  ["spire", "federation", "exp"],
  ["gateway", "authority"],
  // The sub-path for tests joins both folders below it.
  ["authority/testing.ts"],
  ["healing"],
  ["controller"],
  ["cli"],
];
const RUNG: ReadonlyMap<string, number> = new Map(RUNGS.flatMap((names, rung) => names.map((name) => [name, rung])));

/** Folders that run in workerd and in a browser. */
const PORTABLE: readonly string[] = [
  "base",
  "id",
  "encoding",
  "crypto",
  "x509",
  "jwt",
  "bundle",
  "policy",
  "gateway/middleware",
];

/** Modules that load without any of the runtime's own modules and without the named packages. */
const PORTABLE_ENTRIES: Readonly<Record<string, RegExp>> = {
  "mod.ts": /^(?:node:|bun:|pkijs|asn1js|@connectrpc\/|hono|@hono\/)/,
  "src/crypto/index.ts": /^(?:node:|bun:|pkijs|asn1js|@connectrpc\/|hono|@hono\/)/,
  "src/policy/index.ts": /^(?:node:|bun:|pkijs|asn1js|@connectrpc\/|hono|@hono\/)/,
};

/** Which package is imported by which folders or files of src only. */
const PACKAGES: readonly { package: RegExp; only: readonly string[] }[] = [
  { package: /^(?:hono|@hono)(?:\/|$)/, only: ["gateway", "tls/fetch-handler.ts"] },
  { package: /^@connectrpc\//, only: ["workload", "spire", "authority", "exp"] },
  { package: /^@bufbuild\//, only: ["workload", "spire", "authority", "exp", "gen"] },
  { package: /^(?:pkijs|asn1js)$/, only: ["authority", "x509/csr.ts"] },
  { package: /^commander$/, only: ["cli"] },
  { package: /^ioredis$/, only: ["gateway/rates"] },
  { package: /^@opentelemetry\//, only: ["telemetry/tracing.ts", "gateway/request-trace.ts"] },
];

/** Words that only the named places of src may hold; comments do not count. */
const WORDS: readonly { word: RegExp; only: readonly string[]; why: string }[] = [
  { word: /\.getPeer(?:X509)?Certificate\b/, only: ["tls/chain.ts"], why: "S-2: one place reads the peer certificate" },
  {
    word: /\bcreateSecureServer\(|\.setSecureContext\(/,
    only: ["tls/options.ts"],
    why: "S-3: one place makes contexts",
  },
  { word: /\.authorized\b/, only: [], why: "S-4: what the runtime's TLS thinks of a peer is never read" },
];

function folderOf(path: string): string | undefined {
  const inside = /^src\/(.+)$/.exec(path)?.[1];
  if (inside === undefined) return undefined;
  return RUNG.has(inside) ? inside : inside.split("/")[0];
}

function isIn(path: string, places: readonly string[]): boolean {
  return places.some((place) => path === `src/${place}` || path.startsWith(`src/${place}/`));
}

/** The lines of a file with comments blanked; a `//` counts only where no string can hold it. */
function codeLines(text: string): string[] {
  const withoutBlocks = text.replace(/^[ \t]*\/\*[\s\S]*?\*\//gm, (block) => block.replace(/[^\n]/g, " "));
  return withoutBlocks.split("\n").map((line) => line.replace(/(^|\s)\/\/\s.*$/, "$1"));
}

function* wordsIn(file: SourceFile, word: RegExp): Generator<string> {
  for (const [index, line] of codeLines(file.text).entries()) {
    if (word.test(line)) yield `${file.path}:${index + 1}: ${line.trim().slice(0, 80)}`;
  }
}

function at(file: SourceFile, record: ImportRecord): string {
  return `${file.path}:${record.line}`;
}

function* directions({ product }: Sources): Generator<string> {
  for (const file of product) {
    const from = folderOf(file.path);
    const height = from === undefined ? RUNGS.length : RUNG.get(from);
    if (height === undefined) {
      yield `${file.path}: the folder ${from} has no place in the order of folders`;
      continue;
    }
    for (const record of file.imports) {
      const to = record.target === undefined ? undefined : folderOf(record.target);
      if (to === undefined || to === from) continue;
      const target = RUNG.get(to);
      if (target === undefined) yield `${at(file, record)}: ${to} has no place in the order of folders`;
      else if (target >= height) yield `${at(file, record)}: ${from} must not import ${to}, which is not below it`;
      else if (isIn(file.path, PORTABLE) && (to === "telemetry" || to === "runtime")) {
        yield `${at(file, record)}: portable ${from} must not import ${to}`;
      }
    }
  }
}

function* portableFolders({ product }: Sources): Generator<string> {
  for (const file of product) {
    if (!isIn(file.path, PORTABLE)) continue;
    for (const record of file.imports) {
      if (/^(?:node|bun):/.test(record.specifier))
        yield `${at(file, record)}: portable code imports ${record.specifier}`;
      if (record.specifier === "") yield `${at(file, record)}: portable code imports a computed name`;
    }
    for (const place of wordsIn(file, /\bBuffer\b/)) yield `${place} (Buffer in portable code)`;
    if (isIn(file.path, ["policy", "gateway/middleware"])) continue;
    for (const place of wordsIn(file, /\bnew URL\(/)) yield `${place} (an ID never passes through URL)`;
  }
}

function* portableEntries({ byPath, product }: Sources): Generator<string> {
  const entries = new Map(Object.entries(PORTABLE_ENTRIES));
  for (const { path } of product) {
    if (isIn(path, ["gateway/middleware"])) entries.set(path, /^(?:node:|bun:|pkijs|asn1js|@connectrpc\/)/);
  }
  for (const [entry, forbidden] of entries) {
    if (!byPath.has(entry)) yield `${entry} does not exist`;
    for (const { chain, record } of reachable(entry, byPath)) {
      if (forbidden.test(record.specifier))
        yield `${chain.join(" → ")} reaches ${record.specifier} (line ${record.line})`;
    }
  }
}

function* packages({ product }: Sources): Generator<string> {
  const { dependencies } = JSON.parse(readFileSync(`${root}/package.json`, "utf8")) as {
    dependencies: Record<string, string>;
  };
  for (const file of product) {
    for (const record of file.imports) {
      const { specifier } = record;
      if (specifier === "" || specifier.startsWith(".") || /^(?:node|bun):/.test(specifier)) continue;
      const name = specifier
        .split("/")
        .slice(0, specifier.startsWith("@") ? 2 : 1)
        .join("/");
      if (dependencies[name] === undefined) yield `${at(file, record)}: ${name} is not a dependency of the package`;
      for (const rule of PACKAGES) {
        if (rule.package.test(specifier) && !isIn(file.path, rule.only)) {
          yield `${at(file, record)}: ${specifier} is imported only in ${rule.only.join(", ")}`;
        }
      }
    }
  }
}

function* words({ product }: Sources): Generator<string> {
  for (const { word, only, why } of WORDS) {
    for (const file of product) {
      if (isIn(file.path, only)) continue;
      for (const place of wordsIn(file, word)) yield `${place} (${why})`;
    }
  }
}

function* clocks({ product }: Sources): Generator<string> {
  const allowed = [
    "base/clock.ts",
    "telemetry",
    "cli",
    "authority/test-ca.ts",
    "authority/test-jwt.ts",
    "gateway/middleware/peer-env.ts",
  ];
  for (const file of product) {
    if (isIn(file.path, allowed)) continue;
    for (const place of wordsIn(file, /\bDate\.now\(|\bnew Date\(\)|\bperformance\.now\(/))
      yield `${place} (time comes from a Clock)`;
  }
}

function* subPaths({ byPath }: Sources): Generator<string> {
  type Conditions = { "spiffe-edge-source": string; types: string; default: string };
  type Target = string | (Conditions & { workerd?: Conditions });
  const npm = JSON.parse(readFileSync(`${root}/package.json`, "utf8")) as {
    version: string;
    exports: Record<string, Target>;
    bin: Record<string, string>;
  };
  const jsr = JSON.parse(readFileSync(`${root}/deno.json`, "utf8")) as {
    version: string;
    exports: Record<string, string>;
  };
  if (npm.version !== jsr.version) yield `package.json is version ${npm.version}, deno.json ${jsr.version}`;
  const listed = Object.entries(npm.exports).filter(([, target]) => typeof target !== "string") as [
    string,
    Exclude<Target, string>,
  ][];
  for (const [path, target] of listed) {
    const source = target["spiffe-edge-source"];
    if (jsr.exports[path] !== source)
      yield `${path}: package.json says ${source}, deno.json says ${jsr.exports[path] ?? "nothing"}`;
    for (const conditions of target.workerd === undefined ? [target] : [target.workerd, target]) {
      const built = `./dist/${conditions["spiffe-edge-source"].slice(2, -3)}`;
      if (!byPath.has(conditions["spiffe-edge-source"].slice(2))) yield `${path}: a source does not exist`;
      if (conditions.default !== `${built}.js`) yield `${path}: "default" must be ${built}.js`;
      if (conditions.types !== `${built}.d.ts`) yield `${path}: "types" must be ${built}.d.ts`;
      // conditions are tried in the order in which they stand
      if (!/^(?:workerd,)?spiffe-edge-source,types,default$/.test(Object.keys(conditions).join()))
        yield `${path}: conditions must be (workerd,) spiffe-edge-source, types, default`;
    }
  }
  for (const path of Object.keys(jsr.exports)) {
    if (npm.exports[path] === undefined) yield `${path} is in deno.json only`;
  }
  for (const target of Object.values(npm.bin)) {
    const source = target.replace(/^\.\/dist\/(.*)\.js$/, "$1.ts");
    if (!byPath.has(source)) yield `the command ${target} has no source ${source}`;
  }
}

function* testStyle({ all, around }: Sources): Generator<string> {
  const tests = [...all, ...around].filter(({ path }) => /\.(?:test|e2e)\.ts$/.test(path));
  const skips = /\b(?:it|describe|test|t|context)\.(?:skip|todo|only)\b|\b(?:skip|todo|only):\s*(?!undefined)/;
  for (const file of tests) {
    for (const place of wordsIn(file, skips)) yield `${place} (skip through test/support/skip.ts, never by hand)`;
    for (const record of file.imports) {
      if (/^(?:bun:test|jsr:|npm:|https?:)/.test(record.specifier))
        yield `${at(file, record)}: ${record.specifier} is not for tests that run on three runtimes`;
    }
  }
}

/** Files under version control or about to be, from the root; in a tree without git, the usual folders. */
function textFiles(): string[] {
  const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
    encoding: "utf8",
  });
  return listed
    .split("\n")
    .filter((path) =>
      /\.(?:ts|mts|mjs|js|md|json|ya?ml|sh|conf|proto|toml|capnp|go)$|(?:^|\/)(?:Dockerfile|run)$/.test(path),
    )
    .filter((path) => existsSync(`${root}/${path}`));
}

function* workplacePaths(): Generator<string> {
  const word = new RegExp(
    ["work", "root", "home\\/[a-z]+"].map((name) => `(?<![\\w.$}~/-])\\/${name}\\/[\\w.]`).join("|"),
  );
  for (const path of textFiles()) {
    const lines = readFileSync(`${root}/${path}`, "utf8").split("\n");
    for (const [index, line] of lines.entries()) {
      if (word.test(line)) yield `${path}:${index + 1}: absolute path of a workplace: ${line.trim().slice(0, 80)}`;
    }
  }
}

function* links(): Generator<string> {
  for (const path of textFiles().filter((name) => name.endsWith(".md"))) {
    const text = readFileSync(`${root}/${path}`, "utf8");
    for (const match of text.matchAll(/\]\(([^)\s#]+)(?:#[^)]*)?\)/g)) {
      const target = match[1]!;
      if (/^[a-z]+:/.test(target)) continue;
      const file = posix.join(posix.dirname(path), target);
      if (!existsSync(`${root}/${file}`))
        yield `${path}:${text.slice(0, match.index).split("\n").length}: the link to ${target} leads nowhere`;
    }
  }
}

export const RULES: readonly Rule[] = [
  { name: "directions", about: "folders import only downwards, types included", check: directions },
  { name: "portable-folders", about: "no node: import, Buffer or URL in portable folders", check: portableFolders },
  { name: "portable-entries", about: "the portable core reaches nothing of a runtime", check: portableEntries },
  { name: "packages", about: "packages are dependencies and imported where they belong", check: packages },
  { name: "words", about: "TLS internals are touched in one place", check: words },
  { name: "clocks", about: "no logic reads the clock itself", check: clocks },
  { name: "sub-paths", about: "package.json and deno.json list the same sub-paths", check: subPaths },
  { name: "test-style", about: "tests skip through the helper", check: testStyle },
  { name: "workplace", about: "no absolute path of a workplace", check: workplacePaths },
  { name: "links", about: "relative links in documents lead to files", check: links },
];
