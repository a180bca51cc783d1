/** A call over HTTP/2: one stream of a session. */
import { type ClientHttp2Session, type ClientHttp2Stream, constants, type OutgoingHttpHeaders } from "node:http2";
import { type CallEvents, Unsendable, type UpstreamCall, type UpstreamRequest } from "../../tls/http1/call.ts";
import { checkFields } from "../../tls/http1/connection.ts";
import { LENGTH, NoAnswer } from "../../tls/http1/parser.ts";
import { openWhole } from "../../tls/whole-stream.ts";
import { type Field, toHeaderObject, toTrailerObject } from "../headers.ts";

const { NGHTTP2_CANCEL, NGHTTP2_REFUSED_STREAM } = constants;

/** What a call needs to know of its session. */
export interface CarryingSession {
  readonly session: ClientHttp2Session;
  /** Whether it had carried a request before. */
  readonly used: boolean;
  /** The last stream that the upstream has looked at, once it said so. */
  readonly lastSeen: number | undefined;
}

/** One request and its answer. */
export class Http2Call implements UpstreamCall {
  readonly #request: UpstreamRequest;
  readonly #events: CallEvents;
  #carrying: CarryingSession | undefined;
  #stream: ClientHttp2Stream | undefined;
  #trailers: readonly Field[] = [];
  #received: readonly string[] = [];
  /** What came before the head was told, as one runtime has it; nothing is kept afterwards. */
  #early: Uint8Array[] | undefined = [];
  /** Bytes of the answer that its stated length still wants. */
  #left: number | undefined;
  #reused = false;
  #sent: boolean;
  #over = false;
  #destroyed = false;

  /** @throws for fields that cannot be sent */
  constructor(request: UpstreamRequest, events: CallEvents) {
    checkFields(request);
    this.#request = request;
    this.#events = events;
    this.#sent = !request.withBody;
  }

  get withBody(): boolean {
    return this.#request.withBody;
  }

  get reused(): boolean {
    return this.#reused;
  }

  get destroyed(): boolean {
    return this.#destroyed;
  }

  get unseen(): boolean {
    const stream = this.#stream;
    if (stream === undefined) return false;
    if (stream.rstCode === NGHTTP2_REFUSED_STREAM) return true;
    const lastSeen = this.#carrying?.lastSeen;
    return lastSeen !== undefined && stream.id !== undefined && stream.id > lastSeen;
  }

  /** Begins on a session; `closed` is called once its stream is over. */
  start(carrying: CarryingSession, closed: () => void): void {
    this.#carrying = carrying;
    this.#reused = carrying.used;
    const { withBody } = this.#request;
    let stream: ClientHttp2Stream;
    try {
      const options = { endStream: !withBody, waitForTrailers: withBody };
      stream = openWhole(carrying.session, this.#headers(), options);
    } catch (error) {
      const { session } = carrying;
      closed();
      this.broken(session.closed || session.destroyed ? error : new Unsendable(error));
      return;
    }
    this.#stream = stream;
    stream.on("wantTrailers", () => stream.sendTrailers(toTrailerObject(this.#trailers)));
    stream.on("response", (headers) => {
      if (this.#over) return;
      const early = this.#early ?? [];
      this.#early = undefined;
      const status = Number(headers[":status"] ?? 0);
      const fields = flat(headers);
      if (!this.#measure(status, fields)) return this.#misstated();
      this.#events.head(this, status, fields);
      for (const chunk of early) this.#data(chunk);
    });
    stream.on("data", (chunk: Uint8Array) => this.#data(chunk));
    stream.on("trailers", (trailers) => {
      this.#received = flat(trailers);
    });
    stream.on("drain", () => {
      if (!this.#sent) this.#events.drained(this);
    });
    // a stream that is reset ends cleanly on one runtime
    stream.on("end", () => setImmediate(() => this.#ended(stream)));
    stream.on("error", (error) => this.broken(error));
    stream.on("close", () => {
      closed();
      this.#ended(stream);
      this.broken(new Error(`The upstream closed the stream with code ${stream.rstCode ?? 0}`));
    });
    if (withBody) this.#events.connected(this);
  }

  write(chunk: Uint8Array): boolean {
    return this.#stream === undefined || this.#sent ? true : this.#stream.write(chunk);
  }

  end(trailers: readonly Field[]): void {
    if (this.#sent) return;
    this.#sent = true;
    this.#trailers = trailers;
    this.#stream?.end();
  }

  pause(): void {
    this.#stream?.pause();
  }

  resume(): void {
    this.#stream?.resume();
  }

  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#over = true;
    this.#stream?.close(NGHTTP2_CANCEL);
  }

  /** No session came about, or the stream broke. */
  broken(error: unknown): void {
    if (this.#over) {
      if (!this.#destroyed && !this.#sent) this.#events.unwanted(this);
      return;
    }
    this.#over = true;
    this.#events.failed(this, error);
  }

  #data(chunk: Uint8Array): void {
    if (this.#over) return;
    if (this.#early !== undefined) {
      this.#early.push(chunk);
      return;
    }
    if (this.#left !== undefined) this.#left -= chunk.byteLength;
    if ((this.#left ?? 0) < 0) this.#misstated();
    else this.#events.data(this, chunk);
  }

  /** Notes the stated length; false when there are several, or it is none. */
  #measure(status: number, fields: readonly string[]): boolean {
    const stated = fields.filter((_, i) => i % 2 === 1 && fields[i - 1] === "content-length");
    const [length] = stated;
    if (length === undefined) return true;
    if (stated.length > 1 || !LENGTH.test(length)) return false;
    if (this.#request.method !== "HEAD" && status !== 204 && status !== 304) this.#left = Number(length);
    return true;
  }

  /** Not every runtime compares lengths; over HTTP/1.1, what the caller reads next would begin elsewhere. */
  #misstated(): void {
    this.broken(new NoAnswer("The upstream's answer is not as long as it says"));
    this.destroy();
  }

  #ended(stream: ClientHttp2Stream): void {
    if (this.#over || !stream.readableEnded || this.#early !== undefined || (stream.rstCode ?? 0) !== 0) return;
    if ((this.#left ?? 0) > 0) {
      this.#misstated();
      return;
    }
    this.#over = true;
    this.#events.ended(this, this.#received);
    // an upstream that has answered whole may stop reading (RFC 9113 section 8.1)
    if (!this.#sent && stream.closed) this.#events.unwanted(this);
  }

  #headers(): OutgoingHttpHeaders {
    const { method, target, fields } = this.#request;
    const { host, "transfer-encoding": _, ...rest } = toHeaderObject(fields);
    const scheme = this.#carrying?.session.encrypted === true ? "https" : "http";
    return { ":method": method, ":scheme": scheme, ":authority": host, ":path": target, ...rest, te: "trailers" };
  }
}

/** Names and values in turn, pseudo-header fields left out. */
function flat(headers: object): string[] {
  const fields: string[] = [];
  for (const [name, value] of Object.entries(headers) as [string, string | number | string[]][]) {
    if (name.startsWith(":")) continue;
    for (const one of Array.isArray(value) ? value : [value]) fields.push(name, String(one));
  }
  return fields;
}
