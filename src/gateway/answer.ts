/** Answers that the gateway gives itself, and what becomes of a request body that nobody wants. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { ListenerRequest, ListenerResponse } from "../tls/index.ts";
import { type Problem, problemBody, problemHeaders } from "./middleware/problem.ts";

interface Http2Side {
  readonly stream?: { readonly endAfterHeaders?: boolean; close(code: number): void; destroy(error: Error): void };
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
  if (stream !== undefined) stream.destroy(new Error("The answer broke off"));
  else (response as ServerResponse).destroy();
}

/** Reads on for a while, twice a full body, so that the caller gets to read the answer, but never without end. */
export function discardBody(request: ListenerRequest, response: ListenerResponse, bytes: number): void {
  const { stream } = request as unknown as Http2Side;
  if (stream !== undefined) {
    // the answer is whole; the caller is told to stop sending
    const stop = () => stream.close(0);
    if (response.writableFinished) stop();
    else response.once("finish", stop);
    return;
  }
  const incoming = request as IncomingMessage;
  let left = 2 * bytes;
  incoming.removeAllListeners("data");
  incoming.on("data", (chunk: Uint8Array) => {
    left -= chunk.byteLength;
    if (left < 0) incoming.socket.destroy();
  });
  incoming.resume();
}

/** Answers with a problem document and gets rid of the request's body. */
export function answerProblem(
  request: ListenerRequest,
  response: ListenerResponse,
  problem: Problem,
  bodyBytes: number,
): void {
  const outgoing = response as ServerResponse;
  if (outgoing.headersSent || outgoing.destroyed) return;
  const body = problemBody(problem);
  outgoing.writeHead(problem.status, {
    ...problemHeaders(problem),
    "content-length": String(new TextEncoder().encode(body).length),
  });
  outgoing.end(request.method === "HEAD" ? undefined : body);
  if (hasBody(request) && !(request as IncomingMessage).complete) discardBody(request, response, bodyBytes);
}
