/** Catches the gateway's line about each request, which holds what a caller cannot see. */
import type { LogFields, Logger } from "../../telemetry/logger.ts";

/** What the gateway noted about one request. */
export interface Noted {
  readonly rule?: string | undefined;
  /** Milliseconds until the upstream's answer began. */
  readonly upstreamMs?: number | undefined;
}

const WAIT_MS = 2_000;

/** A logger that keeps the notes of requests until somebody takes them, and says nothing itself. */
export class RequestNotes implements Logger {
  readonly #notes: Noted[] = [];
  #taker: ((note: Noted) => void) | undefined;
  #kept = true;

  debug(): void {}
  warn(): void {}
  error(): void {}

  info(message: string, fields: LogFields = {}): void {
    if (message !== "request" || !this.#kept) return;
    const note = { rule: fields.rule as string | undefined, upstreamMs: fields.upstreamMs as number | undefined };
    if (this.#taker === undefined) this.#notes.push(note);
    else this.#taker(note);
    this.#taker = undefined;
  }

  /** The oldest note not taken yet; the line may come a moment after the caller has its answer. */
  next(): Promise<Noted> {
    const ready = this.#notes.shift();
    if (ready !== undefined) return Promise.resolve(ready);
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve({}), WAIT_MS);
      this.#taker = (note) => {
        clearTimeout(timer);
        resolve(note);
      };
    });
  }

  /** Ends the keeping: later requests are nobody's business here. */
  stop(): void {
    this.#kept = false;
  }
}
