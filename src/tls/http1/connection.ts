/** A connection that carries HTTP/1.1 requests to an upstream, one after another, and each of them once. */
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { readOn, stopReading } from "../read-stop.ts";
import { type CallEvents, type Field, Unsendable, type UpstreamCall, type UpstreamRequest } from "./call.ts";
import { type AnswerEvents, AnswerParser, LENGTH, NAME, VALUE } from "./parser.ts";

/** Seconds before an upstream ends an idle connection at which it is not used any more. */
const MARGIN_SECONDS = 1;

/** Throws {@link Unsendable} for what could be read as more than one field, or has no bytes. */
export function checkFields({ method, target, fields }: UpstreamRequest): void {
  if (!NAME.test(method) || !/^[\x21-\x7e]+$/.test(target)) throw new Unsendable(new Error("The request line is none"));
  for (const [name, value] of fields) {
    if (NAME.test(name) && VALUE.test(value)) continue;
    throw new Unsendable(new Error(`The field ${JSON.stringify(name)} cannot be sent`));
  }
}

/** The head of a request; throws as {@link checkFields}. */
export function requestHead(request: UpstreamRequest): string {
  checkFields(request);
  let head = `${request.method} ${request.target} HTTP/1.1\r\n`;
  for (const [name, value] of request.fields) head += `${name}: ${value}\r\n`;
  return `${head}\r\n`;
}

/** What a connection tells its pool. */
export interface ConnectionOwner {
  /** It is idle and may be used again, at once or once nothing has come on it for a while. */
  free(connection: Http1Connection, rests: boolean): void;
  /** It is gone. */
  gone(connection: Http1Connection): void;
}

/** A connection. */
export class Http1Connection {
  readonly #socket: Duplex;
  readonly #owner: ConnectionOwner;
  #call: Http1Call | undefined;
  #used = false;
  #gone = false;
  /** Seconds that the upstream keeps it idle. */
  keepSeconds: number | undefined;

