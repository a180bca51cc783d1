/** Looks at a source every few milliseconds and judges what it says by what the agent did (G-7). */
import { isSpiffeError } from "../../src/base/errors.ts";
import type { X509Svid } from "../../src/x509/index.ts";

/** How long what was written to the client may take to show. */
export const SHOW_MS = 1_000;
/** What is written in the moment of a fault may go to a stream whose end has not been noticed yet. */
const DISTURBED_MS = 100;
/** More than so many are counted, not kept. */
const KEPT_VIOLATIONS = 20;
/** A pause of the reader that is longer is looked into. */
const PAUSE_MS = 50;
/** So long without the processor, and an SVID may end before the one that came is read. */
const STARVED_MS = 500;
/** How many of the last events a violation shows: what a seed repeats is the order of faults, not their times. */
const KEPT_EVENTS = 25;

/**
 * A time in which the agent gave no identity, or took it away; in which a fault came before the client had got over the
 * one before; or in which this process did not get to run.
 */
export interface Trouble {
  readonly kind: "outage" | "redaction" | "storm" | "starved";
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

/** The clocks of a witness. */
export interface WitnessClocks {
  /** Wall milliseconds. */
  now(): number;
  /** Milliseconds of processor time that this process has used. */
  busy(): number;
}

const REAL: WitnessClocks = {
  now: Date.now,
  busy() {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1_000;
  },
};

/**
 * Times are wall milliseconds of one machine. Time in which this process waited for a processor that others held is not
 * counted against the client; time in which it was busy itself is.
 */
export class Witness {
  readonly #read: () => X509Svid;
  readonly #clocks: WitnessClocks;
  readonly troubles: Trouble[] = [];
  readonly violations: Violation[] = [];
  /** Serials that had to be seen, and of those the ones that were not. */
  due = 0;
  missed = 0;
  reads = 0;
  violated = 0;
  /** Milliseconds for which this process was kept from running. */
  starvedMs = 0;
  #lookedAt: number | undefined;
  #busyAt = 0;
  #waiting: Sent[] = [];
  #events: string[] = [];
  #lastSeen = "";
  #disturbedAt = 0;
  #lastSent: Sent | undefined;
  /** When the newest SVID that was seen had been sent. */
  #shownAt = Number.POSITIVE_INFINITY;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(read: () => X509Svid, clocks: WitnessClocks = REAL) {
    this.#read = read;
    this.#clocks = clocks;
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
    const now = this.#clocks.now();
    this.#lookAtPause(now);
    this.reads++;
    try {
      const { id, expiresAt, leaf } = this.#read();
      this.seen(leaf.serialNumber);
      if (expiresAt.getTime() < now)
        this.violation("expired", `${id} was handed out ${now - expiresAt.getTime()} ms after its end`);
    } catch (error) {
      this.#thrown(error, now);
    }
    this.#judgeSent();
  }

