/** What every source is: one stream held open, one frozen snapshot, one set of names to look at it. */
import { SpiffeError } from "../base/errors.ts";
import { preloadAuthorities } from "../crypto/index.ts";
import { authorityKeys } from "./authorities.ts";
import type { Connection, Profile } from "./connection.ts";
import { Latest } from "./latest.ts";
import type { Opening } from "./open.ts";
import { linkSignals } from "./signals.ts";
import { type Content, type Held, snapshot } from "./snapshot.ts";
import { Watch } from "./watch.ts";

/**
 * How a source stands.
 *
 * `starting`: nothing received yet; `ready`: it holds the agent's newest state; `stale`: it holds a state, but the
 * stream is down or the newest update was dropped; `expired`: the held identity's time is over; `revoked`: the agent
 * denied the identity, or no longer has the one that is wanted; `closed`.
 */
export type SourceState = "starting" | "ready" | "stale" | "expired" | "revoked" | "closed";

/** The share of the time left to an identity after which a newer one is overdue; an agent renews at about half. */
const OVERDUE_SHARE = 0.75;
/** The shortest time between two questions for an overdue identity, doubled each time up to the longest. */
const ASK_START_MS = 1_000;
const ASK_CAP_MS = 60_000;

/** What a source has seen since it was opened. */
export interface SourceCounters {
  /** Valid updates that changed something. */
  readonly updates: number;
  /** Valid updates equal to the state held. */
  readonly unchanged: number;
  /** Updates that broke a rule and were dropped. */
  readonly invalid: number;
  /** Streams opened. */
  readonly streams: number;
  /** PermissionDenied answers. */
  readonly denied: number;
}

/** Base of the sources: watches one stream of the Workload API until it is closed. */
export class Source<T extends Held> {
  readonly #connection: Connection;
  readonly #profile: Profile<unknown, T>;
  readonly #latest = new Latest<T>();
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  readonly #counters = { updates: 0, unchanged: 0, invalid: 0, streams: 0, denied: 0 };
  /** Wall time from which the agent is asked anew for an identity that it should have renewed. */
  #askAt = Number.POSITIVE_INFINITY;
  #asked = 0;
  #grace: AbortController | undefined;
  #current: T | undefined;
  #lastError: SpiffeError | undefined;
  #revoked = false;
  #fresh = false;
  #sequence = 0;

  constructor(connection: Connection, profile: Profile<unknown, T>) {
    this.#connection = connection;
    this.#profile = profile;
    this.#running = this.#run();
  }

  /** The newest valid state, whole and frozen; undefined before the first, after a redaction and once closed. */
  get current(): T | undefined {
    return this.#current;
  }

  /** The newest trouble, also after it has passed. */
  get lastError(): SpiffeError | undefined {
    return this.#lastError;
  }

