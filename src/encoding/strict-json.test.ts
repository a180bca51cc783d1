import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isJsonObject, type JsonLimits, parseJson } from "./strict-json.ts";

const limits: JsonLimits = { maxBytes: 1_000_000 };
const utf8 = (text: string) => new TextEncoder().encode(text);
const reason = (input: string | Uint8Array, bounds: JsonLimits = limits) => {
  const verdict = parseJson(input, bounds);
  return verdict.ok ? "accept" : verdict.reason;
};
const value = (input: string | Uint8Array) => {
  const verdict = parseJson(input, limits);
  assert.ok(verdict.ok, `${input}`);
  return verdict.value;
};

describe("strict JSON", () => {
  it("[JWT-14] reads what JSON.parse reads", () => {
    const documents = [
      "null",
      "true",
      "false",
      "0",
      "-0",
      "1",
      "-1.5",
      "1e3",
      "1E-3",
      "1.5e+2",
      '""',
      '"a"',
      "[]",
      "[1,2]",
      "{}",
      '{"a":{"b":[1,{"c":null}]}}',
      ' \t\r\n{ "a" : [ 1 , 2 ] } \n',
      '"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\ud83d\\ude00"',
      '"é\u{1f600}\u2028\ufeff\u007f"',
      '{"":0," ":1,"toString":2,"constructor":3,"1":4}',
      "9007199254740991",
    ];
    for (const text of documents) {
      const expected = JSON.parse(text);
      assert.equal(JSON.stringify(value(text)), JSON.stringify(expected), text);
      assert.equal(JSON.stringify(value(utf8(text))), JSON.stringify(expected), text);
    }
    assert.ok(Object.is(value("-0"), -0));
  });

  it("[JWT-14] [BND-01] refuses what is not JSON", () => {
    const bad = [
      "",
      " ",
      "nul",
      "nulll",
      "True",
      "NaN",
      "Infinity",
      "undefined",
      "01",
      "-",
      "-01",
      "+1",
      "1.",
      ".5",
      "1e",
      "1e+",
      "0x1",
      "1_0",
      "1n",
      "'a'",
      '"',
      '"a',
      '"\\"',
      '"\\x"',
      '"\\u12"',
      '"\\u12g4"',
      '"\\u+123"',
      '"a\nb"',
      '"\t"',
      '"\u0000"',
      "[",
      "[1",
      "[1,",
      "[1,]",
      "[,1]",
      "[1 2]",
      "]",
      "{",
      '{"a"',
      '{"a":',
      '{"a":1',
      '{"a":1,',
      '{"a":1,}',
      "{a:1}",
      "{1:1}",
      '{"a" 1}',
      '{"a":1 "b":2}',
      "{,}",
      '{"a":1}}',
      "[]]",
      "1 2",
      "{}{}",
      "{}x",
      "/*c*/1",
      "1//c",
      "\u00a01",
      "1\u2028",
      "1e999",
      "-1e999",
      "1.0e400",
      "\ufeff{}",
    ];
    for (const text of bad) assert.equal(reason(text), "encoding.json", JSON.stringify(text));
  });

  it("[MAP-03] [BND-01] refuses a member that comes twice, at every level and in every spelling", () => {
    for (const text of [
      '{"a":1,"a":1}',
      '{"a":1,"\\u0061":2}',
      '[{"b":{"a":1,"c":2,"a":3}}]',
      '{"__proto__":1,"__proto__":2}',
      '{"":1,"":1}',
      '{"1":1,"1":1}',
    ]) {
      assert.equal(reason(text), "encoding.json-duplicate", text);
    }
    for (const text of [
      '{"a":1,"A":1}',
      '{"a":{"a":1}}',
      '[{"a":1},{"a":1}]',
      '{"toString":1}',
      '{"é":1,"e\u0301":2}',
    ]) {
      assert.equal(reason(text), "accept", text);
    }
  });

  it("[BND-01] __proto__ is a member like any other and changes no prototype", () => {
    const object = value('{"__proto__":{"admin":true},"constructor":1}');
    assert.ok(isJsonObject(object));
    assert.equal(Object.getPrototypeOf(object), null);
    assert.deepEqual(Object.keys(object), ["__proto__", "constructor"]);
    assert.equal(object.admin, undefined);
    assert.equal(({} as Record<string, unknown>).admin, undefined);
  });

  it("tells objects from every other value", () => {
    assert.equal(isJsonObject(value("{}")), true);
    for (const text of ["[]", "null", '""', "0", "9007199254740993", "true"])
      assert.equal(isJsonObject(value(text)), false, text);
    assert.equal(isJsonObject(undefined), false);
  });

  it("[BND-05] integers are exact: beyond 2^53 - 1 they are bigints", () => {
    assert.equal(value("9007199254740991"), 9007199254740991);
    assert.equal(value("9007199254740992"), 9007199254740992n);
    assert.equal(value("9007199254740993"), 9007199254740993n);
    assert.equal(value("-9007199254740993"), -9007199254740993n);
    assert.equal(value("18446744073709551615"), 18446744073709551615n);
    assert.equal(value("1.5"), 1.5);
    assert.equal(value("1e3"), 1000);
    assert.equal(reason("1".repeat(1024)), "accept");
    assert.equal(reason("1".repeat(1025)), "encoding.json");
    assert.equal(reason(`0.${"1".repeat(1023)}`), "encoding.json");
  });

  it("[JWT-14] refuses bytes that are not UTF-8 and byte order marks; the same text without them is read", () => {
    assert.equal(reason(utf8('"é"')), "accept");
    const bad = [
      [0xef, 0xbb, 0xbf, 0x7b, 0x7d],
      [0x22, 0xff, 0x22],
      [0x22, 0xc0, 0xaf, 0x22],
      [0x22, 0xed, 0xa0, 0x80, 0x22],
      [0x22, 0xe9, 0x22],
      [0xff, 0xfe, 0x7b, 0x00],
    ];
    for (const bytes of bad) assert.equal(reason(Uint8Array.from(bytes)), "encoding.utf8", bytes.join());
    assert.equal(reason("\ufeff{}"), "encoding.json");
    assert.equal(reason("{}"), "accept");
  });

  it("[JWT-14] refuses surrogates that are alone, escaped or not; a pair is read", () => {
    for (const text of [
      '"\\ud800"',
      '"\\udc00"',
      '"\\ud800a"',
      '"\\ud800\\u0041"',
      '"\\ud800\\ud800"',
      '"\ud800"',
      '"\udc00x"',
      '"\ud800\\udc00"',
      '"\udc00\udc00"',
      '"\ue000\udc00"',
      '"\uffff\udfff"',
      '"\udfff"',
      '"\\udfff"',
      '"\udbff\ue000"',
      '"\\udbff\\ue000"',
      '"\\ue000\\udc00"',
    ]) {
      assert.equal(reason(text), "encoding.json", JSON.stringify(text));
    }
    assert.equal(value('"\\ud83d\\ude00"'), "\u{1f600}");
    assert.equal(value('"\u{1f600}"'), "\u{1f600}");
    assert.equal(value('"\ue000\ud800\udc00\udbff\udfff\uffff"'), "\ue000\u{10000}\u{10ffff}\uffff");
    assert.equal(value('"\\ue000\\ud800\\udc00\\udbff\\udfff\\uffff"'), "\ue000\u{10000}\u{10ffff}\uffff");
  });

  it("[JWT-14] [BND-01] is bounded in size", () => {
    assert.equal(reason('"aaaa"', { maxBytes: 6 }), "accept");
    assert.equal(reason('"aaaaa"', { maxBytes: 6 }), "encoding.too-large");
    assert.equal(reason(utf8('"aaaa"'), { maxBytes: 6 }), "accept");
    assert.equal(reason(utf8('"aaaaa"'), { maxBytes: 6 }), "encoding.too-large");
    assert.equal(reason('"éé"', { maxBytes: 6 }), "accept");
    assert.equal(reason('"ééa"', { maxBytes: 6 }), "encoding.too-large");
  });

  it("[BND-01] takes text or a Uint8Array alone: other buffers would pass its bounds", () => {
    const bytes = utf8('{"a":"b"}');
    const others = [bytes.buffer, new DataView(bytes.buffer), undefined, null, 7, [0x7b, 0x7d]] as never[];
    for (const input of others) assert.equal(reason(input, { maxBytes: 64 }), "encoding.utf8");
    assert.equal(reason(new Uint8Array(bytes.buffer), { maxBytes: 64 }), "accept");
    assert.equal(reason(new Uint8Array(bytes.buffer), { maxBytes: 8 }), "encoding.too-large");
  });

  it("[JWT-14] [BND-01] is bounded in depth", () => {
    const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
    const objects = (depth: number) => `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`;
    assert.equal(reason(nested(32)), "accept");
    assert.equal(reason(nested(33)), "encoding.too-deep");
    assert.equal(reason(objects(32)), "accept");
    assert.equal(reason(objects(33)), "encoding.too-deep");
    assert.equal(reason("[".repeat(900_000)), "encoding.too-deep");
    assert.equal(reason("[[1]]", { maxBytes: 100, maxDepth: 1 }), "encoding.too-deep");
    assert.equal(reason("[1]", { maxBytes: 100, maxDepth: 1 }), "accept");
  });

  it("[JWT-14] agrees with JSON.parse on broken documents: what that refuses is refused", () => {
    const source = '{"a":[1,-2.5e3,"x\\n\\u00e9",{"b":null,"c":true}],"d":{"e":"\\\\"}}';
    const insert = [...'{}[],:"\\0-.eE+ \nutfn', "\ufeff", "\u0001"];
    let refused = 0;
    let accepted = 0;
    const check = (text: string) => {
      let expected: string | undefined;
      try {
        expected = JSON.stringify(JSON.parse(text));
      } catch {}
      const verdict = parseJson(text, limits);
      if (expected === undefined) {
        refused++;
        assert.ok(!verdict.ok, JSON.stringify(text));
      } else if (verdict.ok) {
        accepted++;
        assert.equal(JSON.stringify(verdict.value), expected, text);
      } else assert.equal(verdict.reason, "encoding.json-duplicate", text);
    };
    for (let at = 0; at <= source.length; at++) {
      check(source.slice(0, at) + source.slice(at + 1));
      check(source.slice(0, at));
      for (const c of insert) {
        check(source.slice(0, at) + c + source.slice(at));
        check(source.slice(0, at) + c + source.slice(at + 1));
      }
    }
    assert.ok(refused > 1_000 && accepted > 100, `${refused} refused, ${accepted} accepted`);
  });
});
