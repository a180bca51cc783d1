import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { ManualClock } from "../authority/testing.ts";
import { isSpiffeError, systemClock } from "../base/index.ts";
import { LineBuffer } from "../telemetry/line-buffer.ts";
import { silentLogger } from "../telemetry/logger.ts";
import { AccessLog, type AccessLogConfig } from "./access-log.ts";
import { parseGatewayConfig } from "./config.ts";
import { requestLog } from "./world.testing.ts";

const COMMON = { file: undefined, everyRefusal: false };
const refusal = (number: number, more: object = {}) => {
  const alike = { listener: "mesh", peer: "spiffe://a/b", reason: "policy.denied", route: "r", status: 403 };
  return { requestId: `r${number}`, ...alike, ...more };
};

describe("access log", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "access-log-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));
  const linesOf = (name: string) =>
    readFileSync(join(folder, name), "utf8")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Record<string, unknown>);

  it("equal refusals are one line in ten seconds, with their number; the sum is all requests", async () => {
    const log = requestLog();
    const clock = new ManualClock();
    const access = await AccessLog.open(COMMON, log, clock);
    const settle = () => new Promise((resolve) => setImmediate(resolve));
    for (let i = 0; i < 5; i++) access.write(() => refusal(i), true);
    for (const more of [{ listener: "b" }, { peer: "c" }, { reason: "d" }, { route: "e" }, { status: 404 }])
      access.write(() => refusal(9, more), true);
    access.write(() => refusal(10), false);
    assert.deepEqual(
      log.lines.map((line) => line.requestId),
      ["r0", "r9", "r9", "r9", "r9", "r9", "r10"],
    );
    await clock.advance(9_999);
    await settle();
    assert.equal(log.lines.length, 7);
    await clock.advance(1);
    await settle();
    assert.deepEqual([log.lines.length, log.lines[7]?.requestId, log.lines[7]?.equal], [8, "r4", 4]);
    access.write(() => refusal(11), true);
    access.write(() => refusal(12), true);
    assert.equal(log.lines.at(-1)?.requestId, "r11");
    await access.close();
    assert.deepEqual([log.lines.at(-1)?.requestId, log.lines.at(-1)?.equal], ["r12", 1]);
    assert.equal(
      log.lines.reduce((sum, { equal = 1 }) => sum + Number(equal), 0),
      13,
    );
  });

  it("kinds beyond the bound get a line each", async () => {
    const log = requestLog();
    const access = await AccessLog.open(COMMON, log, systemClock);
    for (let i = 0; i < 2_200; i++) access.write(() => refusal(i, { peer: `p${i % 1_100}` }), true);
    // the hundred that have no room are told both times
    assert.equal(log.lines.length, 1_000 + 200);
    await access.close();
    assert.equal(
      log.lines.reduce((sum, { equal = 1 }) => sum + Number(equal), 0),
      2_200,
    );
  });

  it("everyRefusal tells each, false tells none", async () => {
    for (const [config, lines] of [
      [{ ...COMMON, everyRefusal: true }, 3],
      [COMMON, 1],
      [false, 0],
    ] as [AccessLogConfig, number][]) {
      const log = requestLog();
      const access = await AccessLog.open(config, log, systemClock);
      for (let i = 0; i < 3; i++) access.write(() => refusal(i), true);
      assert.equal(log.lines.length, lines);
      await access.close();
    }
  });

  it("a file gets every line, in order, over a rename and a reopening, and none is lost at the end", async () => {
    const file = join(folder, "access.log");
    const access = await AccessLog.open({ file, everyRefusal: false }, silentLogger, systemClock);
    for (let i = 0; i < 10_000; i++) {
      access.write(() => ({ number: i }), false);
      if (i === 4_000) await new Promise((resolve) => setTimeout(resolve, 5));
      if (i === 5_000) {
        renameSync(file, `${file}.1`);
        await access.reopen();
      }
    }
    await access.close();
    const [old, young] = [linesOf("access.log.1"), linesOf("access.log")];
    assert.deepEqual([old.length, young.length], [5_001, 4_999]);
    assert.ok([...old, ...young].every((line, i) => line.number === i && line.message === "request"));
    assert.equal(statSync(file).mode & 0o777, 0o640);
    assert.equal(access.dropped, 0);
  });

  it("a file gets lines of every length and character, with the time of the request and not of the writing", async () => {
    const file = join(folder, "lengths.log");
    const access = await AccessLog.open({ file, everyRefusal: false }, silentLogger, systemClock, 2);
    // one that is longer than a write, and enough for several
    const paths = ["/", "/\u20ac", "x".repeat(300_000), ...Array.from({ length: 20 }, (_, i) => `${i}`.repeat(20_000))];
    const before = Date.now();
    for (const path of paths) access.write(() => ({ path }), false);
    const after = Date.now();
    while (Date.now() < after + 2) await new Promise((resolve) => setImmediate(resolve));
    await access.close();
    const lines = linesOf("lengths.log");
    assert.deepEqual(
      lines.map(({ path }) => path),
      paths,
    );
    assert.ok(lines.every(({ worker, level }) => worker === 2 && level === "info"));
    const times = lines.map(({ time }) => Date.parse(time as string));
    assert.ok(times.every((time) => time >= before && time <= after));
  });

  it("a file whose disk is slow gets a bounded number of lines, and those that are gone are counted", async () => {
    const file = join(folder, "slow.log");
    const access = await AccessLog.open({ file, everyRefusal: false }, silentLogger, systemClock);
    for (let i = 0; i < 20_000; i++) access.write(() => ({ number: i }), false);
    assert.equal(access.dropped, 20_000 - 16_384);
    await access.close();
    assert.equal(linesOf("slow.log").length, 16_384);
  });

  it("a long path takes the room of several lines", async () => {
    const access = await AccessLog.open(
      { file: join(folder, "long.log"), everyRefusal: false },
      silentLogger,
      systemClock,
    );
    const path = "a".repeat(15_360);
    for (let i = 0; i < 1_100; i++) access.write(() => ({ path }), false, path.length);
    assert.equal(access.dropped, 1_100 - 1_024);
    await access.close();
    assert.equal(linesOf("long.log").length, 1_024);
  });

  it("a file that cannot be opened is an error at the start; at a reopening the old one goes on", async () => {
    const file = join(folder, "none/access.log");
    await assert.rejects(
      AccessLog.open({ file, everyRefusal: false }, silentLogger, systemClock),
      (error) => isSpiffeError(error, "ERR_SPIFFE_CONFIG") && error.message.includes("ENOENT"),
    );
    const inside = mkdtempSync(join(folder, "gone-"));
    const errors: string[] = [];
    const common = { ...silentLogger, error: (message: string) => void errors.push(message) };
    const access = await AccessLog.open({ file: join(inside, "a.log"), everyRefusal: false }, common, systemClock);
    renameSync(inside, join(folder, "moved"));
    await access.reopen();
    access.write(() => ({ number: 1 }), false);
    await access.close();
    assert.deepEqual([errors, linesOf("moved/a.log").length], [["the log file stays"], 1]);
  });

  it("lines that a stuck reader leaves no room for are dropped and counted", async () => {
    let release = () => {};
    const written: string[] = [];
    let failing = false;
    const failures: number[] = [];
    const buffer = new LineBuffer(
      {
        write: async (text) => {
          if (failing) throw new Error("no space");
          await new Promise<void>((resolve) => (release = resolve));
          written.push(text);
        },
      },
      (_, lines) => failures.push(lines),
      10,
    );
    for (const line of ["123\n", "456\n", "789\n"]) buffer.push(line);
    assert.equal(buffer.dropped, 1);
    await new Promise((resolve) => setTimeout(resolve, 5));
    buffer.push("abc\n");
    assert.equal(buffer.dropped, 2, "what is being written still counts");
    release();
    await buffer.flush();
    failing = true;
    buffer.push("def\n");
    await buffer.flush();
    assert.deepEqual([written, buffer.dropped, failures], [["123\n456\n"], 3, [1]]);
  });

  it("its keys are checked", () => {
    const base = {
      listen: { port: 0 },
      upstreams: { a: { url: "http://127.0.0.1:1" } },
      routes: [{ name: "a", path: "/**", upstream: "a" }],
      policy: [{ rule: "a", allow: { trustDomains: ["example.org"] } }],
    };
    const read = (accessLog: unknown) => parseGatewayConfig({ ...base, accessLog } as never).accessLog;
    assert.deepEqual(read(undefined), COMMON);
    assert.equal(read(false), false);
    assert.deepEqual(read({ file: "/a.log", everyRefusal: true }), { file: "/a.log", everyRefusal: true });
    for (const [value, said] of [
      [{ file: "a.log" }, /"a.log" is not absolute/],
      [{ path: "/a" }, /accessLog/],
      [{ everyRefusal: "yes" }, /neither true nor false/],
      [true, /accessLog/],
    ] as const)
      assert.throws(() => read(value), said);
  });
});
