/** Keeps the files on disk what the Workload API says: each change is a new generation, and others are told of it. */
import { type Clock, isSpiffeError, SpiffeError } from "../../base/index.ts";
import type { JwtSvid } from "../../jwt/index.ts";
import type { Logger } from "../../telemetry/logger.ts";
import type { Workload } from "../../workload/index.ts";
import type { HelperConfig, TokenFile } from "./config.ts";
import { filesOf } from "./files.ts";
import { type GenerationFile, withdrawGenerations, writeGeneration } from "./generation.ts";
import { HelperMetrics, type HelperReadiness } from "./health.ts";
import type { FolderLock } from "./lock.ts";

/** Changes that come together, such as those of a rotation, are one generation. */
const TOGETHER_MS = 50;
const RETRY_START_MS = 1_000;
const RETRY_CAP_MS = 60_000;

/** A token of the helper's, and when to fetch the next, by the monotonic clock. */
interface Token {
  svid: JwtSvid | undefined;
  dueAt: number;
  failures: number;
  error: SpiffeError | undefined;
}

const NO_TOKEN: Readonly<Token> = { svid: undefined, dueAt: 0, failures: 0, error: undefined };

export interface WriterOptions {
  readonly config: HelperConfig;
  /** Held before each change of the folder. */
  readonly lock: FolderLock;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called with the path of each new generation. */
  onGeneration(path: string): void;
}

export class HelperWriter {
  readonly metrics: HelperMetrics;
  readonly #options: WriterOptions;
  readonly #tokens: ReadonlyMap<TokenFile, Token>;
  #workload: Workload | undefined;
  #written: readonly GenerationFile[] | undefined;
  /** When the written X.509-SVID ends, if there is one. */
  #svidEndsAt: number | undefined;
  #trouble: SpiffeError | undefined;
  #writeFailures = 0;
  #writeDueAt = 0;
  #wake = new AbortController();

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#tokens = new Map(options.config.tokens.map((file) => [file, { ...NO_TOKEN }]));
    this.metrics = new HelperMetrics({
      ready: () => this.readiness().ready,
      svidExpiry: () => (this.#svidEndsAt === undefined ? undefined : this.#svidEndsAt / 1_000),
    });
  }

