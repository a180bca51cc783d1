/** The files of unix sockets: what a dead process left makes way, everything else is left alone. */
import { chmod, link, lstat, mkdtemp, rename, rmdir, unlink } from "node:fs/promises";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { SpiffeError } from "../base/errors.ts";

/** Makes the error for a path that is left alone. */
export type Refused = (message: string, options?: { hint?: string; cause?: unknown }) => SpiffeError;

/**
 * Makes a path free when a dead process left a socket there.
 *
 * @returns whether one was removed
 * @throws what `refused` makes: for a live socket, for a file that is no socket, and where neither can be told
 */
export async function freeSocketPath(socket: string, refused: Refused): Promise<boolean> {
  const stat = await lstat(socket).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return undefined;
    throw refused(`${socket} cannot be looked at`, { cause: error });
  });
  if (stat === undefined) return false;
  if (!stat.isSocket()) throw refused(`${socket} exists and is not a socket; it is left alone`);
  await refuseLive(socket, refused);
  // moved aside first: should another process listen there by now, it gets its socket back
  const aside = `${socket}.${crypto.randomUUID().slice(0, 8)}`;
  await rename(socket, aside).catch((error: unknown) => {
    throw refused(`The stale socket ${socket} cannot be removed`, { cause: error });
  });
  try {
    await refuseLive(aside, refused);
  } catch (error) {
    await link(aside, socket).catch(() => {});
    await unlink(aside).catch(() => {});
    throw error;
  }
  await unlink(aside);
  return true;
}

async function refuseLive(socket: string, refused: Refused): Promise<void> {
  const code = await new Promise<string | undefined>((done) => {
    const probe = connect(socket);
    probe.once("connect", () => {
      probe.destroy();
      done(undefined);
    });
    probe.once("error", (error) => done(codeOf(error) ?? "unknown"));
  });
  if (code === "ECONNREFUSED") return;
  throw refused(
    code === undefined
      ? `Another process listens on ${socket}; it is left alone`
      : `${socket} cannot be probed (${code}); it is left alone`,
    { hint: "Stop the other process, or choose another path." },
  );
}

/** The name of a socket's folder beside it, and what it adds to the path's length. */
const FOLDER = ".socket-";

/** Bytes that a path may have so that {@link openSocketFile} can make it. */
export const MAX_SOCKET_PATH: number = 107 - `/${FOLDER}123456/s`.length;

/**
 * Opens a server on a path that has its mode from the first moment, and was free: it listens in a folder of its own, and
 * only then gets its name.
 *
 * @param open makes the server listen on the path it is given
 * @returns removes the file, unless another stands in its place
 * @throws `ERR_SPIFFE_PORT_IN_USE` for a path that is in use, `ERR_SPIFFE_CONFIG` for a folder in which others can put
 *   another socket in its place
 */
export async function openSocketFile(
  path: string,
  mode: number,
  open: (path: string) => Promise<unknown>,
): Promise<() => Promise<void>> {
  const parent = dirname(path);
  const around = await lstat(parent).catch((cause: unknown) => {
    throw new SpiffeError("ERR_SPIFFE_CONFIG", `The folder of the socket ${path} cannot be looked at`, { cause });
  });
  const uid = process.getuid?.();
  const foreign = !around.isDirectory() || (around.uid !== uid && around.uid !== 0);
  // in a folder with the sticky bit nobody moves the files of others
  if (foreign || ((around.mode & 0o022) !== 0 && (around.mode & 0o1000) === 0)) {
    throw new SpiffeError("ERR_SPIFFE_CONFIG", `Others can put another socket in the place of ${path}`, {
      hint: `Make ${parent} a directory of this user that nobody else can write to: chmod 700`,
    });
  }
  await freeSocketPath(path, (message, options) => new SpiffeError("ERR_SPIFFE_PORT_IN_USE", message, options));
  const folder = await mkdtemp(join(parent, FOLDER));
  const inside = join(folder, "s");
  try {
    await open(inside);
    await chmod(inside, mode);
    await link(inside, path).catch((cause: unknown) => {
      throw new SpiffeError("ERR_SPIFFE_PORT_IN_USE", `${path} came into use just now; it is left alone`, { cause });
    });
  } finally {
    await unlink(inside).catch(() => {});
    await rmdir(folder).catch(() => {});
  }
  const { ino, dev } = await lstat(path);
  return async () => {
    const now = await lstat(path).catch(() => undefined);
    if (now?.ino === ino && now.dev === dev) await unlink(path).catch(() => {});
  };
}

function codeOf(error: unknown): string | undefined {
  return (error as { code?: string } | null)?.code;
}
