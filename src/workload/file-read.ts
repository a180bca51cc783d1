/** Files that others write: read whole, at one moment, within bounds. */
import { open, stat } from "node:fs/promises";
import { SpiffeError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";

/** Deno reports what it was not allowed by name, the others by a code of the system. */
const DENIED: ReadonlySet<unknown> = new Set(["EACCES", "EPERM", "NotCapable", "PermissionDenied"]);

/** What tells one content of a file from another, without reading it; the trouble, where there is one. */
export async function fileMark(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs } = await stat(path, { bigint: true });
    return `${dev}:${ino}:${size}:${mtimeNs}`;
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code ?? error);
  }
}

/** Whether a reading failed because nothing is there. */
export function isMissing(error: unknown): boolean {
  return (error as { cause?: NodeJS.ErrnoException }).cause?.code === "ENOENT";
}

/**
 * Reads a regular file by one open, read and close. Of one above 4 MiB only so much is read that a parser sees it is too
 * long.
 *
 * @throws SpiffeError `ERR_SPIFFE_PERMISSION`, `ERR_SPIFFE_CONFIG` for other reasons of the file system
 */
export async function readFileWhole(path: string): Promise<Uint8Array> {
  try {
    // A pipe could block the opening, a device never end.
    if (!(await stat(path)).isFile()) throw new Error("that is no regular file");
    const handle = await open(path, "r");
    try {
      const bytes = new Uint8Array(LIMITS.bundle + 1);
      let length = 0;
      for (let count = -1; count !== 0 && length < bytes.length; length += count) {
        count = (await handle.read(bytes, length, bytes.length - length, length)).bytesRead;
      }
      return bytes.slice(0, length);
    } finally {
      await handle.close();
    }
  } catch (cause) {
    const { code, name, message } = cause as NodeJS.ErrnoException;
    const denied = DENIED.has(code) || DENIED.has(name);
    const expected = denied ? `to be allowed to read ${path}` : `a file to read at ${path}`;
    throw new SpiffeError(
      denied ? "ERR_SPIFFE_PERMISSION" : "ERR_SPIFFE_CONFIG",
      `Expected ${expected}, but the system says ${code ?? (denied ? name : message)}`,
      { phase: "read", retryable: true, cause },
    );
  }
}
