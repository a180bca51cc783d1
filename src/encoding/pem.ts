/** PEM (RFC 7468): labelled base64 blocks in a text. */
import { accept, LIMITS, refuse, type Verdict } from "../base/index.ts";
import { decodeBase64, encodeBase64 } from "./base64.ts";

/** One block of a PEM text. */
export interface PemBlock {
  /** For example `CERTIFICATE` or `PRIVATE KEY`. */
  readonly label: string;
  readonly der: Uint8Array;
}

/**
 * Reads all blocks of a PEM text.
 *
 * Text outside of blocks is explanation and skipped (RFC 7468 §2), but a line with five dashes has to be a boundary in
 * its place: nothing that was meant as a block is ever dropped. Encapsulated headers (legacy encryption) are refused.
 *
 * @param text at most 4 MiB of characters
 * @returns at least one block in order, or `encoding.pem`, `encoding.base64`, `encoding.too-large`
 */
export function decodePem(text: string): Verdict<PemBlock[]> {
  if (typeof text !== "string") return refuse("encoding.pem", "Expected PEM as text");
  if (text.length > LIMITS.bundle)
    return refuse("encoding.too-large", `Expected PEM of at most ${LIMITS.bundle} bytes`);
  const blocks: PemBlock[] = [];
  let label: string | undefined;
  let body = "";
  for (const { line, number } of lines(text)) {
    const at = `line ${number}`;
    if (!line.includes("-----")) {
      if (label !== undefined) body += line;
      continue;
    }
    const boundary = /^-----(BEGIN|END) ([A-Z0-9](?:[A-Z0-9 ]{0,62}[A-Z0-9])?)-----$/.exec(line);
    if (boundary === null)
      return refuse("encoding.pem", `Expected a BEGIN or END line in ${at}, got other text with dashes`);
    const [, kind, name] = boundary;
    if (kind === "BEGIN") {
      if (label !== undefined) return refuse("encoding.pem", `Expected the end of ${label} before ${at}`);
      label = name;
      body = "";
      continue;
    }
    if (label === undefined || name !== label) return refuse("encoding.pem", `Expected no END of ${name} in ${at}`);
    const der = decodeBase64(body);
    if (!der.ok) return refuse("encoding.pem", `${der.message}, in the block that ends in ${at}`);
    if (der.value.length === 0) return refuse("encoding.pem", `Expected a block with content before ${at}`);
    blocks.push({ label, der: der.value });
    label = undefined;
  }
  if (label !== undefined) return refuse("encoding.pem", `Expected an END line of ${label}, got the end of the text`);
  if (blocks.length === 0) return refuse("encoding.pem", "Expected at least one PEM block, got none");
  return accept(blocks);
}

/** Writes one PEM block, with lines of 64 characters and a line feed at the end. */
export function encodePem(label: string, der: Uint8Array): string {
  const lines = encodeBase64(der).match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}

/** The lines that have text, without spaces and tabs at their ends, and their numbers. */
function* lines(text: string): Generator<{ line: string; number: number }> {
  let number = 1;
  for (let start = 0; start < text.length; number++) {
    let end = start;
    while (end < text.length && text[end] !== "\n" && text[end] !== "\r") end++;
    let last = end;
    while (last > start && (text[last - 1] === " " || text[last - 1] === "\t")) last--;
    if (last > start) yield { line: text.slice(start, last), number };
    start = text[end] === "\r" && text[end + 1] === "\n" ? end + 2 : end + 1;
  }
}
