/** `Expect` of a request (RFC 9110 section 10.1.1): nobody is asked for a body before the policy let the request in. */
import type { ListenerRequest, ListenerResponse } from "../tls/index.ts";
import type { Problem } from "./middleware/problem.ts";

/** What a caller expects of the server before it goes on; HTTP/1.0 knows no such thing. */
function expectationOf({ headers, httpVersion }: ListenerRequest): string | undefined {
  return httpVersion === "1.0" ? undefined : headers.expect?.trim().toLowerCase();
}

/** Whether a caller waits for a word before it sends its body. */
export function awaitsContinue(request: ListenerRequest): boolean {
  return expectationOf(request) === "100-continue";
}

/** The answer to a caller that expects what nobody here can do, or undefined. */
export function expectationFault(request: ListenerRequest): Problem | undefined {
  if (expectationOf(request) === undefined || awaitsContinue(request)) return undefined;
  const detail = "Of Expect, 100-continue alone is understood";
  return { status: 417, code: "ERR_SPIFFE_REQUEST", reason: "request.expectation", detail };
}

/** Tells a caller that waits to send its body; to be called once, when the body is wanted. */
export function askForBody(request: ListenerRequest, response: ListenerResponse): void {
  if (awaitsContinue(request) && !response.headersSent) response.writeContinue();
}
