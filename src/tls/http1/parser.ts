/**
 * Reads HTTP/1.1 answers (RFC 9112) off a connection, strictly: what two programs could read differently is no answer.
 * No bare line feed, no folded line, no space before a colon, one plain length or `chunked` and never both.
 */

/** Bytes of a head, of the line before a chunk, and of all trailers. */
const HEAD_BYTES = 65_536;
const CHUNK_LINE_BYTES = 256;
/** Interim answers before the real one. */
export const MAX_INTERIM = 16;

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?$/;
/** What a field's name and value are made of; also of requests. */
export const NAME: RegExp = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
export const VALUE: RegExp = /^[\t\x20-\x7e\x80-\xff]*$/;
const CHUNK_LINE = /^([0-9A-Fa-f]{1,12})(?:[\t ]*;[\t\x20-\x7e\x80-\xff]*)?$/;
/** A plain length. */
export const LENGTH: RegExp = /^[0-9]{1,15}$/;

/** What an upstream sent in place of an answer; another try would see the same. */
export class NoAnswer extends Error {}

/** What is read. */
export interface AnswerEvents {
  /** Fields as names and values in turn. */
  head(status: number, fields: readonly string[], reason: string): void;
  data(chunk: Uint8Array): void;
  ended(trailers: readonly string[]): void;
}

type Step = "head" | "length" | "to-close" | "chunk-line" | "chunk" | "chunk-end" | "trailers" | "done";

/** Reads one answer. */
export class AnswerParser {
  readonly #method: string;
  readonly #events: AnswerEvents;
  #step: Step = "head";
  #pending: Buffer | undefined;
  /** Bytes of the body or chunk that are still to come. */
  #left = 0;
  #interim = 0;
  #keeps = false;
  #lacksBody = false;
  /** Seconds that the upstream says it keeps the connection. */
  keepSeconds: number | undefined;

  /** @param method that of the request: an answer to HEAD has no body, whatever it says */
  constructor(method: string, events: AnswerEvents) {
    this.#method = method;
    this.#events = events;
  }

  /** Whether the answer is read to its end. */
  get done(): boolean {
    return this.#step === "done";
  }

  /** Whether another request may follow on the connection. */
  get keeps(): boolean {
    return this.#keeps;
  }

  /** Whether the answer states a body that it has not, as those to HEAD may: some upstream might send it all the same. */
  get lacksBody(): boolean {
    return this.#lacksBody;
  }

  /**
   * Takes received bytes.
   *
   * @returns whether the answer took all of them; bytes behind its end belong to nothing
   * @throws NoAnswer
   */
  push(received: Buffer): boolean {
    let bytes = this.#pending === undefined ? received : Buffer.concat([this.#pending, received]);
    this.#pending = undefined;
    while (bytes.length > 0 && this.#step !== "done") {
      const rest = this.#read(bytes);
      if (rest === undefined) {
        this.#pending = bytes;
        return true;
      }
      bytes = rest;
    }
    return bytes.length === 0;
  }

