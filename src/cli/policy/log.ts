/** One request out of an access log of JSON lines. */
import { createReadStream } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { isRecord } from "../../policy/read.ts";
import { usageError } from "../exit.ts";

/** What the log says of a request that was judged. */
export interface LoggedRequest {
  /** In the words of an input. */
  readonly input: Record<string, unknown>;
  readonly verdict: string | undefined;
  readonly reason: string | undefined;
  readonly rule: string | undefined;
}

/** Fields of a log line that are an input's too. */
const FIELDS = ["peer", "via", "token", "method", "path", "host", "listener", "route", "time"] as const;

function parse(line: string, id: string): Record<string, unknown> | undefined {
  // most lines are another request's: they are not parsed
  if (!line.includes(id)) return undefined;
  try {
    const value = JSON.parse(line) as unknown;
    // other lines may name a request too; its one line of the access log is this
    return isRecord(value) && value.requestId === id && value.message === "request" ? value : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Finds a request.
 *
 * @param file the log, `-` for stdin
 * @throws `ERR_SPIFFE_USAGE` when it cannot be read, does not hold the request, or the request never reached the policy
 */
export async function requestOf(file: string, id: string): Promise<LoggedRequest> {
  const input = file === "-" ? process.stdin : createReadStream(file);
  let found: Record<string, unknown> | undefined;
  try {
    for await (const line of createInterface({ input })) {
      found = parse(line, id);
      if (found !== undefined) break;
    }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    throw usageError(`Expected an access log in ${file}, but reading it failed with ${code}`, "Check the file name");
  } finally {
    input.destroy();
  }
  if (found === undefined) {
    throw usageError(
      `Expected the request ${id} in ${file}, but no line holds it`,
      "Check the id, and that the log is whole",
    );
  }
  const text = (key: string) => (typeof found[key] === "string" ? (found[key] as string) : undefined);
  if (text("path") === undefined) {
    throw usageError(
      `Expected a request that was judged, but ${id} was refused before with ${text("reason") ?? "no reason"}`,
      "Nothing is to explain: no policy was asked",
    );
  }
  const known = FIELDS.filter((key) => text(key) !== undefined).map((key) => [key, text(key)]);
  return { input: Object.fromEntries(known), verdict: text("verdict"), reason: text("reason"), rule: text("rule") };
}
