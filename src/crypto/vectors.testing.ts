/** Where the public test vectors are: the folder that `VECTORS_DIR` names, else `shared/vectors` beside the repository. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const folder: string = process.env.VECTORS_DIR ?? fileURLToPath(new URL("../../../shared/vectors", import.meta.url));

/** What is missing for vector tests, or `undefined` when they can run. */
export const vectorsMissing: string | undefined = existsSync(folder)
  ? undefined
  : `there are no test vectors at ${folder}; name their folder by VECTORS_DIR`;

/** One vector file as it stands. */
export function readVectors<T>(path: string): T {
  return JSON.parse(readFileSync(join(folder, path), "utf8")) as T;
}
