/**
 * The store where replicas count together. It is asked for a short time only; where it does not answer, nothing is made up:
 * whoever asks is told so and counts alone. A connection that is lost is opened again, for as long as the store is in use.
 */
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { type Clock, SpiffeError } from "../../base/index.ts";
import type { Logger } from "../../telemetry/logger.ts";
import type { TlsIdentity } from "../../tls/index.ts";
import { Deadlines } from "../deadlines.ts";
import type { RateConfig } from "../rate-limits.ts";
import { openClient, refusalOf, type StoreClient, waitOf, wordsOf } from "./client.ts";
import type { RateStoreConfig } from "./config-store.ts";

/** What became of a question. */
export type StoreResult = "answered" | "timeout" | "unreachable" | "refused" | "answer";

/** What a store shows of itself. */
export interface StoreState {
  readonly url: string;
  readonly up: boolean;
  readonly results: Readonly<Record<StoreResult, number>>;
}

/** What a store needs beside its settings. */
export interface StoreGrounds {
  readonly identity: TlsIdentity;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Milliseconds until the first try of another connection, doubled up to the last. */
const FIRST_DELAY_MS = 100;
const LAST_DELAY_MS = 5_000;
/** Milliseconds in which trouble is told once. */
const TOLD_MS = 10_000;
const MAX_PASSWORD = 4_096;

function passwordOf(text: string): string {
  const password = text.replace(/\r?\n$/, "");
  if (password === "" || password.length > MAX_PASSWORD || password.includes("\n"))
    throw new Error(`Expected one line of at most ${MAX_PASSWORD} characters`);
  return password;
}

/** One store; open it once. */
export class RateStore {
  readonly config: RateStoreConfig;
  readonly #grounds: StoreGrounds;
  readonly #deadlines: Deadlines;
  readonly #stop = new AbortController();
  readonly #results: Record<StoreResult, number> = {
    answered: 0,
    timeout: 0,
    unreachable: 0,
    refused: 0,
    answer: 0,
  };
  #password: string | undefined;
  #client: StoreClient | undefined;
  /** Questions whose time is over and that are still not answered; nothing more is asked meanwhile. */
  #overdue = 0;
  #toldAt: number | undefined;
  /** Questions without an answer since trouble was told. */
  #untold = 0;
  #running: Promise<void> | undefined;

  /** @throws `ERR_SPIFFE_CONFIG` for a password file that cannot be used */
  constructor(config: RateStoreConfig, grounds: StoreGrounds) {
    this.config = config;
    this.#grounds = grounds;
    this.#deadlines = new Deadlines(grounds.clock);
    const { passwordFile } = config;
    if (passwordFile === undefined) return;
    try {
      this.#password = passwordOf(readFileSync(passwordFile, "utf8"));
    } catch (cause) {
      const { code } = cause as { code?: string };
      const why = code ?? (cause as Error).message;
      const sentence = `limits.perIdentity.store.passwordFile: ${passwordFile} cannot be used: ${why}`;
      throw new SpiffeError("ERR_SPIFFE_CONFIG", sentence, { hint: "Write the password alone into that file" });
    }
  }

  get state(): StoreState {
    return { url: this.config.url, up: this.#usable !== undefined, results: { ...this.#results } };
  }

  get #usable(): StoreClient | undefined {
    return this.#overdue === 0 ? this.#client : undefined;
  }

  /** Begins to keep a connection. */
  open(): void {
    const { logger } = this.#grounds;
    if (this.config.unsafePlain) logger.warn("the store of rate limits is reached in plaintext over a network");
    this.#running ??= this.#run();
  }

  /** Lets go of it; who waits for an answer gets none. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /**
   * Takes from a bucket.
   *
   * @returns milliseconds until it has something, 0 where it was taken; undefined where the store did not say
   */
  ask(key: string, rate: RateConfig): Promise<number | undefined> {
    const client = this.#usable;
    if (client === undefined) {
      this.#noAnswer("unreachable");
      return Promise.resolve(undefined);
    }
    return new Promise((resolve) => {
      let late = false;
      const deadline = this.#deadlines.after(this.config.timeoutMs, () => {
        late = true;
        this.#overdue++;
        this.#noAnswer("timeout", "it did not answer in time");
        resolve(undefined);
      });
      const settled = (wait: number | undefined) => {
        deadline.cancel();
        if (late) this.#overdue--;
        else resolve(wait);
      };
      client.take(`${this.config.prefix}${key}`, rate).then(
        (answer) => {
          const wait = waitOf(answer);
          if (wait !== undefined) {
            if (!late) this.#results.answered++;
            settled(wait);
            if (late) this.#answers();
            return;
          }
          if (!late) this.#noAnswer("answer", "what it answers is no time");
          settled(undefined);
          client.close();
        },
        (error: unknown) => {
          const refusal = refusalOf(error);
          if (!late) this.#noAnswer(refusal === undefined ? "unreachable" : "refused", wordsOf(error));
          settled(undefined);
          // a store that refuses all of it may be another one by the next connection; ERR and WRONGTYPE are of one key
          if (refusal !== undefined && !/^(?:ERR|WRONGTYPE)$/.test(refusal)) client.close();
        },
      );
    });
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const { clock } = this.#grounds;
    for (let delay = FIRST_DELAY_MS; !signal.aborted; delay = Math.min(2 * delay, LAST_DELAY_MS)) {
      try {
        const client = await openClient(this.config, this.#password, { ...this.#grounds, signal });
        this.#client = client;
        delay = FIRST_DELAY_MS;
        this.#answers();
        this.#trouble(wordsOf(await client.over));
      } catch (error) {
        this.#trouble(wordsOf(error));
      }
      this.#client = undefined;
      await clock.sleep(delay, signal).catch(() => {});
      await this.#readPassword();
    }
  }

  /** The password may have changed; where it cannot be read, the one before stays. */
  async #readPassword(): Promise<void> {
    const { passwordFile } = this.config;
    if (passwordFile === undefined || this.#stop.signal.aborted) return;
    try {
      this.#password = passwordOf(await readFile(passwordFile, "utf8"));
    } catch {
      this.#trouble("its password file cannot be read");
    }
  }

  #noAnswer(result: StoreResult, words?: string): void {
    this.#results[result]++;
    this.#untold++;
    if (words !== undefined) this.#trouble(words);
  }

  /** Tells what is wrong, once in a while. */
  #trouble(error: string): void {
    if (this.#stop.signal.aborted) return;
    const { clock, logger } = this.#grounds;
    const now = clock.monotonic();
    if (this.#toldAt !== undefined && now - this.#toldAt < TOLD_MS) return;
    this.#toldAt = now;
    const { url } = this.config;
    logger.warn("the store of rate limits does not answer; this process counts alone", {
      url,
      error,
      unanswered: this.#untold,
    });
    this.#untold = 0;
  }

  #answers(): void {
    if (this.#toldAt === undefined || this.#usable === undefined) return;
    this.#grounds.logger.info("the store of rate limits answers", { url: this.config.url });
    this.#toldAt = undefined;
  }
}
