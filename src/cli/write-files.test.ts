import assert from "node:assert/strict";
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
import { writeFilesAtomically } from "./write-files.ts";

describe("writeFilesAtomically", () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "write-"));
  });

  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("replaces files for the owner alone and leaves nothing else", async () => {
    writeFileSync(join(folder, "key.pem"), "old", { mode: 0o644 });
    await writeFilesAtomically(folder, [
      ["svid.pem", "certificate"],
      ["key.pem", "key"],
    ]);
    assert.deepEqual(readdirSync(folder).sort(), ["key.pem", "svid.pem"]);
    assert.equal(readFileSync(join(folder, "key.pem"), "utf8"), "key");
    assert.equal(statSync(join(folder, "key.pem")).mode & 0o777, 0o600);
  });

  it("replaces a link instead of writing where it leads", async () => {
    const elsewhere = join(folder, "elsewhere");
    writeFileSync(elsewhere, "mine");
    symlinkSync(elsewhere, join(folder, "key.pem"));
    await writeFilesAtomically(folder, [["key.pem", "key"]]);
    assert.equal(readFileSync(elsewhere, "utf8"), "mine");
    assert.equal(readFileSync(join(folder, "key.pem"), "utf8"), "key");
  });

  it("changes nothing when one name cannot be taken", async () => {
    writeFileSync(join(folder, "svid.pem"), "old");
    mkdirSync(join(folder, "key.pem"));
    const files = [
      ["svid.pem", "new"],
      ["key.pem", "key"],
    ] as const;
    await assert.rejects(writeFilesAtomically(folder, files), { code: "ERR_SPIFFE_CONFIG" });
    assert.equal(readFileSync(join(folder, "svid.pem"), "utf8"), "old");
    assert.deepEqual(readdirSync(folder).sort(), ["key.pem", "svid.pem"]);
    rmSync(join(folder, "key.pem"), { recursive: true });
    await writeFilesAtomically(folder, files);
    assert.equal(readFileSync(join(folder, "svid.pem"), "utf8"), "new");
  });

  it("removes the folders it made when writing fails", async () => {
    const fresh = join(folder, "fresh", "er");
    await assert.rejects(writeFilesAtomically(fresh, [["no/such/folder.pem", "x"]]), { code: "ERR_SPIFFE_CONFIG" });
    assert.deepEqual(readdirSync(folder), []);
  });
});
