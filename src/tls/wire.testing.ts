/** What tests of this folder need on the wire: identities, raw TLS clients, requests as bytes. */
import { connect as dialTcp, type Server, type Socket, createServer as tcpServer } from "node:net";
import { type ConnectionOptions, connect as dialTls, type TLSSocket } from "node:tls";
import { type Frame, http2Frame, http2Frames } from "../../test/support/http2-frames.ts";
import { type StaticIdentity, staticIdentity } from "../authority/static-identity.ts";
import type { TestCa, TestSvid } from "../authority/test-ca.ts";
import type { TrustDomain } from "../id/index.ts";
import type { X509Bundle } from "../x509/index.ts";

/** PEM of what a raw client or server presents; nothing for a client without a certificate. */
export type Shown = { readonly cert: string; readonly key: string } | undefined;

export function shown(svid: TestSvid): NonNullable<Shown> {
  return { cert: svid.certPem, key: svid.keyPem };
}

/** An identity with the ID that trusts the given CAs, the first of which issued it. */
export async function identityOf(id: string, ca: TestCa, ...others: TestCa[]): Promise<StaticIdentity> {
  return staticIdentity({ svid: await ca.issue({ id }), bundles: [ca, ...others].map((each) => each.x509Bundle()) });
}

/** Listeners that a test opens beside the common one; closed at the end, also after a failure. */
export class Opened {
  readonly #listeners: { close(options: { deadlineMs: number }): Promise<unknown> }[] = [];

  add<T extends { close(options: { deadlineMs: number }): Promise<unknown> }>(listener: T): T {
    this.#listeners.push(listener);
    return listener;
  }

  async close(): Promise<void> {
    for (const listener of this.#listeners) await listener.close({ deadlineMs: 0 });
  }
}

/** Bundles that can be looked up like those of a workload. */
export function bundlesOf(...bundles: X509Bundle[]): { x509BundleFor(td: TrustDomain): X509Bundle | undefined } {
  return { x509BundleFor: (td) => bundles.find((bundle) => bundle.trustDomain.equals(td)) };
}

/** Options of a raw client that checks nothing. */
export function rawOptions(port: number, show: Shown, alpn: string, more: ConnectionOptions = {}): ConnectionOptions {
  return {
    host: "127.0.0.1",
    port,
    ca: [],
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ALPNProtocols: [alpn],
    ...show,
    ...more,
  };
}

/** What a raw client saw until its connection ended. */
export interface Seen {
  readonly handshake: boolean;
  readonly bytes: Buffer;
}

/** Connects, writes the bytes as soon as TLS allows, and collects until `enough` or the end of the connection. */
export function rawExchange(
  options: ConnectionOptions,
  bytes: Uint8Array,
  enough: (seen: Buffer) => boolean = () => false,
  onSecure: (socket: TLSSocket) => void = () => {},
): Promise<Seen> {
  return new Promise((resolve) => {
    let handshake = false;
    let seen: Buffer = Buffer.alloc(0);
    const socket = dialTls(options);
    socket.setNoDelay(true);
    socket.on("error", () => {});
    socket.once("secureConnect", () => {
      handshake = true;
      socket.write(bytes);
      onSecure(socket);
    });
    socket.on("data", (chunk: Buffer) => {
      seen = Buffer.concat([seen, chunk]);
      if (enough(seen)) socket.destroy();
    });
    socket.once("close", () => resolve({ handshake, bytes: seen }));
  });
}

/** A GET as bytes of HTTP/1.1. */
export function http1Get(path = "/", headers: readonly string[] = []): Uint8Array {
  return Buffer.from([`GET ${path} HTTP/1.1`, "host: orders", ...headers, "", ""].join("\r\n"));
}

/** Whether an answer with a short body has come in whole. */
export function http1Done(seen: Buffer): boolean {
  const text = seen.toString("latin1");
  const head = text.indexOf("\r\n\r\n");
  const length = /^content-length: (\d+)/im.exec(text)?.[1];
  return head >= 0 && length !== undefined && text.length >= head + 4 + Number(length);
}

function literal(text: string): Buffer {
  return Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
}

/** Header fields that HPACK has no short form for, each as a literal with a new name. */
function fields(pairs: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(pairs.map(([name, value]) => Buffer.concat([Buffer.from([0]), literal(name), literal(value)])));
}

/** Preface, SETTINGS and a number of requests as bytes of HTTP/2, one after the other. */
export function http2Requests(
  streams = 1,
  extra: readonly (readonly [string, string])[] = [],
  method = "GET",
  settings: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const pseudo: [string, string][] =
    method === "CONNECT"
      ? [
          [":method", "CONNECT"],
          [":authority", "orders"],
        ]
      : [
          [":method", method],
          [":scheme", "https"],
          [":path", "/"],
          [":authority", "orders"],
        ];
  const requests = Array.from({ length: streams }, (_, i) =>
    http2Frame(1, 5, 2 * i + 1, fields([...pseudo, ...extra])),
  );
  return Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), http2Frame(4, 0, 0, settings), ...requests]);
}

/** Preface, SETTINGS and streams that are opened and cancelled at once. */
export function http2Resets(streams: number, first = 1): Uint8Array {
  const opened = http2Requests(0);
  const request = fields([
    [":method", "GET"],
    [":scheme", "https"],
    [":path", "/"],
    [":authority", "orders"],
  ]);
  const cancel = Buffer.from([0, 0, 0, 8]);
  const frames = Array.from({ length: streams }, (_, i) => {
    const id = first + 2 * i;
    return Buffer.concat([http2Frame(1, 5, id, request), http2Frame(3, 0, id, cancel)]);
  });
  return Buffer.concat([...(first === 1 ? [opened] : []), ...frames]);
}

