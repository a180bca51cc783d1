import assert from "node:assert/strict";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { onThisRuntime, Program } from "../../../test/support/programs.ts";
import { type GenerationFile, withdrawGenerations, writeGeneration } from "./generation.ts";

describe("writeGeneration", () => {
  let folder: string;
  const files = (content: string): GenerationFile[] => [
    { name: "svid.pem", content, mode: 0o644 },
    { name: "key.pem", content, mode: 0o600 },
  ];
  const current = (name: string) => readFileSync(join(folder, "current", name), "utf8");
  const generations = () => readdirSync(folder).filter((name) => name.startsWith("generation-"));

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "generations-"));
  });

  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("leads current to the new files, each with its mode whatever the umask, and keeps one generation before", () => {
    const before = process.umask(0o077);
    try {
      for (let n = 1; n <= 4; n++) {
        const path = writeGeneration(folder, files(`${n}`), n);
        assert.equal(current("svid.pem"), `${n}`);
        assert.equal(join(folder, readlinkSync(join(folder, "current"))), path);
        assert.equal(generations().length, Math.min(n, 2));
      }
    } finally {
      process.umask(before);
    }
    assert.equal(statSync(join(folder, "current", "key.pem")).mode & 0o777, 0o600);
    assert.equal(statSync(join(folder, "current", "svid.pem")).mode & 0o777, 0o644);
    assert.equal(statSync(join(folder, "current/")).mode & 0o777, 0o755);
    assert.equal(readdirSync(folder).length, 3);
  });

  it("makes the folder, and leaves alone what is not its own", () => {
    const fresh = join(folder, "a", "b");
    writeGeneration(fresh, files("1"), 1);
    mkdirSync(join(fresh, "generation-mine"));
    writeFileSync(join(fresh, "svid.pem"), "mine");
    for (let n = 2; n <= 4; n++) writeGeneration(fresh, files(`${n}`), n);
    assert.equal(readFileSync(join(fresh, "svid.pem"), "utf8"), "mine");
    assert.ok(readdirSync(fresh).includes("generation-mine"));
  });

  it("removes what a stopped writer left", () => {
    writeGeneration(folder, files("1"), 1);
    mkdirSync(join(folder, "generation-000000000000002-0123abcd"));
    writeFileSync(join(folder, "generation-000000000000002-0123abcd", "key.pem"), "half");
    symlinkSync("generation-000000000000002-0123abcd", join(folder, ".current-0123abcd"));
    writeGeneration(folder, files("3"), 3);
    assert.equal(current("svid.pem"), "3");
    assert.equal(readdirSync(folder).length, 3);
  });

  it("changes nothing when a file can not be written, or something else is called current", () => {
    writeGeneration(folder, files("1"), 1);
    const wrong = [...files("2"), { name: "no/such/folder", content: "", mode: 0o600 }];
    assert.throws(() => writeGeneration(folder, wrong, 2), { code: "ERR_SPIFFE_CONFIG" });
    assert.equal(current("svid.pem"), "1");
    assert.equal(generations().length, 1);
    const taken = join(folder, "taken");
    mkdirSync(join(taken, "current"), { recursive: true });
    assert.throws(() => writeGeneration(taken, files("1"), 1), { code: "ERR_SPIFFE_CONFIG", message: /is no link/ });
    assert.throws(() => withdrawGenerations(taken), { code: "ERR_SPIFFE_CONFIG" });
    assert.deepEqual(readdirSync(taken), ["current"]);
    writeGeneration(folder, files("3"), 3);
    assert.equal(current("svid.pem"), "3");
  });

  it("withdraws link and generations, and nothing else", () => {
    writeFileSync(join(folder, "mine"), "");
    writeGeneration(folder, files("1"), 1);
    withdrawGenerations(folder);
    withdrawGenerations(folder);
    assert.deepEqual(readdirSync(folder), ["mine"]);
    writeGeneration(folder, files("2"), 2);
    assert.equal(current("key.pem"), "2");
  });

  it("a writer that is killed at any moment leaves a whole generation behind", async () => {
    const seen = new Set<string>();
    for (let round = 0; round < 12; round++) {
      const program = new Program(onThisRuntime("test/support/write-generations.ts", [folder]));
      await program.until(/written/);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 60));
      program.child.kill("SIGKILL");
      await program.ended;
      const contents = new Set(readdirSync(join(folder, "current")).map((name) => current(name)));
      assert.equal(readdirSync(join(folder, "current")).length, 4);
      assert.equal(contents.size, 1, "files of different generations");
      const [content = ""] = contents;
      assert.match(content, /^(\d+-\d+ )\1{1999}$/);
      seen.add(content);
      // The one before, the current one, and at most one that was being written.
      assert.ok(generations().length <= 3);
    }
    assert.equal(seen.size, 12);
    writeGeneration(folder, files("last"), 1);
    assert.equal(generations().length, 2);
    assert.equal(readdirSync(folder).length, 3);
  });
});