  readiness(): HelperReadiness {
    const now = this.#options.clock.now();
    const reasons: string[] = [];
    if (this.#written === undefined) reasons.push("no generation is written");
    else {
      if (this.#svidEndsAt !== undefined && now > this.#svidEndsAt) reasons.push("the X.509-SVID has expired");
      for (const [{ name }, { svid }] of this.#tokens) {
        if (svid !== undefined && now > svid.expiresAt.getTime()) reasons.push(`the token of ${name} has expired`);
      }
    }
    const troubles = [this.#trouble, ...[...this.#tokens.values()].map(({ error }) => error)];
    const warnings = troubles.flatMap((trouble) => trouble?.message ?? []);
    return { ready: reasons.length === 0, reasons, warnings };
  }

  /**
   * Fetches what is missing, and writes one generation.
   *
   * @throws SpiffeError when a part can not be had or written
   */
  async writeOnce(workload: Workload): Promise<string> {
    this.#workload = workload;
    await Promise.all([...this.#tokens].map(([file, token]) => this.#fetch(file, token)));
    for (const { error } of this.#tokens.values()) if (error !== undefined) throw error;
    return this.#write(this.#files());
  }

  /**
   * Writes generation after generation until the signal aborts.
   *
   * @throws SpiffeError when the Workload API forbids to ask again, or another process took the folder
   */
  async follow(workload: Workload, signal: AbortSignal): Promise<void> {
    this.#workload = workload;
    const { clock } = this.#options;
    const over: { error?: unknown } = {};
    const pump = this.#pump(workload, signal).catch((error: unknown) => {
      over.error = error;
      this.#wake.abort();
    });
    while (!signal.aborted) {
      if (over.error !== undefined) throw over.error;
      this.#wake = new AbortController();
      if (workload.x509.state === "revoked") await this.#withdraw();
      else {
        const due = [...this.#tokens].filter(([, token]) => clock.monotonic() >= token.dueAt);
        await Promise.all(due.map(([file, token]) => this.#fetch(file, token)));
        if (signal.aborted) break;
        if (clock.monotonic() >= this.#writeDueAt) await this.#writeIfNew();
      }
      await clock.sleep(this.#dueIn(), this.#wake.signal).catch(() => {});
      if (!signal.aborted) await clock.sleep(TOGETHER_MS);
    }
    await pump;
  }

  async #pump({ bundles }: Workload, signal: AbortSignal): Promise<void> {
    signal.addEventListener("abort", () => this.#wake.abort(), { once: true });
    for await (const _ of bundles.updates(signal)) this.#wake.abort();
  }

  #dueIn(): number {
    const now = this.#options.clock.monotonic();
    const times = [...this.#tokens.values()].map(({ dueAt }) => dueAt);
    if (this.#writeFailures > 0) times.push(this.#writeDueAt);
    return Math.max(1, Math.min(...times, now + RETRY_CAP_MS) - now);
  }

  async #fetch(file: TokenFile, token: Token): Promise<void> {
    const { clock, logger } = this.#options;
    const startedAt = clock.monotonic();
    const wallAt = clock.now();
    try {
      token.svid = await this.#workload!.jwt.fetch({ audience: file.audience, fresh: true });
      Object.assign(token, { failures: 0, error: undefined });
      token.dueAt = startedAt + Math.max(RETRY_START_MS, (token.svid.expiresAt.getTime() - wallAt) / 2);
    } catch (thrown) {
      const error = asError(thrown);
      this.metrics.tokenFailures.inc();
      const wait = Math.min(RETRY_CAP_MS, RETRY_START_MS * 2 ** Math.min(token.failures++, 10));
      token.dueAt = clock.monotonic() + wait;
      token.error = error;
      logger.warn("no token", { file: file.name, code: error.code, reason: error.reason, error: error.message });
    }
  }

  #files(): readonly GenerationFile[] {
    const { config, clock } = this.#options;
    const { x509, bundles } = this.#workload!;
    const current = bundles.current;
    const tokens = new Map([...this.#tokens].flatMap(([file, { svid }]) => (svid ? [[file, svid] as const] : [])));
    const state = { svid: x509.x509Svid(), x509: current?.x509 ?? new Map(), jwt: current?.jwt ?? new Map(), tokens };
    const files = filesOf(config, state, clock.now());
    if (typeof files !== "string") return files;
    throw new SpiffeError("ERR_SPIFFE_NOT_READY", `No generation is written: ${files}`, { retryable: true });
  }

  async #writeIfNew(): Promise<void> {
    const { clock, logger, lock } = this.#options;
    try {
      await lock.hold();
      const files = this.#files();
      this.#trouble = undefined;
      if (!sameFiles(files, this.#written)) this.#write(files);
      this.#writeFailures = 0;
    } catch (thrown) {
      const error = asError(thrown);
      if (error.phase === "lock") throw error;
      this.#trouble = error;
      if (error.phase === "write") {
        this.metrics.writeFailures.inc();
        const wait = Math.min(RETRY_CAP_MS, RETRY_START_MS * 2 ** Math.min(this.#writeFailures++, 10));
        this.#writeDueAt = clock.monotonic() + wait;
      }
      logger.warn("no new generation", { code: error.code, reason: error.reason, error: error.message });
    }
  }

  #write(files: readonly GenerationFile[]): string {
    const { config, clock, logger } = this.#options;
    const path = writeGeneration(config.folder, files, clock.now());
    this.#written = files;
    this.#svidEndsAt = config.x509 === undefined ? undefined : this.#workload!.x509.x509Svid().expiresAt.getTime();
    this.metrics.generations.inc();
    const id = this.#workload!.x509.x509Svid().id.uri;
    logger.info("generation written", { path, id, files: files.map(({ name }) => name) });
    this.#options.onGeneration(path);
    return path;
  }

  /** The agent took the identity back: files would go on claiming it (WL-29). */
  async #withdraw(): Promise<void> {
    if (this.#written === undefined) return;
    const { config, logger, lock } = this.#options;
    try {
      await lock.hold();
      withdrawGenerations(config.folder);
      this.#written = undefined;
      this.#svidEndsAt = undefined;
      for (const token of this.#tokens.values()) Object.assign(token, NO_TOKEN);
      logger.warn("the agent withdrew the identity: its files are removed", { folder: config.folder });
    } catch (thrown) {
      const { code, message, phase } = (this.#trouble = asError(thrown));
      if (phase === "lock") throw thrown;
      logger.error("the files of a withdrawn identity can not be removed", { code, error: message });
    }
  }
}

function sameFiles(a: readonly GenerationFile[], b: readonly GenerationFile[] | undefined): boolean {
  return b?.length === a.length && a.every(({ name, content }, i) => name === b[i]!.name && content === b[i]!.content);
}

function asError(thrown: unknown): SpiffeError {
  if (isSpiffeError(thrown)) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new SpiffeError("ERR_SPIFFE_INTERNAL", message, { cause: thrown });
}
