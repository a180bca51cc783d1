/** Policy files on disk: which ones a name with `*` means, and what they hold. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { LIMITS, SpiffeError } from "../base/index.ts";

/** Whether a name fits a pattern in which `*` is any run of characters; each part is looked for once. */
export function fitsGlob(pattern: string, name: string): boolean {
  const [first = "", ...rest] = pattern.split("*");
  const last = rest.pop();
  if (last === undefined) return name === pattern;
  if (!name.startsWith(first) || name.length < first.length + last.length || !name.endsWith(last)) return false;
  let at = first.length;
  const end = name.length - last.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}

/**
 * The files that a name means, in order: the one file, or with `*` in its last part all of that folder that fit. Names
 * that begin with a dot are never meant by `*`.
 *
 * @param base the folder that a relative name starts from
 * @throws `ERR_SPIFFE_CONFIG` when the folder cannot be read, no file fits or a folder has a `*` in its name
 */
export function findPolicyFiles(glob: string, base: string): string[] {
  const folder = dirname(glob);
  const pattern = basename(glob);
  if (folder.includes("*")) {
    throw new SpiffeError(
      "ERR_SPIFFE_CONFIG",
      `${glob}: a * may stand in the name of the file, not in that of a folder`,
    );
  }
  if (!pattern.includes("*")) return [glob];
  let names: string[];
  try {
    names = readdirSync(resolve(base, folder));
  } catch (cause) {
    throw unreadable(folder, "folder", cause);
  }
  const found = names.filter((name) => !name.startsWith(".") && fitsGlob(pattern, name)).sort();
  const files = found.map((name) => join(folder, name)).filter((file) => isFile(resolve(base, file)));
  if (files.length === 0) throw new SpiffeError("ERR_SPIFFE_CONFIG", `${glob}: no policy file has such a name`);
  return files;
}

/**
 * Reads policy files.
 *
 * @returns their names as given, for messages, and their texts
 * @throws `ERR_SPIFFE_CONFIG` when one cannot be read or is longer than 1 MiB
 */
export function readPolicyFiles(glob: string, base: string): { file: string; text: string }[] {
  return findPolicyFiles(glob, base).map((file) => {
    let bytes: Uint8Array;
    try {
      const path = resolve(base, file);
      if (statSync(path).size > LIMITS.configText)
        throw new SpiffeError("ERR_SPIFFE_CONFIG", `${file}: is longer than 1 MiB`);
      bytes = readFileSync(path);
    } catch (cause) {
      if (cause instanceof SpiffeError) throw cause;
      throw unreadable(file, "policy file", cause);
    }
    return { file, text: decodeText(bytes, file, "policy file") };
  });
}

/**
 * The text of a file's octets.
 *
 * @throws `ERR_SPIFFE_CONFIG` for what is not UTF-8: a stand-in for an octet would be another value than the one written
 */
export function decodeText(bytes: Uint8Array, file: string, what: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new SpiffeError("ERR_SPIFFE_CONFIG", `${file}: the ${what} is not UTF-8`);
  }
}

/** What cannot be looked at is taken along: reading it says why not. */
function isFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    return true;
  }
}

function unreadable(name: string, what: string, cause: unknown): SpiffeError {
  const code = (cause as { code?: string }).code ?? "unknown error";
  return new SpiffeError("ERR_SPIFFE_CONFIG", `${name}: the ${what} cannot be read (${code})`, { cause });
}
