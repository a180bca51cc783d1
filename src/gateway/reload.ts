/** Follows a gateway file and its policy files: each whole new state is tried once, a broken one changes nothing (S-26). */
import { type Clock, isSpiffeError, SpiffeError } from "../base/index.ts";
import type { Logger } from "../telemetry/logger.ts";
import { followFiles, markOf, SETTLE_MS } from "../workload/file-watch.ts";
import { type GatewayReading, readGatewayFile, watchedPaths } from "./config-file.ts";
import type { GatewayConfig } from "./config-types.ts";

/** How a reload ended. */
export type ReloadResult = "changed" | "unchanged" | "refused";

/** The last reload, and how many there were. */
export interface ReloadState {
  readonly counts: Readonly<Record<ReloadResult, number>>;
  readonly last: { readonly result: ReloadResult; readonly at: Date; readonly error?: string } | undefined;
}

/** What a reload needs of the gateway. */
export interface ReloaderOptions {
  readonly file: string;
  /** What the configuration in force was read as; undefined where nobody knows. */
  readonly first: GatewayReading | undefined;
  /** Puts a configuration in force, or throws a `SpiffeError` that says why it does not. */
  apply(config: GatewayConfig): Promise<{ readonly ended: number }>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Reads the files again when they change or somebody asks. */
export class Reloader {
  readonly #options: ReloaderOptions;
  readonly #counts: Record<ReloadResult, number> = { changed: 0, unchanged: 0, refused: 0 };
  #last: ReloadState["last"];
  /** The reading in force, and the newest one, which may have been refused. */
  #inForce: string | undefined;
  #newest: string | undefined;
  #globs: readonly string[];
  #waiting: Promise<ReloadResult> | undefined;
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: ReloaderOptions) {
    this.#options = options;
    this.#globs = options.first?.globs ?? [];
    this.#inForce = options.first?.contents;
    this.#newest = this.#inForce;
  }

  get state(): ReloadState {
    return { counts: { ...this.#counts }, last: this.#last };
  }

  /** Watches until the signal aborts. */
  async follow(): Promise<void> {
    const { clock, signal, logger } = this.#options;
    const read = async () => {
      // a refusal is noted; what else is thrown comes of the end
      await this.#inTurn(() => this.#try(false)).catch(() => {});
      return "done" as const;
    };
    const paths = () => watchedPaths(this.#options.file, this.#globs);
    await followFiles({ paths, read, settleMs: 0, clock, signal }).catch((error: unknown) => {
      logger.error("the configuration is followed no more", { error: String(error) });
    });
  }

  /**
   * Reads the files now, once they stand still.
   *
   * @throws the `SpiffeError` for which the configuration was not put in force
   */
  async ask(): Promise<ReloadResult> {
    // one that has not begun will read what is there for this one as well
    this.#waiting ??= this.#inTurn(() => {
      this.#waiting = undefined;
      return this.#try(true);
    });
    return this.#waiting;
  }

  #inTurn<T>(what: () => Promise<T>): Promise<T> {
    const turn = this.#running.then(what);
    this.#running = turn.catch(() => {});
    return turn;
  }

  /** @param asked whether to tell the result also where nothing changed, and to throw a refusal */
  async #try(asked: boolean): Promise<ReloadResult> {
    const { file, logger } = this.#options;
    const { config, contents, globs } = await this.#settled();
    if (!asked && contents === this.#newest) return "unchanged";
    this.#newest = contents;
    this.#globs = [...new Set([...globs, ...(config instanceof Error ? this.#globs : [])])];
    try {
      if (config instanceof Error) throw config;
      if (contents === this.#inForce) {
        this.#note("unchanged");
        logger.info("the configuration is what it was", { file });
        return "unchanged";
      }
      const { ended } = await this.#options.apply(config);
      this.#inForce = contents;
      this.#note("changed");
      const { routes, policy, upstreams } = config;
      const counts = { routes: routes.length, upstreams: upstreams.length, rules: policy.rules.length };
      logger.info("configuration reloaded", { file, ...counts, ended });
      return "changed";
    } catch (error) {
      if (this.#options.signal.aborted) throw error;
      const why = isSpiffeError(error) ? error.message : `unexpected failure: ${String(error)}`;
      this.#note("refused", why);
      logger.error("configuration not reloaded; what was in force stays", { file, error: why });
      if (asked) throw error;
      return "refused";
    }
  }

  #note(result: ReloadResult, error?: string): void {
    this.#counts[result]++;
    this.#last = { result, at: new Date(this.#options.clock.now()), ...(error !== undefined && { error }) };
  }

  /** A reading of files that stood still before it and were the same after it. */
  async #settled(): Promise<GatewayReading> {
    const { file, clock, signal } = this.#options;
    let globs = this.#globs;
    for (;;) {
      if (signal.aborted)
        throw new SpiffeError("ERR_SPIFFE_CLOSED", "The gateway drains; nothing is reloaded any more");
      const paths = () => watchedPaths(file, globs);
      const mark = await markOf(paths());
      await clock.sleep(SETTLE_MS, signal).catch(() => {});
      if ((await markOf(paths())) !== mark) continue;
      const reading = await readGatewayFile(file);
      // names of other files have not been watched so far
      globs = [...new Set([...globs, ...reading.globs])];
      if ((await markOf(paths())) === mark) return reading;
    }
  }
}
