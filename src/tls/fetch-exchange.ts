/** One HTTP/1.1 exchange over a connection whose peer has been verified already: request out, response in, both streaming. */
import type { Duplex } from "node:stream";
import { isSpiffeError, SpiffeError } from "../base/errors.ts";
import type { X509Peer } from "../id/peer.ts";
import { abortError } from "./connect-errors.ts";
import { type Call, isRepeatable } from "./fetch-request.ts";
import { type CallEvents, type Field, Unsendable, type UpstreamRequest } from "./http1/call.ts";
import { Http1Call, Http1Connection } from "./http1/connection.ts";
import { NoAnswer } from "./http1/parser.ts";
import { dialFailure, isDialFailure } from "./http1/pool.ts";
import type { KeptConnections } from "./kept-connections.ts";
import { markConnection, peerOf } from "./peer.ts";

/** Bytes of a response body that are read ahead of the reader. */
const READ_AHEAD = 65_536;

const NULL_BODY_STATUS = new Set([204, 205, 304]);
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** Methods whose request says nothing of a body that it has not. */
const WITHOUT_LENGTH = new Set(["GET", "HEAD", "DELETE", "OPTIONS"]);

/** Over what a call goes: a connection of its own, which ends with it, or one that is kept. */
export type Way = { readonly socket: Duplex } | { readonly kept: KeptConnections };

/** Failures of a kept connection before any answer: the other side may have ended it meanwhile. */
const stale = new WeakSet<Error>();

/** Whether a call failed because its kept connection was over; the peer may have read it all the same (S-24). */
export function wasStale(error: unknown): boolean {
  return error instanceof Error && stale.has(error);
}

/** Sends the call and resolves with the response as soon as its head is there. Owns a socket that it is given. */
export function exchange(call: Call, way: Way): Promise<Response> {
  return new Promise((resolve, reject) => new Exchange(call, { resolve, reject }).begin(way));
}

/** Whose connections end with their one call. */
const NOBODY = { free: (connection: Http1Connection) => connection.destroy(), gone() {} };

interface Settle {
  resolve(response: Response): void;
  reject(error: SpiffeError): void;
}

interface Head {
  readonly status: number;
  readonly fields: readonly string[];
  readonly reason: string;
  readonly peer: X509Peer;
}

class Exchange implements CallEvents {
  readonly #call: Call;
  readonly #settle: Settle;
  #out: Http1Call | undefined;
  #phase = "request";
  #head: Head | undefined;
  /** Parts of the body that came before there was a response to put them into. */
  #early: Uint8Array<ArrayBuffer>[] | undefined = [];
  #body: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>> | undefined;
  #whole = false;
  #over = false;
  /** Ends the reading of a request body that is a stream. */
  #giveUpSource: () => void = ignore;
  #wake: () => void = ignore;
  readonly #onAbort = () => this.#aborted();

  constructor(call: Call, settle: Settle) {
    this.#call = call;
    this.#settle = settle;
  }

  begin(way: Way): void {
    const { signal } = this.#call;
    if (signal?.aborted) {
      if ("socket" in way) way.socket.destroy();
      return void this.#fail(abortError(signal, this.#call.url.host, "connect"));
    }
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    try {
      if ("kept" in way) {
        this.#out = way.kept.begin(requestOf(this.#call, "keep-alive"), this, signal);
        return;
      }
      const connection = new Http1Connection(way.socket, NOBODY);
      if (!connection.usable) return void this.#broken(dialFailure(new Error("the connection was closed")));
      this.#out = new Http1Call(requestOf(this.#call, "close"), this);
      this.#out.start(connection);
    } catch (error) {
      if ("socket" in way) way.socket.destroy();
      this.#broken(error);
    }
  }

