import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type DerReader, decodeDer, TAG } from "./der.ts";

const bytes = (hex: string) => Uint8Array.from(hex.match(/../g) ?? [], (octet) => Number.parseInt(octet, 16));
const hex = (octets: Uint8Array) => Array.from(octets, (octet) => octet.toString(16).padStart(2, "0")).join("");

describe("what a DER reader reads", () => {
  it("gives the values that it reads", () => {
    const read = (text: string, by: (reader: DerReader) => unknown) => {
      const verdict = decodeDer(bytes(text), by);
      return verdict.ok ? verdict.value : verdict.reason;
    };
    for (const [text, value] of [
      ["010100", false],
      ["0101ff", true],
    ] as const)
      assert.equal(
        read(text, (r) => r.boolean()),
        value,
      );
    for (const [text, value] of [
      ["020100", "00"],
      ["02020080", "80"],
      ["020200ff", "ff"],
      ["02020100", "0100"],
    ] as const)
      assert.equal(
        read(text, (r) => hex(r.unsigned())),
        value,
      );
    for (const [text, value] of [
      ["020100", 0],
      ["02020080", 128],
      ["02047fffffff", 2 ** 31 - 1],
    ] as const)
      assert.equal(
        read(text, (r) => r.smallInteger()),
        value,
      );
  });

  it("sees the end of a container although more follows it", () => {
    const verdict = decodeDer(bytes("3000" + "0101ff"), (reader) => {
      const inner = reader.sequence();
      return [inner.next, inner.atEnd, reader.next, reader.boolean(), reader.next];
    });
    assert.deepEqual(verdict.ok && verdict.value, [-1, true, TAG.boolean, true, -1]);
  });

  it("tells an arc below two others from every other object identifier", () => {
    const arc = (text: string) => {
      const verdict = decodeDer(bytes(text), (reader) => reader.arcBelow(0x55, 0x1d));
      return verdict.ok ? verdict.value : verdict.reason;
    };
    assert.equal(arc("0603551d11"), 0x11);
    for (const other of [
      "06032a1d11",
      "0603551e11",
      "06032a0311",
      "0604551d1101",
      "0605551d118101",
      "0602551d",
      "060155",
    ])
      assert.equal(arc(other), -1, other);
    assert.equal(arc("0603551d80"), "encoding.der");
  });

  it("has a length, whatever follows: 80 is none of 128", () => {
    const octets = "61".repeat(128);
    const length = (text: string) => {
      const verdict = decodeDer(bytes(text), (reader) => reader.octetString().length);
      return verdict.ok ? verdict.value : verdict.reason;
    };
    assert.equal(length(`048180${octets}`), 128);
    assert.equal(length(`0480${octets}`), "encoding.der");
  });
});
