/** The accepted connections of a listener: what runs on each, how each is drained and ended. */
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse, ServerHttp2Session } from "node:http2";
import type { TLSSocket } from "node:tls";
import type { Reason } from "../base/codes.ts";
import { type Refusal, refuse } from "../base/verdict.ts";
import type { X509Peer } from "../id/peer.ts";
import type { Life, Mortal } from "./lifetime.ts";

/** A request as both protocols give it. */
export type ListenerRequest = IncomingMessage | Http2ServerRequest;
/** A response as both protocols take it; the members spelled out differ in their types alone. */
export type ListenerResponse = (ServerResponse | Http2ServerResponse) & {
  writeHead(status: number, headers?: OutgoingHttpHeaders): unknown;
  write(chunk: string | Uint8Array): boolean;
  end(chunk?: string | Uint8Array): unknown;
};

/** Streams that a client may have reset before its answered ones count for it (S-25). */
const FREE_RESETS = 100;

/** Hears why a connection drains or is ended. */
export interface LifeLog {
  drains(reason: Reason, peer: X509Peer | undefined): void;
  ends(why: Refusal, peer: X509Peer | undefined): void;
}

/** One accepted connection. */
export class Connection implements Mortal {
  readonly socket: TLSSocket;
  readonly peer: X509Peer | undefined;
  life: Life | undefined;
  session: ServerHttp2Session | undefined;
  /** Set once the socket left HTTP: such a connection ends with its socket or at the deadline. */
  upgraded = false;
  #draining = false;
  /** Streams that were reset, less those that were answered whole. */
  #resets = 0;
  readonly #running = new Set<ListenerResponse>();

  readonly #log: LifeLog;

  constructor(socket: TLSSocket, peer: X509Peer | undefined, log: LifeLog) {
    this.socket = socket;
    this.peer = peer;
    this.#log = log;
  }

  /** Notes a request; HTTP/1.1 keeps the connection only while it is not draining. */
  begin(response: ListenerResponse): void {
    this.#running.add(response);
    response.once("close", () => {
      this.#running.delete(response);
      this.#endIfIdle();
    });
    if (this.#draining) this.#announceClose(response);
  }

  /** Ends a connection whose streams are reset again and again: each costs this side more than the client. */
  streamClosed(reset: boolean): void {
    this.#resets = Math.max(0, this.#resets + (reset ? 1 : -1));
    if (this.#resets !== FREE_RESETS + 1) return;
    this.end(refuse("peer.stream-resets", `More than ${FREE_RESETS} streams were reset without as many answered`));
  }

  /** Takes nothing new: GOAWAY, or `Connection: close`; an idle HTTP/1.1 connection ends now. */
  drain(reason?: Reason): void {
    if (this.#draining) return;
    this.#draining = true;
    if (reason !== undefined) this.#log.drains(reason, this.peer);
    if (this.session !== undefined) {
      if (!this.session.closed) this.session.close();
      return;
    }
    for (const response of this.#running) this.#announceClose(response);
    this.#endIfIdle();
  }

  /** Ends everything on it at once, for a reason that is told. */
  end(why: Refusal): void {
    this.#log.ends(why, this.peer);
    this.destroy();
  }

  /** Ends everything on it at once. */
  destroy(): void {
    this.session?.destroy();
    this.socket.destroy();
  }

  #announceClose(response: ListenerResponse): void {
    if (this.session === undefined && !response.headersSent) response.setHeader("connection", "close");
  }

  #endIfIdle(): void {
    if (this.#draining && this.session === undefined && !this.upgraded && this.#running.size === 0) this.socket.end();
  }
}
