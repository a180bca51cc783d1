/** The entries file of `dev`: a YAML list of workloads that the embedded authority serves beside those of the demo. */
import { readFileSync } from "node:fs";
import process from "node:process";
import type { AuthorityEntry } from "../../authority/index.ts";
import { SpiffeError } from "../../base/index.ts";
import { Reader } from "../../gateway/config-reader.ts";
import { readConfigText } from "../../policy/config-text.ts";
import { formatFaults } from "../../policy/issue.ts";

const KEYS = ["id", "socket", "hint", "ttl", "federatesWith"];
const EXAMPLE = '- { id: "spiffe://x0tta6bl4.local/orders", socket: orders }';

/**
 * Reads an entries file: `{ id, socket, hint?, ttl?, federatesWith? }` each.
 *
 * @param taken names of sockets that are not free
 * @throws `ERR_SPIFFE_CONFIG`, one line per fault, with file, line and column
 */
export function readEntriesFile(file: string, taken: readonly string[]): AuthorityEntry[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "unknown error";
    throw new SpiffeError("ERR_SPIFFE_CONFIG", `${file}: the entries file cannot be read (${code})`, { cause });
  }
  const parsed = readConfigText(text, { file, env: process.env });
  const read = new Reader();
  const entries = parsed.faults.length > 0 ? [] : readEntries(read, parsed.value, taken);
  const faults = [...parsed.faults, ...read.issues.map((issue) => parsed.sentence(issue))];
  if (faults.length > 0) throw new SpiffeError("ERR_SPIFFE_CONFIG", formatFaults(faults));
  return entries;
}

function readEntries(read: Reader, value: unknown, taken: readonly string[]): AuthorityEntry[] {
  return read.list(value, [], EXAMPLE).flatMap((item, i) => {
    const block = read.object(item, [i], KEYS);
    const id = read.string(block.id, [i, "id"], '"spiffe://<domain>/<path>"');
    const socket = block.socket === undefined ? undefined : read.name(block.socket, [i, "socket"]);
    for (const key of ["id", "socket"])
      if (block[key] === undefined) read.report([i], `needs "${key}"`, undefined, EXAMPLE);
    if (socket !== undefined && taken.includes(socket)) {
      read.report([i, "socket"], `"${socket}" belongs to the demo`, undefined, "another name");
    }
    const hint = read.string(block.hint, [i, "hint"], "a text");
    const ttlMs = block.ttl === undefined ? undefined : read.duration(block.ttl, [i, "ttl"], 0);
    const federatesWith = read.strings(block.federatesWith, [i, "federatesWith"], "[partner.example]");
    if (id === undefined || socket === undefined) return [];
    return [{ id, socket, federatesWith, ...(hint !== undefined && { hint }), ...(ttlMs !== undefined && { ttlMs }) }];
  });
}
