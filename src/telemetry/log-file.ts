/** A file that lines are appended to, and that another program may move away (logrotate). */
import { writeSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { SpiffeError } from "../base/index.ts";

/** The owner writes, the group may read. */
const MODE = 0o640;

/** An open log file; one piece is written at a time. */
export class LogFile {
  readonly path: string;
  #handle: FileHandle;

  private constructor(path: string, handle: FileHandle) {
    this.path = path;
    this.#handle = handle;
  }

  /** @throws `ERR_SPIFFE_CONFIG` when the file cannot be opened for writing */
  static async open(path: string): Promise<LogFile> {
    return new LogFile(path, await openAppending(path));
  }

  /** Writes all of these bytes, which have to stay until then. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) at += (await this.#handle.write(bytes, at, bytes.length - at)).bytesWritten;
  }

  /** Writes a text before it returns, where the process ends. */
  writeNow(text: string): void {
    writeAll(this.#handle.fd, text);
  }

  /**
   * Goes on in a new file of the same name; what is being written ends in the old one.
   *
   * @throws `ERR_SPIFFE_CONFIG` when there can be no new one: the old one goes on
   */
  async reopen(): Promise<void> {
    const old = this.#handle;
    this.#handle = await openAppending(this.path);
    await old.close();
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** Writes all of a text to a descriptor before it returns. */
export function writeAll(descriptor: number, text: string): void {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at, bytes.length - at);
}

async function openAppending(path: string): Promise<FileHandle> {
  try {
    return await open(path, "a", MODE);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new SpiffeError("ERR_SPIFFE_CONFIG", `Expected to write the log file ${path}, but the system says ${code}`, {
      cause,
      hint: "Create its folder, and let this process write there",
    });
  }
}
