/** Telling others about a new generation: one at a time, the newest counts, and what failed is tried again. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";
import { type Clock, SpiffeError } from "../../base/index.ts";
import type { RenewCommand } from "./config.ts";

const RETRY_START_MS = 1_000;
const RETRY_CAP_MS = 60_000;
/** What a command gets between being asked to end and being ended. */
const GRACE_MS = 5_000;

/** What is done after each change. */
export interface Renewal {
  readonly kind: "command" | "signal";
  /**
   * Resolves when it is done for this generation.
   *
   * @param later to be called if it turns out afterwards that it failed
   * @throws SpiffeError
   */
  run(generation: string, later: (error: SpiffeError) => void): Promise<void>;
  /** Ends what is running. */
  close(): Promise<void>;
}

/** Runs a renewal for each generation: never twice at once, for the newest, and again with growing pauses after a failure. */
export class Notifier {
  readonly #renewal: Renewal;
  readonly #clock: Clock;
  readonly #onResult: (kind: Renewal["kind"], error: SpiffeError | undefined) => void;
  #wanted: string | undefined;
  #failures = 0;
  #running: Promise<void> | undefined;
  #rest = new AbortController();
  #closed = false;

  constructor(
    renewal: Renewal,
    clock: Clock,
    onResult: (kind: Renewal["kind"], error: SpiffeError | undefined) => void,
  ) {
    this.#renewal = renewal;
    this.#clock = clock;
    this.#onResult = onResult;
  }

