/** One request through the gateway: head and body out, head and body back, both streaming, both ends told of a break. */
import type { ClientRequest, IncomingMessage, ServerResponse } from "node:http";
import type { Clock } from "../base/index.ts";
import type { ListenerRequest, ListenerResponse } from "../tls/index.ts";
import { answerProblem, cutAnswer, endUnread, hasBody } from "./answer.ts";
import { type Field, fieldsOf, responseFields, toHeaderObject, toTrailerObject, trailerFields } from "./headers.ts";
import type { Problem } from "./middleware/problem.ts";
import { isDialFailure } from "./upstream/endpoint.ts";
import { Replay } from "./upstream/replay.ts";
import { isIdempotent, type Tries } from "./upstream/tries.ts";
import { TryTimer } from "./upstream/try-timer.ts";
import type { Upstream } from "./upstream.ts";
import { badGateway, dialOutcome, isOwnTrouble, timeout, unavailable } from "./upstream-problem.ts";

/** What to send where, and how long to wait. */
export interface Passage {
  readonly upstream: Upstream;
  readonly method: string;
  /** Canonical path and query. */
  readonly target: string;
  /** Fields for the upstream at an address; the host differs by address. */
  fields(authority: string): Field[];
  /** Names that never come as a trailer of the request, as `headerName` spells them: they have been judged or set. */
  readonly reserved?: readonly string[] | undefined;
  /** Milliseconds until the answer begins, over all tries. */
  readonly timeoutMs: number;
  /** Milliseconds without a byte of a body. */
  readonly idleMs: number;
  /** Bytes of the request body. */
  readonly bodyBytes: number;
  readonly requestId: string;
  readonly clock: Clock;
}

/** How it went. */
export interface Passed {
  /** Status that the caller saw; 0 when it went away before one. */
  readonly status: number;
  readonly problem?: Problem | undefined;
  /** What broke, for the log. */
  readonly error?: unknown;
  /** Milliseconds from sending to the upstream's answer. */
  readonly upstreamMs?: number | undefined;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Whether the answer reached its end. */
  readonly complete: boolean;
}

/** Passes one request on and its answer back; resolves when the caller's side is over. */
export function pass(request: ListenerRequest, response: ListenerResponse, passage: Passage): Promise<Passed> {
  return new Promise((resolve) => new Exchange(request, response, passage, resolve).begin());
}

class Exchange {
  readonly #request: ListenerRequest;
  readonly #response: ListenerResponse;
  readonly #passage: Passage;
  readonly #resolve: (passed: Passed) => void;
  readonly #timers = new AbortController();
  readonly #tryTimer: TryTimer;
  readonly #replay: Replay;
  readonly #withBody: boolean;
  /** What `Content-Length` of the request says. */
  readonly #declared: number | undefined;
  readonly #startedAt: number;
  #tries: Tries | undefined;
  #outgoing: ClientRequest | undefined;
  #incoming: IncomingMessage | undefined;
  /** The request body is being read. */
  #sending = false;
  /** The request body is read to its end. */
  #sent = false;
  /** There is a connection that takes the body. */
  #flowing = false;
  /** The upstream's answer is through. */
  #answered = false;
  #finished = false;
  #over = false;
  #movedAt: number;
  #upstreamMs: number | undefined;
  #bytesIn = 0;
  #bytesOut = 0;
  #problem: Problem | undefined;
  #error: unknown;

  constructor(
    request: ListenerRequest,
    response: ListenerResponse,
    passage: Passage,
    resolve: (passed: Passed) => void,
  ) {
    this.#request = request;
    this.#response = response;
    this.#passage = passage;
    this.#resolve = resolve;
    this.#withBody = hasBody(request);
    this.#sent = !this.#withBody;
    const length = request.headers["content-length"];
    this.#declared = length === undefined ? undefined : Number(length);
    const { clock, upstream, method } = passage;
    this.#tryTimer = new TryTimer(clock, upstream.tryTimeoutMs, () => this.#guard(() => this.#onTryLate()));
    this.#replay = new Replay(this.#withBody && isIdempotent(method));
    this.#startedAt = clock.monotonic();
    this.#movedAt = this.#startedAt;
  }

