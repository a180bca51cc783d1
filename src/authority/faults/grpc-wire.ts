/** gRPC written by hand on HTTP/2, so that a test can send what no gRPC library would. */
import { constants, createServer, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import { Code } from "@connectrpc/connect";
import { SpiffeError } from "../../base/index.ts";
import { unlinkAtExit } from "../exit-cleanup.ts";

/** The name of a gRPC status, such as `Unavailable`. */
export type GrpcCode = keyof typeof Code;

function ignore(): void {}

/** One call as the wire has it. */
export class WireCall {
  /** Such as `FetchX509SVID`. */
  readonly method: string;
  /** Request headers by lower-case name. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Settles when the call is over, for whatever reason. */
  readonly closed: Promise<void>;
  readonly #stream: ServerHttp2Stream;
  #responded = false;

  constructor(stream: ServerHttp2Stream, headers: Readonly<Record<string, unknown>>) {
    this.#stream = stream;
    this.method = String(headers[":path"] ?? "").replace(/^\/SpiffeWorkloadAPI\//, "");
    this.metadata = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
    stream.on("error", ignore);
    this.closed = new Promise((resolve) => stream.once("close", resolve));
  }

  get isOpen(): boolean {
    return !this.#stream.closed && !this.#stream.destroyed && !this.#stream.writableEnded;
  }

  /** The bytes of the request's message, without their prefix. */
  async request(): Promise<Uint8Array> {
    const chunks: Buffer[] = [];
    const stream = this.#stream;
    await new Promise<void>((resolve) => {
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.once("end", resolve);
      stream.once("close", resolve);
    });
    return Uint8Array.from(Buffer.concat(chunks).subarray(5));
  }

  /**
   * Sends one message with its prefix of five bytes.
   *
   * @param sent how many bytes of the message to send, whatever the prefix says
   */
  send(message: Uint8Array, sent: number = message.length): void {
    if (!this.isOpen) return;
    const frame = new Uint8Array(5 + sent);
    new DataView(frame.buffer).setUint32(1, message.length);
    frame.set(message.subarray(0, sent), 5);
    if (!this.#responded) {
      this.#responded = true;
      this.#stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    }
    this.#stream.write(frame);
  }

  /** Ends the call with a status; `undefined` is OK. */
  end(code?: GrpcCode, message = ""): void {
    if (!this.isOpen) return;
    const status = { "grpc-status": String(code === undefined ? 0 : Code[code]) };
    const trailers = message === "" ? status : { ...status, "grpc-message": encodeURIComponent(message) };
    const stream = this.#stream;
    if (!this.#responded) {
      this.#responded = true;
      stream.respond({ ":status": 200, "content-type": "application/grpc", ...trailers }, { endStream: true });
      return;
    }
    stream.once("wantTrailers", () => stream.sendTrailers(trailers));
    stream.end();
  }

  /** Breaks the call off with RST_STREAM. */
  reset(): void {
    if (this.isOpen) this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }
}

/** A server of such calls. */
export class GrpcWire {
  readonly #server: Http2Server;
  readonly #sessions = new Set<ServerHttp2Session>();
  #forget: () => void = ignore;

  constructor(answer: (call: WireCall) => void) {
    this.#server = createServer({});
    this.#server.on("session", (session) => {
      this.#sessions.add(session);
      session.on("error", ignore);
      session.once("close", () => this.#sessions.delete(session));
    });
    this.#server.on("sessionError", ignore);
    this.#server.on("stream", (stream: ServerHttp2Stream, headers) => answer(new WireCall(stream, headers)));
  }

  /** @throws SpiffeError `ERR_SPIFFE_AUTHORITY` when the socket cannot be opened */
  async listen(path: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", (cause) => {
        reject(new SpiffeError("ERR_SPIFFE_AUTHORITY", `Cannot listen on ${path}`, { phase: "sockets", cause }));
      });
      this.#server.listen(path, resolve);
    });
    this.#forget = unlinkAtExit(path);
  }

  /** Tells every connection to go away. */
  goAway(code: number): void {
    for (const session of this.#sessions) session.goaway(code);
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const session of this.#sessions) session.destroy();
    await closed;
    this.#forget();
  }
}