/** HEADERS of a GET: flags 5 for a whole request, 1 for one whose head goes on. */
export function http2Request(stream: number, flags: number): Buffer {
  const request = http2Get(stream);
  const bytes = Buffer.from(request);
  bytes[4] = flags;
  return bytes;
}

/** A GET on a stream of a connection that is open already. */
export function http2Get(stream: number): Uint8Array {
  const all = http2Requests(1);
  const request = Buffer.from(all.subarray(http2Requests(0).length));
  request.writeUInt32BE(stream, 5);
  return request;
}

/** Whether a stream has its end in what a server sent. */
export function http2Answers(seen: Buffer, stream: number): boolean {
  return http2Frames(seen).some((frame) => frame.stream === stream && (frame.flags & 1) === 1);
}

/** Streams whose end an HTTP/2 answer holds. */
export function http2Ended(seen: Buffer): number {
  const ends = ({ type, flags }: Frame) => ((type === 0 || type === 1) && (flags & 1) === 1) || type === 3;
  return http2Frames(seen).filter(ends).length;
}

/** Huffman codes of digits (RFC 7541 appendix B), by their bits. */
const DIGITS: Readonly<Record<string, string>> = {
  "00000": "0",
  "00001": "1",
  "00010": "2",
  "011001": "3",
  "011010": "4",
  "011011": "5",
  "011100": "6",
  "011101": "7",
  "011110": "8",
  "011111": "9",
};
/** Entries 8 to 14 of HPACK's static table. */
const STATUSES = [200, 204, 206, 304, 400, 404, 500] as const;

/** The `:status` that a header block of an answer begins with; undefined for trailers. */
function http2Status(block: Buffer): number | undefined {
  let at = 0;
  while ((block[at]! & 0xe0) === 0x20) at++;
  const first = block[at]!;
  if (first >= 0x88 && first <= 0x8e) return STATUSES[first - 0x88];
  if (![0x48, 0x08, 0x18].includes(first)) return undefined;
  const length = block[at + 1]! & 0x7f;
  const text = block.subarray(at + 2, at + 2 + length);
  if ((block[at + 1]! & 0x80) === 0) return Number(text.toString("latin1"));
  let [bits, digits] = ["", ""];
  for (const bit of [...text].map((octet) => octet.toString(2).padStart(8, "0")).join("")) {
    bits += bit;
    const digit = DIGITS[bits];
    if (digit !== undefined) [bits, digits] = ["", digits + digit];
  }
  return Number(digits);
}

/** What a server said of a stream: statuses of its answers, `reset` where it broke the stream off, `goaway` all. */
export function http2Told(seen: Buffer, stream: number): string[] {
  const told: string[] = [];
  for (const { type, stream: id, payload } of http2Frames(seen)) {
    const status = id === stream && type === 1 ? http2Status(payload) : undefined;
    if (status !== undefined) told.push(String(status));
    if (id === stream && type === 3) told.push("reset");
    if (type === 7 && payload.readUInt32BE(4) !== 0) told.push("goaway");
  }
  return told;
}

type Held = Map<number, { chunks: Buffer[]; flush: () => void }>;

/**
 * A relay that holds back what a client sends after its first flight until it is told that the request is written, and
 * then passes Finished and request on in one write: the server finds both in one segment.
 */
export class Relay {
  readonly port: number;
  readonly #server: Server;
  readonly #held: Held;

  private constructor(server: Server, held: Held) {
    this.#server = server;
    this.#held = held;
    this.port = (server.address() as { port: number }).port;
  }

  static async start(target: number): Promise<Relay> {
    const held: Held = new Map();
    const server = tcpServer((client) => {
      const upstream = dialTcp(target, "127.0.0.1");
      upstream.setNoDelay(true);
      client.setNoDelay(true);
      const row = { chunks: [] as Buffer[], flush: () => {} };
      let state: "hello" | "hold" | "open" = "hello";
      row.flush = () => {
        state = "open";
        upstream.write(Buffer.concat(row.chunks));
      };
      held.set(client.remotePort ?? 0, row);
      client.on("data", (chunk: Buffer) => {
        if (state === "hold") row.chunks.push(chunk);
        else upstream.write(chunk);
      });
      upstream.on("data", (chunk: Buffer) => {
        if (state === "hello") state = "hold";
        client.write(chunk);
      });
      const tie = (from: Socket, to: Socket) => {
        from.on("error", () => to.destroy());
        from.on("close", () => to.destroy());
      };
      tie(client, upstream);
      tie(upstream, client);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new Relay(server, held);
  }

  /** Passes on what the client at that local port has sent. */
  release(localPort: number): void {
    // The bytes are on the loopback device already; a turn of the timer lets this process read them.
    setTimeout(() => {
      this.#held.get(localPort)?.flush();
      this.#held.delete(localPort);
    }, 10);
  }

  async close(): Promise<void> {
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Runs `count` jobs, at most `width` at a time. */
export async function many(count: number, width: number, job: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < count) await job(next++);
  };
  await Promise.all(Array.from({ length: Math.min(width, count) }, lane));
}
