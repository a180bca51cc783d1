/** PROXY protocol version 2: the address of a caller before the first byte of a connection, as load balancers send it. */
import { accept, refuse, type Verdict } from "../base/index.ts";

/** What every header begins with; no other protocol does. */
const SIGNATURE: readonly number[] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
/** Signature, version and command, family, length. */
const HEAD = 16;
/** Version 2 with the commands LOCAL, of a connection of the proxy's own, and PROXY. */
const LOCAL = 0x20;
const PROXY = 0x21;
/** Bytes of a whole header that is read: an address, and what load balancers add to it. */
export const MAX_PROXY_HEADER: number = 4_096;

/** Types of additions that have a meaning here, by the protocol's §2.2. */
export const PP2 = {
  uniqueId: 0x05,
  ssl: 0x20,
  sslVersion: 0x21,
  /** The first of those that are everybody's own: here the SPIFFE ID of the caller, as text. */
  spiffeId: 0xe0,
} as const;

/** A caller as a header names it. */
export interface ProxiedAddress {
  /** IPv4 in four numbers, or IPv6 in the form that RFC 5952 gives it. */
  readonly address: string;
  readonly port: number;
}

/** An addition to a header. */
export interface ProxyTlv {
  readonly type: number;
  readonly value: Uint8Array;
}

/** A header as it came. */
export interface ProxyHeader {
  /** Bytes of it. */
  readonly length: number;
  /** The caller and where it dialled; absent for a connection of the proxy's own, such as a health check. */
  readonly source: ProxiedAddress | undefined;
  readonly destination: ProxiedAddress | undefined;
  readonly tlvs: readonly ProxyTlv[];
}

function wrong(what: string): Verdict<never> {
  return refuse("request.proxy-header", `The PROXY header is none of version 2: ${what}`);
}

function ipv4(bytes: Uint8Array): string {
  return [...bytes].join(".");
}