  connected(): void {
    const { body } = this.#call;
    const out = this.#out!;
    if (body === undefined) return;
    if ("stream" in body) {
      this.#send(body.stream, out).catch((error) => {
        if (this.#phase === "request") this.#phase = "request-body";
        // its source may fail by an error of another call: it tells nothing of this one
        this.#fail(upstreamError(this.#call, this.#phase, error));
      });
      return;
    }
    out.write(body.bytes);
    out.end([]);
  }

  async #send(stream: ReadableStream<Uint8Array>, out: Http1Call): Promise<void> {
    const reader = stream.getReader();
    let given = false;
    // The source must learn when nobody reads on, also while it is waited for.
    this.#giveUpSource = () => {
      if (given) return;
      given = true;
      out.destroy();
      reader.cancel().catch(ignore);
      this.#wake();
    };
    for (;;) {
      const { done, value } = await reader.read();
      if (given) return;
      if (done) break;
      if (out.write(value)) continue;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      if (given) return;
    }
    this.#giveUpSource = ignore;
    out.end([]);
  }

  drained(): void {
    this.#wake();
  }

  unwanted(): void {
    this.#giveUpSource();
  }

  head(_call: unknown, status: number, fields: readonly string[], reason = ""): void {
    try {
      this.#head = { status, fields, reason, peer: peerOf(this.#out!.socket) };
    } catch (error) {
      return void this.#broken(error);
    }
    this.#phase = "response-body";
    // What came in the same piece is read before that.
    queueMicrotask(() => this.#respond());
  }

  data(_call: unknown, chunk: Uint8Array): void {
    if (this.#over || this.#hasNoBody) return;
    const part = new Uint8Array(chunk.buffer as ArrayBuffer, chunk.byteOffset, chunk.byteLength);
    if (this.#body === undefined) this.#early?.push(part);
    else {
      this.#body.enqueue(part);
      if ((this.#body.desiredSize ?? 0) <= 0) this.#out?.pause();
    }
  }

  ended(): void {
    this.#whole = true;
    this.#giveUpSource();
    if (this.#body === undefined) return;
    this.#body.close();
    this.#done();
  }

  failed(_call: unknown, error: unknown): void {
    this.#broken(error);
  }

  get #hasNoBody(): boolean {
    return this.#call.method === "HEAD" || NULL_BODY_STATUS.has(this.#head!.status);
  }

  /** Gives the response, whole if it is there, else with what is to come as a stream. */
  #respond(): void {
    if (this.#over) return;
    const { status, fields, reason: statusText, peer } = this.#head!;
    this.#phase = "response";
    try {
      checkStatus(this.#call, status);
      const headers = new Headers();
      for (let i = 0; i + 1 < fields.length; i += 2) headers.append(fields[i]!, fields[i + 1]!);
      const response = new Response(this.#bodyNow(), { status, statusText, headers });
      Object.defineProperty(response, "url", { value: this.#call.url.href });
      markConnection(response, { accepted: true, peer });
      this.#phase = "response-body";
      this.#settle.resolve(response);
    } catch (error) {
      return void this.#broken(error);
    }
    if (this.#whole) this.#done();
  }

  #bodyNow(): ReadableStream<Uint8Array<ArrayBuffer>> | Uint8Array<ArrayBuffer> | null {
    const early = this.#early!;
    this.#early = undefined;
    if (this.#hasNoBody) return null;
    if (this.#whole && early.length <= 1) return early[0] ?? new Uint8Array();
    const whole = this.#whole;
    return new ReadableStream<Uint8Array<ArrayBuffer>>(
      {
        start: (controller) => {
          for (const part of early) controller.enqueue(part);
          if (whole) controller.close();
          else this.#body = controller;
        },
        pull: () => this.#out?.resume(),
        cancel: () => this.#cancelled(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: READ_AHEAD }) as QueuingStrategy<Uint8Array<ArrayBuffer>>,
    );
  }

  #done(): void {
    this.#over = true;
    this.#call.signal?.removeEventListener("abort", this.#onAbort);
  }

  #cancelled(): void {
    if (this.#over) return;
    this.#done();
    this.#out?.destroy();
    this.#giveUpSource();
  }

  #aborted(): void {
    const { signal, url } = this.#call;
    if (this.#out?.socket !== undefined)
      return void this.#fail(abortError(signal!, url.host, this.#phase, isRepeatable(this.#call)));
    // The dial hears of it as well, and knows how far it came.
    setImmediate(() => this.#fail(abortError(signal!, url.host, "connect")));
  }

  #broken(error: unknown): void {
    if (isDialFailure(error)) return void this.#fail(isSpiffeError(error) ? error : notReached(this.#call, error));
    // What ended the connection on purpose says so itself.
    if (isSpiffeError(error)) return void this.#fail(endedUnder(this.#call, error));
    if (error instanceof Unsendable) return void this.#fail(unsendable(error));
    const failure = upstreamError(this.#call, this.#phase, error);
    if (this.#phase === "request" && this.#out?.reused === true && !(error instanceof NoAnswer)) stale.add(failure);
    this.#fail(failure);
  }

  #fail(error: SpiffeError): void {
    if (this.#over) return;
    this.#done();
    this.#out?.destroy();
    this.#giveUpSource();
    // Whose connection never came about reads nothing of the body.
    const { body } = this.#call;
    if (body !== undefined && "stream" in body && !body.stream.locked) body.stream.cancel(error).catch(ignore);
    this.#settle.reject(error);
    this.#body?.error(error);
  }
}

function ignore(): void {}

function requestOf({ method, url, headers, body }: Call, connection: "close" | "keep-alive"): UpstreamRequest {
  const fields: Field[] = [...headers];
  fields.push(["connection", connection]);
  if (body === undefined && !WITHOUT_LENGTH.has(method)) fields.push(["content-length", "0"]);
  if (body !== undefined && !headers.has("content-length")) fields.push(["transfer-encoding", "chunked"]);
  return { method, target: url.pathname + url.search, fields, withBody: body !== undefined };
}

function checkStatus(call: Call, status: number): void {
  if (status > 599) throw new Error(`status ${status} is none that a response can have`);
  if (call.redirect === "error" && REDIRECTS.has(status)) {
    throw new Error(`status ${status} redirects, and redirect: "error" was asked for`);
  }
}

const AGAIN = "Look at the log of the peer; repeat the call only if it may arrive twice";

/** The exchange broke: whether the peer has acted on it is not known. */
function upstreamError(call: Call, phase: string, cause: unknown): SpiffeError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new SpiffeError("ERR_SPIFFE_UPSTREAM", `Expected ${call.url.host} to answer: ${why}`, {
    phase,
    cause,
    // what is no answer, or none that was asked for, will be the same again
    retryable: isRepeatable(call) && phase !== "response" && !(cause instanceof NoAnswer),
    hint: phase === "request" ? "The peer may have refused this workload's SVID: look at its log" : AGAIN,
  });
}

/** The connection was gone before anything was sent on it. */
function notReached({ url }: Call, cause: unknown): SpiffeError {
  const why = (cause as Error).message;
  return new SpiffeError("ERR_SPIFFE_UPSTREAM", `Expected to reach ${url.host}: ${why}`, {
    phase: "connect",
    cause,
    retryable: true,
    hint: "Send the call again: it gets another connection",
  });
}

/** The end of a connection under a call: another may be had, and the call repeated where it may arrive twice. */
function endedUnder(call: Call, error: SpiffeError): SpiffeError {
  const { code, message, reason, phase } = error;
  const anew = code === "ERR_SPIFFE_CLOSED" || reason === "x509.expired";
  return new SpiffeError(code, message, {
    reason,
    phase,
    cause: error,
    retryable: anew && isRepeatable(call),
    hint: error.hint,
  });
}

function unsendable({ cause }: Unsendable): SpiffeError {
  const why = cause instanceof Error ? cause.message : "it is none";
  return new SpiffeError("ERR_SPIFFE_USAGE", `Expected a request that HTTP can carry: ${why}`, {
    phase: "request",
    hint: "Nothing was sent: headers hold bytes without control characters, and Content-Length is a number",
  });
}
