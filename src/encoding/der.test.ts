import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LIMITS } from "../base/index.ts";
import { type DerReader, decodeDer, derFault, splitDer, TAG } from "./der.ts";
import { encodeDer, encodeDerUnsigned } from "./encode-der.ts";

const bytes = (hex: string) => Uint8Array.from(hex.match(/../g) ?? [], (octet) => Number.parseInt(octet, 16));
const hex = (octets: Uint8Array) => Array.from(octets, (octet) => octet.toString(16).padStart(2, "0")).join("");

/** Each row: what is read, an encoding that is refused, and a twin that differs in that one thing. */
const ROWS: readonly (readonly [rule: string, read: (r: DerReader) => unknown, refused: string, accepted: string])[] = [
  ["an indefinite length", (r) => r.sequence().integer(), "308002010100", "3003020101"],
  ["a length of more octets than needed", (r) => r.octetString(), "04810161", "040161"],
  ["a length with a leading zero", (r) => r.octetString(), `04820081${"61".repeat(129)}`, `048181${"61".repeat(129)}`],
  ["a length of 126 as long form", (r) => r.octetString(), `04817e${"61".repeat(126)}`, `047e${"61".repeat(126)}`],
  ["a length of five octets", (r) => r.octetString(), "0485000000000161", "040161"],
  ["a content past the end", (r) => r.octetString(), "040261", "040161"],
  ["a content past its container", (r) => r.sequence().octetString(), "30030402610000", "300304016100".slice(0, 10)],
  ["bytes left over", (r) => r.octetString(), "04016100", "040161"],
  ["another tag", (r) => r.octetString(), "040161".replace("04", "05"), "040161"],
  ["a primitive SEQUENCE", (r) => r.sequence(), "1000", "3000"],
  ["a constructed OCTET STRING", (r) => r.octetString(), "2403040161", "0403040161"],
  ["a high tag below 31", (r) => hex(r.element()), "1f1e00", "1f1f00"],
  ["a high tag with a leading zero", (r) => hex(r.element()), "1f801f00", "1f1f00"],
  ["a high tag without an end", (r) => hex(r.element()), "1fffffffffff", "1fffffff7f00"],
  ["a high tag that ends in a continuation", (r) => hex(r.element()), "1fff8000", "1fff7f00"],
  ["an empty INTEGER", (r) => r.integer(), "0200", "020100"],
  ["a padded positive INTEGER", (r) => r.integer(), "0202007f", "02020080"],
  ["a padded negative INTEGER", (r) => r.integer(), "0202ff80", "0202ff7f"],
  ["a negative INTEGER for an unsigned one", (r) => r.unsigned(), "0201ff", "020200ff"],
  ["a negative INTEGER for a small one", (r) => r.smallInteger(), "0201ff", "02017f"],
  ["the least negative octet for a small one", (r) => r.smallInteger(), "020180", "02020080"],
  ["an INTEGER of 2^31", (r) => r.smallInteger(), "02050080000000", "02047fffffff"],
  ["a BOOLEAN of 01", (r) => r.boolean(), "010101", "0101ff"],
  ["a BOOLEAN of two octets", (r) => r.boolean(), "0102ffff", "010100"],
  ["a NULL with content", (r) => r.null(), "050100", "0500"],
  ["a BIT STRING without its count", (r) => r.bitString(), "0300", "030100"],
  ["a BIT STRING with eight unused bits", (r) => r.bitString(), "03020800", "03020700"],
  ["an empty BIT STRING with unused bits", (r) => r.bitString(), "030101", "030100"],
  ["a BIT STRING with an unused bit set", (r) => r.bitString(), "03020101", "03020102"],
  ["a BIT STRING of broken octets for whole ones", (r) => r.bitOctets(), "03020102", "03020002"],
  ["an empty OBJECT IDENTIFIER", (r) => r.oid(), "0600", "060100"],
  ["an OBJECT IDENTIFIER with a padded arc", (r) => r.oid(), "06032a8001", "06032a8101"],
  ["an OBJECT IDENTIFIER that is cut off", (r) => r.oid(), "06022a81", "06022a01"],
  ["one that is cut off behind an empty continuation", (r) => r.oid(), "06032a8180", "06032a8101"],
  ["an OBJECT IDENTIFIER of 65 octets", (r) => r.oid(), `06412a${"01".repeat(64)}`, `06402a${"01".repeat(63)}`],
];

