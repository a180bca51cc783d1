/** Small text files, such as PEM: read within bounds, written whole or not at all. The file system is the runtime's, if any. */
import { isSpiffeError, LIMITS, SpiffeError } from "../base/index.ts";

/** A file to be written. */
export interface TextFile {
  readonly path: string;
  readonly content: string;
}

/**
 * Reads a regular file, one character per byte. Of one above 4 MiB only so much is read that a parser sees it is too long.
 *
 * @throws SpiffeError `ERR_SPIFFE_PERMISSION`, `ERR_SPIFFE_CONFIG` for other reasons of the file system,
 *   `ERR_SPIFFE_BACKEND` on a runtime without files
 */
export async function readTextFile(path: string): Promise<string> {
  const { promises: fs } = fileSystem();
  try {
    // a pipe or device could block or never end
    if (!(await fs.stat(path)).isFile()) throw new Error("that is no regular file");
    const handle = await fs.open(path, "r");
    try {
      const bytes = new Uint8Array(LIMITS.bundle + 1);
      let length = 0;
      for (let count = -1; count !== 0 && length < bytes.length; length += count) {
        count = (await handle.read(bytes, length, bytes.length - length, length)).bytesRead;
      }
      return new TextDecoder("latin1").decode(bytes.subarray(0, length));
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw fileError("read", path, error);
  }
}

/**
 * Writes files for their owner alone (mode 0600). Every content is on disk, beside its target, before the first name changes:
 * a full disk or a missing right leaves all as it was, and no reader sees half a file. A link is replaced, not followed.
 *
 * @throws as {@link readTextFile}; `ERR_SPIFFE_USAGE` when two of the files are one
 */
export async function writeTextFiles(files: readonly TextFile[]): Promise<void> {
  const { promises: fs, path: paths } = fileSystem();
  const temporary: string[] = [];
  let current = "";
  try {
    const seen = new Set<string>();
    for (const { path } of files) {
      current = path;
      if (seen.size === seen.add(paths.resolve(path)).size) {
        throw new SpiffeError("ERR_SPIFFE_USAGE", `Expected different files, got ${path} twice`);
      }
      // a folder of that name would stop the renaming half way
      const there = await fs.lstat(path).catch(ignoreMissing);
      if (there?.isDirectory()) throw Object.assign(new Error("a folder is in the way"), { code: "EISDIR" });
    }
    for (const { path, content } of files) {
      current = path;
      const beside = paths.join(paths.dirname(path), `.${crypto.randomUUID()}.tmp`);
      const handle = await fs.open(beside, "wx", 0o600);
      temporary.push(beside);
      try {
        await handle.writeFile(content);
        await handle.sync();
      } finally {
        await handle.close();
      }
    }
    for (const [index, { path }] of files.entries()) {
      current = path;
      await fs.rename(temporary[index]!, path);
    }
  } catch (error) {
    for (const path of temporary) await fs.rm(path, { force: true }).catch(() => {});
    throw fileError("write", current, error);
  }
}

type Builtin<M extends "node:fs/promises" | "node:path"> = ReturnType<typeof globalThis.process.getBuiltinModule<M>>;

function fileSystem(): { promises: Builtin<"node:fs/promises">; path: Builtin<"node:path"> } {
  const promises = globalThis.process?.getBuiltinModule?.("node:fs/promises");
  const path = globalThis.process?.getBuiltinModule?.("node:path");
  if (promises === undefined || path === undefined) {
    throw new SpiffeError("ERR_SPIFFE_BACKEND", "Expected a runtime with files, such as Node, Bun or Deno", {
      hint: "Read or write the text by the runtime's own means, and use the PEM forms.",
    });
  }
  return { promises, path };
}

function ignoreMissing(error: unknown): undefined {
  if ((error as { code?: unknown }).code !== "ENOENT") throw error;
}

/** Deno reports what it was not allowed by name, the others by a code of the system. */
const DENIED: ReadonlySet<unknown> = new Set(["EACCES", "EPERM", "EROFS", "NotCapable", "PermissionDenied"]);

function fileError(phase: "read" | "write", path: string, error: unknown): SpiffeError {
  if (isSpiffeError(error)) return error;
  const { code, name, message } = error as { code?: unknown; name?: unknown; message?: unknown };
  const denied = DENIED.has(code) || DENIED.has(name);
  const expected = denied ? `to be allowed to ${phase} ${path}` : `a file to ${phase} at ${path}`;
  return new SpiffeError(
    denied ? "ERR_SPIFFE_PERMISSION" : "ERR_SPIFFE_CONFIG",
    `Expected ${expected}, but the system says ${code ?? (denied ? name : message)}`,
    { phase, cause: error },
  );
}
