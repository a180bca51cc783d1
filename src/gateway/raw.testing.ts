/** Requests as raw bytes over kept connections of HTTP/1.1 and HTTP/2, for what no client library would send. */
import type { Duplex } from "node:stream";
import { http2Frame, http2Frames } from "../../test/support/http2-frames.ts";
import { connect, type TlsIdentity } from "../tls/index.ts";
import { GATEWAY } from "./world.testing.ts";

/** Name and value, one character for each byte. */
export type RawField = readonly [name: string, value: string];

/** What came back: status 0 where the connection or the stream ended without an answer. */
export interface RawAnswer {
  readonly status: number;
  readonly body: string;
  /** Whether the connection of HTTP/1.1 ends with it. */
  readonly closes?: boolean;
}

/** Asks one request after another, on a connection that is opened anew when it has ended. */
export interface RawClient {
  ask(target: string, fields?: readonly RawField[], method?: string): Promise<RawAnswer>;
  close(): void;
}

/** Status and reason of an answer. */
export function outcomeOf({ status, body }: RawAnswer): string {
  const reason = /"reason":"([a-z.-]+)"/.exec(body)?.[1];
  return reason === undefined ? String(status) : `${status} ${reason}`;
}

/** A connection to whoever has to answer, the gateway by default. */
export async function dial(identity: TlsIdentity, port: number, alpn: string, peer: string = GATEWAY): Promise<Duplex> {
  const { socket } = await connect(identity, { host: "127.0.0.1", port, peer, alpn: [alpn] });
  socket.on("error", () => {});
  return socket;
}

/** Sends bytes and reads until `whole` has an answer, or the connection ends. */
function exchange(socket: Duplex, bytes: Buffer, whole: (seen: Buffer, over: boolean) => RawAnswer | undefined) {
  return new Promise<RawAnswer>((resolve) => {
    let seen: Buffer = Buffer.alloc(0);
    const look = (over: boolean) => {
      const answer = whole(seen, over);
      if (answer === undefined && !over) return;
      socket.off("data", onData).off("end", onEnd).off("close", onEnd);
      resolve(answer ?? { status: 0, body: "" });
    };
    const onData = (chunk: Buffer) => {
      seen = Buffer.concat([seen, chunk]);
      look(false);
    };
    const onEnd = () => {
      socket.destroy();
      look(true);
    };
    if (socket.destroyed) return onEnd();
    socket.on("data", onData).on("end", onEnd).on("close", onEnd);
    socket.write(bytes);
  });
}

/** The whole answer of HTTP/1.1 in some bytes. */
function answer1(seen: Buffer, over: boolean): RawAnswer | undefined {
  const text = seen.toString("latin1");
  const head = text.indexOf("\r\n\r\n");
  const length = /^content-length: (\d+)/im.exec(text)?.[1];
  const end = head + 4 + Number(length);
  if (!over && (head < 0 || length === undefined || text.length < end)) return undefined;
  const closes = /^connection: close\r$/im.test(text.slice(0, head + 2));
  return { status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0), body: text.slice(head + 4), closes };
}

/** A client of HTTP/1.1; `fields` are all there are, `Host` too. */
export function raw1(
  identity: TlsIdentity,
  port: number,
  open: () => Promise<Duplex> = () => dial(identity, port, "http/1.1"),
): RawClient {
  let socket: Duplex | undefined;
  return {
    async ask(target, fields = [["Host", "edge.example"]], method = "GET") {
      if (socket === undefined || socket.destroyed) socket = await open();
      const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`);
      const bytes = Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines.join("")}\r\n`, "latin1");
      const answer = await exchange(socket, bytes, answer1);
      // after a request that the runtime refused by itself nothing on the connection means anything
      if (answer.closes === true || !/^(?:200|.* .*)$/.test(outcomeOf(answer))) socket.destroy();
      return answer;
    },
    close: () => socket?.destroy(),
  };
}

/** A length or text of HPACK (RFC 7541 sections 5.1 and 5.2), without compression. */
function literal(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  const prefix: number[] = [];
  let left = bytes.length;
  if (left < 127) prefix.push(left);
  else {
    prefix.push(127);
    left -= 127;
    for (; left >= 128; left >>= 7) prefix.push((left & 127) | 128);
    prefix.push(left);
  }
  return Buffer.concat([Buffer.from(prefix), bytes]);
}

/** Status and body of a stream in the frames of an HTTP/2 server. */
function answer2(stream: number) {
  return (seen: Buffer): RawAnswer | undefined => {
    let body = "";
    let bodies = 0;
    for (const { type, flags, stream: id, payload } of http2Frames(seen)) {
      const own = id === stream;
      if (own && type === 0) {
        bodies++;
        body += payload.toString("latin1");
      }
      // the session, or the stream, is refused as a whole
      if (type === 7 || (own && type === 3)) return { status: 0, body: "" };
      // heads are compressed: a refusal says its status in the body as well
      if (own && (type === 0 || type === 1) && (flags & 1) === 1)
        return { status: Number(/"status":(\d{3})/.exec(body)?.[1] ?? (bodies > 0 ? 200 : -1)), body };
    }
    return undefined;
  };
}

/** A client of HTTP/2; `fields` come behind the pseudo-header fields, and replace those they name. */
export function raw2(
  identity: TlsIdentity,
  port: number,
  open: () => Promise<Duplex> = () => dial(identity, port, "h2"),
): RawClient {
  let socket: Duplex | undefined;
  let stream = 1;
  return {
    async ask(target, fields = [[":authority", "edge.example"]], method = "GET") {
      let opening = Buffer.alloc(0);
      if (socket === undefined || socket.destroyed) {
        socket = await open();
        stream = 1;
        opening = Buffer.concat([
          Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
          http2Frame(4, 0, 0),
          // room for the bodies of all answers
          http2Frame(8, 0, 0, [0x3f, 0, 0, 0]),
        ]);
      }
      const own: RawField[] = [
        [":method", method],
        [":scheme", "https"],
        [":path", target],
      ];
      const all = [...own.filter(([name]) => !fields.some(([other]) => other === name)), ...fields];
      const block = all.map(([name, value]) => Buffer.concat([Buffer.from([0]), literal(name), literal(value)]));
      const request = http2Frame(1, 5, stream, Buffer.concat(block));
      const answer = await exchange(socket, Buffer.concat([opening, request]), answer2(stream));
      stream += 2;
      if (answer.status === 0) socket.destroy();
      return answer;
    },
    close: () => socket?.destroy(),
  };
}
