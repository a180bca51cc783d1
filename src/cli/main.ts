#!/usr/bin/env node
/** The command `spiffe-edge`. */
import process from "node:process";
import { EXIT } from "./exit.ts";
import { run } from "./program.ts";

// Whoever read the output has left, as `head` does; there is nobody to tell it to.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => process.exit(EXIT.failed));
const code = await run(process.argv.slice(2));
// What was printed goes out first; then neither timers nor pooled connections of a finished command hold the process.
for (const stream of [process.stdout, process.stderr]) await new Promise((done) => stream.write("", done));
process.exit(code);
