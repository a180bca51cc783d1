/** The accepted connections of a listener: what runs on each, how each is drained and ended. */
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse, ServerHttp2Session } from "node:http2";
import type { TLSSocket } from "node:tls";

/** A request as both protocols give it. */
export type ListenerRequest = IncomingMessage | Http2ServerRequest;
/** A response as both protocols take it; the members spelled out differ in their types alone. */
export type ListenerResponse = (ServerResponse | Http2ServerResponse) & {
  writeHead(status: number, headers?: OutgoingHttpHeaders): unknown;
  write(chunk: string | Uint8Array): boolean;
  end(chunk?: string | Uint8Array): unknown;
};

/** One accepted connection. */
export class Connection {
  readonly socket: TLSSocket;
  session: ServerHttp2Session | undefined;
  /** Set once the socket left HTTP: such a connection ends with its socket or at the deadline. */
  upgraded = false;
  #draining = false;
  readonly #running = new Set<ListenerResponse>();

  constructor(socket: TLSSocket) {
    this.socket = socket;
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

  /** Takes nothing new: GOAWAY, or `Connection: close`; an idle HTTP/1.1 connection ends now. */
  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    if (this.session !== undefined) {
      if (!this.session.closed) this.session.close();
      return;
    }
    for (const response of this.#running) this.#announceClose(response);
    this.#endIfIdle();
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
