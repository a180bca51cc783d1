import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { binaryString, compareOctets, equalOctets, fromBigInt, fromHex, toBigInt, toHex } from "./octets.ts";

describe("octets", () => {
  it("become integers of any length and back, from the middle of a buffer too", () => {
    for (let length = 0; length <= 70; length++) {
      const octets = Uint8Array.from({ length: length + 3 }, (_, index) => (index * 37 + length) & 0xff).subarray(3);
      const hex = Array.from(octets, (octet) => octet.toString(16).padStart(2, "0")).join("");
      assert.equal(toBigInt(octets), BigInt(`0x0${hex}`));
      assert.deepEqual(fromBigInt(toBigInt(octets), length), Uint8Array.from(octets));
      assert.equal(toHex(octets), hex);
      assert.deepEqual(fromHex(hex), Uint8Array.from(octets));
    }
  });

  it("compare as integers of one length", () => {
    const [a, b] = [fromHex("00ff80"), fromHex("00ff81")];
    assert.ok(compareOctets(a, b) < 0 && compareOctets(b, a) > 0);
    assert.equal(compareOctets(a, a), 0);
    assert.ok(equalOctets(a, Uint8Array.from(a)));
    assert.equal(equalOctets(a, b), false);
    assert.equal(equalOctets(a, a.subarray(1)), false);
  });

  it("become one character each, however many", () => {
    const octets = Uint8Array.from({ length: 70_000 }, (_, index) => index & 0xff);
    const text = binaryString(octets);
    assert.equal(text.length, octets.length);
    assert.ok(octets.every((octet, index) => text.charCodeAt(index) === octet));
  });
});
