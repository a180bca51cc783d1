/** Files of one folder that appear whole or not at all. */
import { mkdirSync, rmdirSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { isSpiffeError, SpiffeError } from "../base/index.ts";
import { writeTextFiles } from "../encoding/text-files.ts";

/** Name to content, in the order in which they are put in place. */
export type Files = readonly (readonly [name: string, content: string])[];

/**
 * Writes the files into a folder with mode 0600. Every content is on disk before the first name changes, so a full
 * disk or a missing right leaves the folder as it was.
 *
 * @throws `ERR_SPIFFE_PERMISSION` where writing is not allowed, `ERR_SPIFFE_CONFIG` for other reasons of the file system
 */
export async function writeFilesAtomically(folder: string, files: Files): Promise<void> {
  let created: string | undefined;
  try {
    created = mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (!statSync(folder).isDirectory()) throw Object.assign(new Error("not a folder"), { code: "ENOTDIR" });
    await writeTextFiles(files.map(([name, content]) => ({ path: join(folder, name), content })));
  } catch (error) {
    if (created !== undefined) removeEmpty(folder, created);
    throw writeError(folder, (isSpiffeError(error) ? error.cause : undefined) ?? error);
  }
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
