/** Which keys have a table: bounded, authorities first, built one at a time off the request path (S-13). */
import type { Curve } from "../algorithms.ts";
import type { Engine, Place } from "./engine.ts";

/** A key as the verifier knows it. */
export interface TableKey {
  readonly curve: Curve;
  /** x and y, each of a coordinate's length. */
  readonly point: Uint8Array;
  /** Set while the key has a table. */
  place: Place | undefined;
  /** How many owners pin it: a pinned key keeps its table. */
  pins: number;
  /** When it was last used, as a count of uses. */
  lastUse: number;
}

/** Runs a task after a time. */
export type Schedule = (task: () => void, delayMs: number) => void;

/** Tables per curve at most: 14.7 MiB together. */
export const MAX_TABLES: Readonly<Record<Curve, number>> = { "P-256": 64, "P-384": 20, "P-521": 8 };
/** Time between two tables: building one takes 1 to 3 ms of the event loop (S-13). */
export const TABLE_INTERVAL_MS = 100;
/** Keys that wait for a table at most. */
const MAX_WAITING = 128;

function defaultSchedule(task: () => void, delayMs: number): void {
  const timer: unknown = setTimeout(task, delayMs);
  const { Deno } = globalThis as { Deno?: { unrefTimer?(id: number): void } };
  if (typeof timer === "number") Deno?.unrefTimer?.(timer);
  else (timer as { unref?(): void }).unref?.();
}

/** The tables of one engine. */
export class Tables {
  readonly #engine: Engine;
  readonly #schedule: Schedule;
  readonly #waiting = new Set<TableKey>();
  readonly #held = new Map<Curve, Set<TableKey>>([
    ["P-256", new Set()],
    ["P-384", new Set()],
    ["P-521", new Set()],
  ]);
  readonly #free = new Map<Curve, Place[]>();
  #armed = false;
  #readers: (() => void)[] = [];
  #uses = 0;

  constructor(engine: Engine, schedule: Schedule = defaultSchedule) {
    this.#engine = engine;
    this.#schedule = schedule;
  }

  get count(): number {
    return [...this.#held.values()].reduce((sum, keys) => sum + keys.size, 0);
  }

  /** Octets of the tables that keys have now. */
  get bytes(): number {
    return [...this.#held].reduce((sum, [curve, keys]) => sum + keys.size * this.#engine.placeBytes(curve), 0);
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Counts a use, so that the key used longest ago gives way. */
  touch(key: TableKey): void {
    key.lastUse = ++this.#uses;
  }

  /** Puts a key on the list of those that get a table. */
  want(key: TableKey): void {
    if (key.place !== undefined || (key.pins === 0 && !this.#hasRoom(key.curve))) return;
    if (this.#waiting.size >= MAX_WAITING) return;
    this.#waiting.add(key);
    this.#arm(0);
  }

  /** Resolves when no key waits for a table. */
  ready(): Promise<void> {
    if (this.#waiting.size === 0) return Promise.resolve();
    // the schedule's own timer does not keep the process alive; who waits does
    const alive = setInterval(() => {}, TABLE_INTERVAL_MS);
    return new Promise((resolve) => {
      this.#readers.push(() => {
        clearInterval(alive);
        resolve();
      });
    });
  }

  clear(): void {
    this.#waiting.clear();
    for (const [curve, keys] of this.#held) {
      for (const key of keys) this.#release(curve, key);
    }
    this.#answer();
  }

  #arm(delayMs: number): void {
    if (this.#armed) return;
    this.#armed = true;
    try {
      this.#schedule(() => this.#step(), delayMs);
    } catch {
      // workerd has no timers outside a request; the next key that is wanted tries again
      this.#armed = false;
    }
  }

  /** Builds one table, then rests. */
  #step(): void {
    this.#armed = false;
    const key = this.#next();
    if (key === undefined) return;
    try {
      if (this.#engine.hasGeneratorTable(key.curve)) {
        this.#waiting.delete(key);
        this.#build(key);
      } else this.#engine.buildGeneratorTable(key.curve);
    } catch {
      // no memory: what has no table is verified without one
      this.#waiting.clear();
    }
    // the rest is armed also when nothing waits, so that the next key can not come sooner
    this.#arm(TABLE_INTERVAL_MS);
    if (this.#waiting.size === 0) this.#answer();
  }

  /** Authorities come before issuers. */
  #next(): TableKey | undefined {
    for (const key of this.#waiting) if (key.pins > 0) return key;
    return this.#waiting.values().next().value;
  }

  #build(key: TableKey): void {
    const { curve, point } = key;
    const place = this.#findPlace(curve);
    if (place === undefined) return;
    if (this.#engine.buildTable(curve, point, place)) {
      key.place = place;
      this.#held.get(curve)!.add(key);
    } else this.#freeOf(curve).push(place);
  }

  /** A free place, a new one, or that of the key used longest ago that nobody pins. */
  #findPlace(curve: Curve): Place | undefined {
    const free = this.#freeOf(curve).pop();
    if (free !== undefined) return free;
    const held = this.#held.get(curve)!;
    if (held.size < MAX_TABLES[curve]) return this.#engine.newPlace(curve);
    let oldest: TableKey | undefined;
    for (const key of held) {
      if (key.pins === 0 && (oldest === undefined || key.lastUse < oldest.lastUse)) oldest = key;
    }
    if (oldest === undefined) return undefined;
    this.#release(curve, oldest);
    return this.#freeOf(curve).pop();
  }

  #hasRoom(curve: Curve): boolean {
    const held = this.#held.get(curve)!;
    return held.size < MAX_TABLES[curve] || [...held].some((key) => key.pins === 0);
  }

  #release(curve: Curve, key: TableKey): void {
    if (key.place !== undefined) this.#freeOf(curve).push(key.place);
    key.place = undefined;
    this.#held.get(curve)!.delete(key);
  }

  #freeOf(curve: Curve): Place[] {
    let places = this.#free.get(curve);
    if (places === undefined) this.#free.set(curve, (places = []));
    return places;
  }

  #answer(): void {
    const readers = this.#readers;
    this.#readers = [];
    for (const read of readers) read();
  }
}
