/** HTTP/2 as frames (RFC 9113 section 4), for tests that say or look at what no library lets through. */
import type { Socket } from "node:net";

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

const HEAD = 9;
const PREFACE = 24;
const SETTINGS = 4;
const ACK = 1;

export function http2Frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array | readonly number[] = [],
): Buffer {
  const head = Buffer.alloc(HEAD);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, Uint8Array.from(payload)]);
}

/** The whole frames that bytes begin with. */
export function http2Frames(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at + HEAD <= bytes.length; ) {
    const end = at + HEAD + bytes.readUIntBE(at, 3);
    if (end > bytes.length) break;
    const [type, flags] = [bytes[at + 3] as number, bytes[at + 4] as number];
    frames.push({ type, flags, stream: bytes.readUInt32BE(at + 5), payload: bytes.subarray(at + HEAD, end) });
    at = end;
  }
  return frames;
}

/** Settings that a server says of its own in its frames. */
export function http2Settings(bytes: Buffer): Map<number, number> {
  const settings = new Map<number, number>();
  for (const { type, flags, payload } of http2Frames(bytes)) {
    if (type !== SETTINGS || (flags & ACK) !== 0) continue;
    for (let at = 0; at + 6 <= payload.length; at += 6)
      settings.set(payload.readUInt16BE(at), payload.readUInt32BE(at + 2));
  }
  return settings;
}

/** What a client sends, chunk after chunk, as frames behind its preface. */
export class ClientFrames {
  #left: Buffer = Buffer.alloc(0);
  #preface = PREFACE;

  /** The frames that are whole with this chunk. */
  take(chunk: Uint8Array): Frame[] {
    this.#left = Buffer.concat([this.#left, chunk]);
    if (this.#left.length < this.#preface) return [];
    this.#left = this.#left.subarray(this.#preface);
    this.#preface = 0;
    const frames = http2Frames(this.#left);
    const length = frames.reduce((sum, { payload }) => sum + HEAD + payload.length, 0);
    this.#left = this.#left.subarray(length);
    return frames;
  }
}

/** Serves a connection as bare frames: settings are exchanged, everything else is for the test to take and answer. */
export function serveFrames(socket: Socket, take: (frame: Frame) => void): void {
  const frames = new ClientFrames();
  const settings = (flags: number) => void socket.write(http2Frame(SETTINGS, flags, 0));
  socket.on("error", () => {});
  settings(0);
  socket.on("data", (chunk: Uint8Array) => {
    for (const frame of frames.take(chunk)) {
      if (frame.type !== SETTINGS) take(frame);
      else if ((frame.flags & ACK) === 0) settings(ACK);
    }
  });
}
