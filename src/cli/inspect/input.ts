/** What there is to inspect: read within bounds, and told apart by its first bytes. */
import { closeSync, openSync, readSync } from "node:fs";
import process from "node:process";
import { LIMITS } from "../../base/index.ts";
import { usageError } from "../exit.ts";

/** What the bytes look like; whether they are that, its parser says. */
export type Kind = "pem" | "der" | "json" | "token" | "other";

const DER_SEQUENCE = 0x30;
const TOKEN = /^[\w-]*\.[\w-]*\.[\w-]*$/;
const CHUNK = 65_536;

/**
 * Reads a file, or stdin where the name is `-`.
 *
 * @throws SpiffeError `ERR_SPIFFE_USAGE` when it cannot be read, is empty or holds more than 4 MiB
 */
export function readInput(file: string): Uint8Array {
  const place = file === "-" ? "stdin" : file;
  let bytes: Uint8Array;
  try {
    bytes = file === "-" ? readAll(process.stdin.fd) : readFile(file);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    throw usageError(`Expected to read ${place}, but the system says ${code}`, "Check the name");
  }
  if (bytes.length > LIMITS.bundle) {
    throw usageError(`Expected at most ${LIMITS.bundle} bytes in ${place}, but there are more`, "Give one thing only");
  }
  if (bytes.length === 0) throw usageError(`Expected something in ${place}, but it is empty`, "Check the name");
  return bytes;
}

function readFile(file: string): Uint8Array {
  const handle = openSync(file, "r");
  try {
    return readAll(handle);
  } finally {
    closeSync(handle);
  }
}

/** Reads to the end, or one byte past the bound: a device has no end. */
function readAll(handle: number): Uint8Array {
  const chunks: Buffer[] = [];
  for (let total = 0; total <= LIMITS.bundle; ) {
    const chunk = Buffer.alloc(CHUNK);
    let read: number;
    try {
      read = readSync(handle, chunk);
    } catch (error) {
      // A pipe whose other end is slow, and one whose other end is gone.
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EAGAIN") continue;
      if (code === "EOF") break;
      throw error;
    }
    if (read === 0) break;
    chunks.push(chunk.subarray(0, read));
    total += read;
  }
  return new Uint8Array(Buffer.concat(chunks));
}

/** Tells the kinds apart. */
export function kindOf(bytes: Uint8Array): Kind {
  if (bytes[0] === DER_SEQUENCE && bytes[1] !== undefined && bytes[1] >= 0x80) return "der";
  const text = textOf(bytes);
  if (text.includes("-----BEGIN ")) return "pem";
  if (text.startsWith("{")) return "json";
  return TOKEN.test(text) ? "token" : "other";
}

/** The bytes as text, without blanks around it. */
export function textOf(bytes: Uint8Array): string {
  return new TextDecoder("latin1").decode(bytes).trim();
}
