/** The request of `spiffe-edge call`, from its options. */
import { readFileSync } from "node:fs";
import process from "node:process";
import { SpiffeId } from "../../id/index.ts";
import { type Call, readCall } from "../../tls/fetch-request.ts";
import { usageError } from "../exit.ts";

/** The options that make up a request. */
export interface RequestOptions {
  readonly method?: string;
  readonly header?: readonly string[];
  readonly data?: string;
  readonly jwt?: string;
}

/** The IDs that may answer. */
export function peersOf(texts: readonly string[]): SpiffeId[] {
  return texts.map((text) => {
    const id = SpiffeId.safeParseConfig(text);
    if (id.ok) return id.value;
    throw usageError(`Expected a SPIFFE ID after --peer: ${id.message}`, "Write it as spiffe://<trust domain>/<path>");
  });
}

/**
 * Checks everything that can be checked before anyone is asked.
 *
 * @throws SpiffeError `ERR_SPIFFE_USAGE`
 */
export function requestOf(url: string, options: RequestOptions, signal: AbortSignal): Call {
  const headers = headersOf(options.header ?? []);
  if (options.jwt !== undefined && headers.has("authorization")) {
    throw usageError("--jwt and --header authorization both say who calls", "Leave one of them out");
  }
  const body = options.data === undefined ? undefined : bodyOf(options.data);
  const method = options.method ?? (body === undefined ? "GET" : "POST");
  return readCall(url, { method, headers, signal, ...(body !== undefined && { body }) });
}

function headersOf(lines: readonly string[]): Headers {
  const headers = new Headers();
  for (const line of lines) {
    const [, name = "", value = ""] = /^([^:\s]+):[ \t]*(.*)$/s.exec(line) ?? [];
    try {
      headers.append(name, value);
    } catch {
      throw usageError(
        "Expected a header as name: value, but got something else after --header",
        "For example --header 'accept: application/json'",
      );
    }
  }
  return headers;
}

/** The text itself, or with @ what a file or stdin holds. */
function bodyOf(data: string): Uint8Array<ArrayBuffer> {
  if (!data.startsWith("@")) return new TextEncoder().encode(data);
  const name = data.slice(1);
  try {
    return new Uint8Array(readFileSync(name === "-" ? process.stdin.fd : name));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    throw usageError(`Expected the body in ${name}, but reading it failed with ${code}`, "Check the file name");
  }
}
