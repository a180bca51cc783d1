import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { binaryString, compareOctets, equalOctets, fromBigInt, fromHex, octetsOf, toBigInt, toHex } from "./octets.ts";

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
    assert.equal(equalOctets(a.subarray(0, 2), a), false, "the beginning of a longer one");
    assert.equal(equalOctets(a, a.subarray(0, 2)), false);
  });

  it("become one character each, however many", () => {
    const octets = Uint8Array.from({ length: 70_000 }, (_, index) => index & 0xff);
    const text = binaryString(octets);
    assert.equal(text.length, octets.length);
    assert.ok(octets.every((octet, index) => text.charCodeAt(index) === octet));
  });

  it("are those of a Uint8Array, whatever it says of itself; of anything else there are none", () => {
    const view = Uint8Array.of(9, 1, 2, 3, 9).subarray(1, 4);
    assert.deepEqual([...octetsOf(view)!], [1, 2, 3]);
    assert.equal(octetsOf(view)!.buffer, view.buffer, "read in place");
    const liar = Object.defineProperties(Uint8Array.from(view), {
      length: { value: 0 },
      byteLength: { value: 0 },
      buffer: { value: new ArrayBuffer(0) },
    });
    assert.deepEqual([...octetsOf(liar)!], [1, 2, 3]);
    const shared = new Uint8Array(new SharedArrayBuffer(3));
    shared.set(view);
    const copy = octetsOf(shared)!;
    shared.fill(0);
    assert.deepEqual([...copy], [1, 2, 3], "copied");
    const away = Uint8Array.from(view);
    structuredClone(away, { transfer: [away.buffer] });
    const others = [
      away,
      new ArrayBuffer(3),
      new DataView(new ArrayBuffer(3)),
      Uint16Array.of(1),
      new Uint8ClampedArray(1),
    ];
    for (const other of [
      ...others,
      [],
      [1],
      "abc",
      {},
      { length: 1 },
      new Proxy(view, {}),
      Object.create(view),
      null,
    ]) {
      assert.equal(octetsOf(other), undefined);
    }
    assert.equal(octetsOf(new Uint8Array(0))?.length, 0);
  });
});
