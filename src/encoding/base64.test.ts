import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodeBase64, decodeBase64Url, encodeBase64, encodeBase64Url } from "./base64.ts";

const octets = (verdict: ReturnType<typeof decodeBase64>) => (verdict.ok ? [...verdict.value] : verdict.reason);

describe("base64", () => {
  it("[X509-52] reads and writes what the runtime's own encoder writes, for every length and octet", () => {
    for (let length = 0; length < 300; length++) {
      const bytes = Uint8Array.from({ length }, (_, i) => (i * 7 + length) & 0xff);
      const text = Buffer.from(bytes).toString("base64");
      assert.equal(encodeBase64(bytes), text);
      assert.deepEqual(octets(decodeBase64(text)), [...bytes]);
      const url = Buffer.from(bytes).toString("base64url");
      assert.equal(encodeBase64Url(bytes), url);
      assert.deepEqual(octets(decodeBase64Url(url)), [...bytes]);
    }
  });

  it("[X509-52] standard base64 refuses every other spelling of the same octets", () => {
    assert.deepEqual(octets(decodeBase64("+/8=")), [0xfb, 0xff]);
    assert.deepEqual(octets(decodeBase64("")), []);
    const bad = [
      "+/8",
      "-_8=",
      "+/9=",
      "+/8=\n",
      " +/8=",
      "+/ 8=",
      "+/8==",
      "+/=8",
      "=",
      "==",
      "====",
      "A===",
      "AA=A",
      "AAAAA",
      "AAA=AAA=",
      "+/8\u0164",
      "\u012b/8=",
    ];
    for (const text of bad) assert.equal(octets(decodeBase64(text)), "encoding.base64", JSON.stringify(text));
  });

  it("[JWT-14] base64url refuses padding, white space, the other alphabet and unused bits", () => {
    assert.deepEqual(octets(decodeBase64Url("-_8")), [0xfb, 0xff]);
    assert.deepEqual(octets(decodeBase64Url("-w")), [0xfb]);
    assert.deepEqual(octets(decodeBase64Url("")), []);
    const bad = ["-_8=", "+/8", "-_9", "-x", "-_8\n", " -_8", "-", "-_8AA", "-_\u01388", "-_8\u0000", "-_.8"];
    for (const text of bad) assert.equal(octets(decodeBase64Url(text)), "encoding.base64", JSON.stringify(text));
  });

  it("[JWT-14] exactly one text decodes to each octet string of two octets or less", () => {
    const alphabet = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"];
    const seen = new Set<number>();
    for (const a of alphabet) {
      for (const b of alphabet) {
        const one = decodeBase64Url(a + b);
        if (!one.ok) continue;
        assert.ok(!seen.has(one.value[0]!));
        seen.add(one.value[0]!);
      }
    }
    assert.equal(seen.size, 256);
  });
});
