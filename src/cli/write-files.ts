/** Files that appear whole or not at all. */
import {
  closeSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { SpiffeError } from "../base/index.ts";

/** Name to content, in the order in which they are put in place. */
export type Files = readonly (readonly [name: string, content: string])[];

/**
 * Writes the files into a folder with mode 0600. Every content is on disk before the first name changes, so a full
 * disk or a missing right leaves the folder as it was.
 *
 * @throws `ERR_SPIFFE_PERMISSION` where writing is not allowed, `ERR_SPIFFE_CONFIG` for other reasons of the file system
 */
export function writeFilesAtomically(folder: string, files: Files): void {
  let created: string | undefined;
  const temporary: string[] = [];
  try {
    created = mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (!statSync(folder).isDirectory()) throw Object.assign(new Error("not a folder"), { code: "ENOTDIR" });
    for (const [name] of files) refuseFolder(join(folder, name));
    for (const [name, content] of files) {
      const path = join(folder, `.${name}.${process.pid}.tmp`);
      const handle = openSync(path, "wx", 0o600);
      temporary.push(path);
      try {
        writeFileSync(handle, content);
        fsyncSync(handle);
      } finally {
        closeSync(handle);
      }
    }
    for (const [index, [name]] of files.entries()) renameSync(temporary[index]!, join(folder, name));
  } catch (error) {
    for (const path of temporary) rmSync(path, { force: true });
    if (created !== undefined) removeEmpty(folder, created);
    throw writeError(folder, error);
  }
}

/** A folder of that name would stop the renaming half way. */
function refuseFolder(path: string): void {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there?.isDirectory()) throw Object.assign(new Error("a folder is in the way"), { code: "EISDIR" });
}

/** Removes the folder and those above it up to the first that was made here, as long as they are empty. */
function removeEmpty(folder: string, first: string): void {
  try {
    for (let path = resolve(folder); path.startsWith(resolve(first)); path = dirname(path)) rmdirSync(path);
  } catch {
    // Something else put a file there meanwhile: it stays.
  }
}

function writeError(folder: string, error: unknown): SpiffeError {
  const code = (error as NodeJS.ErrnoException).code ?? "";
  const denied = code === "EACCES" || code === "EPERM" || code === "EROFS";
  return new SpiffeError(
    denied ? "ERR_SPIFFE_PERMISSION" : "ERR_SPIFFE_CONFIG",
    denied
      ? `Expected to be allowed to write into ${folder}, but the system says ${code}`
      : `Expected a folder to write into at ${folder}, but the system says ${code || (error as Error).message}`,
    { hint: "Give --out another folder; nothing was written", cause: error },
  );
}
