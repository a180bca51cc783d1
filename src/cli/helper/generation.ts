/**
 * Files that change together: each state in a folder of its own, and one link, `current`, that leads to the newest. Whoever
 * reads through the link gets the files of one state, whenever the writer is stopped.
 */
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { SpiffeError } from "../../base/index.ts";

/** One file of a generation. */
export interface GenerationFile {
  /** Its name, without a folder. */
  readonly name: string;
  readonly content: string;
  /** Permission bits. */
  readonly mode: number;
}

const LINK = "current";
const GENERATION = /^generation-\d{15}-[0-9a-f]{8}$/;
const NEXT_LINK = /^\.current-[0-9a-f]{8}$/;

/**
 * Writes a new generation, all of it on disk, and then leads `current` to it. The generation before stays, for readers on
 * their way; older ones are removed, and what a writer left that was stopped.
 *
 * @param folder made if it is not there
 * @param now wall time in milliseconds, for the name
 * @returns the path of the new generation
 * @throws `ERR_SPIFFE_PERMISSION` where writing is not allowed, `ERR_SPIFFE_CONFIG` for other reasons of the file system;
 *   `current` then leads where it led
 */
export function writeGeneration(folder: string, files: readonly GenerationFile[], now: number): string {
  const random = () => crypto.randomUUID().slice(0, 8);
  const name = `generation-${String(now).padStart(15, "0")}-${random()}`;
  const [path, next] = [join(folder, name), join(folder, `.current-${random()}`)];
  let before: string | undefined;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    before = linkedGeneration(folder);
    mkdirSync(path, { mode: 0o700 });
    for (const file of files) writeFile(join(path, file.name), file);
    syncFolder(path, 0o755);
    symlinkSync(name, next);
    renameSync(next, join(folder, LINK));
  } catch (error) {
    discard(path, next);
    throw folderFault(folder, error);
  }
  try {
    syncFolder(folder);
    removeOthers(folder, [name, before]);
  } catch {
    // The new generation is in place, and the next one tries again.
  }
  return path;
}

/** Takes everything away: the link first, so that no reader finds half. */
export function withdrawGenerations(folder: string): void {
  try {
    if (linkedGeneration(folder) !== undefined) rmSync(join(folder, LINK));
    removeOthers(folder, []);
  } catch (error) {
    throw folderFault(folder, error);
  }
}

/** Where `current` leads. Something else of that name is not this program's to replace. */
function linkedGeneration(folder: string): string | undefined {
  const link = join(folder, LINK);
  const there = lstatSync(link, { throwIfNoEntry: false });
  if (there === undefined) return undefined;
  if (there.isSymbolicLink()) return readlinkSync(link);
  throw Object.assign(new Error(`${LINK} is in the way: it is no link`), { code: "EEXIST" });
}

function writeFile(path: string, { content, mode }: GenerationFile): void {
  const handle = openSync(path, "wx", 0o600);
  try {
    writeFileSync(handle, content);
    // By itself, so that the umask takes nothing from it.
    fchmodSync(handle, mode);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** Makes the names in a folder last. */
function syncFolder(path: string, mode?: number): void {
  const handle = openSync(path, "r");
  try {
    if (mode !== undefined) fchmodSync(handle, mode);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** Removes what was made, as far as that goes: the next writer removes the rest. */
function discard(...paths: readonly string[]): void {
  try {
    for (const path of paths) rmSync(path, { recursive: true, force: true });
  } catch {
    return;
  }
}

function removeOthers(folder: string, kept: readonly (string | undefined)[]): void {
  for (const name of readdirSync(folder)) {
    if ((!GENERATION.test(name) && !NEXT_LINK.test(name)) || kept.includes(name)) continue;
    rmSync(join(folder, name), { recursive: true, force: true });
  }
}

/** The error of a folder that can not be written to. */
export function folderFault(folder: string, cause: unknown): SpiffeError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const denied = code === "EACCES" || code === "EPERM" || code === "EROFS";
  return new SpiffeError(
    denied ? "ERR_SPIFFE_PERMISSION" : "ERR_SPIFFE_CONFIG",
    `Expected ${denied ? "to be allowed to write" : "to write"} into ${folder}, but: ${message}`,
    { phase: "write", retryable: true, cause },
  );
}
