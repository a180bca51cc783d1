/** Looks at a source every few milliseconds and judges what it says by what the agent did (G-7). */
import { isSpiffeError } from "../../src/base/errors.ts";
import type { X509Svid } from "../../src/x509/index.ts";

/** How long what was written to the client may take to show. */
export const SHOW_MS = 1_000;
/** What is written in the moment of a fault may go to a stream whose end has not been noticed yet. */
const DISTURBED_MS = 100;
/** More than so many are counted, not kept. */
const KEPT_VIOLATIONS = 20;

/** A time in which the agent gave no identity, or took it away. */
export interface Trouble {
  readonly kind: "outage" | "redaction";
  readonly startedAt: number;
  /** When it was over on the agent's side; undefined while it lasts. */
  healedAt?: number;
  /** When the client was given an identity again. */
  servedAt?: number;
  /** Reads in it that threw ERR_SPIFFE_EXPIRED. */
  expired: number;
}

/** `expired`: handed out after its end; `missed`: sent and not shown; `thrown`: a read that had to give an SVID. */
export type ViolationKind = "expired" | "missed" | "thrown" | "untyped" | "rejection" | "late";

export interface Violation {
  readonly kind: ViolationKind;
  readonly what: string;
}

interface Sent {
  readonly serial: string;
  readonly at: number;
}

/** Times are wall milliseconds of one machine. */
export class Witness {
  readonly #read: () => X509Svid;
  readonly #now: () => number;
  readonly troubles: Trouble[] = [];
  readonly violations: Violation[] = [];
  /** Serials that had to be seen, and of those the ones that were not. */
  due = 0;
  missed = 0;
  reads = 0;
  violated = 0;
  #waiting: Sent[] = [];
  #disturbedAt = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(read: () => X509Svid, now: () => number = Date.now) {
    this.#read = read;
    this.#now = now;
  }

  /** Reads every 5 ms until {@link Witness.stop}. */
  start(everyMs = 5): void {
    this.#timer = setInterval(() => this.look(), everyMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** One read. */
  look(): void {
    const now = this.#now();
    this.reads++;
    try {
      const { id, expiresAt, leaf } = this.#read();
      this.seen(leaf.serialNumber);
      if (expiresAt.getTime() < now)
        this.violation("expired", `${id} was handed out ${now - expiresAt.getTime()} ms after its end`);
    } catch (error) {
      this.#thrown(error, now);
    }
    this.#judgeSent(now);
  }

  /** A fault begins that reaches streams. */
  disturbed(): void {
    this.#disturbedAt = this.#now();
    this.#waiting = [];
  }

  /** What is sent from now on need not be seen, one by one, until the next {@link Witness.disturbed}. */
  flooded(): void {
    this.#disturbedAt = Number.POSITIVE_INFINITY;
    this.#waiting = [];
  }

  begin(kind: Trouble["kind"]): Trouble {
    this.disturbed();
    const trouble: Trouble = { kind, startedAt: this.#now(), expired: 0 };
    this.troubles.push(trouble);
    return trouble;
  }

  heal(trouble: Trouble): void {
    trouble.healedAt = this.#now();
  }

  /** The agent wrote this SVID to a stream. */
  sent(serial: string): void {
    const at = this.#now();
    const last = this.troubles.at(-1);
    // An agent that does not renew sends what is over; that need not be taken.
    if (last !== undefined && last.healedAt === undefined) return;
    if (last !== undefined) last.servedAt ??= at;
    if (at > this.#disturbedAt + DISTURBED_MS) this.#waiting.push({ serial, at });
  }

  /** The source has this SVID now. */
  seen(serial: string): void {
    const at = this.#waiting.findIndex((sent) => sent.serial === serial);
    if (at < 0) return;
    this.due++;
    this.#waiting.splice(at, 1);
  }

  violation(kind: ViolationKind, what: string): void {
    this.violated++;
    if (this.violations.length < KEPT_VIOLATIONS) this.violations.push({ kind, what });
  }

  /** Outages longer than this, in which the reads said so. */
  outagesAbove(lifeMs: number): number {
    return this.troubles.filter(
      ({ kind, startedAt, servedAt, expired }) =>
        kind === "outage" && expired > 0 && servedAt !== undefined && servedAt - startedAt > lifeMs,
    ).length;
  }

  /** The longest time from an agent's recovery to the first SVID it could write, in ms. */
  get slowestReturn(): number {
    return Math.max(0, ...this.troubles.map(({ healedAt = 0, servedAt = healedAt }) => servedAt - healedAt));
  }

  #thrown(error: unknown, now: number): void {
    const trouble = this.troubles.at(-1);
    const since = trouble?.servedAt;
    const inTrouble = trouble !== undefined && (since === undefined || now <= since + SHOW_MS);
    if (isSpiffeError(error, "ERR_SPIFFE_EXPIRED") && inTrouble && trouble.kind === "outage") trouble.expired++;
    else if (isSpiffeError(error, "ERR_SPIFFE_REVOKED") && inTrouble && trouble.kind === "redaction") return;
    else this.violation("thrown", `A read threw outside of any trouble that explains it: ${String(error)}`);
  }

  #judgeSent(now: number): void {
    while (this.#waiting[0] !== undefined && now > this.#waiting[0].at + SHOW_MS) {
      const [{ serial, at }] = this.#waiting.splice(0, 1) as [Sent];
      this.due++;
      this.missed++;
      this.violation(
        "missed",
        `The SVID ${serial} was sent on an undisturbed stream and not seen within ${now - at} ms`,
      );
    }
  }
}
