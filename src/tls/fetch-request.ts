/** What a fetch call asks for, read from its arguments: target, headers, body. */
import { SpiffeError } from "../base/errors.ts";

/** A request body: nothing, bytes of known length, or a stream. */
export type Body = { readonly bytes: Uint8Array } | { readonly stream: ReadableStream<Uint8Array> } | undefined;

/** The arguments of a fetch call, checked. */
export interface Call {
  readonly url: URL;
  readonly method: string;
  readonly headers: Headers;
  readonly body: Body;
  readonly signal: AbortSignal | undefined;
  readonly redirect: string;
}

// They belong to one connection, and this one is made here.
const HOP_BY_HOP = [
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "expect",
];

const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);
const UPPER = new Set(["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH"]);

/** Reads the arguments of a fetch call; throws `ERR_SPIFFE_USAGE` for what this fetch does not do. */
export function readCall(input: string | URL | Request, init: RequestInit | undefined): Call {
  const request = typeof input === "object" && "headers" in input ? input : undefined;
  const url = targetOf(request === undefined ? String(input) : request.url);
  const method = methodOf(init?.method ?? request?.method ?? "GET");
  const headers = new Headers(init?.headers ?? request?.headers);
  if ((init?.integrity ?? request?.integrity ?? "") !== "")
    throw usage("no integrity, which nobody would check", "one");
  const given = init?.body ?? request?.body ?? undefined;
  if (given !== undefined && (method === "GET" || method === "HEAD")) throw usage(`no body with ${method}`, "one");
  const body = bodyOf(given, headers);
  for (const name of HOP_BY_HOP) headers.delete(name);
  headers.set("host", headers.get("host") ?? url.host);
  if (body !== undefined && "bytes" in body) headers.set("content-length", String(body.bytes.byteLength));
  else if (body === undefined) headers.delete("content-length");
  const signal = init?.signal ?? request?.signal ?? undefined;
  return { url, method, headers, body, signal, redirect: init?.redirect ?? request?.redirect ?? "manual" };
}

function targetOf(text: string): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw usage("an absolute URL", JSON.stringify(text.slice(0, 100)));
  }
  if (url.protocol !== "https:") throw usage("an https: URL; a peer proves itself in TLS", url.protocol);
  if (url.username !== "" || url.password !== "") throw usage("a URL without user name and password", "one with them");
  return url;
}

function methodOf(given: string): string {
  const upper = given.toUpperCase();
  if (!METHOD.test(given) || ["CONNECT", "TRACE", "TRACK"].includes(upper)) throw usage("another method", given);
  return UPPER.has(upper) ? upper : given;
}

function bodyOf(given: unknown, headers: Headers): Body {
  if (given === undefined || given === null) return undefined;
  if (typeof given === "string" || given instanceof URLSearchParams) {
    const form =
      typeof given === "string" ? "text/plain;charset=UTF-8" : "application/x-www-form-urlencoded;charset=UTF-8";
    if (!headers.has("content-type")) headers.set("content-type", form);
    return { bytes: new TextEncoder().encode(String(given)) };
  }
  if (given instanceof ArrayBuffer) return { bytes: new Uint8Array(given.slice(0)) };
  if (ArrayBuffer.isView(given)) {
    return { bytes: new Uint8Array(given.buffer, given.byteOffset, given.byteLength).slice() };
  }
  const platform = written(given);
  if (given instanceof ReadableStream) return { stream: given as ReadableStream<Uint8Array> };
  const type = platform.headers.get("content-type");
  if (type !== null && !headers.has("content-type")) headers.set("content-type", type);
  if (platform.body === null) return undefined;
  return { stream: platform.body as ReadableStream<Uint8Array> };
}

/** Streams, Blob, FormData, async iterables: the platform knows how to write them, and which of them are used up. */
function written(given: unknown): Response {
  try {
    return new Response(given as ConstructorParameters<typeof Response>[0]);
  } catch (cause) {
    // sent all the same it would arrive as an empty one
    const expected = "Expected a body that nobody has read or reads";
    throw new SpiffeError("ERR_SPIFFE_USAGE", `${expected}; got one that the platform does not take`, {
      phase: "request",
      hint: "Make a new Request or stream for each try, or give the body as text or bytes",
      cause,
    });
  }
}

/** Whether a call may be sent twice: an idempotent method, and a body that is still there (S-24). */
export function isRepeatable({ method, body }: Call): boolean {
  return IDEMPOTENT.has(method) && (body === undefined || "bytes" in body);
}

function usage(expected: string, came: string): SpiffeError {
  return new SpiffeError("ERR_SPIFFE_USAGE", `Expected ${expected}; got ${came}`, {
    phase: "request",
    hint: "Nothing was sent: change the call, as it is refused each time",
  });
}
