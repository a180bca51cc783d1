/** Follows files through every change, by the system's notices and, where these fail, by looking again. */
import { type FSWatcher, watch } from "node:fs";
import { lstat, realpath } from "node:fs/promises";
import { dirname, resolve, sep } from "node:path";
import type { Clock } from "../base/clock.ts";
import { fileMark } from "./file-read.ts";
import { linkSignals } from "./signals.ts";

/** Without a notice, files are looked at again after this time. */
const LOOK_MS = 5_000;
/** A change counts once the files stood still for this time (S-26): a writer may not be done. */
export const SETTLE_MS = 250;
/** Notices of a busy folder are answered no faster. */
const PAUSE_MS = 20;
/** Reading again, where the pieces did not fit together. */
const AGAIN_MS = 50;
const AGAIN_TIMES = 10;

export interface FollowOptions {
  /** The files, asked for before each look; their number and names may change. */
  paths(): Promise<readonly string[]> | readonly string[];
  /**
   * Reads them: `torn` when they look like pieces of two states, which another reading may put right, unless this one is
   * the last; `failed` is tried again at each look.
   */
  read(last: boolean): Promise<"done" | "torn" | "failed">;
  /** Milliseconds that a change has to stand still before it is read; 250 by default, 0 for a reader that waits itself. */
  readonly settleMs?: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Reads the files at once, and again after each change, until the signal aborts. Rejects only if `read` does. */
export async function followFiles(options: FollowOptions): Promise<void> {
  const { clock, signal } = options;
  const folders = new FolderWatch();
  const link = linkSignals(signal);
  link.signal.addEventListener("abort", () => folders.close(), { once: true });
  const pause = (ms: number) => clock.sleep(ms, link.signal).catch(() => {});
  let seen: string | undefined;
  let failed = false;
  try {
    while (!link.signal.aborted) {
      const notice = folders.next();
      const paths = await options.paths();
      await folders.watch(paths);
      let mark = await markOf(paths);
      if (mark !== seen || failed) {
        if (mark !== seen && seen !== undefined) mark = await standstill(options, mark, pause);
        let result = await options.read(false);
        for (let times = 1; result === "torn" && !link.signal.aborted; times++) {
          await pause(AGAIN_MS);
          mark = await markOf(await options.paths());
          result = await options.read(times >= AGAIN_TIMES);
        }
        failed = result !== "done";
        // What changed since the mark was taken is seen at the next look.
        seen = mark;
        if ((await markOf(await options.paths())) !== mark) continue;
      }
      const rest = linkSignals(link.signal);
      await Promise.race([notice, clock.sleep(LOOK_MS, rest.signal).catch(() => {})]);
      rest.abort();
      rest.release();
      await pause(PAUSE_MS);
    }
  } finally {
    folders.close();
    link.release();
  }
}

/** What tells one state of several files from another. */
export async function markOf(paths: readonly string[]): Promise<string> {
  const marks = await Promise.all(paths.map(async (path) => `${path} ${await fileMark(path)}`));
  return marks.join("\n");
}

/** Waits until nothing changed for a while. */
async function standstill(
  { paths, signal, settleMs = SETTLE_MS }: FollowOptions,
  mark: string,
  pause: (ms: number) => Promise<void>,
): Promise<string> {
  for (let last = mark; ; ) {
    if (settleMs > 0) await pause(settleMs);
    const now = await markOf(await paths());
    if (now === last || signal.aborted) return now;
    last = now;
  }
}

/** Notices about the folders in which a change of a path can show: its own, and those of the links that lead there. */
class FolderWatch {
  readonly #watchers = new Map<string, FSWatcher>();
  #wake: () => void = () => {};
  #closed = false;

  /** Resolves with the next notice. */
  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  async watch(paths: readonly string[]): Promise<void> {
    const wanted = new Set((await Promise.all(paths.map(foldersOf))).flat());
    if (this.#closed) return;
    for (const [folder, watcher] of this.#watchers) if (!wanted.has(folder)) this.#drop(folder, watcher);
    for (const folder of wanted) if (!this.#watchers.has(folder)) this.#add(folder);
  }

  close(): void {
    this.#closed = true;
    for (const [folder, watcher] of this.#watchers) this.#drop(folder, watcher);
    this.#wake();
  }

  #add(folder: string): void {
    try {
      const watcher = watch(folder, () => this.#wake());
      this.#watchers.set(folder, watcher);
      // A folder that went away, or a system without notices: looking again is enough.
      watcher.on("error", () => this.#drop(folder, watcher));
    } catch {
      return;
    }
  }

  #drop(folder: string, watcher: FSWatcher): void {
    if (this.#watchers.get(folder) === watcher) this.#watchers.delete(folder);
    watcher.close();
  }
}

/** The folders on the way to a file whose entries decide what it is. Real paths: a watch of a link stays where it led. */
async function foldersOf(path: string): Promise<string[]> {
  const folders: string[] = [];
  const parts = resolve(path).split(sep);
  for (let length = 2; length <= parts.length; length++) {
    const at = parts.slice(0, length).join(sep);
    const link = await lstat(at).then(
      (found) => found.isSymbolicLink(),
      () => false,
    );
    if (link || length === parts.length) folders.push(dirname(at));
  }
  const real = await Promise.all(folders.map((folder) => realpath(folder).catch(() => undefined)));
  return real.filter((folder) => folder !== undefined);
}