  /** Counts since opening; a copy. */
  get counters(): SourceCounters {
    return { ...this.#counters };
  }

  get state(): SourceState {
    if (this.#closing.signal.aborted) return "closed";
    if (this.#revoked) return "revoked";
    if (this.#current === undefined) return "starting";
    return this.unfit(this.#current) ?? (this.#fresh ? "ready" : "stale");
  }

  /**
   * Waits until a state is held.
   *
   * @param signal ends the wait, not the source
   * @throws SpiffeError `ERR_SPIFFE_ABORTED`; `ERR_SPIFFE_CLOSED`; or the final error when the Workload API forbids to
   *   ask again (InvalidArgument, Unimplemented) or Deno lacks a permission
   */
  async ready(signal?: AbortSignal): Promise<T> {
    for await (const _ of this.#latest.values(signal)) {
      // The newest state may be the empty one of a redaction: wait on.
      if (this.#current !== undefined) return this.#current;
    }
    if (signal?.aborted) {
      throw new SpiffeError("ERR_SPIFFE_ABORTED", "The wait for a source was aborted", { cause: signal.reason });
    }
    throw this.absence("No state of the Workload API");
  }

  /**
   * The current state, if any, then each newer one; a slow reader gets only the newest. After a redaction comes an empty
   * state. Ends quietly when the signal aborts or the source is closed.
   *
   * @throws SpiffeError the final error when the Workload API forbids to ask again
   */
  updates(signal?: AbortSignal): AsyncIterableIterator<T> {
    return this.#latest.values(signal);
  }

  /** Ends the stream and every reader of {@link Source.updates}; idempotent. The state is dropped. */
  async close(): Promise<void> {
    this.#end();
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** This source, as opening it looks at it. */
  protected get opening(): Opening {
    return {
      connection: this.#connection,
      ready: (signal) => this.ready(signal),
      lastError: () => this.lastError,
      close: () => this.close(),
    };
  }

  /** Why a held state is of no use now; only identities can expire or be missing from it. */
  protected unfit(_state: T): "expired" | "revoked" | undefined {
    return undefined;
  }

  /** Called with each new state. */
  protected onState(_state: T): void {}

  /** Called after everything held was redacted. */
  protected onRedaction(): void {}

  /** The error that says why there is no state to answer from. */
  protected absence(what: string): SpiffeError {
    const options = { phase: `watch-${this.#profile.name}`, cause: this.#lastError };
    switch (this.state) {
      case "closed":
        return new SpiffeError("ERR_SPIFFE_CLOSED", `${what}: the source is closed`);
      case "revoked":
        return new SpiffeError("ERR_SPIFFE_REVOKED", `${what}: the agent withdrew this workload's identity`, {
          ...options,
          reason: "workload.revoked",
          retryable: true,
          hint: "Register the workload again; the source recovers by itself.",
        });
      default: {
        const why = this.#lastError?.message ?? "nothing has been received yet";
        return new SpiffeError("ERR_SPIFFE_NOT_READY", `${what}: ${why}`, { ...options, retryable: true });
      }
    }
  }

  async #run(): Promise<void> {
    const { closing, clock, socket, judged } = this.#connection;
    const profile = this.#profile;
    const phase = `watch-${profile.name}`;
    const link = linkSignals(this.#closing.signal, closing);
    const watch = new Watch({
      open: (signal) => this.#connection.stream(profile, signal),
      decode: (message) => profile.decode(message, clock, judged),
      failure: (thrown) => this.#connection.failure(thrown, phase),
      phase,
      socket,
      clock,
      signal: link.signal,
      left: () => this.#endsAt() - clock.now(),
      events: {
        opening: () => void this.#counters.streams++,
        update: (content) => this.#onUpdate(content),
        invalid: (error) => {
          this.#counters.invalid++;
          this.#onTrouble("update dropped", error);
        },
        denied: (error) => this.#onDenied(error),
        disconnected: (error) => {
          if (error === undefined) this.#fresh = false;
          else this.#onTrouble("stream lost", error);
        },
      },
    });
    const leave = this.#connection.attend({ arrived: () => watch.hurry(), look: () => this.#askIfOverdue(watch) });
    try {
      await watch.run();
      this.#end();
    } catch (thrown) {
      const { error } = this.#connection.failure(thrown, phase);
      this.#onTrouble("watch ended", error);
      this.#latest.end(error);
    } finally {
      leave();
      link.release();
    }
  }

  /**
   * A stream that brings no renewal may be dead without a sign of it; the next one, on a probed connection, is not. Seen
   * by the wall clock each second, so at once after a step of it as well (S-17).
   */
  #askIfOverdue(watch: Watch<unknown, Content<T>>): void {
    const { clock, socket } = this.#connection;
    if (clock.now() < this.#askAt) return;
    const sentence = `The Workload API at ${socket} sent no newer identity although most of the old one's time is over`;
    const options = { phase: `watch-${this.#profile.name}`, reason: "workload.unavailable", retryable: true } as const;
    if (!watch.abandon(new SpiffeError("ERR_SPIFFE_TIMEOUT", sentence, options))) return;
    this.#connection.probe();
    this.#planQuestion();
  }

  /** When to ask next: earlier the less time is left, and not too often. */
  #planQuestion(): void {
    const now = this.#connection.clock.now();
    const pause = this.#asked === 0 ? 0 : Math.min(ASK_CAP_MS, ASK_START_MS * 2 ** Math.min(this.#asked - 1, 20));
    this.#askAt = now + Math.max(pause, (this.#endsAt() - now) * (this.#asked === 0 ? OVERDUE_SHARE : 0.5));
    this.#asked++;
  }

  /** Wall time at which what is held is over; never where nothing is held or nothing in it ends. */
  #endsAt(): number {
    const end = this.#current && this.#profile.endsAt?.(this.#current);
    return end ?? Number.POSITIVE_INFINITY;
  }

  #onUpdate(content: Content<T>): void {
    this.#grace?.abort();
    this.#grace = undefined;
    const held = this.#current;
    if (held !== undefined && this.#profile.same(held, content)) this.#counters.unchanged++;
    else {
      this.#counters.updates++;
      this.#current = this.#publish(content);
      this.onState(this.#current);
      this.#asked = 0;
      this.#planQuestion();
    }
    this.#revoked = false;
    this.#fresh = true;
  }

  #onDenied(error: SpiffeError): void {
    this.#counters.denied++;
    this.#onTrouble("identity denied", error);
    const { redactionGraceMs } = this.#connection;
    if (redactionGraceMs === 0) this.#redact();
    else if (this.#current !== undefined && this.#grace === undefined) void this.#redactAfter(redactionGraceMs);
  }

  /** Redacts, unless an update or the end comes before. */
  async #redactAfter(ms: number): Promise<void> {
    const grace = new AbortController();
    this.#grace = grace;
    try {
      await this.#connection.clock.sleep(ms, grace.signal);
    } catch {
      return;
    }
    this.#grace = undefined;
    this.#redact();
  }

  #redact(): void {
    if (this.#current === undefined) return;
    this.#current = undefined;
    this.#revoked = true;
    this.#askAt = Number.POSITIVE_INFINITY;
    this.onRedaction();
    this.#publish(this.#profile.empty);
  }

  #onTrouble(what: string, error: SpiffeError): void {
    // The same trouble again is worth a debug line only.
    const repeated = !this.#fresh && this.#lastError?.message === error.message;
    const { socket, logger } = this.#connection;
    const { code, reason, phase, message } = error;
    try {
      logger[repeated ? "debug" : "warn"](`Workload API: ${what}`, { socket, phase, code, reason, error: message });
    } catch {
      // A logger that fails must not end the watch.
    }
    this.#lastError = error;
    this.#fresh = false;
  }

  #publish(content: Content<T>): T {
    const state = snapshot<T>(content, this.#connection.clock.now(), ++this.#sequence);
    preloadAuthorities(this, authorityKeys(state.bundles));
    this.#latest.set(state);
    return state;
  }

  #end(): void {
    this.#closing.abort();
    this.#grace?.abort();
    preloadAuthorities(this, []);
    this.#current = undefined;
    this.#latest.end();
  }
}
