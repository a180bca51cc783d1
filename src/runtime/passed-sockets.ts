/**
 * Sockets that a supervisor has opened and passes on: `LISTEN_FDS` of systemd. The variables are taken out of the
 * environment, so that no program started from here takes the sockets for its own.
 */
import { SpiffeError } from "../base/errors.ts";

type Environment = Record<string, string | undefined>;

/** The first of the descriptors that are passed. */
const FIRST = 3;
/** More than any supervisor passes. */
const MOST = 64;

const wrong = (what: string): SpiffeError =>
  new SpiffeError("ERR_SPIFFE_CONFIG", `The sockets that were passed can not be used: ${what}`, {
    phase: "listen",
    hint: "Name each with FileDescriptorName= like a listener of the gateway file, or status",
  });

/**
 * Takes the sockets that were passed to this process, by name.
 *
 * @param env its environment; `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` are removed
 * @param pid its number: what was meant for another process is left alone
 * @returns descriptors by name; empty where none were passed
 * @throws `ERR_SPIFFE_CONFIG` for a number that is none, for names that are missing or doubled
 * @example
 * ```ts
 * import { passedSockets } from "../../src/runtime/passed-sockets.ts";
 * const env = { LISTEN_PID: "7", LISTEN_FDS: "2", LISTEN_FDNAMES: "mesh:status" };
 * console.assert(passedSockets(env, 7).get("status") === 4);
 * ```
 */
export function passedSockets(env: Environment = process.env, pid: number = process.pid): ReadonlyMap<string, number> {
  const { LISTEN_PID: forPid, LISTEN_FDS: count, LISTEN_FDNAMES: names } = env;
  const found = new Map<string, number>();
  if (forPid === undefined && count === undefined) return found;
  for (const name of ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]) delete env[name];
  if (forPid !== String(pid)) return found;
  if (count === undefined || !/^(?:0|[1-9]\d?)$/.test(count) || Number(count) > MOST) {
    throw wrong(`LISTEN_FDS is no number from 0 to ${MOST}`);
  }
  if (Number(count) === 0) return found;
  const list = names?.split(":") ?? [];
  if (list.length !== Number(count)) throw wrong(`LISTEN_FDNAMES names ${list.length} of ${count}`);
  for (const [i, name] of list.entries()) {
    if (found.has(name)) throw wrong(`"${name}" is there twice`);
    found.set(name, FIRST + i);
  }
  return found;
}
