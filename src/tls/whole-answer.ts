/** Answers of HTTP/1.1 in one write, for a runtime that writes head and body each by itself. */
import { ServerResponse } from "node:http";

/** Octets of a body that is copied behind its head; copying a longer one costs more than it spares. */
const MOST_JOINED = 16_384;

type EndArguments = [chunk?: unknown, encoding?: unknown, done?: unknown];

/** A response whose `end(body)` hands head and body over together: one TLS record and one packet in place of two. */
export class WholeAnswer extends ServerResponse {
  override end(...given: EndArguments): this {
    const { socket } = this;
    const end = (): this => Reflect.apply(super.end, this, given);
    const [chunk] = given;
    const joins = (typeof chunk === "string" || chunk instanceof Uint8Array) && chunk.length <= MOST_JOINED;
    if (!joins || socket === null) return end();
    socket.cork();
    try {
      return end();
    } finally {
      socket.uncork();
    }
  }
}
