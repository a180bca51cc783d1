/** The caller's side of a request in the form of `fetch`: one web `Request` to an upstream, and its answer's parts. */
import { type Attempted, type Attempting, Attempts } from "./attempts.ts";
import type { Deadline } from "./deadlines.ts";
import type { Problem } from "./middleware/problem.ts";
import { badGateway, timeout } from "./upstream-problem.ts";

/** Bytes of an answer that are read ahead of who reads it. */
const READ_AHEAD = 65_536;

/** A refusal on its way to the caller. */
export class Refused extends Error {
  readonly problem: Problem;
  constructor(problem: Problem, cause?: unknown) {
    super(problem.detail, { cause });
    this.problem = problem;
  }
}

/** An answer of an upstream. */
export interface Forwarded {
  readonly status: number;
  /** Names and values in turn. */
  readonly fields: readonly string[];
  readonly body: ReadableStream<Uint8Array> | null;
}

/** One request; begin it once. */
export class Forwarding implements Attempting {
  readonly #request: Request;
  readonly #attempts: Attempts;
  readonly #what: Attempted;
  readonly #timeoutMs: number;
  readonly #answer: Promise<Forwarded>;
  #resolve!: (answer: Forwarded) => void;
  #reject!: (error: unknown) => void;
  readonly #left = new AbortController();
  #deadline: Deadline | undefined;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  /** Lets the body go on that has to wait. */
  #goOn: (() => void) | undefined;
  #held = false;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #over = false;

  constructor(request: Request, what: Attempted, timeoutMs: number) {
    this.#request = request;
    this.#what = what;
    this.#timeoutMs = timeoutMs;
    this.#attempts = new Attempts(what, this);
    this.#answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Rejects with `Refused`, or with the reason of the request's signal. */
  begin(): Promise<Forwarded> {
    const { signal } = this.#request;
    const leave = () => this.#end(signal.reason);
    if (signal.aborted) leave();
    else {
      signal.addEventListener("abort", leave, { signal: this.#left.signal });
      this.#deadline = this.#what.upstream.deadlines.after(this.#timeoutMs, () => {
        if (this.#over) return;
        this.#attempts.expired();
        this.failed(timeout("The upstream's answer did not begin in time"));
      });
      this.#attempts.begin();
    }
    return this.#answer;
  }

  ready(): void {
    this.#held = false;
    this.#goOn?.();
    this.#goOn = undefined;
    if (this.#reader !== undefined || this.#request.body === null) return;
    this.#reader = this.#request.body.getReader();
    this.#send(this.#reader).catch((error) => this.#end(error));
  }

  hold(): void {
    this.#held = true;
  }

  head(status: number, fields: readonly string[]): void {
    if (status < 200 || status > 599) {
      this.failed(badGateway("The upstream's answer cannot be passed on"), new Error(`status ${status}`));
      return;
    }
    this.#deadline?.cancel();
    const empty = this.#request.method === "HEAD" || [204, 205, 304].includes(status);
    this.#resolve({ status, fields, body: empty ? null : this.#body() });
  }

  data(chunk: Uint8Array): void {
    if (this.#over || this.#controller === undefined) return;
    // a copy: the bytes received may be part of a larger buffer
    this.#controller.enqueue(new Uint8Array(chunk));
    if ((this.#controller.desiredSize ?? 0) <= 0) this.#attempts.pause();
  }

  ended(): void {
    if (this.#over) return;
    this.#over = true;
    this.#left.abort();
    this.#controller?.close();
  }

  failed(problem: Problem, error?: unknown): void {
    this.#end(new Refused(problem, error));
  }

  broken(error: unknown): void {
    this.#end(error);
  }

  /** The rest of the body goes to nobody. */
  unwanted(): void {
    if (this.#over) this.#attempts.release();
    this.#reader?.cancel().catch(() => {});
  }

  crashed(error: unknown): void {
    this.#end(error);
  }

  async #send(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    for (;;) {
      if (this.#held) {
        await new Promise<void>((resolve) => {
          this.#goOn = resolve;
        });
      }
      const { done, value } = await reader.read();
      if (!this.#attempts.wantsBody) return;
      if (done) return this.#attempts.finish([]);
      if (!this.#attempts.take(value)) this.#held = true;
    }
  }

  #body(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.#attempts.resume(),
        cancel: () => this.#end(new Error("The answer was given up")),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: READ_AHEAD }),
    );
  }

  /** Ends both sides, in the middle of whatever they are at. */
  #end(error: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#left.abort();
    this.#deadline?.cancel();
    this.#attempts.release();
    this.#reader?.cancel(error).catch(() => {});
    this.#goOn?.();
    this.#reject(error);
    try {
      this.#controller?.error(error);
    } catch {
      // its reader has gone already
    }
  }
}
