/** The accepted connections of a listener: what runs on each, how each is drained and ended. */
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse, ServerHttp2Session } from "node:http2";
import type { TLSSocket } from "node:tls";
import type { Reason } from "../base/codes.ts";
import { SpiffeError } from "../base/errors.ts";
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

/** Streams that may be reset within the time, beyond as many as were answered whole (S-25). */
const RESETS = 100;
const RESETS_WITHIN_MS = 10_000;

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
  /** What nothing may follow any more: the answer of HTTP/1.1 that says so, or the end of the connection. */
  #last: ListenerResponse | "end" | undefined;
  /** Streams that were reset, less those that were answered whole, and since when. */
  #resets = 0;
  #resetsFrom = 0;
  /** Whether its first request may still be on its way: most clients do not send that one again. */
  #awaitsFirst = true;
  /** Absent while nothing runs: most connections are idle. */
  #running: Set<ListenerResponse> | undefined;

  readonly #log: LifeLog;

  constructor(socket: TLSSocket, peer: X509Peer | undefined, log: LifeLog) {
    this.socket = socket;
    this.peer = peer;
    this.#log = log;
  }

  /**
   * Notes a request; HTTP/1.1 keeps the connection only while it is not draining.
   *
   * @returns false for one that nobody may act on: it came behind the last, and cannot be answered (RFC 9112 section 9.6)
   */
  begin(response: ListenerResponse): boolean {
    if (this.#last !== undefined) return false;
    this.#awaitsFirst = false;
    this.#running ??= new Set();
    this.#running.add(response);
    response.once("close", () => {
      this.#running?.delete(response);
      if (this.#running?.size === 0) this.#running = undefined;
      this.#endIfIdle();
    });
    this.announce(response);
    return true;
  }

  /** Notes that the socket leaves HTTP; false as {@link begin}. */
  upgrade(): boolean {
    if (this.#last !== undefined) return false;
    this.upgraded = true;
    return true;
  }

  /** Says in an answer that its connection ends, where it does. */
  announce(response: ListenerResponse): void {
    if (this.#draining) this.#announceClose(response);
  }

  /** Ends a connection whose streams are reset again and again: each costs this side more than the client. */
  streamClosed(reset: boolean): void {
    const now = this.life?.ground.clock.monotonic() ?? 0;
    if (now - this.#resetsFrom > RESETS_WITHIN_MS) {
      this.#resetsFrom = now;
      this.#resets = 0;
    }
    this.#resets = Math.max(0, this.#resets + (reset ? 1 : -1));
    if (this.#resets !== RESETS + 1) return;
    this.end(
      refuse("peer.stream-resets", `More than ${RESETS} streams were reset in a short time without as many answered`),
    );
  }

  /**
   * Takes nothing new: GOAWAY, or `Connection: close`; an idle HTTP/1.1 connection ends now. Without a reason one that was
   * asked nothing yet stays until {@link endUnasked}.
   */
  drain(reason?: Reason): void {
    if (this.#draining) return;
    this.#draining = true;
    if (reason !== undefined) {
      this.#awaitsFirst = false;
      this.#log.drains(reason, this.peer);
    }
    if (this.session !== undefined) {
      if (!this.session.closed) this.session.close();
      return;
    }
    // of several that run, one behind the other, the first to say so would be the last
    const last = [...(this.#running ?? [])].at(-1);
    if (last !== undefined) this.#announceClose(last);
    this.#endIfIdle();
  }

  /** Ends one that drains and still waits for its first request. */
  endUnasked(): void {
    this.#awaitsFirst = false;
    this.#endIfIdle();
  }

  /** Ends everything on it at once, for a reason that is told. */
  end(why: Refusal): void {
    this.#log.ends(why, this.peer);
    const { reason, message } = why;
    this.destroy(
      new SpiffeError("ERR_SPIFFE_CLOSED", `The connection was ended: ${message}`, { reason, phase: "connected" }),
    );
  }

  /** Ends everything on it at once; who took the socket for another protocol hears why by its `error`. */
  destroy(why?: SpiffeError): void {
    this.session?.destroy();
    this.socket.destroy(this.upgraded ? why : undefined);
  }

  #announceClose(response: ListenerResponse): void {
    if (this.session !== undefined || response.headersSent) return;
    response.setHeader("connection", "close");
    this.#last = response;
  }

  #endIfIdle(): void {
    if (!this.#draining || this.#awaitsFirst || this.#running !== undefined) return;
    if (this.session !== undefined || this.upgraded) return;
    this.#last = "end";
    this.socket.end();
  }
}
