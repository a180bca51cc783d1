/** Where the test vectors are: public ones in the folder that `VECTORS_DIR` names, else in `shared/vectors` beside the repository. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { SETS, type VectorSet } from "./sets.ts";

const PUBLIC: string = process.env.VECTORS_DIR ?? fileURLToPath(new URL("../../../shared/vectors", import.meta.url));
const OWN: string = fileURLToPath(new URL("./spiffe", import.meta.url));

function folderOf({ folder }: Pick<VectorSet, "folder">): string {
  return folder === "spiffe" ? OWN : join(PUBLIC, folder);
}

/** Why a set can not run here, or `undefined`. */
export function missing(set: VectorSet): string | undefined {
  if (existsSync(folderOf(set))) return undefined;
  return `there are no test vectors at ${PUBLIC}; name their folder by VECTORS_DIR`;
}

/** The parsed contents of a set's files by name. */
export function readSet(set: VectorSet): Record<string, unknown> {
  return Object.fromEntries(
    set.files.map((file) => [file, JSON.parse(readFileSync(join(folderOf(set), file), "utf8"))]),
  );
}

/** JSON files of a folder that no set reads. */
export function unread(folder: VectorSet["folder"]): string[] {
  const read = new Set(SETS.filter((set) => set.folder === folder).flatMap((set) => set.files));
  return readdirSync(folderOf({ folder })).filter((file) => file.endsWith(".json") && !read.has(file));
}
