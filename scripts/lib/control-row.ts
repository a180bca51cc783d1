/** The usual form of a control: one text of one file, both named from a folder. */
import { posix } from "node:path";
import type { Control } from "./controls.ts";

type Row = (name: string, file: string, find: string, replace: string, ...tests: readonly string[]) => Control;

/** Controls whose files and tests are named from a folder. */
export function controlsIn(folder: string): Row {
  const at = (path: string) => posix.join(folder, path);
  return (name, file, find, replace, ...tests) => ({
    name,
    patches: [{ file: at(file), find, replace }],
    tests: tests.map(at),
  });
}
