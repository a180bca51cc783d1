/** Finds the end of each HTTP/1.1 response on a connection without pipelining. */

const HEAD_END = Buffer.from("\r\n\r\n");
const CHUNKS_END = Buffer.from("0\r\n\r\n");

/** Takes the bytes of one connection and tells when a response is complete. */
export class ResponseReader {
  #pending: Buffer = Buffer.alloc(0);

  /** Adds received bytes; returns the status once the response is complete, else undefined. */
  push(chunk: Buffer): number | undefined {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    const headEnd = this.#pending.indexOf(HEAD_END);
    if (headEnd < 0) return undefined;
    const head = this.#pending.subarray(0, headEnd).toString("latin1");
    const body = this.#pending.subarray(headEnd + HEAD_END.length);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    const whole =
      length === undefined ? body.subarray(-CHUNKS_END.length).equals(CHUNKS_END) : body.length >= Number(length);
    if (!whole) return undefined;
    this.#pending = Buffer.alloc(0);
    return Number(head.slice(9, 12));
  }
}