/** RFC 5952: lower case, no leading zeros, the first of the longest runs of zero groups as `::`. */
function ipv6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] as number) << 8) | (bytes[2 * i + 1] as number));
  // an IPv4 address in IPv6 form is that IPv4 address, so that no table has it twice
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) return ipv4(bytes.subarray(12));
  let [start, length] = [-1, 1];
  for (let at = 0; at < 8; at++) {
    let end = at;
    while (end < 8 && groups[end] === 0) end++;
    if (end - at > length) [start, length] = [at, end - at];
    at = Math.max(at, end - 1);
  }
  const hex = (some: readonly number[]) => some.map((group) => group.toString(16)).join(":");
  return start < 0 ? hex(groups) : `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}

function readTlvs(bytes: Uint8Array): ProxyTlv[] | undefined {
  const tlvs: ProxyTlv[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 3 + (((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number));
    if (end > bytes.length) return undefined;
    tlvs.push({ type: bytes[at] as number, value: bytes.subarray(at + 3, end) });
    at = end;
  }
  return tlvs;
}

/**
 * Reads a header from the first bytes of a connection, which may go on behind it.
 *
 * @param bytes what has come so far
 * @returns the header; undefined while more bytes are needed; a refusal as soon as it can be none
 * @example
 * ```ts
 * import { readProxyHeader, writeProxyHeader } from "../../src/encoding/proxy-protocol.ts";
 * const caller = { address: "192.0.2.7", port: 50_000 };
 * const header = readProxyHeader(writeProxyHeader(caller, { address: "192.0.2.1", port: 443 }));
 * console.assert(header.ok && header.value?.source?.address === "192.0.2.7");
 * ```
 */
export function readProxyHeader(bytes: Uint8Array): Verdict<ProxyHeader | undefined> {
  const known = Math.min(bytes.length, SIGNATURE.length);
  for (let at = 0; at < known; at++) if (bytes[at] !== SIGNATURE[at]) return wrong("it begins otherwise");
  if (bytes.length > 12 && (bytes[12] as number) >> 4 !== 2) return wrong("it has another version");
  if (bytes.length < HEAD) return accept(undefined);
  const command = (bytes[12] as number) & 0x0f;
  const family = bytes[13] as number;
  const length = HEAD + (((bytes[14] as number) << 8) | (bytes[15] as number));
  if (command > 1) return wrong(`${command} is no command`);
  if (length > MAX_PROXY_HEADER) return wrong(`${length} bytes are more than the ${MAX_PROXY_HEADER} that are read`);
  if (bytes.length < length) return accept(undefined);
  const block = bytes.subarray(HEAD, length);
  // of the proxy's own connections nothing is to be read
  if (command === 0) return accept({ length, source: undefined, destination: undefined, tlvs: [] });
  const size = family === 0x11 ? 4 : family === 0x21 ? 16 : undefined;
  if (size === undefined) return wrong(`0x${family.toString(16)} is no address of a TCP connection`);
  const addresses = 2 * size + 4;
  if (block.length < addresses) return wrong("it is too short for its addresses");
  const tlvs = readTlvs(block.subarray(addresses));
  if (tlvs === undefined) return wrong("an addition is longer than the header");
  const text = size === 4 ? ipv4 : ipv6;
  const port = (at: number) => ((block[at] as number) << 8) | (block[at + 1] as number);
  return accept({
    length,
    source: { address: text(block.subarray(0, size)), port: port(2 * size) },
    destination: { address: text(block.subarray(size, 2 * size)), port: port(2 * size + 2) },
    tlvs,
  });
}

/** The bytes of an IP address in the form that sockets give it; undefined for anything else. */
export function addressBytes(text: string): Uint8Array | undefined {
  if (/^\d{1,3}(?:\.\d{1,3}){3}$/.test(text)) {
    const parts = text.split(".").map(Number);
    return parts.every((part) => part <= 255) ? Uint8Array.from(parts) : undefined;
  }
  const plain = text.replace(/%.*$/, "").toLowerCase();
  if (!/^[0-9a-f:]*(?::\d{1,3}(?:\.\d{1,3}){3})?$/.test(plain) || !plain.includes(":")) return undefined;
  const tail = /[^:]*\.[^:]*$/.exec(plain)?.[0];
  const last = tail === undefined ? undefined : addressBytes(tail);
  if (tail !== undefined && last === undefined) return undefined;
  const words =
    last === undefined ? [] : [((last[0]! << 8) | last[1]!).toString(16), ((last[2]! << 8) | last[3]!).toString(16)];
  const whole = tail === undefined ? plain : plain.slice(0, -tail.length) + words.join(":");
  const halves = whole.split("::");
  if (halves.length > 2) return undefined;
  const groups = halves.map((half) => (half === "" ? [] : half.split(":")));
  const given = groups.flat();
  if (given.some((group) => !/^[0-9a-f]{1,4}$/.test(group))) return undefined;
  const missing = 8 - given.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const all = [...(groups[0] as string[]), ...Array<string>(missing).fill("0"), ...(groups[1] ?? [])];
  return Uint8Array.from(all.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]));
}

/** The same address as IPv6 has it. */
function mapped(bytes: Uint8Array): Uint8Array {
  return bytes.length === 16 ? bytes : Uint8Array.from([...new Array<number>(10).fill(0), 0xff, 0xff, ...bytes]);
}

function tlv(type: number, value: Uint8Array): number[] {
  return [type, value.length >> 8, value.length & 0xff, ...value];
}

/** Writes the header of a connection that the proxy opens for itself, such as a health check: it names nobody. */
export function writeLocalProxyHeader(): Uint8Array {
  return Uint8Array.from([...SIGNATURE, LOCAL, 0, 0, 0]);
}

/** What an upstream is told of a caller beside its address. */
export interface ProxiedCaller {
  /** The verified SPIFFE ID, at most 2,048 bytes. */
  readonly spiffeId?: string | undefined;
  /** A name of the connection, at most 128 bytes, as logs have it. */
  readonly uniqueId?: string | undefined;
}

/**
 * Writes a header. A caller with a SPIFFE ID is told as one of TLS 1.3 whose certificate was verified (`PP2_TYPE_SSL`), and
 * by ID in an addition of type 0xE0, the first that is free for everybody's own.
 *
 * @param source the caller, absent where its address is unknown, as behind a unix socket
 */
export function writeProxyHeader(
  source: ProxiedAddress | undefined,
  destination: ProxiedAddress | undefined,
  caller: ProxiedCaller = {},
): Uint8Array {
  const encoder = new TextEncoder();
  const ends = [source, destination].map((end) => (end === undefined ? undefined : addressBytes(end.address)));
  const [from, to] = ends;
  const tlvs: number[] = [];
  if (caller.uniqueId !== undefined) tlvs.push(...tlv(PP2.uniqueId, encoder.encode(caller.uniqueId)));
  if (caller.spiffeId !== undefined) {
    // TLS, and a certificate shown on this connection and in this session; 0: it was verified
    const ssl = [0x07, 0, 0, 0, 0, ...tlv(PP2.sslVersion, encoder.encode("TLSv1.3"))];
    tlvs.push(...tlv(PP2.ssl, Uint8Array.from(ssl)), ...tlv(PP2.spiffeId, encoder.encode(caller.spiffeId)));
  }
  let family = 0;
  const addresses: number[] = [];
  if (from !== undefined && to !== undefined && source !== undefined && destination !== undefined) {
    const both = from.length === 4 && to.length === 4 ? [from, to] : [mapped(from), mapped(to)];
    family = both[0]?.length === 4 ? 0x11 : 0x21;
    addresses.push(...both.flatMap((bytes) => [...bytes]));
    for (const { port } of [source, destination]) addresses.push(port >> 8, port & 0xff);
  }
  const length = addresses.length + tlvs.length;
  return Uint8Array.from([...SIGNATURE, PROXY, family, length >> 8, length & 0xff, ...addresses, ...tlvs]);
}
