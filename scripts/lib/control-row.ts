/** What a control is, and its usual form: one text of one file, both named from a folder. */
import { posix } from "node:path";
import type { RuntimeName } from "./runtimes.ts";

export interface Control {
  name: string;
  /** What is taken out, one place after another: `find` is exact source text that occurs once in the file. */
  patches: readonly { file: string; find: string; replace: string }[];
  /** Test files, at least one of which must notice. */
  tests: readonly string[];
  /** Where it is in force at all; everywhere unless given. */
  runtimes?: readonly RuntimeName[];
}

/** Replaces a text that has to be there exactly once. */
export function replaceOnce(text: string, file: string, find: string, replace: string): string {
  const parts = text.split(find);
  if (parts.length !== 2) throw new Error(`${file} holds ${JSON.stringify(find)} ${parts.length - 1} times, not once`);
  return parts.join(replace);
}

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
