#!/usr/bin/env node
/** The command `spiffe-edge`. */
import process from "node:process";
import { run } from "./program.ts";

const code = await run(process.argv.slice(2));
// What was printed goes out first; then neither timers nor pooled connections of a finished command hold the process.
for (const stream of [process.stdout, process.stderr]) await new Promise((done) => stream.write("", done));
process.exit(code);
