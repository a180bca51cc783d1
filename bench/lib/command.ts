/** How a measuring process or a server is started. */
import { join } from "node:path";
import { bin, root } from "../../scripts/lib/run.ts";
import type { Runtime } from "./rows.ts";

/** The command line that runs a TypeScript file on a runtime. */
export function commandOf(runtime: Runtime, file: string, args: readonly string[]): [string, string[]] {
  // Heap sizes are taken after a collection.
  const flags = { bun: [], deno: ["run", "-A", "--no-check", "--v8-flags=--expose-gc"], node: ["--expose-gc"] }[
    runtime
  ];
  return [bin(runtime), [...flags, join(root, file), ...args]];
}
