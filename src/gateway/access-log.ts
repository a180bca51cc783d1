/** The access log: one JSON line per request; of refusals that are alike, one in ten seconds with their number. */
import type { Clock } from "../base/index.ts";
import { Batches } from "../telemetry/batches.ts";
import { flushAtExit } from "../telemetry/flush-at-exit.ts";
import { LineBytes } from "../telemetry/line-bytes.ts";
import { LogFile } from "../telemetry/log-file.ts";
import { type LogFields, type Logger, lineTime } from "../telemetry/logger.ts";

/** What the configuration says of it; false for no log at all. */
export type AccessLogConfig =
  | false
  | {
      /** Absolute path; undefined for the common log. */
      readonly file: string | undefined;
      /** Whether also refusals that are like one before get a line each. */
      readonly everyRefusal: boolean;
    };

/** Milliseconds in which refusals that are alike become one line. */
const WINDOW_MS = 10_000;
/** Kinds of refusals that are told apart at a time; more get a line each. */
const MAX_KINDS = 1_000;
/** Octets of memory that requests may hold whose lines wait for a slow disk: 16,384 of the usual ones. */
const MAX_WAITING = 16_777_216;
/** About what one holds beside what its caller chose. */
const USUAL = 1_024;
/** What makes two refusals alike. */
const ALIKE = ["listener", "peer", "reason", "route", "status"] as const;

/** Refusals of one kind since the first of them, which has its line already. */
interface Kind {
  readonly since: number;
  count: number;
  last: LogFields | undefined;
}

/** A request for the file. Its line is made when it is written: many at a time cost half of what each costs on its own. */
interface Entry {
  /** Wall time in milliseconds. */
  readonly at: number;
  readonly fields: () => LogFields;
  /** Octets that it holds, about. */
  readonly size: number;
}

/**
 * Tells every request once: `equal` of a line is how many requests it stands for, 1 where it is absent. Fields never hold
 * a claim, a header value or a query.
 */
export class AccessLog {
  readonly #common: Logger;
  /** Whether nothing is told, so that nobody need put a line together. */
  readonly isOff: boolean;
  readonly #lines: Batches<Entry> | undefined;
  readonly #file: LogFile | undefined;
  /** Leaves the end of the process alone. */
  readonly #forget: () => void = () => {};
  readonly #clock: Clock;
  readonly #everyRefusal: boolean;
  readonly #kinds = new Map<string, Kind>();
  #sweeping: AbortController | undefined;

  private constructor(
    config: AccessLogConfig,
    common: Logger,
    clock: Clock,
    file: LogFile | undefined,
    worker?: number,
  ) {
    this.#common = common;
    this.#clock = clock;
    this.isOff = config === false;
    this.#everyRefusal = config !== false && config.everyRefusal;
    if (config === false) return;
    this.#forget = flushAtExit(this);
    if (file === undefined) return;
    this.#file = file;
    this.#lines = linesFor(file, common, worker);
  }

  /**
   * Opens it.
   *
   * @param common gets the lines as `request` where no file is named, and what goes wrong with the file
   * @param worker number of this process among those that write to the file
   * @throws `ERR_SPIFFE_CONFIG` when the file cannot be written
   */
  static async open(config: AccessLogConfig, common: Logger, clock: Clock, worker?: number): Promise<AccessLog> {
    const path = config === false ? undefined : config.file;
    return new AccessLog(config, common, clock, path === undefined ? undefined : await LogFile.open(path), worker);
  }

  /** Lines that could not be written. */
  get dropped(): number {
    return this.#lines?.dropped ?? 0;
  }

