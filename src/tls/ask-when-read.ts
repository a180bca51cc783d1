/** `Expect: 100-continue` (RFC 9110 section 10.1.1): a caller is asked for its body when somebody reads it, and not before. */
import type { IncomingMessage } from "node:http";
import type { ListenerRequest, ListenerResponse } from "./connections.ts";

/**
 * Lets a caller wait with its body until the first read of it. Who is refused before is never invited; over HTTP/1.1 its
 * connection ends with the answer, as what comes next may be the body that was held back, or another request.
 *
 * @param asked called once the caller is told to go on
 */
export function askWhenRead(request: ListenerRequest, response: ListenerResponse, asked: () => void = () => {}): void {
  const incoming = request as IncomingMessage;
  const closes = request.httpVersionMajor === 1;
  if (closes) response.setHeader("connection", "close");
  const read = incoming._read;
  incoming._read = (size) => {
    incoming._read = read;
    if (!response.headersSent && !response.destroyed) {
      response.writeContinue();
      if (closes) response.removeHeader("connection");
      asked();
    }
    read.call(incoming, size);
  };
}
