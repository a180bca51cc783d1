/** The published list of SPIFFE IDs with the verdict each has to get. */
import { readFileSync } from "node:fs";

export interface IdCase {
  readonly name: string;
  /** The ID as text, or in `inputBase64` as bytes that no text may stand for. */
  readonly input?: string;
  readonly inputBase64?: string;
  readonly valid: boolean;
  /** What `parseConfig` makes of it, or null where that refuses. */
  readonly parseConfig: string | null;
  /** Why it is refused. */
  readonly reason?: string;
  readonly requirements: readonly string[];
}

const FILE = new URL("../../test/vectors/spiffe/id.json", import.meta.url);

export const ID_CASES: readonly IdCase[] = JSON.parse(readFileSync(FILE, "utf8"));

/** The bytes of a case as a wire carries them; a text beyond Latin-1 in UTF-8. */
export function bytesOf({ input, inputBase64 }: IdCase): Uint8Array {
  if (inputBase64 !== undefined) return Uint8Array.from(Buffer.from(inputBase64, "base64"));
  return Uint8Array.from(Buffer.from(input!, /[^\0-\xff]/.test(input!) ? "utf8" : "latin1"));
}