  /** Writes down what happens, for whoever reads a violation. */
  note(what: string): void {
    this.#events.push(`${this.#clocks.now()} ${what}`);
    if (this.#events.length > KEPT_EVENTS) this.#events.shift();
  }

  /** A fault begins that reaches streams. */
  disturbed(): void {
    this.note("disturbed");
    this.#disturbedAt = this.#attended();
    this.#waiting = [];
  }

  /** What is sent from now on need not be seen, one by one, until the next {@link Witness.disturbed}. */
  flooded(): void {
    this.#disturbedAt = Number.POSITIVE_INFINITY;
    this.#waiting = [];
  }

  /**
   * Another fault begins. One alone is no reason for an expired SVID, since the client asks again within half of the time
   * left to it; one that comes before the client was over the last may be.
   */
  next(name: string): void {
    this.note(`next: ${name}`);
    const last = this.troubles.at(-1);
    if (this.#shownAt > this.#disturbedAt + DISTURBED_MS) return;
    if (last !== undefined && last.servedAt === undefined) return;
    this.note("storm");
    const now = this.#clocks.now();
    this.troubles.push({ kind: "storm", startedAt: now, healedAt: now, expired: 0 });
  }

  begin(kind: Trouble["kind"]): Trouble {
    this.note(kind);
    this.disturbed();
    const trouble: Trouble = { kind, startedAt: this.#clocks.now(), expired: 0 };
    this.troubles.push(trouble);
    return trouble;
  }

  heal(trouble: Trouble): void {
    this.note("healed");
    trouble.healedAt = this.#clocks.now();
  }

  /** The agent wrote this SVID to a stream. */
  sent(serial: string): void {
    const at = this.#attended();
    this.note(`sent ${serial.slice(0, 8)}`);
    this.#lastSent = { serial, at };
    const last = this.troubles.at(-1);
    // An agent that does not renew sends what is over; that need not be taken.
    if (last !== undefined && last.healedAt === undefined) return;
    if (last !== undefined) last.servedAt ??= this.#clocks.now();
    if (at <= this.#disturbedAt + DISTURBED_MS) return;
    // What comes again while the source has it changes nothing, and may be followed by the next in the same moment.
    if (serial === this.#lastSeen) this.due++;
    else this.#waiting.push({ serial, at });
  }

  /** The source has this SVID now. */
  seen(serial: string): void {
    if (serial !== this.#lastSeen) this.note(`seen ${serial.slice(0, 8)}`);
    this.#lastSeen = serial;
    if (this.#lastSent?.serial === serial) this.#shownAt = this.#lastSent.at;
    const at = this.#waiting.findIndex((sent) => sent.serial === serial);
    if (at < 0) return;
    this.due++;
    this.#waiting.splice(at, 1);
  }

  violation(kind: ViolationKind, what: string): void {
    this.violated++;
    if (this.violations.length >= KEPT_VIOLATIONS) return;
    this.violations.push({ kind, what: `${what}\n      ${this.#events.splice(0).join("\n      ")}` });
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

  /** The time that this process had to see anything in. */
  #attended(): number {
    return this.#clocks.now() - this.starvedMs;
  }

  #lookAtPause(now: number): void {
    const busy = this.#clocks.busy();
    const pause = this.#lookedAt === undefined ? 0 : now - this.#lookedAt;
    const starved = pause > PAUSE_MS ? Math.max(0, pause - (busy - this.#busyAt)) : 0;
    this.#lookedAt = now;
    this.#busyAt = busy;
    this.starvedMs += starved;
    const { troubles } = this;
    const isCalm = troubles.at(-1)?.healedAt !== undefined || troubles.length === 0;
    if (starved < STARVED_MS || !isCalm) return;
    this.note(`starved for ${Math.round(starved)} ms`);
    troubles.push({ kind: "starved", startedAt: now - pause, healedAt: now, expired: 0 });
  }

  #thrown(error: unknown, now: number): void {
    this.#lastSeen = "";
    const trouble = this.troubles.at(-1);
    const since = trouble?.servedAt;
    const inTrouble = trouble !== undefined && (since === undefined || now <= since + SHOW_MS);
    if (isSpiffeError(error, "ERR_SPIFFE_EXPIRED") && inTrouble && trouble.kind !== "redaction") trouble.expired++;
    else if (isSpiffeError(error, "ERR_SPIFFE_REVOKED") && inTrouble && trouble.kind === "redaction") return;
    else this.violation("thrown", `A read threw outside of any trouble that explains it: ${String(error)}`);
  }

  #judgeSent(): void {
    const now = this.#attended();
    while (this.#waiting[0] !== undefined && now > this.#waiting[0].at + SHOW_MS) {
      const [{ serial, at }] = this.#waiting.splice(0, 1) as [Sent];
      this.due++;
      this.missed++;
      const late = Math.round(now - at);
      this.violation("missed", `The SVID ${serial} was sent on an undisturbed stream and not seen within ${late} ms`);
    }
  }
}
