/**
 * One writer for one folder. The lock is a socket in it that its holder listens on: who can be connected to is alive, in
 * whatever container, and the end of a process, however it came, ends its hold.
 */
import { type BigIntStats, lstatSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Clock, SpiffeError } from "../../base/index.ts";
import { folderFault } from "./generation.ts";

const NAME = ".spiffe-edge-helper.lock";
/** Between taking the lock and relying on it: whoever saw the one before it dead, at the same time, has taken it as well. */
const SETTLE_MS = 100;
/** A socket's path may have 107 bytes. */
const PATH_BYTES = 107;

/** The socket this process listens on. */
interface Own {
  readonly server: Server;
  readonly inode: bigint;
}

export class FolderLock {
  readonly #folder: string;
  readonly #clock: Clock;
  #own: Own | undefined;

  constructor(folder: string, clock: Clock) {
    this.#folder = folder;
    this.#clock = clock;
  }

  /**
   * Takes the lock, or makes sure that it is still held: to be called before each change of the folder, which is made if it
   * is not there. What a killed process left is no hindrance.
   *
   * @throws SpiffeError `ERR_SPIFFE_CONFIG` of phase `lock` when another process holds it; else `ERR_SPIFFE_PERMISSION`
   *   where it may not be made, `ERR_SPIFFE_CONFIG` for other reasons of the file system
   */
  async hold(): Promise<void> {
    if (this.#isOurs()) return;
    this.#own?.server.close();
    this.#own = undefined;
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o755 });
      for (let taken = false; !taken; ) {
        const there = this.#there();
        if (there !== undefined && !there.isSocket()) throw new Error(`${NAME} is in the way: it is no socket`);
        if (there !== undefined && (await withPath(this.#folder, NAME, isHeld))) throw this.#refusal();
        taken = await this.#take(there);
      }
    } catch (error) {
      throw error instanceof SpiffeError ? error : folderFault(this.#folder, error);
    }
    await this.#clock.sleep(SETTLE_MS);
    if (!this.#isOurs()) throw this.#refusal();
  }

  /** Gives it up; the folder stays. */
  release(): void {
    // Only one's own: that of a successor stays.
    if (this.#isOurs()) rmSync(join(this.#folder, NAME), { force: true });
    this.#own?.server.close();
    this.#own = undefined;
  }

  /** What is at the lock's place, as the file system has it. */
  #there(): BigIntStats | undefined {
    return lstatSync(join(this.#folder, NAME), { bigint: true, throwIfNoEntry: false });
  }

  /** Takes the place of the dead one that was seen, or of none; not of who came since, which may be long ago for a stalled process. */
  async #take(dead: BigIntStats | undefined): Promise<boolean> {
    const name = `${NAME}-${crypto.randomUUID().slice(0, 8)}`;
    const path = join(this.#folder, name);
    const server = await withPath(this.#folder, name, listenAt);
    try {
      const inode = lstatSync(path, { bigint: true }).ino;
      const there = this.#there();
      if (there?.ino !== dead?.ino || there?.mtimeNs !== dead?.mtimeNs) {
        server.close();
        rmSync(path, { force: true });
        return false;
      }
      renameSync(path, join(this.#folder, NAME));
      this.#own = { server, inode };
      return true;
    } catch (error) {
      server.close();
      throw error;
    }
  }

  #isOurs(): boolean {
    if (this.#own === undefined) return false;
    return this.#there()?.ino === this.#own.inode;
  }

  #refusal(): SpiffeError {
    const folder = resolve(this.#folder);
    const sentence = `Expected to be the only helper that writes to ${folder}, but another one does already`;
    const hint = "Stop that one, or give each a cert_dir of its own.";
    return new SpiffeError("ERR_SPIFFE_CONFIG", sentence, { phase: "lock", hint });
  }
}

/** Uses a socket of the folder, by a short way to it where its path has too many bytes for one. */
async function withPath<T>(folder: string, name: string, use: (path: string) => Promise<T>): Promise<T> {
  const path = join(resolve(folder), name);
  if (new TextEncoder().encode(path).length <= PATH_BYTES) return use(path);
  const way = mkdtempSync(join(tmpdir(), "spiffe-edge-"));
  try {
    symlinkSync(resolve(folder), join(way, "to"));
    return await use(join(way, "to", name));
  } finally {
    rmSync(way, { recursive: true, force: true });
  }
}

/** Whether somebody listens there; in doubt, yes. */
function isHeld(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => end(true));
    socket.once("error", ({ code }: NodeJS.ErrnoException) => end(code !== "ECONNREFUSED" && code !== "ENOENT"));
  });
}

function listenAt(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", reject);
    server.listen(path, () => resolve(server));
  });
}
