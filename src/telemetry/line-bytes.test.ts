import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LineBytes } from "./line-bytes.ts";
import { jsonLine, type LogFields } from "./logger.ts";

const AT = Date.UTC(2026, 10, 27, 9, 5, 3, 7);
const decoder = new TextDecoder();

/** The one line that these fields become, as bytes and as the logger's text. */
function bothOf(fields: LogFields, always: LogFields = {}): [bytes: string, text: string] {
  const lines = new LineBytes("info", "request", always);
  assert.equal(lines.add(AT, fields), true);
  return [decoder.decode(lines.lines), jsonLine(AT, "info", "request", { ...always, ...fields })];
}

describe("log lines as bytes", () => {
  it("are the lines of the logger, whatever values and names they hold", () => {
    const odd = { toJSON: () => "other" };
    const values: unknown[] = [
      ...["plain", "", 'a "b"', "\\", "\u0000", "a\nb", "\x7f", "\x9f", "é", "€", "😀", "\ud800", "\u2028", "\u202e"],
      ...[0, -0, 1, 9, 10, 99, 100, 65_535, 999_999_999, 1e9, 2 ** 31, 2 ** 53, -1, Number.NaN, Infinity],
      ...[
        0.001,
        0.01,
        0.1,
        0.5,
        1.5,
        1.05,
        1.005,
        12.34,
        999_999_999.999,
        0.0005,
        0.1 + 0.2,
        1e-7,
        -0.5,
        5e-324,
        1e300,
      ],
      ...[true, false, null, undefined, {}, [], [1, "x"], { deep: "\u0085" }, odd, new Date(0), Symbol("s"), () => 1],
    ];
    const names = [
      "status",
      "a_b1",
      'c"',
      "d\u0085",
      "1",
      "0a",
      "",
      "é",
      "time",
      "level",
      "message",
      "__proto__",
      "constructor",
    ];
    for (const name of names) {
      for (const value of values) {
        // what is not there takes nothing from a line
        if (value === undefined && ["time", "level", "message"].includes(name)) continue;
        const fields: LogFields = Object.defineProperty({ first: 1 }, name, { value, enumerable: true });
        const [bytes, text] = bothOf(Object.defineProperty(fields, "last", { value: "end", enumerable: true }));
        assert.equal(bytes, text);
      }
    }
    assert.equal(...bothOf({}));
    assert.equal(...bothOf(Object.create({ inherited: 1 })));
    assert.equal(...bothOf({ ...odd, more: 1 }));
    for (let i = 0; i < 1_000; i++) {
      const durationMs = Math.round(1_000 * 10 ** ((i * 11) / 1_000) * 1.234_567) / 1_000;
      assert.equal(...bothOf({ durationMs, status: i * i }));
    }
  });

  it("begin with what each begins with, and a line's own word goes before it", () => {
    const [bytes, text] = bothOf({ a: 1 }, { worker: 3 });
    assert.equal(bytes, text);
    assert.match(bytes, /"message":"request","worker":3,"a":1\}\n$/);
    assert.equal(...bothOf({ a: 1, worker: 4 }, { worker: 3 }));
  });

  it("are whole or not there, wherever the memory ends", () => {
    const texts = ["x", "é", "€", "😀"];
    const long = [{ first: 1.5, text: "x".repeat(20), flag: true, last: 123_456 }, { text: texts.join("") }];
    for (const fields of long) {
      const line = new TextEncoder().encode(jsonLine(AT, "info", "request", fields)).length;
      let taken = 0;
      for (let size = 0; size < 3 * line + 40; size++) {
        const lines = new LineBytes("info", "request", {}, size);
        let added = 0;
        while (lines.add(AT, fields)) added++;
        assert.equal(decoder.decode(lines.lines), jsonLine(AT, "info", "request", fields).repeat(added));
        assert.equal(added, Math.floor(size / line), `${size} bytes`);
        taken += added;
        lines.clear();
        assert.equal(lines.lines.length, 0);
      }
      assert.ok(taken > 0);
    }
  });

  it("of more names than are kept are the same", () => {
    const lines = new LineBytes("info", "request");
    let text = "";
    for (let i = 0; i < 600; i++) {
      const fields = { [`name${i}`]: i, [`name${i % 7}`]: "again" };
      assert.equal(lines.add(AT, fields), true);
      text += jsonLine(AT, "info", "request", fields);
    }
    assert.equal(decoder.decode(lines.lines), text);
  });
});