  /** Returns at once. A newer generation waits for no pause. */
  notify(generation: string): void {
    if (this.#closed) return;
    this.#wanted = generation;
    this.#failures = 0;
    this.#rest.abort();
    this.#start();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#rest.abort();
    await this.#renewal.close();
    await this.#running;
  }

  #start(): void {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.#wanted !== undefined && !this.#closed) this.#start();
    });
  }

  async #run(): Promise<void> {
    if (this.#failures > 0) await this.#pause();
    const generation = this.#wanted;
    if (generation === undefined || this.#closed) return;
    this.#wanted = undefined;
    const fail = (error: unknown) => {
      if (this.#closed) return;
      this.#onResult(this.#renewal.kind, error as SpiffeError);
      // A newer generation is not made to wait for this one's sake.
      if (this.#wanted !== undefined) return;
      this.#wanted = generation;
      this.#failures++;
    };
    const later = (error: SpiffeError) => {
      fail(error);
      if (!this.#closed) this.#start();
    };
    try {
      await this.#renewal.run(generation, later);
      if (!this.#closed) this.#onResult(this.#renewal.kind, undefined);
    } catch (error) {
      fail(error);
    }
  }

  async #pause(): Promise<void> {
    this.#rest = new AbortController();
    const wait = Math.min(RETRY_CAP_MS, RETRY_START_MS * 2 ** Math.min(this.#failures - 1, 10));
    await this.#clock.sleep(wait, this.#rest.signal).catch(() => {});
  }
}

/** Signals the process whose number is in the first line of a file, which is read anew each time. */
export class PidFileSignal implements Renewal {
  readonly kind = "signal";
  readonly #file: string;
  readonly #signal: NodeJS.Signals;

  constructor(file: string, signal: NodeJS.Signals) {
    this.#file = file;
    this.#signal = signal;
  }

  async run(): Promise<void> {
    let text: string;
    try {
      // more lines may follow, as in the file of PostgreSQL
      [text = ""] = readFileSync(this.#file, "utf8").slice(0, 100).trim().split(/\s*\n/);
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code ?? "unknown error";
      throw failed(`the process ID in ${this.#file} can not be read (${code})`, cause);
    }
    // Zero and below would be whole groups of processes.
    const pid = /^[1-9]\d{0,9}$/.test(text) ? Number(text) : undefined;
    if (pid === undefined || pid === process.pid) throw failed(`${this.#file} holds no other process's ID`);
    send(pid, this.#signal);
  }

  async close(): Promise<void> {}
}

/** A command that runs. */
interface Running {
  readonly pid: number | undefined;
  /** How it ended: undefined for code 0. */
  readonly ended: Promise<string | undefined>;
}

/**
 * Runs a command, without a shell, with the generation's path in `SPIFFE_EDGE_GENERATION`. One with a time has to end in
 * it, with code 0. One without may go on running: it is signalled the next time, and started anew once it has ended.
 */
export class Command implements Renewal {
  readonly kind = "command";
  readonly #command: RenewCommand;
  readonly #signal: NodeJS.Signals | undefined;
  readonly #clock: Clock;
  #running: Running | undefined;

  constructor(command: RenewCommand, signal: NodeJS.Signals | undefined, clock: Clock) {
    this.#command = command;
    this.#signal = signal;
    this.#clock = clock;
  }

  async run(generation: string, later: (error: SpiffeError) => void): Promise<void> {
    const { file, timeoutMs } = this.#command;
    // It runs, so it is one that goes on.
    if (this.#running !== undefined && this.#signal !== undefined) return send(this.#running.pid!, this.#signal);
    const running = await this.#start(generation);
    const endedWith = (end: string) => failed(`${file} ended with ${end}`);
    if (timeoutMs === undefined) {
      void running.ended.then((end) => end !== undefined && later(endedWith(end)));
      return;
    }
    const timer = new AbortController();
    const late = this.#clock.sleep(timeoutMs, timer.signal).then(
      () => true,
      () => false,
    );
    const end = await Promise.race([running.ended, late]);
    timer.abort();
    if (end === true) {
      await this.#end(running, 0);
      throw failed(`${file} did not end within ${timeoutMs} ms and was ended`);
    }
    if (typeof end === "string") throw endedWith(end);
  }

  async close(): Promise<void> {
    if (this.#running !== undefined) await this.#end(this.#running, GRACE_MS);
  }

  async #start(generation: string): Promise<Running> {
    const { file, args } = this.#command;
    try {
      const child = spawn(file, [...args], {
        env: { ...process.env, SPIFFE_EDGE_GENERATION: generation },
        // On stdout are this program's own log lines.
        stdio: ["ignore", process.stderr.fd, "inherit"],
        // A group of its own, so that what it started ends with it.
        detached: true,
      });
      const ended = new Promise<string | undefined>((resolve) => {
        child.once("exit", (code, signal) => resolve(code === 0 ? undefined : (signal ?? `code ${code}`)));
      });
      const running = { pid: child.pid, ended };
      // Before it is waited for: whoever closes meanwhile has to end it.
      if (child.pid !== undefined) this.#running = running;
      void ended.then(() => {
        if (this.#running === running) this.#running = undefined;
      });
      await new Promise((resolve, reject) => child.once("spawn", resolve).once("error", reject));
      return running;
    } catch (cause) {
      throw failed(`${file} can not be started: ${(cause as Error).message}`, cause);
    }
  }

  async #end({ pid, ended }: Running, graceMs: number): Promise<void> {
    const kill = (signal: NodeJS.Signals) => {
      try {
        process.kill(-pid!, signal);
      } catch {
        // It has ended by itself.
      }
    };
    if (graceMs > 0) kill("SIGTERM");
    const timer = new AbortController();
    const over = this.#clock.sleep(graceMs, timer.signal).then(
      () => kill("SIGKILL"),
      () => {},
    );
    await ended;
    timer.abort();
    await over;
  }
}

/** By number: Deno takes a child that it signals itself for one that the signal ended. */
function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (cause) {
    throw failed(`${signal} to process ${pid}: ${(cause as Error).message}`, cause);
  }
}

function failed(message: string, cause?: unknown): SpiffeError {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  const denied = code === "EPERM" || code === "EACCES";
  return new SpiffeError(denied ? "ERR_SPIFFE_PERMISSION" : "ERR_SPIFFE_CONFIG", `Renewal failed: ${message}`, {
    phase: "renew",
    retryable: true,
    cause,
  });
}
