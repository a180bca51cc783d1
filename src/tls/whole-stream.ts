/**
 * Streams of HTTP/2 whose bodies have an end only where they are whole: runtimes end the own body of a stream that is closed,
 * and the peer's where it is reset, by any code, or its connection is gone.
 */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  constants,
  type Http2ServerRequest,
  type Http2Stream,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import { capabilities } from "../runtime/capabilities.ts";

const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR } = constants;
/** The peer has ended its side, the own side is open (`nghttp2`'s number). */
const HALF_CLOSED_REMOTE = 6;

type RequestOptions = NonNullable<Parameters<ClientHttp2Session["request"]>[1]>;

/** Opens a stream, for a client; throws as `session.request`. */
export function openWhole(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  options: RequestOptions = {},
): ClientHttp2Stream {
  const { signal, endStream } = options;
  if (endStream === true) {
    const stream = session.request(headers, options);
    keepPeersEnd(stream);
    return stream;
  }
  const breakOff = new AbortController();
  const either = signal === undefined ? breakOff.signal : AbortSignal.any([signal, breakOff.signal]);
  const stream = session.request(headers, { ...options, signal: either });
  keepOwnEnd(stream, () => {
    // who gives up without an error hears of none, and need not listen for one
    stream.on("error", () => {});
    breakOff.abort();
  });
  keepPeersEnd(stream);
  return stream;
}

/** Streams that were reset before anybody heard of them, and have an end by that. */
const stillborn = new WeakSet<Http2Stream>();

/** Takes a stream, for a server, before anybody reads it. */
export function takeWhole(stream: ServerHttp2Stream): void {
  if (stream.endAfterHeaders) return;
  if (stream.closed) stillborn.add(stream);
  else keepPeersEnd(stream);
}

/** Takes the request that a runtime makes of such a stream: it would end it when the stream is closed, however that came. */
export function takeWholeRequest(request: Http2ServerRequest): void {
  const { stream, push } = request;
  if (stream.endAfterHeaders) return;
  request.push = (chunk: unknown, encoding?: BufferEncoding) => {
    if (chunk !== null || (stream.readableEnded && !stillborn.has(stream))) return push.call(request, chunk, encoding);
    // nothing is behind it any more, and one runtime throws where it is read all the same
    request._read = () => {};
    return false;
  };
}

const brokenOff = () => new Error("The peer reset the stream before its end");

/** Whoever closes a stream in the middle of the request's body resets it, and does not end the body before. */
function keepOwnEnd(stream: ClientHttp2Stream, breakOff: () => void): void {
  const { close, destroy } = stream;
  const isUnderWay = () => !stream.writableEnded && !stream.closed && !stream.destroyed;
  stream.close = (code = NGHTTP2_NO_ERROR, callback) => {
    if (!isUnderWay()) return close.call(stream, code, callback);
    if (callback !== undefined) stream.once("close", callback);
    if (code === NGHTTP2_CANCEL || code === NGHTTP2_NO_ERROR) breakOff();
    else destroy.call(stream, new Error("The request was given up before its end"));
  };
  stream.destroy = (error) => {
    if (error !== undefined || !isUnderWay()) return destroy.call(stream, error);
    breakOff();
    return stream;
  };
}

/** What breaks off before the peer has ended its body breaks for who reads it. */
function keepPeersEnd(stream: Http2Stream): void {
  const push = stream.push;
  const closesFirst = capabilities.quietReset.value === "closed";
  let whole = false;
  const end = () => {
    whole = true;
    return push.call(stream, null);
  };
  const look = () => {
    const withError = (stream.rstCode ?? NGHTTP2_NO_ERROR) !== NGHTTP2_NO_ERROR;
    if (!closesFirst && !withError && !stream.destroyed) end();
    // of other codes the runtime says itself what they mean
    else stream.destroy(withError ? undefined : brokenOff());
  };
  stream.push = (chunk: unknown, encoding?: BufferEncoding) => {
    if (chunk !== null || whole) return push.call(stream, chunk, encoding);
    if (closesFirst ? !stream.closed : stream.state?.state === HALF_CLOSED_REMOTE) return end();
    // behind what the runtime does in this turn, which may be to destroy it
    setImmediate(look);
    return false;
  };
}
