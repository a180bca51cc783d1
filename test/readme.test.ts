/** README shows what runs: its blocks are the example files, and the examples do on this runtime what it says. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Authority } from "../src/authority/index.ts";
import { onThisRuntime, Program, root, runProgram } from "./support/programs.ts";
