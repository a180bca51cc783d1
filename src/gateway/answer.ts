/** Answers that the gateway gives itself, and what becomes of a request body that nobody wants. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { Clock } from "../base/index.ts";
import { capabilities } from "../runtime/capabilities.ts";
import type { ListenerRequest, ListenerResponse } from "../tls/index.ts";
import { awaitsContinue } from "./expectation.ts";
import type { Problem } from "./middleware/problem.ts";
import { type Explain, refusalAnswer } from "./refusal.ts";

interface Http2Side {
  readonly stream?: {
    readonly endAfterHeaders?: boolean;
    close(code: number): void;
    destroy(error: Error): void;
  };
}

/** Whether a request announces a body. */
export function hasBody(request: ListenerRequest): boolean {
  const { headers } = request;
  if (headers["transfer-encoding"] !== undefined) return true;
  if (headers["content-length"] !== undefined) return Number(headers["content-length"]) > 0;
  const { stream } = request as unknown as Http2Side;
  return stream !== undefined && stream.endAfterHeaders === false;
}

/** Breaks an answer that has begun, so that nobody takes it for whole. */
export function cutAnswer(response: ListenerResponse): void {
  const { stream } = response as unknown as Http2Side;
  // closing an HTTP/2 stream with an error code ends it cleanly on one runtime; an error resets it on all
  if (stream !== undefined) return void stream.destroy(new Error("The answer broke off"));
  // a caller hears of an answer that had begun, also where its first bytes were held for one record
  if (response.writableCorked > 0) response.uncork();
  (response as ServerResponse).destroy();
}

/** Milliseconds between two looks at whether a write is over that is not heard of. */
const LOOK_MS = 5;

/**
 * Ends an answer of HTTP/1.1 behind what was written of it before: on one runtime an answer of stated length that ends while
 * its last write is on its way is never heard of again.
 */
export function endBehind(outgoing: ServerResponse): void {
  const { socket, writableEnded, writableLength } = outgoing;
  if (writableEnded) return;
  const waits = !capabilities.lengthFromHttp2.value && writableLength > 0 && socket?.destroyed === false;
  if (waits) setTimeout(() => endBehind(outgoing), LOOK_MS);
  else outgoing.end();
}

/** Milliseconds that a caller may go on sending a body nobody wants. */
const LINGER_MS = 2_000;

/**
 * Ends an answer whose request body is not through. Over HTTP/1.1 the end waits until the caller has stopped sending,
 * at most twice a full body and two seconds: closing earlier could take the answer from it (RFC 9112 §9.6). Of HTTP/2,
 * only that stream is told to stop.
 */
export function endUnread(request: ListenerRequest, response: ListenerResponse, bytes: number): void {
  const outgoing = response as ServerResponse;
  if ((request as unknown as Http2Side).stream !== undefined) return void outgoing.end();
  const incoming = request as IncomingMessage;
  let left = 2 * bytes;
  const timer = setTimeout(() => incoming.socket.destroy(), LINGER_MS);
  const done = () => {
    clearTimeout(timer);
    endBehind(outgoing);
  };
  outgoing.once("close", done);
  incoming.once("end", done);
  incoming.once("close", done);
  incoming.removeAllListeners("data");
  incoming.on("data", (chunk: Uint8Array) => {
    left -= chunk.byteLength;
    if (left < 0) incoming.socket.destroy();
  });
  incoming.resume();
}

/**
 * Ends a bare socket behind an answer. Who is on the other side may read it and has to close, within {@link LINGER_MS} and
 * without sending more than twice a full body.
 */
export function endSocket(socket: Duplex, last: string | Uint8Array, bytes: number, clock: Clock): void {
  const over = new AbortController();
  let left = 2 * bytes;
  socket.once("close", () => over.abort());
  socket.on("data", (chunk: Uint8Array) => {
    left -= chunk.byteLength;
    if (left < 0) socket.destroy();
  });
  clock.sleep(LINGER_MS, over.signal).then(
    () => socket.destroy(),
    () => {},
  );
  if (socket.destroyed) over.abort();
  else if (typeof last === "string") socket.end(last, "latin1");
  else socket.end(last);
}

/** Answers in the protocol of who asked and gets rid of the request's body. */
export function answerProblem(
  request: ListenerRequest,
  response: ListenerResponse,
  problem: Problem,
  bodyBytes: number,
  explain: Explain,
): void {
  const outgoing = response as ServerResponse;
  if (outgoing.headersSent || outgoing.destroyed) return;
  const { status, headers, trailers, body } = refusalAnswer(request, problem, explain);
  // of an answer that could not be written, the fields are still there
  for (const name of outgoing.getHeaderNames()) if (name !== "connection") outgoing.removeHeader(name);
  // what comes next may be the body that was held back, or another request
  if (request.httpVersionMajor === 1 && awaitsContinue(request)) outgoing.setHeader("connection", "close");
  outgoing.writeHead(status, trailers === undefined ? { ...headers, "content-length": String(body.length) } : headers);
  if (trailers !== undefined) outgoing.addTrailers(trailers);
  if (request.method !== "HEAD" && body.length > 0) outgoing.write(body);
  if (hasBody(request) && !(request as IncomingMessage).complete) endUnread(request, response, bodyBytes);
  else outgoing.end();
}