  constructor(socket: Duplex, owner: ConnectionOwner) {
    this.#socket = socket;
    this.#owner = owner;
    socket.on("data", (chunk: Buffer) => this.#received(chunk));
    socket.on("drain", () => this.#call?.drained());
    socket.on("end", () => {
      this.#call?.closed();
      this.destroy();
    });
    socket.on("error", (error) => {
      this.#call?.broken(error);
      this.destroy();
    });
    socket.on("close", () => {
      this.#call?.broken(new Error("The upstream closed the connection"));
      this.destroy();
    });
  }

  get socket(): Duplex {
    return this.#socket;
  }

  get usable(): boolean {
    return !this.#gone && !this.#socket.destroyed;
  }

  /** Whether it has carried a request. */
  get used(): boolean {
    return this.#used;
  }

  /** Sends the head of a request. */
  carry(call: Http1Call, head: string): void {
    this.#call = call;
    if (this.#used) this.#holdProcess(true);
    this.#socket.write(head, "latin1");
  }

  write(chunk: Uint8Array | string): boolean {
    return this.#socket.write(chunk, "latin1");
  }

  cork(): void {
    this.#socket.cork();
  }

  uncork(): void {
    this.#socket.uncork();
  }

  pause(): void {
    stopReading(this.#socket);
  }

  resume(): void {
    readOn(this.#socket);
  }

  /** The call is through in both directions. */
  over({ keeps, keepSeconds, lacksBody }: AnswerParser): void {
    this.#call = undefined;
    this.#used = true;
    this.keepSeconds = keepSeconds;
    if (!keeps || !this.usable) {
      this.destroy();
      return;
    }
    this.resume();
    this.#holdProcess(false);
    this.#owner.free(this, lacksBody);
  }

  /** While it is idle it keeps no process alive that has nothing else to do. */
  #holdProcess(holds: boolean): void {
    const socket = this.#socket as Partial<Pick<Socket, "ref" | "unref">>;
    if (holds) socket.ref?.();
    else socket.unref?.();
  }

  destroy(): void {
    if (this.#gone) return;
    this.#gone = true;
    const call = this.#call;
    this.#call = undefined;
    this.#socket.destroy();
    this.#owner.gone(this);
    call?.broken(new Error("The connection to the upstream was ended"));
  }

  /** How long before its end an idle connection is left alone, as a time of the same clock. */
  usableUntil(now: number): number {
    return this.keepSeconds === undefined
      ? Number.POSITIVE_INFINITY
      : now + (this.keepSeconds - MARGIN_SECONDS) * 1_000;
  }

  #received(chunk: Buffer): void {
    // what nobody asked for is the answer to nothing
    if (this.#call === undefined || !this.#call.received(chunk)) this.destroy();
  }
}

/** One request and its answer on a connection. */
export class Http1Call implements UpstreamCall, AnswerEvents {
  readonly unseen = false;
  readonly #events: CallEvents;
  readonly #head: string;
  readonly #chunked: boolean;
  /** Bytes of the body that its stated length still wants. */
  #left: number;
  readonly #parser: AnswerParser;
  #connection: Http1Connection | undefined;
  #reused = false;
  /** The request is sent. */
  #sent: boolean;
  /** The answer is read, or will not come. */
  #over = false;
  #destroyed = false;

  constructor(request: UpstreamRequest, events: CallEvents) {
    this.#events = events;
    this.#head = requestHead(request);
    this.#sent = !request.withBody;
    const length = request.fields.find(([name]) => name.toLowerCase() === "content-length")?.[1];
    // what two may read differently would end this request in two places
    if (length !== undefined && !LENGTH.test(length)) throw new Unsendable(new Error("Content-Length is no number"));
    this.#chunked = request.withBody && length === undefined;
    this.#left = length === undefined ? 0 : Number(length);
    this.#parser = new AnswerParser(request.method, this);
  }

  /** What it goes over; undefined before there is a connection, and when the call is over. */
  get socket(): Duplex | undefined {
    return this.#connection?.socket;
  }

  get reused(): boolean {
    return this.#reused;
  }

  get destroyed(): boolean {
    return this.#destroyed;
  }

  /** Begins on a connection. */
  start(connection: Http1Connection): void {
    this.#connection = connection;
    this.#reused = connection.used;
    connection.carry(this, this.#head);
    if (!this.#sent) this.#events.connected(this);
  }

  write(chunk: Uint8Array): boolean {
    const connection = this.#connection;
    if (connection === undefined || this.#sent || chunk.byteLength === 0) return true;
    if (!this.#chunked) {
      this.#left -= chunk.byteLength;
      if (this.#left >= 0) return connection.write(chunk);
      this.#misstated(connection);
      return true;
    }
    connection.cork();
    connection.write(`${chunk.byteLength.toString(16)}\r\n`);
    connection.write(chunk);
    const room = connection.write("\r\n");
    connection.uncork();
    return room;
  }

  end(trailers: readonly Field[]): void {
    if (this.#sent) return;
    if (this.#chunked) {
      let last = "0\r\n";
      for (const [name, value] of trailers) if (NAME.test(name) && VALUE.test(value)) last += `${name}: ${value}\r\n`;
      this.#connection?.write(`${last}\r\n`);
    } else if (this.#left !== 0 && this.#connection !== undefined) {
      this.#misstated(this.#connection);
      return;
    }
    this.#sent = true;
    this.#release();
  }

  pause(): void {
    if (!this.#over) this.#connection?.pause();
  }

  resume(): void {
    if (!this.#over) this.#connection?.resume();
  }

  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#over = true;
    this.#connection?.destroy();
    this.#connection = undefined;
  }

  /** No connection came about, or it broke. */
  broken(error: unknown): void {
    if (this.#over) {
      if (!this.#destroyed && !this.#sent) this.#events.unwanted(this);
      return;
    }
    this.#over = true;
    this.#events.failed(this, error);
  }

  drained(): void {
    if (!this.#sent) this.#events.drained(this);
  }

  /** The upstream has said all it wants to say. */
  closed(): void {
    if (!this.#over && this.#parser.close()) return;
    this.broken(new Error("The upstream closed the connection"));
  }

  /** Takes bytes of the answer; false when they are not one. */
  received(chunk: Buffer): boolean {
    try {
      if (!this.#over && this.#parser.push(chunk)) {
        this.#release();
        return true;
      }
    } catch (error) {
      this.broken(error);
      return false;
    }
    // bytes behind the answer
    if (!this.#sent && !this.#destroyed) this.#events.unwanted(this);
    return false;
  }

  head(status: number, fields: readonly string[], reason: string): void {
    this.#events.head(this, status, fields, reason);
  }

  data(chunk: Uint8Array): void {
    if (!this.#over) this.#events.data(this, chunk);
  }

  ended(trailers: readonly string[]): void {
    if (this.#over) return;
    this.#over = true;
    this.#events.ended(this, trailers);
  }

  /** What follows on the connection would be read as part of this body, or the other way round. */
  #misstated(connection: Http1Connection): void {
    this.#sent = true;
    this.broken(new Error("The request body is not as long as its Content-Length says"));
    connection.destroy();
  }

  /** Gives the connection back once nothing of this exchange is on it any more. */
  #release(): void {
    const connection = this.#connection;
    if (connection === undefined || !this.#sent || !this.#parser.done) return;
    this.#connection = undefined;
    connection.over(this.#parser);
  }
}
