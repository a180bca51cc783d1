/** The upstream's side of a request: one try after another until an answer begins, each with all of the body. */
import type { Clock } from "../base/index.ts";
import { type CallEvents, Unsendable, type UpstreamCall } from "../tls/http1/call.ts";
import { NoAnswer } from "../tls/http1/parser.ts";
import { isDialFailure } from "../tls/http1/pool.ts";
import type { Field } from "./headers.ts";
import type { Problem } from "./middleware/problem.ts";
import { Replay } from "./upstream/replay.ts";
import { isIdempotent, type Tries } from "./upstream/tries.ts";
import { TryTimer } from "./upstream/try-timer.ts";
import type { Upstream } from "./upstream.ts";
import { badGateway, dialOutcome, isOwnTrouble, timeout, unavailable, unsendable } from "./upstream-problem.ts";

/** What is tried. */
export interface Attempted {
  readonly upstream: Upstream;
  readonly method: string;
  readonly target: string;
  readonly clock: Clock;
  /** Fields with the framing of the body. */
  fields(authority: string): Field[];
  readonly withBody: boolean;
}

/** The caller's side. */
export interface Attempting {
  /** There is a connection: the body may come, from where it stopped. */
  ready(): void;
  /** The body has to wait. */
  hold(): void;
  head(status: number, fields: readonly string[]): void;
  data(chunk: Uint8Array): void;
  /** The answer is whole. */
  ended(trailers: readonly string[]): void;
  /** No answer began, and none will. */
  failed(problem: Problem, error?: unknown): void;
  /** The answer broke. */
  broken(error: unknown): void;
  /** Nobody reads the rest of the body. */
  unwanted(): void;
  /** Something threw that must not end the process. */
  crashed(error: unknown): void;
}

/** The tries of one request. */
export class Attempts implements CallEvents {
  readonly #what: Attempted;
  readonly #caller: Attempting;
  readonly #timer: TryTimer;
  readonly #replay: Replay;
  #tries: Tries | undefined;
  #call: UpstreamCall | undefined;
  /** The connection of the call takes the body. */
  #flowing = false;
  /** Some of the body may have been read. */
  #begun = false;
  /** The body is read to its end; trailers that came with it. */
  #end: readonly Field[] | undefined;
  #answered = false;
  #released = false;
  #waiting: AbortController | undefined;

  constructor(what: Attempted, caller: Attempting) {
    const { upstream, method, withBody } = what;
    this.#what = what;
    this.#caller = caller;
    this.#timer = new TryTimer(upstream.deadlines, upstream.tryTimeoutMs, () => this.#guard(() => this.#tooLate()));
    this.#replay = new Replay(withBody && (isIdempotent(method) || upstream.mayRefuse));
  }

