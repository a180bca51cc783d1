/** A call over HTTP/1.1. */
import type { ClientRequest, IncomingMessage } from "node:http";
import { type Field, toTrailerObject } from "../headers.ts";
import type { CallEvents, UpstreamCall } from "./call.ts";

/** What an upstream did in place of an answer; another try would see the same. */
export class NoAnswer extends Error {}

/** Follows one request of `node:http`. */
export class Http1Call implements UpstreamCall {
  readonly unseen = false;
  readonly #request: ClientRequest;
  readonly #events: CallEvents;
  #incoming: IncomingMessage | undefined;
  #over = false;

  /** @param withBody whether a body follows; without one the request is sent at once */
  constructor(request: ClientRequest, withBody: boolean, events: CallEvents) {
    this.#request = request;
    this.#events = events;
    request.on("error", (error) => this.#broken(error));
    request.once("response", (incoming) => this.#answered(incoming));
    request.once("upgrade", (_incoming, socket) => {
      socket.destroy();
      this.#fail(new NoAnswer("The upstream switched protocols without being asked"));
    });
    // the body waits for the connection, so that a failed dial has read none of it
    if (withBody) request.once("socket", () => this.#connected());
    else request.end();
  }

  get reused(): boolean {
    return this.#request.reusedSocket;
  }

  write(chunk: Uint8Array): boolean {
    return this.#request.write(chunk);
  }

  end(trailers: readonly Field[]): void {
    if (trailers.length > 0 && this.#request.hasHeader("transfer-encoding")) {
      this.#request.addTrailers(toTrailerObject(trailers));
    }
    this.#request.end();
  }

  pause(): void {
    this.#incoming?.pause();
  }

  resume(): void {
    this.#incoming?.resume();
  }

  destroy(): void {
    this.#over = true;
    this.#request.destroy();
  }

  #connected(): void {
    if (this.#over) return;
    this.#request.flushHeaders();
    this.#request.on("drain", () => this.#events.drained(this));
    // an upstream that has answered may hang up on the rest of the body
    this.#request.once("close", () => this.#events.unwanted(this));
    this.#events.connected(this);
  }

  #answered(incoming: IncomingMessage): void {
    // also the late answer of a try that was given up
    if (this.#over) return void incoming.destroy();
    this.#incoming = incoming;
    const broken = (error?: unknown) => {
      if (!incoming.complete) this.#fail(error ?? new Error("The upstream broke off its answer"));
    };
    incoming.on("error", broken);
    incoming.on("aborted", broken);
    incoming.on("close", broken);
    this.#events.head(this, incoming.statusCode ?? 0, incoming.rawHeaders);
    if (this.#over) return;
    incoming.on("data", (chunk: Uint8Array) => {
      if (!this.#over) this.#events.data(this, chunk);
    });
    incoming.on("end", () => {
      if (this.#over) return;
      if (!incoming.complete) return void broken();
      this.#over = true;
      this.#events.ended(this, incoming.rawTrailers);
    });
  }

  #broken(error: Error): void {
    // a break after the head shows on the answer too, and there it can be told from a whole one
    if (this.#incoming === undefined) this.#fail(error);
    else this.#events.unwanted(this);
  }

  #fail(error: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#events.failed(this, error);
  }
}
