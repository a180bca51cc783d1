/** What of a message's fields crosses the gateway, and what it adds (S-21). Works on names and values as received. */
import { isProxyHeader } from "../policy/conditions.ts";
import { headerName } from "../policy/index.ts";
import { traceFields } from "./trace-context.ts";

/** One field: name as received, value. */
export type Field = readonly [name: string, value: string];

/** The field that tells an upstream who called; only the gateway sets it. */
export const IDENTITY_FIELD = "x-spiffe-id";

/** The field that tells of certificates further back. */
export const XFCC_FIELD = "x-forwarded-client-cert";

/** Fields that concern one connection (RFC 9110 §7.6.1) and never go on. */
const HOP_BY_HOP = new Set([
  "connection",
  "http2-settings",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Names that claim an identity, compared after {@link headerName}. */
const IDENTITY = new Set([IDENTITY_FIELD, XFCC_FIELD]);

/** Of a trace, what goes on is written anew; other spellings are somebody's mistake. */
const TRACE = new Set(["traceparent", "tracestate"]);

/** What a name means here. */
interface Meaning {
  readonly lower: string;
  /** As `headerName` spells it. */
  readonly plain: string;
  /** It never crosses: pseudo-header, hop-by-hop, a second spelling of the length, or a claim of identity. */
  readonly stays: boolean;
  /** Only a proxy may say it, or it would replace what has been judged. */
  readonly forged: boolean;
}

/** Names that were met lately: most requests bring the same few. */
const meanings = new Map<string, Meaning>();
const MAX_MEANINGS = 1_024;

function meaningOf(name: string): Meaning {
  const known = meanings.get(name);
  if (known !== undefined) return known;
  const lower = name.toLowerCase();
  const plain = headerName(lower);
  // in every spelling: some servers take what frames a message in another one too
  const framing = HOP_BY_HOP.has(plain) || (plain === "content-length" && lower !== plain);
  const stays = lower.startsWith(":") || framing || isIdentityField(lower);
  const meaning = { lower, plain, stays, forged: isProxyHeader(plain) };
  if (name.length > 64) return meaning;
  if (meanings.size >= MAX_MEANINGS) meanings.clear();
  meanings.set(name, meaning);
  return meaning;
}

/** Whether a field name claims an identity, in any spelling. */
export function isIdentityField(name: string): boolean {
  // by length first: this is asked of every field of every request
  return (name.length === 11 || name.length === 23) && IDENTITY.has(headerName(name));
}

/** Pairs up names and values that come in turn, as node's `rawHeaders` and `rawTrailers`. */
export function fieldsOf(raw: readonly string[]): Field[] {
  const fields: Field[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) fields.push([raw[i] as string, raw[i + 1] as string]);
  return fields;
}

/** Removes pseudo-header fields, hop-by-hop fields, those `Connection` names, and identity fields, in this order. */
export function endToEnd(fields: readonly Field[]): Field[] {
  let named: Set<string> | undefined;
  for (const [name, value] of fields) {
    if (name.length !== 10 || meaningOf(name).lower !== "connection") continue;
    named ??= new Set();
    for (const option of value.split(",")) named.add(option.trim().toLowerCase());
  }
  return fields.filter(([name]) => {
    const { stays, lower } = meaningOf(name);
    return !stays && named?.has(lower) !== true;
  });
}

/** What the gateway knows of a request when it writes the upstream's. */
export interface ForwardedRequest {
  /** The verified caller's ID; undefined for a caller without one, whom the policy allows. */
  readonly peerId: string | undefined;
  /** Names that only an external authorizer sets, as `headerName` writes them, and the values it set. */
  readonly authorizer?: { readonly names: readonly string[]; readonly fields: readonly Field[] } | undefined;
  /** Drop `Authorization`: it carried a JWT-SVID. */
  readonly dropAuthorization: boolean;
  /** Host as the upstream shall see it. */
  readonly host: string;
  /** Host as the caller wrote it. */
  readonly forwardedHost: string;
  /** The caller's address, where known. */
  readonly address: string | undefined;
  readonly requestId: string;
  /** The fields of the trace, where the gateway has a span in it; the caller's or a new one by default. */
  readonly trace?: readonly Field[] | undefined;
  /** What is said of the caller's certificate, and of those before it. */
  readonly clientCert?: string | undefined;
}

/** The fields of the request to the upstream: hop-by-hop removal first, identity last. Body framing is the sender's. */
export function requestFields(received: readonly Field[], request: ForwardedRequest): Field[] {
  const fields: Field[] = [["host", request.host]];
  const cookies: string[] = [];
  for (const [name, value] of endToEnd(received)) {
    const { lower, plain, forged } = meaningOf(name);
    if (forged || lower === "host" || lower === "expect" || TRACE.has(plain)) continue;
    if (lower === "authorization" && request.dropAuthorization) continue;
    if (request.authorizer?.names.includes(plain)) continue;
    // HTTP/2 splits cookies, HTTP/1.1 servers read one field only (RFC 9113 §8.2.3)
    if (lower === "cookie") cookies.push(value);
    else fields.push([name, value]);
  }
  if (cookies.length > 0) fields.push(["cookie", cookies.join("; ")]);
  if (request.address !== undefined) fields.push(["x-forwarded-for", request.address]);
  fields.push(["x-forwarded-host", request.forwardedHost], ["x-forwarded-proto", "https"]);
  fields.push(["x-request-id", request.requestId], ...(request.trace ?? traceFields(received, request.requestId)));
  fields.push(...(request.authorizer?.fields ?? []));
  if (request.clientCert !== undefined) fields.push([XFCC_FIELD, request.clientCert]);
  if (request.peerId !== undefined) fields.push([IDENTITY_FIELD, request.peerId]);
  return fields;
}

/** Whether an answer has no content by its status, so that a length would be of nothing (RFC 9110 section 8.6). */
const isBare = (status: number): boolean => status < 200 || status === 204 || status === 304;

/** The fields of the answer to the caller. */
export function responseFields(received: readonly Field[], requestId: string, status: number): Field[] {
  const bare = isBare(status);
  const fields = endToEnd(received).filter(([name]) => {
    const { lower, plain } = meaningOf(name);
    return plain !== "x-request-id" && !(bare && lower === "content-length");
  });
  fields.push(["x-request-id", requestId]);
  return fields;
}

/** Fields that frame, route or authorise a message and so never come as a trailer (RFC 9110 §6.5.1). */
const NEVER_TRAILER =
  /^(?:host|content-.*|authorization|cookie|set-cookie|cache-control|expect|max-forwards|range|location)$/;

/**
 * Trailers that may cross, in either direction.
 *
 * @param reserved names that may not, as `headerName` spells them
 */
export function trailerFields(received: readonly Field[], reserved: readonly string[] = []): Field[] {
  return endToEnd(received).filter(([name]) => {
    const { plain, forged } = meaningOf(name);
    return !forged && !reserved.includes(plain) && !NEVER_TRAILER.test(plain);
  });
}

/** Fields as an object for `writeHead` and `request`: lower-case names, a list where one repeats. */
export function toHeaderObject(fields: readonly Field[]): Record<string, string | string[]> {
  const object: Record<string, string | string[]> = Object.create(null);
  for (const [name, value] of fields) {
    const { lower } = meaningOf(name);
    const present = object[lower];
    if (present === undefined) object[lower] = value;
    else if (typeof present === "string") object[lower] = [present, value];
    else present.push(value);
  }
  return object;
}

/** Trailers as an object: repeats are joined, as HTTP/2 takes some names only once. */
export function toTrailerObject(fields: readonly Field[]): Record<string, string> {
  const object: Record<string, string> = Object.create(null);
  for (const [name, value] of fields) {
    const lower = name.toLowerCase();
    object[lower] = object[lower] === undefined ? value : `${object[lower]}, ${value}`;
  }
  return object;
}
