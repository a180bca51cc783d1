/** The caller's side of a request: reads its body, writes its answer, and watches over time and size. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { capabilities } from "../runtime/capabilities.ts";
import type { ListenerRequest, ListenerResponse } from "../tls/index.ts";
import { answerProblem, cutAnswer, endBehind, endUnread, hasBody } from "./answer.ts";
import { type Attempting, Attempts } from "./attempts.ts";
import type { Deadline } from "./deadlines.ts";
import { askForBody } from "./expectation.ts";
import { callDeadline } from "./grpc-timeout.ts";
import { type Field, fieldsOf, responseFields, toHeaderObject, toTrailerObject, trailerFields } from "./headers.ts";
import type { Problem } from "./middleware/problem.ts";
import type { Passage, Passed } from "./proxy-stream.ts";
import { refusalAnswer } from "./refusal.ts";
import { badGateway, timeout } from "./upstream-problem.ts";

/** One request and its answer. */
export class Exchange implements Attempting {
  readonly #request: ListenerRequest;
  readonly #response: ServerResponse;
  readonly #passage: Passage;
  readonly #resolve: (passed: Passed) => void;
  readonly #attempts: Attempts;
  /** What `Content-Length` of the request says. */
  readonly #declared: number | undefined;
  readonly #startedAt: number;
  /** Until the answer begins. */
  #deadline: Deadline | undefined;
  /** Until the caller does not wait any more. */
  #call: Deadline | undefined;
  /** The caller takes no more for the moment. */
  #full = false;
  /** Until a body has stood still too long. */
  #idle: Deadline | undefined;
  /** The request body is being read. */
  #sending = false;
  /** The request body is read to its end. */
  #sent: boolean;
  /** The upstream's answer has begun. */
  #begun = false;
  /** Its body goes to nobody: the status or the method says that there is none. */
  #empty = false;
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
    this.#response = response as ServerResponse;
    this.#passage = passage;
    this.#resolve = resolve;
    const withBody = hasBody(request);
    this.#sent = !withBody;
    const length = request.headers["content-length"];
    this.#declared = length === undefined ? undefined : Number(length);
    const { upstream, method, target, clock } = passage;
    const fields = (authority: string) => framed(passage.fields(authority), method, withBody);
    this.#attempts = new Attempts({ upstream, method, target, clock, fields, withBody }, this);
    this.#startedAt = clock.monotonic();
    this.#movedAt = this.#startedAt;
  }

  begin(): void {
    const { timeoutMs, callMs, idleMs, bodyBytes, upstream, clock } = this.#passage;
    const response = this.#response;
    response.once("finish", () => {
      this.#finished = true;
    });
    response.once("close", () => this.#end());
    response.on("error", () => this.#end());
    const left = () => {
      if (!this.#sent) this.#release();
      if (this.#answered) endBehind(response);
    };
    this.#request.on("error", left);
    this.#request.once("close", left);
    if ((this.#declared ?? 0) > bodyBytes) return void this.#tooLarge();
    this.#deadline = upstream.deadlines.after(timeoutMs, () => this.#guard(() => this.#expired()), this.#startedAt);
    this.#idle = upstream.deadlines.after(idleMs, () => this.#guard(() => this.#checkIdle()), this.#startedAt);
    // a caller's haste says nothing about the upstream
    if (callMs !== undefined && callMs <= 0) return void this.#callOver();
    if (callMs !== undefined) this.#call = callDeadline(clock, callMs, () => this.#guard(() => this.#callOver()));
    this.#attempts.begin();
  }

  ready(): void {
    const request = this.#request as IncomingMessage;
    if (this.#sending) return void request.resume();
    this.#sending = true;
    askForBody(this.#request, this.#response as ListenerResponse);
    request.on("data", (chunk: Uint8Array) => this.#guard(() => this.#onRequestData(chunk)));
    request.on("end", () => this.#guard(() => this.#onRequestEnd()));
  }

  hold(): void {
    this.#request.pause();
  }

  head(status: number, received: readonly string[]): void {
    if (this.#over) return void this.#attempts.release();
    this.#begun = true;
    this.#deadline?.cancel();
    this.#upstreamMs = this.#passage.clock.monotonic() - this.#startedAt;
    this.#moved();
    const response = this.#response;
    try {
      if (status < 200 || status > 999) throw new Error(`The upstream answered with status ${status}`);
      const fields = responseFields(fieldsOf(received), this.#passage.requestId, status);
      response.writeHead(status, toHeaderObject(this.#goesInChunks(status) ? withoutLength(fields) : fields));
    } catch (error) {
      this.#begun = false;
      return void this.failed(badGateway("The upstream's answer cannot be passed on"), error);
    }
    // what comes of the answer in this turn goes out as one record
    if (!("stream" in this.#request)) response.cork();
    this.#empty = this.#passage.method === "HEAD" || status === 204 || status === 304;
    if (!this.#empty)
      response.on("drain", () => {
        this.#full = false;
        this.#attempts.resume();
      });
    // a head without body bytes yet, as before the first event of a stream, must not wait for them
    setImmediate(() => {
      if (this.#over || response.writableEnded) return;
      if (this.#bytesOut === 0) response.flushHeaders();
      if (response.writableCorked > 0) response.uncork();
    });
  }

  /** Whether the length that the upstream states cannot be kept on this hop. */
  #goesInChunks(status: number): boolean {
    const { upstream, method } = this.#passage;
    if (capabilities.lengthFromHttp2.value || upstream.config.protocol !== "h2" || "stream" in this.#request)
      return false;
    return method !== "HEAD" && status !== 204 && status !== 304;
  }

  data(chunk: Uint8Array): void {
    if (this.#over || this.#empty) return;
    this.#bytesOut += chunk.byteLength;
    this.#moved();
    if (this.#response.write(chunk)) return;
    this.#full = true;
    this.#attempts.pause();
  }

  ended(received: readonly string[]): void {
    if (this.#over) return;
    const response = this.#response;
    if (received.length > 0) {
      const trailers = trailerFields(fieldsOf(received));
      if (trailers.length > 0) response.addTrailers(toTrailerObject(trailers));
    }
    this.#answered = true;
    // of a whole answer with its length only the closing waits for the rest of the request
    const early = !this.#sent && this.#sending && response.hasHeader("content-length") && !("stream" in this.#request);
    if (!early) response.end();
    if (response.writableCorked > 0) response.uncork();
  }

  broken(error: unknown): void {
    this.#cut(error);
  }

  /** Takes in the rest of a body that the upstream no longer reads. */
  unwanted(): void {
    if (!this.#sent && this.#answered) this.#stopReading();
  }

  /** Answers in the upstream's place. */
  failed(problem: Problem, error?: unknown): void {
    if (this.#over || this.#problem !== undefined) return;
    if (this.#begun) return void this.#cut(error);
    this.#problem = problem;
    this.#error = error;
    this.#release();
    const { requestId, bodyBytes, explain } = this.#passage;
    answerProblem(this.#request, this.#response as ListenerResponse, { ...problem, requestId }, bodyBytes, explain);
  }

  crashed(error: unknown): void {
    this.#error = error;
    this.#release();
    cutAnswer(this.#response as ListenerResponse);
    this.#end();
  }

  #guard(handle: () => void): void {
    try {
      handle();
    } catch (error) {
      this.crashed(error);
    }
  }

  #onRequestData(chunk: Uint8Array): void {
    if (!this.#attempts.wantsBody) return;
    this.#bytesIn += chunk.byteLength;
    if (this.#bytesIn > this.#passage.bodyBytes) return void this.#tooLarge();
    if (this.#bytesIn > (this.#declared ?? this.#bytesIn)) return void this.#misstated();
    this.#moved();
    if (!this.#attempts.take(chunk)) this.#request.pause();
  }

  #onRequestEnd(): void {
    if (!this.#attempts.wantsBody) return;
    this.#sent = true;
    if (this.#declared !== undefined && this.#bytesIn !== this.#declared) return void this.#misstated();
    this.#moved();
    this.#attempts.finish(trailerFields(fieldsOf(this.#request.rawTrailers ?? []), this.#passage.reserved));
    if (this.#answered) endBehind(this.#response);
    if (this.#over) this.#forgetTimes();
  }

  #stopReading(): void {
    this.#release();
    endUnread(this.#request, this.#response as ListenerResponse, this.#passage.bodyBytes);
  }

  #moved(): void {
    this.#movedAt = this.#passage.clock.monotonic();
  }

  #expired(): void {
    if (this.#begun || this.#over) return;
    this.#attempts.expired();
    this.failed(timeout("The upstream's answer did not begin in time"));
  }

  /** The caller's time for the whole call is over: gRPC's status says so, also after the answer has begun. */
  #callOver(): void {
    if (this.#over || this.#answered || this.#problem !== undefined) return;
    const { explain, requestId } = this.#passage;
    const problem = timeout("The call took longer than its grpc-timeout");
    if (!this.#begun) return void this.failed(problem);
    const { trailers } = refusalAnswer(this.#request, { ...problem, requestId }, explain);
    if (trailers === undefined || this.#full) return void this.#cut(new Error(problem.detail));
    this.#problem = problem;
    this.#answered = true;
    this.#release();
    this.#response.addTrailers(trailers);
    this.#response.end();
  }

  /** Ends bodies that stand still; waiting for the answer has its own time. */
  #checkIdle(): void {
    const { clock, idleMs, upstream } = this.#passage;
    const now = clock.monotonic();
    const waiting = !this.#begun && !(this.#sending && !this.#sent);
    if (waiting || this.#movedAt + idleMs > now) {
      const check = () => this.#guard(() => this.#checkIdle());
      this.#idle = upstream.deadlines.after(idleMs, check, waiting ? now : this.#movedAt);
    } else if (this.#over) this.#release();
    else if (this.#answered) this.#stopReading();
    else if (!this.#begun) this.failed(timeout("The request body stood still"));
    else this.#cut(new Error("The answer stood still"));
  }

  /** A body of another length than stated would be read as part of the next request on the upstream's connection. */
  #misstated(): void {
    if (this.#answered) return void this.#stopReading();
    const detail = "The request body is not as long as its Content-Length says";
    this.failed({ status: 400, code: "ERR_SPIFFE_REQUEST", reason: "request.framing", detail });
  }

  #tooLarge(): void {
    const detail = `The request body is longer than ${this.#passage.bodyBytes} bytes`;
    if (this.#answered) return void this.#stopReading();
    this.failed({ status: 413, code: "ERR_SPIFFE_REQUEST", reason: "request.too-large", detail });
  }

  /** Breaks an answer that has begun. */
  #cut(error: unknown): void {
    if (this.#over || this.#answered) return;
    this.#error = error;
    cutAnswer(this.#response as ListenerResponse);
    this.#end();
  }

  #forgetTimes(): void {
    this.#deadline?.cancel();
    this.#call?.cancel();
    this.#idle?.cancel();
  }

  #release(): void {
    this.#forgetTimes();
    this.#attempts.release();
  }

  /** The caller's side is over. */
  #end(): void {
    if (this.#over) return;
    this.#over = true;
    // over HTTP/2 an answer that its caller has left finishes as well
    const complete = this.#finished && (this.#answered || this.#problem !== undefined);
    // after a whole answer the rest of the body still goes on, as the upstream may want it
    if (!complete || !this.#answered) this.#release();
    else if (this.#sent) this.#forgetTimes();
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

function withoutLength(fields: readonly Field[]): Field[] {
  return fields.filter(([name]) => name.toLowerCase() !== "content-length");
}

/** Body framing of this hop: the stated length, or chunks. */
function framed(fields: Field[], method: string, withBody: boolean): Field[] {
  const at = fields.findIndex(([name]) => name.length === 14 && name.toLowerCase() === "content-length");
  if (withBody && at < 0) fields.push(["transfer-encoding", "chunked"]);
  if (withBody) return fields;
  if (at >= 0) fields.splice(at, 1);
  if (method === "POST" || method === "PUT" || method === "PATCH") fields.push(["content-length", "0"]);
  return fields;
}
