/**
 * Every way a request can enter a server, each behind the same question: was this connection accepted (S-1)?
 *
 * The gate in front already keeps refused sockets away from HTTP. This is the second, independent answer, for the day a
 * runtime hands a request over by another way.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2SecureServer, Http2ServerRequest, ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { Duplex } from "node:stream";
import { askWhenRead } from "./ask-when-read.ts";
import type { ListenerRequest, ListenerResponse } from "./connections.ts";
import { type ConnectionVerdict, connectionPeer } from "./peer.ts";
import { takeWhole, takeWholeRequest } from "./whole-stream.ts";

/** Answers a request. May be async; what it throws becomes a 500 or a reset, never the end of the process. */
export type Handler = (request: ListenerRequest, response: ListenerResponse) => void | Promise<void>;

/** Takes over a socket that a client wants to use for another protocol. */
export type UpgradeHandler = (request: IncomingMessage, socket: Duplex, head: Uint8Array) => void | Promise<void>;

/** Takes `CONNECT`: of HTTP/1.1 with the bare socket, of HTTP/2 like every request. */
export interface ConnectHandlers {
  readonly http1: UpgradeHandler;
  readonly http2: Handler;
}

/** What the entry points lead to. */
export interface Rooms {
  readonly handler: Handler;
  /** Takes requests with `Expect` in the handler's place. */
  readonly onExpect?: Handler | undefined;
  readonly onUpgrade: UpgradeHandler | undefined;
  readonly onConnect?: ConnectHandlers | undefined;
  /** Bytes of a request's head. No runtime holds to it over HTTP/2, where the setting only asks the client. */
  readonly maxHeaderBytes: number;
  /** Whether it is counted here over HTTP/1.1 too, as the runtime does not. */
  readonly countsHttp1: boolean;
  /** A request of an accepted connection begins; false where nobody may act on it, as its connection is over. */
  begin(verdict: ConnectionVerdict, response: ListenerResponse): boolean;
  /** The connection of a request that was to end with its answer may go on. */
  goesOn(verdict: ConnectionVerdict, response: ListenerResponse): void;
  /** Its socket leaves HTTP; false as above. */
  upgraded(verdict: ConnectionVerdict): boolean;
  session(verdict: ConnectionVerdict, session: ServerHttp2Session): void;
  /** An HTTP/2 stream is over; `reset` when it was not answered whole. */
  streamClosed(verdict: ConnectionVerdict, reset: boolean): void;
  /** Something came in over a connection that was not accepted. */
  stray(): void;
  failed(error: unknown): void;
}

/** Hears of a handler's failure; what it returns besides a promise, as `response.end()` in plain JavaScript, means nothing. */
export function attend(result: unknown, broken: (error: unknown) => void): void {
  if (result !== undefined) void Promise.resolve(result).then(undefined, broken);
}

/** Fields of a head. Above a thousand one runtime leaves out the rest without a word; a head that is so full may be such a one. */
const MAX_FIELDS = 999;

function ignore(): void {}

function destroyBelow(request: ListenerRequest): void {
  try {
    (request as { stream?: ServerHttp2Stream }).stream?.session?.destroy();
    request.socket?.destroy();
  } catch {
    // The session is gone already, and its socket with it.
  }
}

