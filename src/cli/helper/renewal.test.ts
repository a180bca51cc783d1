import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterEach, beforeEach, describe, it } from "node:test";
import { eventually } from "../../../test/support/eventually.ts";
import { ManualClock } from "../../authority/testing.ts";
import type { SpiffeError } from "../../base/index.ts";
import { Command, Notifier, PidFileSignal, type Renewal } from "./renewal.ts";

let folder: string;
let clock: ManualClock;
let results: (string | undefined)[];
let notifiers: Notifier[];

const at = (name: string) => join(folder, name);
const lines = (name: string) => (existsSync(at(name)) ? readFileSync(at(name), "utf8").split("\n").slice(0, -1) : []);

function notifier(renewal: Renewal): Notifier {
  const made = new Notifier(renewal, clock, (_, error) => void results.push(error?.message));
  notifiers.push(made);
  return made;
}

/** A command of the shell, which is asked for by name: none is used otherwise. */
function command(script: string, timeoutMs: number | undefined, signal?: NodeJS.Signals): Command {
  return new Command({ file: "/bin/sh", args: ["-c", script, "sh", folder], timeoutMs }, signal, clock);
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "renewal-"));
  clock = new ManualClock();
  results = [];
  notifiers = [];
});

afterEach(async () => {
  for (const made of notifiers) await made.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("a reload command", () => {
  it("is run for each generation, with its path in the environment and no shell between", async () => {
    const renewal = new Command(
      {
        file: "/bin/sh",
        args: ["-c", 'echo "$SPIFFE_EDGE_GENERATION" "$2" >> "$1/ran"', "sh", folder, "$(x) *"],
        timeoutMs: 10_000,
      },
      undefined,
      clock,
    );
    const made = notifier(renewal);
    made.notify("/g/1");
    await eventually(() => results.length === 1, "the first run");
    made.notify("/g/2");
    await eventually(() => results.length === 2, "the second run");
    assert.deepEqual(lines("ran"), ["/g/1 $(x) *", "/g/2 $(x) *"]);
    assert.deepEqual(results, [undefined, undefined]);
  });

  it("never runs twice at once, and only for the newest of those that came meanwhile", async () => {
    const made = notifier(
      command(
        'echo "start $SPIFFE_EDGE_GENERATION" >> "$1/ran"; while [ ! -e "$1/go" ]; do sleep 0.01; done; echo end >> "$1/ran"',
        60_000,
      ),
    );
    for (const generation of ["1", "2", "3", "4"]) {
      made.notify(generation);
      await eventually(() => lines("ran").length > 0, "the start");
    }
    writeFileSync(at("go"), "");
    await eventually(() => results.length === 2, "both runs");
    assert.deepEqual(lines("ran"), ["start 1", "end", "start 4", "end"]);
  });

  it("that fails is run again with growing pauses, until it succeeds", async () => {
    const made = notifier(command('echo "$SPIFFE_EDGE_GENERATION" >> "$1/ran"; [ -e "$1/ok" ]', 60_000));
    made.notify("1");
    await eventually(() => results.length === 1, "the failure");
    assert.match(results[0] ?? "", /\/bin\/sh ended with code 1$/);
    for (const [pause, count] of [
      [1_000, 2],
      [2_000, 3],
    ] as const) {
      await clock.advance(pause - 1);
      assert.equal(lines("ran").length, count - 1);
      await clock.advance(1);
      await eventually(() => results.length === count, `run ${count}`);
    }
    writeFileSync(at("ok"), "");
    await clock.advance(4_000);
    await eventually(() => results.length === 4, "the success");
    assert.equal(results[3], undefined);
    await clock.advance(600_000);
    assert.deepEqual(lines("ran"), ["1", "1", "1", "1"]);
  });

  it("that fails is run at once for a newer generation", async () => {
    const made = notifier(
      command('echo "$SPIFFE_EDGE_GENERATION" >> "$1/ran"; [ "$SPIFFE_EDGE_GENERATION" = 2 ]', 60_000),
    );
    made.notify("1");
    await eventually(() => results.length === 1, "the failure");
    made.notify("2");
    await eventually(() => results.length === 2, "the run for the newer one");
    assert.deepEqual([lines("ran"), results[1]], [["1", "2"], undefined]);
  });

  it("that takes too long is ended with all it started, and is a failure", async () => {
    const made = notifier(command('sleep 1000 & echo "$!" > "$1/child"; echo "$$" > "$1/pid"; wait', 5_000));
    made.notify("1");
    await eventually(() => lines("pid").length === 1, "its start");
    const pids = [Number(lines("pid")[0]), Number(lines("child")[0])];
    assert.ok(pids.every(isAlive));
    await clock.advance(5_000);
    await eventually(() => results.length === 1, "the failure");
    assert.match(results[0] ?? "", /did not end within 5000 ms/);
    await eventually(() => !pids.some(isAlive), "the end of both");
  });

  it("that can not be started is a failure", async () => {
    const made = notifier(new Command({ file: at("nothing"), args: [], timeoutMs: 1_000 }, undefined, clock));
    made.notify("1");
    await eventually(() => results.length === 1, "the failure");
    assert.match(results[0] ?? "", /can not be started/);
  });

  it("is ended when the helper ends", async () => {
    const made = notifier(command('echo "$$" > "$1/pid"; sleep 1000', 60_000));
    made.notify("1");
    await eventually(() => lines("pid").length === 1, "its start");
    await made.close();
    assert.ok(!isAlive(Number(lines("pid")[0])));
    assert.deepEqual(results, []);
    made.notify("2");
    assert.deepEqual(results, []);
  });
});

describe("a command that goes on running", () => {
  const script =
    'trap \'echo reload >> "$1/ran"\' HUP; trap "exit 3" USR1; echo "start $$" >> "$1/ran"; while :; do sleep 0.01; done';

  it("is signalled, and started anew once it has ended", async () => {
    const made = notifier(command(script, undefined, "SIGHUP"));
    made.notify("1");
    await eventually(() => lines("ran").length === 1, "its start");
    made.notify("2");
    await eventually(() => lines("ran").at(-1) === "reload", "the signal");
    assert.deepEqual(results, [undefined, undefined]);
    process.kill(Number(lines("ran")[0]!.slice(6)), "SIGUSR1");
    await eventually(() => results.length === 3, "its end");
    assert.match(results[2] ?? "", /ended with code 3/);
    await clock.advance(1_000);
    await eventually(() => lines("ran").length === 3, "the new start");
    assert.notEqual(lines("ran")[2], lines("ran")[0]);
  });
});

describe("a signal to the process of a pid file", () => {
  it("is sent for each generation, to the process that is named then", async () => {
    const received: string[] = [];
    const helper = notifier(
      command('trap "echo got >> $1/got" HUP; echo "$$" > "$1/pid"; while :; do sleep 0.01; done', undefined),
    );
    helper.notify("1");
    await eventually(() => lines("pid").length === 1, "the process");
    const made = new Notifier(new PidFileSignal(at("pid"), "SIGHUP"), clock, (kind, error) => {
      received.push(error?.message ?? kind);
    });
    notifiers.push(made);
    made.notify("1");
    await eventually(() => lines("got").length === 1, "the signal");
    assert.deepEqual(received, ["signal"]);
    made.notify("2");
    await eventually(() => lines("got").length === 2, "the second signal");
    // as PostgreSQL writes it
    writeFileSync(at("pid"), `${lines("pid")[0]}\n/var/lib/postgresql/data\n1795792720\n5432\n`);
    made.notify("3");
    await eventually(() => lines("got").length === 3, "the signal by the first line");
    assert.deepEqual(received, ["signal", "signal", "signal"]);
  });

  for (const [what, content, says] of [
    ["is not there", undefined, /can not be read \(ENOENT\)/],
    ["is empty", "", /holds no other process's ID/],
    ["holds words", "one", /holds no other/],
    ["holds words above a number", "one\n2147483000", /holds no other/],
    ["holds two numbers in a line", "1 2", /holds no other/],
    ["holds zero, a whole group", "0", /holds no other/],
    ["holds a negative number, a whole group", "-1", /holds no other/],
    ["holds this process", `${process.pid}\n`, /holds no other/],
    ["holds nobody's number", "2147483000", /to process 2147483000/],
  ] as const) {
    it(`fails while the file ${what}, and is tried again`, async () => {
      const errors: SpiffeError[] = [];
      const made = new Notifier(new PidFileSignal(at("pid"), "SIGWINCH"), clock, (_, error) => {
        if (error !== undefined) errors.push(error);
        else results.push("sent");
      });
      notifiers.push(made);
      if (content !== undefined) writeFileSync(at("pid"), content);
      made.notify("1");
      await eventually(() => errors.length === 1, "the failure");
      assert.match(errors[0]!.message, says);
      const other = notifier(command('echo "$$" > "$1/new"; while :; do sleep 0.01; done', undefined));
      other.notify("1");
      await eventually(() => lines("new").length === 1, "a process");
      writeFileSync(at("pid"), `${lines("new")[0]}\n`);
      await clock.advance(1_000);
      await eventually(() => results.includes("sent"), "the signal");
    });
  }
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(existsSync(`/proc/${pid}/status`) ? readFileSync(`/proc/${pid}/status`, "utf8") : "");
  } catch {
    return false;
  }
}
