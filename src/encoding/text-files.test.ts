import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { skipWhen } from "../../test/support/skip.ts";
import { LIMITS } from "../base/index.ts";
import { readTextFile, writeTextFiles } from "./text-files.ts";

describe("text files", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "text-files-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const at = (name: string) => join(folder, name);
  const write = (...files: readonly (readonly [name: string, content: string])[]) =>
    writeTextFiles(files.map(([name, content]) => ({ path: at(name), content })));

  it("writes for the owner alone, whatever stood there, and leaves nothing else", async () => {
    writeFileSync(at("b.pem"), "old and longer", { mode: 0o644 });
    await write(["a.pem", "first"], ["b.pem", "second"]);
    assert.deepEqual(readdirSync(folder).sort(), ["a.pem", "b.pem"]);
    for (const [name, content] of [
      ["a.pem", "first"],
      ["b.pem", "second"],
    ] as const) {
      assert.equal(readFileSync(at(name), "utf8"), content);
      assert.equal(statSync(at(name)).mode & 0o777, 0o600);
      assert.equal(await readTextFile(at(name)), content);
    }
  });

  it("replaces a link instead of writing where it leads, and reads where it leads", async () => {
    writeFileSync(at("elsewhere"), "mine");
    symlinkSync(at("elsewhere"), at("key.pem"));
    assert.equal(await readTextFile(at("key.pem")), "mine");
    await write(["key.pem", "key"]);
    assert.equal(readFileSync(at("elsewhere"), "utf8"), "mine");
    assert.equal(readFileSync(at("key.pem"), "utf8"), "key");
  });

  it("changes nothing when one of the names cannot be taken", async () => {
    writeFileSync(at("a.pem"), "old");
    mkdirSync(at("b.pem"));
    await assert.rejects(write(["a.pem", "new"], ["b.pem", "new"]), { code: "ERR_SPIFFE_CONFIG", phase: "write" });
    await assert.rejects(write(["a.pem", "new"], ["none/b.pem", "new"]), { code: "ERR_SPIFFE_CONFIG" });
    await assert.rejects(write(["a.pem", "new"], ["a.pem/b.pem", "new"]), { code: "ERR_SPIFFE_CONFIG" });
    assert.equal(readFileSync(at("a.pem"), "utf8"), "old");
    assert.deepEqual(readdirSync(folder).sort(), ["a.pem", "b.pem"]);
    await write(["a.pem", "new"], ["c.pem", "new"]);
    assert.equal(readFileSync(at("a.pem"), "utf8"), "new");
  });

  it("does not write two contents to one file", async () => {
    await assert.rejects(write(["a.pem", "1"], ["./x/../a.pem", "2"]), { code: "ERR_SPIFFE_USAGE" });
    assert.deepEqual(readdirSync(folder), []);
    await write(["a.pem", "1"], ["b.pem", "2"]);
  });

  it("a reader meanwhile sees the old file or the new one, whole", async () => {
    const contents = ["x", "y"].map((letter) => letter.repeat(200_000));
    await write(["a.pem", contents[0]!]);
    let writing = true;
    const seen = new Set<string>();
    const reader = (async () => {
      while (writing) seen.add(await readTextFile(at("a.pem")));
    })();
    for (let turn = 1; turn <= 20; turn++) await write(["a.pem", contents[turn % 2]!]);
    writing = false;
    await reader;
    assert.ok(seen.size > 0 && [...seen].every((text) => contents.includes(text)));
  });

  it("reads nothing but regular files: a folder, a pipe, a device or nothing is an error at once", async () => {
    execFileSync("mkfifo", [at("pipe")]);
    for (const path of [folder, at("pipe"), "/dev/zero", at("missing"), `${at("nul")}\0`, undefined as never]) {
      await assert.rejects(readTextFile(path), { code: "ERR_SPIFFE_CONFIG", phase: "read" }, `${path}`);
    }
    writeFileSync(at("file"), "text");
    assert.equal(await readTextFile(at("file")), "text");
  });

  it("gives a character per byte, and never part of a long file as if it were all", async () => {
    writeFileSync(at("bytes"), Uint8Array.of(0xef, 0xbb, 0xbf, 0x41, 0xff));
    assert.equal((await readTextFile(at("bytes"))).length, 5);
    writeFileSync(at("full"), new Uint8Array(LIMITS.bundle).fill(0x61));
    assert.equal((await readTextFile(at("full"))).length, LIMITS.bundle);
    writeFileSync(at("long"), new Uint8Array(LIMITS.bundle + 100_000).fill(0x61));
    assert.ok((await readTextFile(at("long"))).length > LIMITS.bundle);
  });

  const denied = "tells what is not allowed from what is not there";
  it(denied, skipWhen(denied, process.platform === "linux" ? undefined : "only Linux has /sys"), async () => {
    // not even the superuser makes a file there
    const paths = ["/sys/spiffe-edge.pem", at("a.pem")] as const;
    await assert.rejects(writeTextFiles(paths.map((path) => ({ path, content: "1" }))), {
      code: "ERR_SPIFFE_PERMISSION",
      phase: "write",
    });
    assert.deepEqual(readdirSync(folder), []);
    await write(["a.pem", "1"]);
  });

  it("is a typed error where the runtime has no files", async () => {
    const original = process.getBuiltinModule;
    process.getBuiltinModule = (() => undefined) as never;
    try {
      await assert.rejects(readTextFile(at("a.pem")), { code: "ERR_SPIFFE_BACKEND" });
      await assert.rejects(write(["a.pem", "1"]), { code: "ERR_SPIFFE_BACKEND" });
    } finally {
      process.getBuiltinModule = original;
    }
    await write(["a.pem", "1"]);
    assert.equal(await readTextFile(at("a.pem")), "1");
  });
});
