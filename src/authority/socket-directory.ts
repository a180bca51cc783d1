/** Where the sockets live: a directory nobody else can enter, without stealing from anybody (S-28). */
import { lstat, mkdir, mkdtemp, realpath, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { SpiffeError } from "../base/index.ts";
import { freeSocketPath } from "../tls/socket-file.ts";
import { rmdirAtExit } from "./exit-cleanup.ts";

/** The longest socket path the kernel takes, in bytes, without its closing NUL. */
const MAX_SOCKET_PATH = 107;

export interface SocketDirectory {
  readonly path: string;
  /** The path for a socket of this name, free to listen on; a stale socket there is removed. */
  claim(name: string): Promise<string>;
  /** Removes the directory, if it was made here and is empty. */
  remove(): Promise<void>;
}

/**
 * Makes or takes over the directory.
 *
 * @param directory a path; default a fresh one below `XDG_RUNTIME_DIR` or the temporary directory
 * @throws `ERR_SPIFFE_AUTHORITY` when the path has a symbolic link, or is not a directory of mode 0700 of this user
 */
export async function openSocketDirectory(directory?: string): Promise<SocketDirectory> {
  const { path, created } = directory === undefined ? await freshDirectory() : await namedDirectory(resolve(directory));
  let forget = created ? rmdirAtExit(path) : undefined;
  return {
    path,
    async claim(name) {
      const socket = join(path, `${name}.sock`);
      const length = new TextEncoder().encode(socket).length;
      if (length > MAX_SOCKET_PATH) {
        throw refused(`The socket path ${socket} has ${length} bytes, at most ${MAX_SOCKET_PATH} are possible`, {
          hint: "Choose a shorter directory or a shorter socket name.",
        });
      }
      // a stale socket was left by an authority, so its directory is an authority's too
      if (await freeSocketPath(socket, refused)) forget ??= rmdirAtExit(path);
      return socket;
    },
    async remove() {
      if (forget !== undefined) await rmdir(path).catch(() => {});
      forget?.();
    },
  };
}

async function freshDirectory(): Promise<{ path: string; created: boolean }> {
  // the base is the system's own and may be reached through a link, as /tmp on macOS
  const given = process.env.XDG_RUNTIME_DIR || tmpdir();
  const base = await realpath(given).catch((cause: unknown) => {
    throw refused(`${given}, below which sockets are put, cannot be looked at`, {
      hint: "Give a directory, or correct XDG_RUNTIME_DIR.",
      cause,
    });
  });
  const path = join(base, `spiffe-edge-${process.pid}`);
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw refused(`The directory ${path} cannot be made`, { cause: error });
    const other = await mkdtemp(`${path}-`);
    return checked(other, true);
  }
  return checked(path, true);
}

async function namedDirectory(path: string): Promise<{ path: string; created: boolean }> {
  await refuseLinks(path);
  let created: string | undefined;
  try {
    created = await mkdir(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw refused(`The directory ${path} cannot be made`, { cause: error });
  }
  await refuseLinks(path);
  return checked(path, created !== undefined);
}

/** Looks at what is there now, whoever made it. */
async function checked(path: string, created: boolean): Promise<{ path: string; created: boolean }> {
  const stat = await lstat(path);
  if (!stat.isDirectory()) throw refused(`${path} is not a directory`);
  if (stat.uid !== process.getuid?.()) throw refused(`${path} belongs to another user (uid ${stat.uid})`);
  if ((stat.mode & 0o777) !== 0o700) {
    const mode = (stat.mode & 0o777).toString(8);
    throw refused(`${path} has mode ${mode}, it must be 700 so that no other user reaches the sockets`, {
      hint: "Give a directory that does not exist yet, or run chmod 700 on it.",
    });
  }
  return { path, created };
}

async function refuseLinks(path: string): Promise<void> {
  for (let part = path; part !== dirname(part); part = dirname(part)) {
    const stat = await lstat(part).catch((error: unknown) => {
      if (codeOf(error) === "ENOENT") return undefined;
      throw refused(`${part} cannot be looked at`, { cause: error });
    });
    if (stat?.isSymbolicLink()) {
      throw refused(`${part} is a symbolic link; sockets are only put where the path has none`, {
        hint: "Give the path that the link points to.",
      });
    }
  }
}

function refused(message: string, options: { hint?: string; cause?: unknown } = {}): SpiffeError {
  return new SpiffeError("ERR_SPIFFE_AUTHORITY", message, { phase: "sockets", ...options });
}

function codeOf(error: unknown): string | undefined {
  return (error as { code?: string } | null)?.code;
}