  begin(): void {
    const { clock, timeoutMs, bodyBytes, upstream } = this.#passage;
    this.#response.on("finish", () => {
      this.#finished = true;
    });
    this.#response.once("close", () => this.#end());
    this.#response.on("error", () => this.#end());
    const left = () => {
      if (!this.#sent) this.#release();
      if (this.#answered && !this.#response.writableEnded) (this.#response as ServerResponse).end();
    };
    this.#request.on("error", left);
    this.#request.once("close", left);
    if ((this.#declared ?? 0) > bodyBytes) return void this.#tooLarge();
    clock.sleep(timeoutMs, this.#timers.signal).then(
      () => {
        if (this.#incoming !== undefined || this.#over) return;
        if (this.#outgoing !== undefined) this.#tries?.note("timeout");
        // a body that is still on its way may be the caller's slowness
        if (!this.#sending || this.#sent) this.#tries?.failed();
        this.#fail(timeout("The upstream's answer did not begin in time"));
      },
      () => {},
    );
    void this.#watchIdle();
    const waiting = upstream.ready();
    if (waiting === undefined) this.#enter();
    else void waiting.then(() => this.#guard(() => this.#enter()));
  }

  #enter(): void {
    if (this.#timers.signal.aborted) return;
    const entered = this.#passage.upstream.enter();
    if ("status" in entered) return void this.#fail(entered);
    this.#tries = entered;
    this.#attempt(entered);
  }

  #attempt(tries: Tries): void {
    if (this.#timers.signal.aborted) return;
    const { method, target } = this.#passage;
    const { endpoint } = tries;
    let outgoing: ClientRequest;
    try {
      const fields = this.#framed(this.#passage.fields(endpoint.target.authority));
      outgoing = endpoint.send({ method, target, fields });
    } catch (error) {
      return void this.#fail(unavailable(error), error);
    }
    this.#outgoing = outgoing;
    this.#flowing = false;
    this.#moved();
    this.#tryTimer.start();
    outgoing.on("error", (error) => this.#guard(() => this.#onUpstreamError(error, outgoing)));
    outgoing.once("response", (incoming) => this.#guard(() => this.#onResponse(incoming, outgoing)));
    outgoing.once("upgrade", (_incoming, socket) => {
      socket.destroy();
      if (this.#outgoing !== outgoing) return;
      tries.note("aborted");
      this.#failUpstream(badGateway("The upstream switched protocols without being asked"));
    });
    if (!this.#withBody) return void outgoing.end();
    // the body waits for the connection, so that a failed dial has read none of it
    outgoing.once("socket", () => this.#guard(() => this.#sendBody(outgoing)));
  }

  /** Nothing thrown while an event is handled may end the process: it ends this exchange. */
  #guard(handle: () => void): void {
    try {
      handle();
    } catch (error) {
      this.#error = error;
      this.#release();
      cutAnswer(this.#response);
      this.#end();
    }
  }

  /** Body framing of this hop: the stated length, or chunks. */
  #framed(fields: Field[]): Field[] {
    const rest = fields.filter(([name]) => name.toLowerCase() !== "content-length");
    if (!this.#withBody)
      return /^(?:POST|PUT|PATCH)$/.test(this.#passage.method) ? [...rest, ["content-length", "0"]] : rest;
    return rest.length < fields.length ? fields : [...rest, ["transfer-encoding", "chunked"]];
  }

  /** Sends what was read for an earlier try, then the rest of the body. */
  #sendBody(outgoing: ClientRequest): void {
    if (this.#outgoing !== outgoing) return;
    this.#tryTimer.stop();
    outgoing.flushHeaders();
    const request = this.#request as IncomingMessage;
    outgoing.on("drain", () => {
      if (this.#outgoing === outgoing) request.resume();
    });
    // an upstream that has answered may hang up on the rest of the body
    outgoing.once("close", () => this.#unwanted(outgoing));
    let room = true;
    for (const chunk of this.#replay.chunks) room = outgoing.write(chunk);
    this.#flowing = true;
    if (this.#sent) this.#endBody(outgoing);
    else if (!this.#sending) this.#readBody(request);
    else if (room) request.resume();
  }

  #readBody(request: IncomingMessage): void {
    this.#sending = true;
    request.on("data", (chunk: Uint8Array) => {
      if (this.#outgoing === undefined && !this.#replay.whole) return;
      this.#bytesIn += chunk.byteLength;
      if (this.#bytesIn > this.#passage.bodyBytes) return void this.#tooLarge();
      if (this.#bytesIn > (this.#declared ?? this.#bytesIn)) return void this.#misstated();
      this.#moved();
      this.#replay.add(chunk);
      if (this.#flowing) {
        if (this.#outgoing?.write(chunk) === false) request.pause();
        return;
      }
      // between two tries it waits with what is kept
      request.pause();
      if (!this.#replay.whole) this.#failUpstream(badGateway("The upstream broke off before it answered"));
    });
    request.on("end", () => this.#guard(() => this.#onRequestEnd()));
  }

  #onRequestEnd(): void {
    if (this.#outgoing === undefined && !this.#replay.whole) return;
    this.#sent = true;
    if (this.#declared !== undefined && this.#bytesIn !== this.#declared) return void this.#misstated();
    this.#moved();
    if (this.#flowing && this.#outgoing !== undefined) this.#endBody(this.#outgoing);
    if (this.#answered && !this.#response.writableEnded) (this.#response as ServerResponse).end();
    if (this.#over) this.#timers.abort();
  }

  #endBody(outgoing: ClientRequest): void {
    const trailers = trailerFields(fieldsOf(this.#request.rawTrailers ?? []), this.#passage.reserved);
    if (trailers.length > 0 && outgoing.hasHeader("transfer-encoding")) outgoing.addTrailers(toTrailerObject(trailers));
    outgoing.end();
    if (this.#incoming === undefined) this.#tryTimer.start();
  }

  /** Takes in the rest of a body that the upstream no longer reads. */
  #unwanted(outgoing: ClientRequest): void {
    if (this.#outgoing === outgoing && !this.#sent && this.#answered) this.#stopReading();
  }

  #stopReading(): void {
    this.#release();
    endUnread(this.#request, this.#response, this.#passage.bodyBytes);
  }

  #onUpstreamError(error: Error, outgoing: ClientRequest): void {
    if (this.#outgoing !== outgoing) return;
    if (this.#incoming !== undefined) return void this.#unwanted(outgoing);
    if (!isDialFailure(error)) {
      this.#tries?.note("aborted");
      const problem = badGateway("The upstream broke off before it answered");
      return void this.#tryAgain(this.#isHarmless(), problem, error, outgoing.reusedSocket);
    }
    if (isOwnTrouble(error)) return void this.#fail(unavailable(error), error);
    this.#tries?.note(dialOutcome(error));
    this.#tryAgain(this.#isReplayable(), unavailable(error), error);
  }

  #onTryLate(): void {
    const outgoing = this.#outgoing;
    if (outgoing === undefined || this.#incoming !== undefined || this.#over) return;
    this.#tries?.note("timeout");
    this.#tryAgain(this.#isHarmless(), timeout("The upstream's answer did not begin in the time of one try"));
  }

  /** Whether the request may be sent again although the upstream may have seen it (S-24). */
  #isHarmless(): boolean {
    return isIdempotent(this.#passage.method) && this.#isReplayable();
  }

  /** Whether all of the body is still there; none of it is read before there is a connection. */
  #isReplayable(): boolean {
    return !this.#sending || this.#replay.whole;
  }

  #tryAgain(allowed: boolean, problem: Problem, error?: unknown, stale = false): void {
    const outgoing = this.#outgoing;
    this.#outgoing = undefined;
    this.#flowing = false;
    this.#tryTimer.stop();
    outgoing?.destroy();
    const tries = this.#tries;
    const delay = allowed ? tries?.again(stale) : undefined;
    if (tries === undefined || delay === undefined) return void this.#failUpstream(problem, error);
    if (this.#sending && !this.#sent) this.#request.pause();
    if (delay === 0) return void this.#attempt(tries);
    this.#passage.clock.sleep(delay, this.#timers.signal).then(
      () => this.#guard(() => this.#attempt(tries)),
      () => {},
    );
  }

  /** The upstream is to blame. */
  #failUpstream(problem: Problem, error?: unknown): void {
    this.#tries?.failed();
    this.#fail(problem, error);
  }

  #onResponse(incoming: IncomingMessage, outgoing: ClientRequest): void {
    // also the late answer of a try that was given up
    if (this.#over || this.#outgoing !== outgoing) return void incoming.destroy();
    this.#incoming = incoming;
    this.#tryTimer.stop();
    this.#replay.drop();
    this.#tries?.answered();
    this.#upstreamMs = this.#passage.clock.monotonic() - this.#startedAt;
    this.#moved();
    const broken = (error?: unknown) => {
      if (this.#incoming === incoming && !incoming.complete) this.#cut(error);
    };
    incoming.on("error", broken);
    incoming.on("aborted", broken);
    incoming.on("close", broken);
    const response = this.#response as ServerResponse;
    const status = incoming.statusCode ?? 0;
    try {
      if (status < 200 || status > 999) throw new Error(`The upstream answered with status ${status}`);
      response.writeHead(
        status,
        toHeaderObject(responseFields(fieldsOf(incoming.rawHeaders), this.#passage.requestId)),
      );
    } catch (error) {
      this.#incoming = undefined;
      return void this.#fail(badGateway("The upstream's answer cannot be passed on"), error);
    }
    const empty = this.#passage.method === "HEAD" || status === 204 || status === 304;
    if (empty) incoming.resume();
    else {
      response.on("drain", () => incoming.resume());
      incoming.on("data", (chunk: Uint8Array) => {
        if (this.#over) return;
        this.#bytesOut += chunk.byteLength;
        this.#moved();
        if (!response.write(chunk)) incoming.pause();
      });
    }
    incoming.on("end", () => this.#guard(() => this.#onAnswerEnd(incoming, response)));
    // a head without body bytes yet, as before the first event of a stream, must not wait for them
    setImmediate(() => {
      if (!this.#over && this.#bytesOut === 0 && !response.writableEnded) response.flushHeaders();
    });
  }

  #onAnswerEnd(incoming: IncomingMessage, response: ServerResponse): void {
    if (this.#over) return;
    if (!incoming.complete) return void this.#cut();
    const trailers = trailerFields(fieldsOf(incoming.rawTrailers));
    if (trailers.length > 0) response.addTrailers(toTrailerObject(trailers));
    this.#answered = true;
    // of a whole answer with its length only the closing waits for the rest of the request
    const early = !this.#sent && this.#sending && response.hasHeader("content-length") && !("stream" in this.#request);
    if (!early) response.end();
  }

  #moved(): void {
    this.#movedAt = this.#passage.clock.monotonic();
  }

  /** Ends bodies that stand still; waiting for the answer has its own time. */
  async #watchIdle(): Promise<void> {
    const { clock, idleMs } = this.#passage;
    try {
      for (;;) {
        const left = this.#movedAt + idleMs - clock.monotonic();
        const waiting = this.#incoming === undefined && !(this.#sending && !this.#sent);
        if (left > 0 || waiting) await clock.sleep(waiting ? idleMs : left, this.#timers.signal);
        else break;
      }
    } catch {
      return;
    }
    if (this.#over) this.#release();
    else if (this.#answered) this.#stopReading();
    else if (this.#incoming === undefined) this.#fail(timeout("The request body stood still"));
    else this.#cut(new Error("The answer stood still"));
  }

  /** A body of another length than stated would be read as part of the next request on the upstream's connection. */
  #misstated(): void {
    if (this.#answered) return void this.#stopReading();
    const detail = "The request body is not as long as its Content-Length says";
    this.#fail({ status: 400, code: "ERR_SPIFFE_REQUEST", reason: "request.framing", detail });
  }

  #tooLarge(): void {
    const detail = `The request body is longer than ${this.#passage.bodyBytes} bytes`;
    if (this.#answered) return void this.#stopReading();
    this.#fail({ status: 413, code: "ERR_SPIFFE_REQUEST", reason: "request.too-large", detail });
  }

  /** Answers in the upstream's place. */
  #fail(problem: Problem, error?: unknown): void {
    if (this.#over || this.#problem !== undefined) return;
    if (this.#incoming !== undefined) return void this.#cut(error);
    this.#problem = problem;
    this.#error = error;
    this.#release();
    const { requestId, bodyBytes } = this.#passage;
    answerProblem(this.#request, this.#response, { ...problem, requestId }, bodyBytes);
  }

  /** Breaks an answer that has begun. */
  #cut(error?: unknown): void {
    if (this.#over || this.#answered) return;
    this.#error = error ?? new Error("The upstream broke off its answer");
    cutAnswer(this.#response);
    this.#end();
  }

  /** Lets go of the upstream in the middle of an exchange; its connection is of no use any more. */
  #release(): void {
    this.#timers.abort();
    this.#tryTimer.stop();
    this.#replay.drop();
    const outgoing = this.#outgoing;
    this.#outgoing = undefined;
    outgoing?.destroy();
    this.#tries?.left();
  }

  /** The caller's side is over. */
  #end(): void {
    if (this.#over) return;
    this.#over = true;
    const complete = this.#finished;
    // after a whole answer the rest of the body still goes on, as the upstream may want it
    if (!complete || this.#incoming?.complete !== true) this.#release();
    else if (this.#sent) this.#timers.abort();
    this.#resolve({
      status: this.#response.headersSent ? this.#response.statusCode : 0,
      problem: this.#problem,
      error: this.#error,
      upstreamMs: this.#upstreamMs,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
      complete,
    });
  }
}