  begin(): void {
    const waiting = this.#what.upstream.ready();
    if (waiting === undefined) this.#enter();
    else void waiting.then(() => this.#guard(() => this.#enter()));
  }

  /** Whether a chunk of the body is still of use. */
  get wantsBody(): boolean {
    return this.#call !== undefined || this.#replay.whole;
  }

  /** Takes a chunk of the body; false when the next one should wait for `ready`. */
  take(chunk: Uint8Array): boolean {
    this.#replay.add(chunk);
    if (this.#flowing && this.#call !== undefined) return this.#call.write(chunk);
    // between two tries it waits with what is kept
    if (!this.#replay.whole) this.#failed(badGateway("The upstream broke off before it answered"));
    return false;
  }

  /** The body is whole. */
  finish(trailers: readonly Field[]): void {
    this.#end = trailers;
    if (this.#flowing && this.#call !== undefined) this.#endBody(this.#call);
  }

  /** The answer did not begin in time. */
  expired(): void {
    if (this.#call !== undefined) this.#tries?.note("timeout");
    // a body that is still on its way may be the caller's slowness
    if (!this.#begun || this.#end !== undefined) this.#tries?.failed();
  }

  pause(): void {
    this.#call?.pause();
  }

  resume(): void {
    this.#call?.resume();
  }

  /** Lets go of the upstream; a connection in the middle of an exchange is of no use any more. */
  release(): void {
    this.#released = true;
    this.#waiting?.abort();
    this.#timer.stop();
    this.#replay.drop();
    const call = this.#call;
    this.#call = undefined;
    call?.destroy();
    this.#tries?.left();
  }

  connected(call: UpstreamCall): void {
    this.#guard(() => {
      if (this.#call !== call) return;
      this.#timer.stop();
      let room = true;
      for (const chunk of this.#replay.chunks) room = call.write(chunk);
      this.#flowing = true;
      if (this.#end !== undefined) this.#endBody(call);
      else if (!this.#begun || room) {
        this.#begun = true;
        this.#caller.ready();
      }
    });
  }

  drained(call: UpstreamCall): void {
    if (this.#call === call && this.#end === undefined) this.#caller.ready();
  }

  head(call: UpstreamCall, status: number, fields: readonly string[]): void {
    if (this.#call !== call) return void call.destroy();
    this.#guard(() => {
      this.#answered = true;
      this.#timer.stop();
      this.#replay.drop();
      this.#tries?.answered();
      this.#caller.head(status, fields);
    });
  }

  data(call: UpstreamCall, chunk: Uint8Array): void {
    if (this.#call === call) this.#caller.data(chunk);
  }

  ended(call: UpstreamCall, trailers: readonly string[]): void {
    if (this.#call === call) this.#guard(() => this.#caller.ended(trailers));
  }

  failed(call: UpstreamCall, error: unknown): void {
    this.#guard(() => {
      if (this.#call !== call) return;
      if (this.#answered) this.#caller.broken(error);
      else this.#tryFailed(call, error);
    });
  }

  unwanted(call: UpstreamCall): void {
    if (this.#call === call) this.#guard(() => this.#caller.unwanted());
  }

  /** Nothing thrown while an event is handled may end the process: it ends this exchange. */
  #guard(handle: () => void): void {
    try {
      handle();
    } catch (error) {
      this.#caller.crashed(error);
    }
  }

  #enter(): void {
    if (this.#released) return;
    const entered = this.#what.upstream.enter();
    if ("status" in entered) return void this.#caller.failed(entered);
    this.#tries = entered;
    this.#attempt(entered);
  }

  #attempt(tries: Tries): void {
    if (this.#released) return;
    const { method, target, withBody } = this.#what;
    const { endpoint } = tries;
    try {
      const fields = this.#what.fields(endpoint.target.authority);
      this.#flowing = false;
      this.#call = endpoint.begin({ method, target, fields, withBody }, this);
    } catch (error) {
      const problem = error instanceof Unsendable ? unsendable(error.message) : unavailable(error);
      return void this.#caller.failed(problem, error);
    }
    this.#timer.start();
  }

  #endBody(call: UpstreamCall): void {
    call.end(this.#end ?? []);
    if (!this.#answered) this.#timer.start();
  }

  #tryFailed(call: UpstreamCall, error: unknown): void {
    // no word on the upstream, which was not asked
    if (error instanceof Unsendable) return void this.#caller.failed(unsendable(error.message), error.cause);
    if (error instanceof NoAnswer) {
      this.#tries?.note("aborted");
      return void this.#failed(badGateway(error.message), error);
    }
    if (!isDialFailure(error)) {
      this.#tries?.note("aborted");
      const problem = badGateway("The upstream broke off before it answered");
      const allowed = call.unseen ? this.#isReplayable() : this.#isHarmless();
      return void this.#tryAgain(allowed, problem, error, call.reused);
    }
    if (isOwnTrouble(error)) return void this.#caller.failed(unavailable(error), error);
    this.#tries?.note(dialOutcome(error));
    this.#tryAgain(this.#isReplayable(), unavailable(error), error);
  }

  #tooLate(): void {
    if (this.#call === undefined || this.#answered) return;
    this.#tries?.note("timeout");
    this.#tryAgain(this.#isHarmless(), timeout("The upstream's answer did not begin in the time of one try"));
  }

  /** Whether the request may be sent again although the upstream may have seen it (S-24). */
  #isHarmless(): boolean {
    return isIdempotent(this.#what.method) && this.#isReplayable();
  }

  /** Whether all of the body is still there; none of it is read before there is a connection. */
  #isReplayable(): boolean {
    return !this.#begun || this.#replay.whole;
  }

  #tryAgain(allowed: boolean, problem: Problem, error?: unknown, stale = false): void {
    const call = this.#call;
    this.#call = undefined;
    this.#flowing = false;
    this.#timer.stop();
    call?.destroy();
    const tries = this.#tries;
    const delay = allowed ? tries?.again(stale) : undefined;
    if (tries === undefined || delay === undefined) return void this.#failed(problem, error);
    if (this.#begun && this.#end === undefined) this.#caller.hold();
    if (delay === 0) return void this.#attempt(tries);
    this.#waiting = new AbortController();
    this.#what.clock.sleep(delay, this.#waiting.signal).then(
      () => this.#guard(() => this.#attempt(tries)),
      () => {},
    );
  }

  /** The upstream is to blame. */
  #failed(problem: Problem, error?: unknown): void {
    this.#tries?.failed();
    this.#caller.failed(problem, error);
  }
}
