/** Where the real SPIRE of the tests is. */
import { accessSync, constants } from "node:fs";
import { homedir } from "node:os";

/** The version that test/spire/go.mod builds. */
export const SPIRE_VERSION = "1.14.5";

export interface SpireBinaries {
  readonly directory: string;
  readonly server: string;
  readonly agent: string;
}

/** The directory in which the programs are expected: `SPIRE_BIN_DIR`, else the cache of built tools. */
export function spireDirectory(env: Readonly<Record<string, string | undefined>> = process.env): string {
  if (env.SPIRE_BIN_DIR !== undefined && env.SPIRE_BIN_DIR !== "") return env.SPIRE_BIN_DIR;
  const cache =
    env.XDG_CACHE_HOME !== undefined && env.XDG_CACHE_HOME !== "" ? env.XDG_CACHE_HOME : `${homedir()}/.cache`;
  return `${cache}/spiffe-edge/spire-${SPIRE_VERSION}/bin`;
}

/** Both programs, or `undefined` when one is missing. */
export function findSpire(env?: Readonly<Record<string, string | undefined>>): SpireBinaries | undefined {
  const directory = spireDirectory(env);
  const found = { directory, server: `${directory}/spire-server`, agent: `${directory}/spire-agent` };
  try {
    accessSync(found.server, constants.X_OK);
    accessSync(found.agent, constants.X_OK);
    return found;
  } catch {
    return undefined;
  }
}
