/** The PROXY header before TLS: read from listed load balancers alone, within bounds, and never from anybody else. */
import { BlockList, isIP, type Socket } from "node:net";
import { type Refusal, refuse, type Verdict } from "../base/verdict.ts";
import { addressBytes, MAX_PROXY_HEADER, type ProxyHeader, readProxyHeader } from "../encoding/proxy-protocol.ts";

/** Who sends a PROXY header before TLS. */
export interface ProxyProtocolOptions {
  /**
   * Addresses and prefixes of the load balancers, `10.0.0.0/8`. A connection from one of them without a header is refused;
   * from others none is read.
   */
  readonly from: readonly string[];
}

const MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/** An IPv4 address in IPv6 form as that IPv4 address, whatever it is spelled like; every other without its zone. */
export function plainAddress(address: string): string {
  const bytes = addressBytes(address);
  const isMapped = bytes?.length === 16 && MAPPED.every((byte, i) => bytes[i] === byte);
  return isMapped ? bytes.subarray(12).join(".") : address.replace(/%.*$/, "");
}

/** An address or prefix as it is written; undefined for anything else, also for bits behind the prefix. */
function parsePrefix(text: string): { address: string; bits: number; family: "ipv4" | "ipv6" } | undefined {
  const [address = "", length, ...more] = text.split("/");
  const kind = isIP(address);
  if (kind === 0 || more.length > 0 || address.includes("%")) return undefined;
  const most = kind === 4 ? 32 : 128;
  if (length !== undefined && !/^(?:0|[1-9]\d{0,2})$/.test(length)) return undefined;
  const bits = length === undefined ? most : Number(length);
  return bits > most ? undefined : { address, bits, family: kind === 4 ? "ipv4" : "ipv6" };
}

/** Whether a text is an address or a prefix. */
export const isPrefix = (text: unknown): boolean => typeof text === "string" && parsePrefix(text) !== undefined;

/** The addresses that send headers. */
export class ProxyList {
  // apart: in one list runtimes do not agree on whether a short IPv6 prefix has IPv4 addresses in it
  readonly #ipv4 = new BlockList();
  readonly #ipv6 = new BlockList();

  /** @param from checked by {@link isPrefix} */
  constructor(from: readonly string[]) {
    for (const text of from) {
      const { address, bits, family } = parsePrefix(text)!;
      const bare = plainAddress(address);
      if (family === "ipv4") this.#ipv4.addSubnet(address, bits, family);
      else if (bare !== address && bits >= 96) this.#ipv4.addSubnet(bare, bits - 96, "ipv4");
      else this.#ipv6.addSubnet(address, bits, family);
    }
  }

  has(address: string | undefined): boolean {
    if (address === undefined) return false;
    const bare = plainAddress(address);
    const kind = isIP(bare);
    return kind === 4 ? this.#ipv4.check(bare, "ipv4") : kind === 6 && this.#ipv6.check(bare, "ipv6");
  }
}

/**
 * Reads the header of a fresh connection and puts back what came behind it. Settles with a refusal when the connection
 * ends first; who waits sets the time, by destroying the socket.
 */
export function readHeaderOf(socket: Socket): Promise<Verdict<ProxyHeader>> {
  return new Promise((resolve) => {
    let seen: Buffer = Buffer.alloc(0);
    const over = (verdict: Verdict<ProxyHeader>) => {
      socket.off("data", onData).off("end", onGone).off("close", onGone);
      resolve(verdict);
    };
    const onGone = () => over(refuse("request.proxy-header", "The connection ended before its PROXY header"));
    const onData = (chunk: Buffer) => {
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
      const verdict = readProxyHeader(seen.subarray(0, MAX_PROXY_HEADER));
      if (verdict.ok !== true) return over(verdict as Refusal);
      const { value: header } = verdict;
      if (header === undefined) return;
      socket.pause();
      over({ ok: true, value: header });
      if (seen.length > header.length) socket.unshift(seen.subarray(header.length));
    };
    socket.on("data", onData).once("end", onGone).once("close", onGone);
  });
}

/** Lets a socket tell the address of its caller, such as who is behind a load balancer, wherever a handler asks for it. */
export function tellAddress(socket: object, { address, port }: { address: string; port: number }): void {
  const family = isIP(address) === 6 ? "IPv6" : "IPv4";
  for (const [name, value] of Object.entries({ remoteAddress: address, remotePort: port, remoteFamily: family })) {
    Object.defineProperty(socket, name, { value, configurable: true, enumerable: true });
  }
}
