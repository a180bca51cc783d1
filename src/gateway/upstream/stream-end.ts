/** Whether an upstream ended a stream of HTTP/2, or reset it without an error (NO_ERROR): runtimes read both as the end. */
import type { ClientHttp2Stream } from "node:http2";
import { capabilities } from "../../runtime/capabilities.ts";

/** The peer has ended its side, the own side is open (`nghttp2`'s number). */
const HALF_CLOSED_REMOTE = 6;

/**
 * Watches how a stream ends.
 *
 * @returns tells, from the stream's `end` on, whether END_STREAM came
 */
export function watchEnd(stream: ClientHttp2Stream): () => boolean {
  let open: boolean | undefined;
  let half = false;
  let destroyed = false;
  const push = stream.push;
  // the one place that knows: a stream that is reset is closed before the end of its bytes is noted, or destroyed before it is read
  stream.push = (chunk: unknown, encoding?: BufferEncoding) => {
    if (chunk === null && open === undefined) {
      open = !stream.closed;
      half = stream.state?.state === HALF_CLOSED_REMOTE;
    }
    return push.call(stream, chunk, encoding);
  };
  stream.once("end", () => {
    destroyed = stream.destroyed;
  });
  if (capabilities.quietReset.value === "closed") return () => open === true;
  return () => open === true && (half || !destroyed);
}
