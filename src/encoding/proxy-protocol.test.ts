import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  addressBytes,
  MAX_PROXY_HEADER,
  PP2,
  type ProxyHeader,
  readProxyHeader,
  writeLocalProxyHeader,
  writeProxyHeader,
} from "./proxy-protocol.ts";

const SIGNATURE = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10];
const V4 = [192, 0, 2, 7, 192, 0, 2, 1, 0xc3, 0x50, 0x01, 0xbb];

/** A header of parts; the length is theirs unless said. */
function header(
  block: readonly number[],
  more: { command?: number; family?: number; length?: number } = {},
): Uint8Array {
  const { command = 0x21, family = 0x11, length = block.length } = more;
  return Uint8Array.from([...SIGNATURE, command, family, length >> 8, length & 0xff, ...block]);
}

function read(bytes: Uint8Array): ProxyHeader | "more" | string {
  const verdict = readProxyHeader(bytes);
  if (verdict.ok !== true) {
    assert.equal(verdict.reason, "request.proxy-header");
    return verdict.message;
  }
  return verdict.value ?? "more";
}

describe("PROXY header", () => {
  it("of IPv4 and IPv6 is read, and what follows is left alone", () => {
    const four = read(Uint8Array.from([...header(V4), 22, 3, 1]));
    assert.deepEqual(four, {
      length: 28,
      source: { address: "192.0.2.7", port: 50_000 },
      destination: { address: "192.0.2.1", port: 443 },
      tlvs: [],
    });
    const six = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    const whole = read(header([...six, ...six, 0, 1, 0, 2], { family: 0x21 })) as ProxyHeader;
    assert.deepEqual(whole.source, { address: "2001:db8::1", port: 1 });
    assert.deepEqual(whole.destination, { address: "2001:db8::1", port: 2 });
    const mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 7];
    const same = read(header([...mapped, ...six, 0, 1, 0, 2], { family: 0x21 })) as ProxyHeader;
    assert.equal(same.source?.address, "192.0.2.7");
  });

  it("of IPv6 is no IPv4 address for what stands in its middle", () => {
    const from = (address: string) =>
      (read(writeProxyHeader({ address, port: 1 }, { address: "::1", port: 2 })) as ProxyHeader).source?.address;
    assert.equal(from("::ffff:192.0.2.7"), "192.0.2.7");
    for (const address of [
      "2001:db8::ffff:c000:207",
      "::1:ffff:c000:207",
      "1::ffff:c000:207",
      "::fffe:c000:207",
      "::c000:207",
    ])
      assert.equal(from(address), address);
  });

  it("of a proxy's own connection names nobody, whatever it holds", () => {
    assert.deepEqual([...writeLocalProxyHeader()], [...SIGNATURE, 0x20, 0, 0, 0]);
    assert.equal((read(writeLocalProxyHeader()) as ProxyHeader).source, undefined);
    for (const block of [[], V4, [1, 2, 3]]) {
      const own = read(header(block, { command: 0x20, family: 0 })) as ProxyHeader;
      assert.deepEqual([own.source, own.tlvs, own.length], [undefined, [], 16 + block.length]);
    }
  });

  it("every truncation waits for more and reads nothing, the whole is read", () => {
    const whole = header([...V4, 4, 0, 2, 9, 9, PP2.uniqueId, 0, 1, 7]);
    for (let length = 0; length < whole.length; length++)
      assert.equal(read(whole.subarray(0, length)), "more", `${length}`);
    assert.equal((read(whole) as ProxyHeader).tlvs.length, 2);
  });

  it("every change of one bit of the signature is refused at once, at every length", () => {
    const whole = header(V4);
    for (let at = 0; at < 12; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const bad = Uint8Array.from(whole);
        bad[at]! ^= 1 << bit;
        assert.match(read(bad) as string, /begins otherwise/);
        assert.match(read(bad.subarray(0, at + 1)) as string, /begins otherwise/);
      }
    }
    assert.equal(typeof read(whole), "object");
  });

  it("every version, command and family but those of TCP are refused", () => {
    for (let byte = 0; byte < 256; byte++) {
      const verdict = read(header(V4, { command: byte }));
      if (byte === 0x20 || byte === 0x21) assert.equal(typeof verdict, "object", `${byte}`);
      else assert.match(verdict as string, byte >> 4 === 2 ? /is no command/ : /another version/);
    }
    const room = [...V4, ...new Array(24).fill(0)];
    for (let byte = 0; byte < 256; byte++) {
      // an addition of type 0 and length 0 for every three bytes behind the addresses
      const verdict = read(header(room, { family: byte }));
      if (byte === 0x11 || byte === 0x21) assert.equal(typeof verdict, "object", `${byte}: ${verdict}`);
      else assert.match(verdict as string, /is no address of a TCP connection/);
    }
  });

  it("every length that does not hold its addresses and additions is refused", () => {
    for (let length = 0; length < 12; length++) {
      assert.match(read(header(V4.slice(0, length))) as string, /too short for its addresses/);
    }
    for (let length = 0; length < 36; length++) {
      assert.match(read(header(new Array(length).fill(0), { family: 0x21 })) as string, /too short/);
    }
    const tlv = [PP2.uniqueId, 0, 3, 1, 2, 3];
    for (let length = 1; length < tlv.length; length++) {
      assert.match(read(header([...V4, ...tlv.slice(0, length)])) as string, /longer than the header/);
    }
    for (let said = 4; said < 65_536; said += 251) {
      const bad = [PP2.uniqueId, said >> 8, said & 0xff, 1, 2, 3];
      assert.match(read(header([...V4, ...bad])) as string, /longer than the header/);
    }
    assert.deepEqual((read(header([...V4, ...tlv])) as ProxyHeader).tlvs, [
      { type: PP2.uniqueId, value: Uint8Array.from([1, 2, 3]) },
    ]);
  });

  it("64 KiB is refused by its length alone, and the longest that is read is read", () => {
    assert.match(read(header([], { length: 65_535 })) as string, /65551 bytes are more than the 4096 that are read/);
    assert.match(read(header([], { length: MAX_PROXY_HEADER - 15 })) as string, /are more than/);
    const fill = MAX_PROXY_HEADER - 16 - V4.length - 3;
    const longest = header([...V4, 4, fill >> 8, fill & 0xff, ...new Array(fill).fill(0)]);
    assert.equal((read(longest) as ProxyHeader).length, MAX_PROXY_HEADER);
  });

  it("text of version 1, TLS and HTTP are none", () => {
    for (const text of ["PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n", "GET / HTTP/1.1\r\n", "\x16\x03\x01\x02\x00\x01"]) {
      assert.match(read(new TextEncoder().encode(text)) as string, /begins otherwise/);
      assert.match(read(new TextEncoder().encode(text.slice(0, 1))) as string, /begins otherwise/);
    }
  });

  it("random bytes behind a good head never make anything but a header, a wait or a refusal", () => {
    let seed = 7;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return (seed >>> 8) % below;
    };
    let good = 0;
    for (let i = 0; i < 20_000; i++) {
      const six = random(2) === 1;
      const block = Array.from({ length: random(80) }, () => random(random(2) === 1 ? 256 : 4));
      if (random(2) === 1) {
        while (block.length < 36) block.push(random(256));
        block.length = six ? 36 : 12;
        for (let n = random(4); n > 0; n--) block.push(random(256), 0, 2, random(256), random(256));
      }
      const bytes = header(block, { family: six ? 0x21 : 0x11, ...(random(4) === 0 ? { length: random(90) } : {}) });
      const verdict = read(bytes);
      if (typeof verdict !== "object") continue;
      good++;
      assert.ok(verdict.length <= bytes.length);
      const held = verdict.tlvs.reduce((sum, { value }) => sum + 3 + value.length, 0);
      assert.equal(verdict.length, 16 + (six ? 36 : 12) + held);
    }
    assert.ok(good > 2_000, `${good} good ones`);
  });

  it("as it is written it is read again", () => {
    const pairs: [string, string, string?][] = [
      ["192.0.2.7", "10.0.0.1"],
      ["2001:db8::1", "2001:db8:0:1::2"],
      ["::1", "::"],
      ["192.0.2.7", "2001:db8::1"],
      ["::ffff:192.0.2.7", "::1", "192.0.2.7"],
      ["fe80::1%eth0", "fe80::2", "fe80::1"],
      ["1:2:3:4:5:6:7:8", "1:0:3:0:5:0:7:0"],
      ["1:0:0:4:5:0:0:8", "::2:0:0:0:5:6", "1::4:5:0:0:8"],
    ];
    for (const [from, to, told = from] of pairs) {
      const written = writeProxyHeader({ address: from, port: 65_535 }, { address: to, port: 0 });
      const { source, destination, length } = read(written) as ProxyHeader;
      assert.deepEqual(source, { address: told, port: 65_535 });
      assert.equal(destination?.port, 0);
      assert.equal(length, written.length);
    }
  });

  it("of two families is written in the wider one, and of an unknown end without addresses", () => {
    const [four, six, none] = ["192.0.2.7", "2001:db8::1", "x"].map((address) => ({ address, port: 1 })) as [
      { address: string; port: number },
      { address: string; port: number },
      { address: string; port: number },
    ];
    type End = Parameters<typeof writeProxyHeader>[0];
    const written = (from: End, to: End) => [...writeProxyHeader(from, to)].slice(12);
    assert.deepEqual(written(four, four), [0x21, 0x11, 0, 12, 192, 0, 2, 7, 192, 0, 2, 7, 0, 1, 0, 1]);
    for (const [from, to] of [
      [four, six],
      [six, four],
      [six, six],
    ] as const) {
      assert.deepEqual(written(from, to).slice(0, 4), [0x21, 0x21, 0, 36]);
      assert.equal((read(writeProxyHeader(from, to)) as ProxyHeader).source?.address, from.address);
    }
    for (const [from, to] of [
      [none, four],
      [four, none],
      [undefined, four],
      [four, undefined],
      [undefined, undefined],
    ] as const)
      assert.deepEqual(written(from, to), [0x21, 0, 0, 0]);
  });

  it("tells the SPIFFE ID, a verified certificate and the name of the connection", () => {
    const spiffeId = `spiffe://example.org/${"a".repeat(2_000)}`;
    const ends = [
      { address: "192.0.2.7", port: 1 },
      { address: "192.0.2.1", port: 2 },
    ] as const;
    const { tlvs } = read(writeProxyHeader(...ends, { spiffeId, uniqueId: "c-1" })) as ProxyHeader;
    const text = (type: number) => new TextDecoder().decode(tlvs.find((tlv) => tlv.type === type)?.value);
    assert.equal(text(PP2.spiffeId), spiffeId);
    assert.equal(text(PP2.uniqueId), "c-1");
    const ssl = tlvs.find((tlv) => tlv.type === PP2.ssl)!.value;
    assert.deepEqual([...ssl.subarray(0, 8)], [7, 0, 0, 0, 0, PP2.sslVersion, 0, 7]);
    assert.equal(new TextDecoder().decode(ssl.subarray(8)), "TLSv1.3");
    assert.deepEqual((read(writeProxyHeader(...ends)) as ProxyHeader).tlvs, []);
  });

  it("addresses that are none have no bytes", () => {
    for (const text of [
      "",
      "x",
      "1.2.3",
      "1.2.3.256",
      "1.2.3.4.5",
      ":",
      ":::",
      "1::2::3",
      "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9",
      "::12345",
      "::g",
      "1:2:3:4:5:6:7::8:9",
      "1:2:3::4:5::6:7:8",
      "::1.2.3.256",
      "::1.2.3",
      "1:2:3:4:5:6:7:1.2.3.4",
    ]) {
      assert.equal(addressBytes(text), undefined, text);
    }
    assert.deepEqual([...(addressBytes("255.0.10.255") ?? [])], [255, 0, 10, 255]);
    assert.equal(addressBytes("::ffff:1.2.3.4")?.length, 16);
    assert.equal(addressBytes("1:2:3:4:5:6:7::")?.length, 16);
  });
});
