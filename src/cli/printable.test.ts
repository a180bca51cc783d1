import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { printable, printableJson } from "./printable.ts";

/** Escape sequences, C1 controls, marks that turn the order of text, line separators, half a pair. */
const HOSTILE = "a\x1b[2J\u009b31m\u202eb\u2066\u200b\u2028\ufeff\ud800c\r\n\0\x7f";
const CONTROL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;

describe("printable", () => {
  it("leaves nothing that a terminal acts on, and loses nothing", () => {
    const shown = printable(HOSTILE);
    assert.doesNotMatch(shown, CONTROL);
    const back = shown.replace(/\\u\{([0-9a-f]+)\}/g, (_, hex) => String.fromCodePoint(Number.parseInt(hex, 16)));
    assert.equal(back, HOSTILE);
  });

  it("leaves other text as it is", () => {
    for (const text of ["spiffe://example.org/web", "Grüße, 世界 🙂", "a\\b"]) assert.equal(printable(text), text);
  });
});

describe("printableJson", () => {
  it("is JSON of the same value without such characters", () => {
    const value = { [HOSTILE]: [HOSTILE, "🙂", "\u{e0001}"] };
    const shown = printableJson(value);
    assert.doesNotMatch(shown, CONTROL);
    assert.deepEqual(JSON.parse(shown), value);
    assert.equal(printableJson({ a: 2n ** 70n }), `{"a":"${2n ** 70n}"}`);
    assert.equal(printableJson(undefined), "null");
  });
});