/** Puts the guards on a server. */
export function guardEntries(server: Http2SecureServer, rooms: Rooms): void {
  const accepted = (request: ListenerRequest): ConnectionVerdict | undefined => {
    const verdict = connectionPeer(request);
    if (verdict?.accepted === true) return verdict;
    rooms.stray();
    destroyBelow(request);
    return undefined;
  };

  const failed = (error: unknown, response: ListenerResponse): void => {
    rooms.failed(error);
    try {
      if (response.headersSent) destroyResponse(response);
      else {
        response.statusCode = 500;
        response.end();
      }
    } catch {
      destroyResponse(response);
    }
  };

  const run = (verdict: ConnectionVerdict, request: ListenerRequest, response: ListenerResponse, go: Handler): void => {
    if (request.httpVersionMajor === 2) takeWholeRequest(request as Http2ServerRequest);
    try {
      if (!rooms.begin(verdict, response)) return void request.resume();
      attend(go(request, response), (error) => failed(error, response));
    } catch (error) {
      failed(error, response);
    }
  };

  const fits = (request: ListenerRequest): boolean => {
    if (request.rawHeaders.length > 2 * MAX_FIELDS) return false;
    return (request.httpVersionMajor === 1 && !rooms.countsHttp1) || headBytes(request) <= rooms.maxHeaderBytes;
  };

  const entry = (go: Handler) => (request: ListenerRequest, response: ListenerResponse) => {
    const verdict = accepted(request);
    if (verdict === undefined) return;
    run(verdict, request, response, fits(request) ? go : refuseHead);
  };

  const asksWhenRead: Handler = (request, response) => {
    const verdict = connectionPeer(request);
    askWhenRead(request, response, () => verdict && rooms.goesOn(verdict, response));
    return rooms.handler(request, response);
  };
  const saysNo: Handler = (_request, response) => {
    response.statusCode = 417;
    response.end();
  };
  server.on("request", entry(rooms.handler));
  server.on("checkContinue", entry(rooms.onExpect ?? asksWhenRead));
  server.on("checkExpectation", entry(rooms.onExpect ?? saysNo));

  const handOver = (
    verdict: ConnectionVerdict,
    request: IncomingMessage,
    socket: Duplex,
    head: Uint8Array,
    take: UpgradeHandler,
  ): void => {
    if (!fits(request)) return void socket.destroy();
    const broken = (error: unknown) => {
      rooms.failed(error);
      socket.destroy();
    };
    try {
      socket.on("error", ignore);
      if (!rooms.upgraded(verdict)) return void socket.resume();
      attend(take(request, socket, head), broken);
    } catch (error) {
      broken(error);
    }
  };

  const { onUpgrade, onConnect } = rooms;
  // HTTP/1.1 gives the socket, HTTP/2 a response; neither becomes a tunnel by itself.
  server.on("connect", (request: ListenerRequest, below: Duplex | ListenerResponse, head: Uint8Array) => {
    const verdict = accepted(request);
    if (verdict === undefined) return;
    if (onConnect !== undefined) {
      if ("writeHead" in below) run(verdict, request, below, fits(request) ? onConnect.http2 : refuseHead);
      else handOver(verdict, request as IncomingMessage, below, head, onConnect.http1);
      return;
    }
    try {
      if ("writeHead" in below) {
        below.statusCode = 400;
        below.end();
        return;
      }
      below.on("error", ignore);
      below.end("HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    } catch (error) {
      rooms.failed(error);
    }
  });

  // Without a listener the header is ignored and the request takes the common way, on every runtime.
  if (onUpgrade !== undefined) {
    server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Uint8Array) => {
      const verdict = accepted(request);
      if (verdict !== undefined) handOver(verdict, request, socket, head, onUpgrade);
    });
  }

  server.prependListener("session", (session: ServerHttp2Session) => {
    const verdict = connectionPeer({ stream: { session } });
    if (verdict?.accepted === true) return rooms.session(verdict, session);
    rooms.stray();
    session.destroy();
  });
  server.prependListener("stream", (stream: ServerHttp2Stream) => {
    const verdict = connectionPeer({ stream });
    if (verdict?.accepted === true) {
      // a reset without an error is one all the same, where it came before the answer's end
      stream.once("close", () => rooms.streamClosed(verdict, stream.rstCode !== 0 || stream.aborted));
      takeWhole(stream);
      return;
    }
    rooms.stray();
    stream.session?.destroy();
  });
}

/** Bytes of a request's head, near enough: names, values and what separates them. */
function headBytes({ url = "", rawHeaders }: ListenerRequest): number {
  let bytes = url.length + 16;
  for (const part of rawHeaders) bytes += part.length + 2;
  return bytes;
}

function refuseHead(request: ListenerRequest, response: ListenerResponse): void {
  response.statusCode = 431;
  if (request.httpVersionMajor === 1) response.setHeader("connection", "close");
  response.end();
}

function destroyResponse(response: ListenerResponse): void {
  try {
    // The HTTP/2 form has no destroy of its own on every runtime.
    const { stream } = response as { stream?: ServerHttp2Stream };
    if (stream !== undefined) stream.close(2);
    else (response as ServerResponse).destroy();
  } catch {
    // It ended by itself meanwhile.
  }
}
