import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { capabilities } from "../runtime/capabilities.ts";
import { runtime } from "../runtime/detect.ts";

/** Runs a module's text in a new process of this runtime; its exit code. */
function run(script: string): Promise<number | null> {
  const args = {
    node: ["--conditions=spiffe-edge-source", "--input-type=module", "--eval", script],
    bun: ["--conditions=spiffe-edge-source", "--eval", script],
    deno: ["eval", "--no-check", "--ext=ts", script],
    workerd: [],
  }[runtime.name];
  return new Promise((resolve) => {
    spawn(process.execPath, args, { stdio: "ignore" }).once("exit", (code) => resolve(code));
  });
}

const moduleOf = (name: string) => JSON.stringify(fileURLToPath(new URL(name, import.meta.url)));

describe("lines that gather when the process ends", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "spiffe-edge-exit-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** What is in the file of a process that logs a line, and two more while lines gather, and ends in the same turn of its loop. */
  async function written(how: string): Promise<string> {
    const path = join(folder, `${how.replace(/\W/g, "")}.log`);
    const code = await run(`
      import process from "node:process";
      import { readFileSync } from "node:fs";
      const { flushAtExit } = await import(${moduleOf("./flush-at-exit.ts")});
      const { LineBuffer } = await import(${moduleOf("./line-buffer.ts")});
      const { LogFile } = await import(${moduleOf("./log-file.ts")});
      const file = await LogFile.open(${JSON.stringify(path)});
      const lines = new LineBuffer({ write: (text) => file.write(new TextEncoder().encode(text)), writeNow: (text) => file.writeNow(text) });
      const forget = flushAtExit(lines);
      setTimeout(() => {}, 60_000);
      lines.push("0\\n");
      while (readFileSync(${JSON.stringify(path)}, "utf8") === "") await new Promise((resolve) => setImmediate(resolve));
      lines.push("1\\n");
      lines.push("\\u20ac\\n");
      ${how};
    `);
    return `${code} ${readFileSync(path, "utf8")}`;
  }

  it("are in the file after process.exit(), and would not be otherwise", async () => {
    assert.equal(await written("process.exit(3)"), "3 0\n1\n\u20ac\n");
    assert.equal(await written("forget(); process.exit(3)"), "3 0\n");
  });

  it("are there after an error and a rejection that nobody caught, where the runtime tells the end of it", async () => {
    const expected = capabilities.exitAfterError.value ? "1 0\n1\n\u20ac\n" : "1 0\n";
    assert.equal(await written("queueMicrotask(() => { throw new Error('nobody') })"), expected);
    assert.equal(await written("Promise.reject(new Error('nobody'))"), expected);
  });

  it("of alike refusals, their number is there too, and an access log that is closed leaves the end alone", async () => {
    const path = join(folder, "access.log");
    const access = moduleOf("../gateway/access-log.ts");
    const open = `
      import process from "node:process";
      const { AccessLog } = await import(${access});
      const { systemClock } = await import(${moduleOf("../base/index.ts")});
      const { silentLogger } = await import(${moduleOf("./logger.ts")});
      const log = await AccessLog.open({ file: ${JSON.stringify(path)}, everyRefusal: false }, silentLogger, systemClock);
      const refusal = { listener: "a", peer: "b", reason: "c", route: "d", status: 403 };
      for (let i = 0; i < 7; i++) log.write(() => refusal, true);
    `;
    assert.equal(await run(`${open} process.exit(0);`), 0);
    const counts = readFileSync(path, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => (JSON.parse(line) as { equal?: number }).equal ?? 1);
    assert.deepEqual(counts, [1, 6]);
    assert.equal(await run(`${open} await log.close(); if (process.listenerCount("exit") > 0) process.exit(9);`), 0);
  });
});
