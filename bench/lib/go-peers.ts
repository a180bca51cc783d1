/** The peers in Go: built once per source state into the cache of built tools. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { root, run } from "../../scripts/lib/run.ts";

/** Path of the built program, or why there is none. */
export async function goPeers(): Promise<{ path: string } | { missing: string }> {
  const go = await run("go", ["version"], { timeoutMs: 20_000 });
  if (go.code !== 0) return { missing: "Go is not installed" };
  const source = join(root, "bench", "peers", "go");
  const hash = createHash("sha256").update(go.stdout);
  for (const name of readdirSync(source).sort()) {
    if (/\.go$|^go\.(?:mod|sum)$/.test(name)) hash.update(name).update(readFileSync(join(source, name)));
  }
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
  const folder = join(cache, "spiffe-edge", `bench-peers-${hash.digest("hex").slice(0, 12)}`);
  const path = join(folder, "peers");
  if (existsSync(path)) return { path };
  mkdirSync(folder, { recursive: true });
  const fresh = `${path}.${process.pid}`;
  const built = await run("go", ["build", "-mod=readonly", "-o", fresh, "."], {
    cwd: source,
    env: { CGO_ENABLED: "0" },
    timeoutMs: 300_000,
  });
  if (built.code !== 0) return { missing: `go build failed: ${built.output.trim().split("\n").at(-1)}` };
  renameSync(fresh, path);
  return { path };
}
