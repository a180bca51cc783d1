/** One HTTP/1.1 exchange over a connection whose peer has been verified already: request out, response in, both streaming. */
import { type ClientRequest, type IncomingMessage, request as sendHttp } from "node:http";
import type { TLSSocket } from "node:tls";
import { isSpiffeError, SpiffeError } from "../base/errors.ts";
import { abortError } from "./connect-errors.ts";
import type { Call } from "./fetch-request.ts";
import type { KeptConnections } from "./kept-connections.ts";
import { HEADER_BYTES } from "./options.ts";
import { markConnection, peerOf } from "./peer.ts";

/** Bytes of a response body that are read ahead of the reader. */
const READ_AHEAD = 65_536;

const NULL_BODY_STATUS = new Set([204, 205, 304]);

/** Over what a call goes: a connection of its own, which ends with it, or one that is kept. */
export type Way = { readonly socket: TLSSocket } | { readonly kept: KeptConnections };

/** Failures of a kept connection before any answer: the other side may have ended it meanwhile. */
const stale = new WeakSet<Error>();

/** Whether a call failed because its kept connection was over; the peer may have read it all the same (S-24). */
export function wasStale(error: unknown): boolean {
  return error instanceof Error && stale.has(error);
}

/** Sends the call and resolves with the response as soon as its head is there. Owns a socket that it is given. */
export function exchange(call: Call, way: Way): Promise<Response> {
  return new Promise((resolve, reject) => {
    const at = call.url.host;
    const own = "socket" in way ? way.socket : undefined;
    let outgoing: ClientRequest | undefined;
    let phase = "request";
    let body: BodyReader | undefined;
    let over = false;
    let connected = false;

    const cut = () => {
      if (own !== undefined) own.destroy();
      else outgoing?.destroy();
    };
    const fail = (error: SpiffeError) => {
      if (over) return;
      over = true;
      settle();
      cut();
      reject(error);
      body?.fail(error);
    };
    const broken = (error: unknown) => {
      // What ended the connection on purpose says so itself.
      if (isSpiffeError(error)) return fail(error);
      const failure = upstreamError(at, phase, error);
      if (own === undefined && phase === "request" && outgoing?.reusedSocket === true) stale.add(failure);
      fail(failure);
    };
    const onAbort = () => {
      if (own !== undefined || connected) return fail(abortError(call.signal!, at, phase));
      // The dial hears of it as well, and knows how far it came.
      setImmediate(() => fail(abortError(call.signal!, at, "connect")));
    };
    const onClose = () => broken(new Error("the connection was closed"));
    const settle = () => {
      call.signal?.removeEventListener("abort", onAbort);
      own?.off("close", onClose);
    };
    const done = () => {
      if (over) return;
      over = true;
      settle();
      own?.destroy();
    };
    const cancelled = () => {
      if (over) return;
      over = true;
      settle();
      cut();
    };

    if (call.signal?.aborted) return onAbort();
    if (own?.destroyed) return onClose();
    call.signal?.addEventListener("abort", onAbort, { once: true });
    own?.once("close", onClose);

    try {
      outgoing = sendHttp({
        // With `agent: false` the runtimes ignore createConnection and dial by themselves; left out, none is used.
        ...(own === undefined ? { agent: (way as { kept: KeptConnections }).kept } : { createConnection: () => own }),
        ...(own === undefined && call.signal !== undefined ? { dialSignal: call.signal } : {}),
        host: call.url.hostname,
        method: call.method,
        path: call.url.pathname + call.url.search,
        headers: Object.fromEntries(call.headers),
        maxHeaderSize: HEADER_BYTES,
      });
    } catch (error) {
      return broken(error);
    }
    outgoing.on("socket", () => {
      connected = true;
    });
    outgoing.on("error", broken);
    outgoing.on("upgrade", () =>
      fail(upstreamError(at, phase, new Error("it switched protocols without being asked"))),
    );
    outgoing.on("response", (incoming) => {
      phase = "response";
      // From here the response tells its end; the socket may be gone while buffered bytes are still read.
      own?.off("close", onClose);
      const empty = call.method === "HEAD" || NULL_BODY_STATUS.has(incoming.statusCode ?? 0);
      try {
        checkStatus(call, incoming);
        if (!empty) body = new BodyReader(incoming, { done, cancelled, broken });
        const response = new Response(body?.stream ?? null, {
          status: incoming.statusCode!,
          statusText: incoming.statusMessage ?? "",
          headers: headersOf(incoming),
        });
        Object.defineProperty(response, "url", { value: call.url.href });
        phase = "response-body";
        markConnection(response, { accepted: true, peer: peerOf(own ?? incoming.socket) });
        resolve(response);
      } catch (error) {
        return broken(error);
      }
      if (!empty) return;
      incoming.resume();
      done();
    });
    void send(call, outgoing).catch((error) => {
      if (phase === "request") phase = "request-body";
      broken(error);
    });
  });
}