  /** The connection has ended; false when that is not the end of the answer. */
  close(): boolean {
    if (this.#step === "to-close") this.#finish([]);
    return this.#step === "done";
  }

  /** Reads what can be read; the rest, or undefined when more has to come first. */
  #read(bytes: Buffer): Buffer | undefined {
    switch (this.#step) {
      case "head":
        return this.#readHead(bytes);
      case "length":
      case "chunk": {
        const part = bytes.length <= this.#left ? bytes : bytes.subarray(0, this.#left);
        this.#left -= part.length;
        this.#events.data(part);
        if (this.#left === 0) {
          if (this.#step === "chunk") this.#step = "chunk-end";
          else this.#finish([]);
        }
        return bytes.subarray(part.length);
      }
      case "to-close":
        this.#events.data(bytes);
        return bytes.subarray(bytes.length);
      case "chunk-end":
        if (bytes.length < 2) return undefined;
        if (bytes[0] !== 13 || bytes[1] !== 10) throw new NoAnswer("The upstream's answer has a chunk without its end");
        this.#step = "chunk-line";
        return bytes.subarray(2);
      case "chunk-line":
        return this.#readChunkLine(bytes);
      default:
        return this.#readTrailers(bytes);
    }
  }

  #readHead(bytes: Buffer): Buffer | undefined {
    const read = readHead(bytes);
    if (read === undefined) return undefined;
    const { status, fields, reason, persistent, end } = read;
    const rest = bytes.subarray(end);
    if (status === 101) throw new NoAnswer("The upstream switched protocols without being asked");
    if (status < 200) {
      if (++this.#interim > MAX_INTERIM) throw new NoAnswer("The upstream sends interim answers without end");
      return rest;
    }
    this.#frame(status, persistent, fields);
    const empty = this.#step === "done";
    // the head is told before its end, whatever follows
    this.#events.head(status, fields, reason);
    if (empty) this.#events.ended([]);
    return rest;
  }

  /** How long the body is, and whether the connection stays. */
  #frame(status: number, persistent: boolean, fields: readonly string[]): void {
    let length: string | undefined;
    let coding: string | undefined;
    this.#keeps = persistent;
    for (let i = 0; i < fields.length; i += 2) {
      const value = fields[i + 1] as string;
      switch ((fields[i] as string).toLowerCase()) {
        case "content-length":
          if (length !== undefined || !LENGTH.test(value))
            throw new NoAnswer("The upstream's answer has no one length");
          length = value;
          break;
        case "transfer-encoding":
          if (coding !== undefined || value.toLowerCase() !== "chunked")
            throw new NoAnswer("The upstream's answer has a transfer coding that is not chunked");
          coding = value;
          break;
        case "connection":
          if (/(?:^|,)[\t ]*close[\t ]*(?:,|$)/i.test(value)) this.#keeps = false;
          break;
        case "keep-alive": {
          const seconds = /(?:^|[\t ,;])timeout=([0-9]{1,6})(?:$|[\t ,;])/i.exec(value)?.[1];
          if (seconds !== undefined) this.keepSeconds = Number(seconds);
          break;
        }
        default:
      }
    }
    if (coding !== undefined && (length !== undefined || !persistent)) {
      throw new NoAnswer("The upstream's answer says in two ways how long it is");
    }
    if (this.#method === "HEAD" || status === 204 || status === 304) {
      this.#step = "done";
      this.#lacksBody = coding !== undefined || Number(length ?? 0) > 0;
      // such an answer states none (RFC 9110 section 8.6): who sends one may send the other
      if (status === 204 && this.#lacksBody) this.#keeps = false;
    } else if (coding !== undefined) this.#step = "chunk-line";
    else if (length !== undefined) {
      this.#left = Number(length);
      this.#step = this.#left === 0 ? "done" : "length";
    } else {
      this.#keeps = false;
      this.#step = "to-close";
    }
  }

  #readChunkLine(bytes: Buffer): Buffer | undefined {
    const end = endOf(bytes, "\r\n", CHUNK_LINE_BYTES, "chunk's length");
    if (end === undefined) return undefined;
    const size = CHUNK_LINE.exec(bytes.toString("latin1", 0, end))?.[1];
    if (size === undefined) throw new NoAnswer("The upstream's answer has a chunk of no plain length");
    this.#left = Number.parseInt(size, 16);
    this.#step = this.#left === 0 ? "trailers" : "chunk";
    return bytes.subarray(end + 2);
  }

  #readTrailers(bytes: Buffer): Buffer | undefined {
    if (bytes.length < 2) return undefined;
    if (bytes[0] === 13 && bytes[1] === 10) {
      this.#finish([]);
      return bytes.subarray(2);
    }
    const end = endOf(bytes, "\r\n\r\n", HEAD_BYTES, "trailers");
    if (end === undefined) return undefined;
    this.#finish(fieldsOf(bytes.toString("latin1", 0, end).split("\r\n"), 0));
    return bytes.subarray(end + 4);
  }

  #finish(trailers: readonly string[]): void {
    this.#step = "done";
    this.#events.ended(trailers);
  }
}

/** The head of an answer. */
export interface ReadHead {
  readonly status: number;
  readonly reason: string;
  /** Whether the version keeps connections. */
  readonly persistent: boolean;
  /** Names and values in turn. */
  readonly fields: readonly string[];
  /** Where what follows begins. */
  readonly end: number;
}

/** Reads a head; undefined while its end has not come. Throws `NoAnswer`. */
export function readHead(bytes: Buffer): ReadHead | undefined {
  const end = endOf(bytes, "\r\n\r\n", HEAD_BYTES, "head");
  if (end === undefined) return undefined;
  const lines = bytes.toString("latin1", 0, end).split("\r\n");
  const line = STATUS_LINE.exec(lines[0] as string);
  if (line === null) throw new NoAnswer("The upstream's answer begins with no status line");
  const [, minor, status, reason = ""] = line;
  return { status: Number(status), reason, persistent: minor === "1", fields: fieldsOf(lines, 1), end: end + 4 };
}

/** Where a part ends; undefined while its end has not come. */
function endOf(bytes: Buffer, mark: string, max: number, what: string): number | undefined {
  const end = bytes.indexOf(mark, 0, "latin1");
  if (end > max || (end < 0 && bytes.length > max))
    throw new NoAnswer(`The upstream's ${what} is longer than ${max} bytes`);
  return end < 0 ? undefined : end;
}

function fieldsOf(lines: readonly string[], first: number): string[] {
  const fields: string[] = [];
  for (let i = first; i < lines.length; i++) {
    const line = lines[i] as string;
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(0, colon));
    if (!NAME.test(name) || !VALUE.test(line)) throw new NoAnswer("The upstream's answer has a field that is none");
    fields.push(name, withoutBlanks(line, colon + 1));
  }
  return fields;
}

const isBlank = (code: number): boolean => code === 32 || code === 9;

/** What is left of a line from a place on, blanks around it taken off. */
function withoutBlanks(line: string, from: number): string {
  let start = from;
  let end = line.length;
  while (start < end && isBlank(line.charCodeAt(start))) start++;
  while (end > start && isBlank(line.charCodeAt(end - 1))) end--;
  return line.slice(start, end);
}
