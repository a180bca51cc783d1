import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { onThisRuntime, Program } from "../../../test/support/programs.ts";
import { systemClock } from "../../base/index.ts";
import { FolderLock } from "./lock.ts";

const NAME = ".spiffe-edge-helper.lock";
const HELD = { code: "ERR_SPIFFE_CONFIG", phase: "lock", message: /only helper that writes to .*another one does/ };

let folder: string;
let locks: FolderLock[] = [];

/** A lock that does not outlive its test. */
function lockOf(path: string): FolderLock {
  const lock = new FolderLock(path, systemClock);
  locks.push(lock);
  return lock;
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lock-"));
});

afterEach(() => {
  for (const lock of locks) lock.release();
  locks = [];
  rmSync(folder, { recursive: true, force: true });
});

describe("the lock of a folder", () => {
  it("is held by one, and by the next once it is given up", async () => {
    const [first, second] = [lockOf(folder), lockOf(folder)];
    await first.hold();
    await assert.rejects(second.hold(), HELD);
    await first.hold();
    assert.deepEqual(readdirSync(folder), [NAME]);
    first.release();
    assert.deepEqual(readdirSync(folder), []);
    await second.hold();
    await assert.rejects(first.hold(), HELD);
  });

  it("is held by one of many that want it at once, also where a dead one lies", async () => {
    for (const dead of [false, true]) {
      if (dead) await leftBehind();
      const wanted = Array.from({ length: 8 }, () => lockOf(folder));
      const verdicts = await Promise.allSettled(wanted.map((lock) => lock.hold()));
      const refused = verdicts.flatMap((verdict) => (verdict.status === "rejected" ? [verdict.reason] : []));
      assert.equal(refused.length, 7);
      for (const { code, phase } of refused) assert.deepEqual([code, phase], ["ERR_SPIFFE_CONFIG", "lock"]);
      assert.deepEqual(readdirSync(folder), [NAME]);
      for (const lock of wanted) lock.release();
    }
  });

  it("is not taken from who came after the dead one was seen, however long that is ago", async () => {
    await leftBehind();
    const holder = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => holder.listen(join(folder, "other"), resolve));
    try {
      const late = lockOf(folder).hold();
      // as another process does between two steps of this one
      renameSync(join(folder, "other"), join(folder, NAME));
      await assert.rejects(late, HELD);
      assert.deepEqual(readdirSync(folder), [NAME]);
    } finally {
      holder.close();
    }
    await lockOf(folder).hold();
  });

  it("of a process that was killed is no hindrance, and of one that runs is one", async () => {
    const program = await holder();
    await assert.rejects(lockOf(folder).hold(), HELD);
    await killed(program);
    assert.deepEqual(readdirSync(folder), [NAME]);
    await lockOf(folder).hold();
  });

  it("is noticed to be lost to another, and taken anew where the folder was removed", async () => {
    const [first, second] = [lockOf(folder), lockOf(folder)];
    await first.hold();
    rmSync(folder, { recursive: true });
    await first.hold();
    assert.deepEqual(readdirSync(folder), [NAME]);
    renameSync(join(folder, NAME), join(folder, "elsewhere"));
    await second.hold();
    await assert.rejects(first.hold(), HELD);
    first.release();
    await second.hold();
  });

  it("works in a folder whose path is too long for a socket", async () => {
    const deep = join(folder, "d".repeat(100), "e".repeat(100));
    const [first, second] = [lockOf(deep), lockOf(deep)];
    await first.hold();
    await assert.rejects(second.hold(), HELD);
    first.release();
    await second.hold();
    assert.deepEqual(readdirSync(deep), [NAME]);
  });

  it("takes nothing away that is no lock, and says why it can not be had", async () => {
    writeFileSync(join(folder, NAME), "mine");
    await assert.rejects(lockOf(folder).hold(), { code: "ERR_SPIFFE_CONFIG", message: /is in the way/ });
    await assert.rejects(lockOf("/dev/null/certs").hold(), {
      code: "ERR_SPIFFE_CONFIG",
      message: /\/dev\/null\/certs/,
    });
    mkdirSync(join(folder, "other"));
    await lockOf(join(folder, "other")).hold();
  });
});

/** A process that holds the lock. */
async function holder(): Promise<Program> {
  const program = new Program(onThisRuntime("test/support/hold-lock.ts", [folder]));
  await program.until(/held/);
  return program;
}

async function killed(program: Program): Promise<void> {
  program.child.kill("SIGKILL");
  await program.ended;
}

async function leftBehind(): Promise<void> {
  await killed(await holder());
}
