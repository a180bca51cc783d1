import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { jsonLogger, type LogFields } from "./logger.ts";

function lineOf(message: string, fields?: LogFields): string {
  const lines: string[] = [];
  jsonLogger((line) => lines.push(line)).info(message, fields);
  assert.equal(lines.length, 1);
  return lines[0] as string;
}

describe("log lines", () => {
  it("are JSON objects, one a line, that say what was said", () => {
    const fields = { text: 'a "b"\\\n', number: 1.5, no: undefined, list: ["x"], nothing: null };
    const line = lineOf("a message", fields);
    const { time, ...said } = JSON.parse(line);
    assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    const { no: _, ...given } = fields;
    assert.deepEqual(said, { level: "info", message: "a message", ...given });
    assert.match(line, /^[^\n]*\n$/);
  });

  it("show controls, line ends and marks of the reading direction by their numbers, wherever they stand", () => {
    for (let code = 0; code < 0x1_0000; code++) {
      const hidden =
        code < 0x20 ||
        (code >= 0x7f && code <= 0x9f) ||
        [0x061c, 0x200e, 0x200f, 0x2028, 0x2029].includes(code) ||
        (code >= 0x202a && code <= 0x202e) ||
        (code >= 0x2066 && code <= 0x2069);
      const character = String.fromCharCode(code);
      // a line for each of those that matter, and for their neighbours, which stay as they are
      if (!hidden && ![0x20, 0xa0, 0x061b, 0x061d, 0x200d, 0x2010, 0x2027, 0x202f, 0x2065, 0x206a].includes(code))
        continue;
      const fields = { path: `a${character}b`, [`key${character}`]: [{ deep: character }] };
      const line = lineOf(`m${character}`, fields);
      assert.equal(line.slice(0, -1).includes(character), !hidden, `U+${code.toString(16)}`);
      const { time: _, level: __, message, ...said } = JSON.parse(line);
      assert.deepEqual({ message, said }, { message: `m${character}`, said: fields });
    }
  });

  it("are what JSON writes of the whole object, whatever values and names it holds", () => {
    const dated = { toJSON: () => "a date" };
    const values: unknown[] = [
      ...'plain,,a "b",\\,\u2028,\ud800,\u00e9'.split(","),
      ...[0, -0, 1.5, -7, 1e21, 5e-324, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53],
      ...[true, false, null, undefined, {}, [], [undefined], dated, () => 1, Symbol("s"), new Date(0)],
    ];
    const names = ["a", "b\u0085", 'c"', "time", "level", "message", "12", "0", "", "__proto__", "toJSON", "12a"];
    const shows = (fields: object): unknown => {
      const line = lineOf("said", fields as LogFields);
      const given = JSON.stringify({ time: JSON.parse(line).time, level: "info", message: "said", ...fields });
      assert.deepEqual(Object.entries(JSON.parse(line)), Object.entries(JSON.parse(given)));
      return JSON.parse(line);
    };
    for (const value of values) {
      for (const name of names) {
        // of an own field, as an assignment to this name would make none
        const fields = Object.defineProperty({ first: 1 }, name, { value, enumerable: true });
        shows(Object.defineProperty(fields, "last", { value: "end", enumerable: true }));
      }
    }
    assert.throws(() => shows({ value: 1n }), TypeError);
    assert.deepEqual(shows(Object.create({ inherited: 1 })), { ...(shows({}) as object) });
  });

  it("below the level are not written", () => {
    const lines: string[] = [];
    const logger = jsonLogger((line) => lines.push(JSON.parse(line).message), "warn");
    logger.debug("debug");
    logger.info("info");
    logger.warn("warn");
    logger.error("error");
    assert.deepEqual(lines, ["warn", "error"]);
  });
});