function checkStatus(call: Call, incoming: IncomingMessage): void {
  const status = incoming.statusCode ?? 0;
  if (status < 200 || status > 599) throw new Error(`status ${status} is none that a response can have`);
  if (call.redirect === "error" && [301, 302, 303, 307, 308].includes(status)) {
    throw new Error(`status ${status} redirects, and redirect: "error" was asked for`);
  }
}

function headersOf(incoming: IncomingMessage): Headers {
  const headers = new Headers();
  const raw = incoming.rawHeaders;
  for (let i = 0; i + 1 < raw.length; i += 2) headers.append(raw[i]!, raw[i + 1]!);
  return headers;
}

async function send(call: Call, outgoing: ClientRequest): Promise<void> {
  if (call.body === undefined) return void outgoing.end();
  if ("bytes" in call.body) return void outgoing.end(call.body.bytes);
  const reader = call.body.stream.getReader();
  // The source must learn when nobody reads on, also while it is waited for.
  outgoing.once("close", () => reader.cancel().catch(() => {}));
  const declared = call.headers.get("content-length");
  let sent = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (outgoing.destroyed) return;
    if (done) break;
    sent += value.byteLength;
    // More than was declared would be read as the start of another request.
    if (declared !== null && sent > Number(declared)) throw new Error("the body is longer than its content-length");
    if (!outgoing.write(value)) await drained(outgoing);
  }
  if (declared !== null && sent !== Number(declared)) throw new Error("the body is shorter than its content-length");
  outgoing.end();
}

function drained(outgoing: ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      outgoing.off("drain", go).off("close", go).off("error", go);
      resolve();
    };
    outgoing.on("drain", go).on("close", go).on("error", go);
  });
}

/** How a body ends: read whole, given up by its reader, or broken. */
interface Ends {
  done(): void;
  cancelled(): void;
  broken(error: unknown): void;
}

/** A response body as a web stream that reads from the socket no faster than it is read. */
class BodyReader {
  readonly stream: ReadableStream<Uint8Array>;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #ended = false;

  constructor(incoming: IncomingMessage, { done, cancelled, broken }: Ends) {
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => void incoming.resume(),
        cancel: () => {
          this.#ended = true;
          cancelled();
        },
      },
      new ByteLengthQueuingStrategy({ highWaterMark: READ_AHEAD }),
    );
    incoming.on("data", (chunk: Uint8Array) => {
      if (this.#ended) return;
      this.#controller.enqueue(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength));
      if ((this.#controller.desiredSize ?? 0) <= 0) incoming.pause();
    });
    incoming.on("end", () => {
      if (this.#ended) return;
      // A body that stops before its announced end also ends here on some runtimes.
      if (!incoming.complete) return broken(new Error("the response ended early"));
      this.#ended = true;
      this.#controller.close();
      done();
    });
    incoming.on("error", broken);
    incoming.on("close", () => {
      if (!this.#ended && !incoming.complete) broken(new Error("the response ended early"));
    });
  }

  fail(error: SpiffeError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#controller.error(error);
  }
}

function upstreamError(at: string, phase: string, cause: unknown): SpiffeError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new SpiffeError("ERR_SPIFFE_UPSTREAM", `Expected ${at} to answer: ${why}`, {
    phase,
    cause,
    // Whether the peer has acted on it is not known.
    retryable: false,
    hint:
      phase === "request"
        ? "The peer may have refused this workload's SVID: look at its log"
        : "Look at the log of the peer; repeat the call only if it may arrive twice",
  });
}