describe("DER reader", () => {
  for (const [rule, read, refused, accepted] of ROWS) {
    it(`refuses ${rule}, and takes its twin`, () => {
      const verdict = decodeDer(bytes(refused), read);
      assert.equal(verdict.ok, false);
      assert.equal(!verdict.ok && verdict.reason, "encoding.der");
      assert.equal(decodeDer(bytes(accepted), read).ok, true);
    });
  }

  it("bounds the depth", () => {
    const nested = (levels: number) => {
      let element: Uint8Array = encodeDer(TAG.sequence);
      for (let i = 1; i < levels; i++) element = encodeDer(TAG.sequence, element);
      return element;
    };
    const descend = (reader: DerReader): number => (reader.atEnd ? 0 : 1 + descend(reader.sequence()));
    assert.deepEqual(decodeDer(nested(LIMITS.derDepth), descend), { ok: true, value: LIMITS.derDepth });
    assert.equal(decodeDer(nested(LIMITS.derDepth + 1), descend).ok, false);
  });

  it("gives the reason it is told, and lets foreign exceptions pass", () => {
    const verdict = decodeDer(bytes("0500"), () => derFault("it is not wanted"), "x509.malformed");
    assert.deepEqual(verdict, { ok: false, reason: "x509.malformed", message: "Expected DER, but it is not wanted" });
    assert.throws(
      () =>
        decodeDer(bytes("0500"), () => {
          throw new RangeError("own");
        }),
      RangeError,
    );
  });

  it("reads object identifiers of every size", () => {
    const oid = (text: string) => {
      const verdict = decodeDer(bytes(text), (reader) => reader.oid());
      return verdict.ok ? verdict.value : verdict.message;
    };
    assert.equal(oid("0603551d11"), "2.5.29.17");
    assert.equal(oid("06042a818001"), "1.2.16385");
    assert.equal(oid("06052a81808001"), "1.2.2097153");
    assert.equal(oid("06082a81808080808000"), "1.2.4398046511104");
    assert.equal(oid("06092a8180808080808000"), "1.2.562949953421312");
    assert.equal(oid("060781808080808000"), "2.4398046511024");
    assert.equal(oid("06088180808080808000"), "2.562949953421232");
    assert.equal(oid("06062a864886f70d"), "1.2.840.113549");
    assert.equal(oid("0603883703"), "2.999.3");
    assert.equal(oid("060127"), "0.39");
    assert.equal(oid("060150"), "2.0");
    // 2.25 and a UUID, as X.667 makes them
    assert.equal(oid("06146983f09da7ebcfdee0c7a1a7b2c0948cc8f9d776"), "2.25.329800735698586629295641978511506172918");
    assert.equal(oid("060b2a83ffffffffffffffff7f"), "1.2.36893488147419103231");
  });

  it("[X509-37] reads times with the UTCTime pivot at 50, GeneralizedTime, leap days and the year 9999", () => {
    const time = (tag: string, text: string) => {
      const content = Array.from(text, (character) => character.charCodeAt(0).toString(16)).join("");
      return decodeDer(bytes(tag + text.length.toString(16).padStart(2, "0") + content), (reader) => reader.time());
    };
    const iso = (tag: string, text: string) => {
      const verdict = time(tag, text);
      return verdict.ok ? new Date(verdict.value).toISOString() : verdict.reason;
    };
    assert.equal(iso("17", "491231235959Z"), "2049-12-31T23:59:59.000Z");
    assert.equal(iso("17", "500101000000Z"), "1950-01-01T00:00:00.000Z");
    assert.equal(iso("18", "20500101000000Z"), "2050-01-01T00:00:00.000Z");
    assert.equal(iso("18", "99991231235959Z"), "9999-12-31T23:59:59.000Z");
    assert.equal(iso("18", "00010101000000Z"), "0001-01-01T00:00:00.000Z");
    assert.equal(iso("17", "240229000000Z"), "2024-02-29T00:00:00.000Z");
    for (const wrong of [
      "230229000000Z",
      "241301000000Z",
      "240001000000Z",
      "240100000000Z",
      "240132000000Z",
      "240431000000Z",
      "240631000000Z",
      "240931000000Z",
      "241131000000Z",
    ]) {
      assert.equal(iso("17", wrong), "encoding.der", wrong);
    }
    for (const wrong of [
      "240101240000Z",
      "240101006000Z",
      "240101000060Z",
      "2401010000Z",
      "240101000000",
      "2401010000+000Z",
      "24 101000000Z",
      // neighbours of the digits, where a year could take them
      "/40101000000Z",
      ":40101000000Z",
      "2/0101000000Z",
      "2:0101000000Z",
      "240101000000X",
      "2401010000000",
    ]) {
      assert.equal(iso("17", wrong), "encoding.der", wrong);
    }
    for (const wrong of ["20240101000000.5Z", "20240101000000+0100", "2024010100Z", "19000229000000Z"]) {
      assert.equal(iso("18", wrong), "encoding.der", wrong);
    }
    for (const tag of ["16", "0c", "04", "30"]) {
      assert.equal(iso(tag, "240101000000Z"), "encoding.der");
      assert.equal(iso(tag, "20240101000000Z"), "encoding.der");
    }
    assert.equal(iso("18", "20000229000000Z"), "2000-02-29T00:00:00.000Z");
    assert.equal(iso("18", "20240101000000Z"), "2024-01-01T00:00:00.000Z");
    assert.equal(iso("17", "240101000000Z"), "2024-01-01T00:00:00.000Z");
  });

  it("splits concatenated elements and refuses what is left over", () => {
    const verdict = splitDer(bytes("30003003020101"));
    assert.deepEqual(verdict.ok && verdict.value.map(hex), ["3000", "3003020101"]);
    assert.deepEqual(splitDer(new Uint8Array()), { ok: true, value: [] });
    for (const wrong of ["300030", "30000500", "3000ff", "3004020101"])
      assert.equal(splitDer(bytes(wrong)).ok, false, wrong);
    const three = bytes("300030003000");
    assert.equal(splitDer(three, 3).ok, true);
    const many = splitDer(three, 2);
    assert.equal(!many.ok && many.reason, "encoding.too-large", "none is dropped");
    for (const other of [null, undefined, "", "30", [], [0x30, 0], new ArrayBuffer(0), { length: 0 }])
      assert.equal(splitDer(other as never).ok, false, String(other));
    const tooLarge = splitDer(new Uint8Array(LIMITS.bundle + 1));
    assert.equal(!tooLarge.ok && tooLarge.reason, "encoding.too-large");
  });

  it("never accepts a proper prefix of an element, nor throws on any change of one byte", () => {
    const element = encodeDer(
      TAG.sequence,
      encodeDerUnsigned(bytes("80")),
      encodeDer(TAG.octetString, bytes("616263")),
    );
    const read = (reader: DerReader) => {
      const sequence = reader.sequence();
      const value = [sequence.unsigned(), sequence.octetString()];
      sequence.end();
      return value;
    };
    assert.equal(decodeDer(element, read).ok, true);
    for (let length = 0; length < element.length; length++)
      assert.equal(decodeDer(element.subarray(0, length), read).ok, false);
    for (let at = 0; at < element.length; at++) {
      for (let value = 0; value < 256; value++) {
        const changed = Uint8Array.from(element);
        changed[at] = value;
        const verdict = decodeDer(changed, read);
        // what is still accepted encodes back to the same bytes: there is one encoding of a value
        if (!verdict.ok) continue;
        const [number, text] = verdict.value;
        const again = encodeDer(TAG.sequence, encodeDerUnsigned(number!), encodeDer(TAG.octetString, text!));
        assert.equal(hex(again), hex(changed));
      }
    }
  });
});

describe("DER encoding", () => {
  it("writes lengths of every form", () => {
    for (const [length, head] of [
      [0, "0400"],
      [127, "047f"],
      [128, "048180"],
      [255, "0481ff"],
      [256, "04820100"],
      [65_536, "0483010000"],
    ] as const) {
      const element = encodeDer(TAG.octetString, new Uint8Array(length));
      assert.equal(hex(element).slice(0, head.length), head);
      assert.equal(decodeDer(element, (reader) => reader.octetString().length).ok, true);
    }
  });

  it("writes INTEGERs without leading zeros and never negative", () => {
    for (const [octets, element] of [
      ["", "020100"],
      ["00", "020100"],
      ["0001", "020101"],
      ["7f", "02017f"],
      ["80", "02020080"],
      ["000080", "02020080"],
    ] as const) {
      assert.equal(hex(encodeDerUnsigned(bytes(octets))), element);
    }
  });
});