  /**
   * Tells a request.
   *
   * @param fields called once, at the latest when its line is written: what it reads has to stay
   * @param refused whether it was refused before it reached an upstream
   * @param long octets of what its caller chose, such as its path
   */
  write(fields: () => LogFields, refused: boolean, long = 0): void {
    if (this.isOff) return;
    if (!refused || this.#everyRefusal) {
      this.#say(fields, long);
      return;
    }
    const said = fields();
    if (!this.#isRepeated(said)) this.#say(() => said, long);
  }

  #say(fields: () => LogFields, long = 0): void {
    if (this.#lines === undefined) this.#common.info("request", fields());
    else this.#lines.push({ at: lineTime(), fields, size: USUAL + long });
  }

  /** Counts a refusal; true when one like it has its line already. */
  #isRepeated(fields: LogFields): boolean {
    const key = JSON.stringify(ALIKE.map((name) => fields[name]));
    const known = this.#kinds.get(key);
    if (known !== undefined) {
      known.count++;
      known.last = fields;
      return true;
    }
    if (this.#kinds.size >= MAX_KINDS) return false;
    this.#kinds.set(key, { since: this.#clock.monotonic(), count: 0, last: undefined });
    if (this.#sweeping === undefined) {
      this.#sweeping = new AbortController();
      void this.#sweep(this.#sweeping.signal);
    }
    return false;
  }

  /** Tells the numbers of kinds whose time is over, while there are any. */
  async #sweep(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.#kinds.size > 0) {
      const [oldest] = this.#kinds.values();
      const left = (oldest?.since ?? 0) + WINDOW_MS - this.#clock.monotonic();
      if (left > 0) await this.#clock.sleep(left, signal).catch(() => {});
      this.#tell(signal.aborted ? Number.POSITIVE_INFINITY : this.#clock.monotonic() - WINDOW_MS);
    }
    this.#sweeping = undefined;
  }

  /** @param until kinds that began then or before */
  #tell(until: number): void {
    for (const [key, { since, count, last }] of this.#kinds) {
      if (since > until) return;
      this.#kinds.delete(key);
      if (last !== undefined) this.#say(() => ({ ...last, equal: count }));
    }
  }

  /** Goes on in a new file of the same name, as after logrotate. Never throws: the old one goes on and the log says why. */
  async reopen(): Promise<void> {
    if (this.#file === undefined) return;
    await this.#lines?.flush();
    await this.#file
      .reopen()
      .catch((error: Error) => this.#common.error("the log file stays", { error: error.message }));
  }

  /** Tells what is not told yet and writes everything before it returns, for a process that ends now. */
  flushNow(): void {
    this.#tell(Number.POSITIVE_INFINITY);
    this.#lines?.flushNow();
  }

  /** Tells what is not told yet and writes everything. */
  async close(): Promise<void> {
    this.#sweeping?.abort();
    this.#tell(Number.POSITIVE_INFINITY);
    await this.#lines?.flush();
    this.#forget();
    await this.#file?.close();
  }
}

/** Lines for a file; each time it begins to fail is told. */
function linesFor(file: LogFile, common: Logger, worker: number | undefined): Batches<Entry> {
  let failing = false;
  // one for all batches: memory that comes and goes with each makes the collector run
  const bytes = new LineBytes("info", "request", worker === undefined ? {} : { worker });
  const writeOut = async () => {
    await file.write(bytes.lines);
    bytes.clear();
  };
  const write = async (entries: readonly Entry[]) => {
    bytes.clear();
    for (const entry of entries) {
      const fields = entry.fields();
      if (bytes.add(entry.at, fields)) continue;
      await writeOut();
      if (!bytes.add(entry.at, fields)) await file.write(new TextEncoder().encode(bytes.text(entry.at, fields)));
    }
    await writeOut();
    failing = false;
  };
  // the memory may be on its way into the file
  const writeNow = (entries: readonly Entry[]) =>
    file.writeNow(entries.map(({ at, fields }) => bytes.text(at, fields())).join(""));
  const failed = (error: unknown, lines: number) => {
    if (!failing) common.error("access log lines are lost", { file: file.path, lines, error: String(error) });
    failing = true;
  };
  return new Batches({ write, writeNow }, failed, MAX_WAITING, ({ size }) => size);
}
