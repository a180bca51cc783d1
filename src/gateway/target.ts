/** The request line and its authority: read once, refused when two programs could read them differently (S-22, S-23). */
import { accept, type Refusal, refuse, type Verdict } from "../base/index.ts";
import { canonicalAuthority, canonicalTarget, isServedMethod } from "../policy/request-line.ts";

/** The parts of a node request (HTTP/1.1 or the HTTP/2 compatibility object) that the checks read. */
export interface RawRequest {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly httpVersionMajor: number;
  /** Names and values in turn, as received, pseudo-header fields included. */
  readonly rawHeaders: readonly string[];
}

/** A request line in canonical form: what policy, router and upstream see. */
export interface RequestTarget {
  readonly method: string;
  /** Canonical path, without the query. */
  readonly path: string;
  /** Path and query: the bytes that go on. */
  readonly target: string;
  /** Host and, where given, port; lower-case, no trailing dot. */
  readonly authority: string;
  /** Host alone. */
  readonly host: string;
  /** The one `Authorization` value, if any. */
  readonly authorization: string | undefined;
}

const badAuthority = (message: string): Refusal => refuse("request.authority", message);

/** The one authority of a request; two that differ, none, userinfo and anything odd refuse (S-23). */
function authorityOf(
  hosts: readonly string[],
  pseudo: readonly string[],
): Verdict<{ authority: string; host: string }> {
  if (hosts.length > 1 || pseudo.length > 1) return badAuthority("The request names more than one host");
  const host = hosts[0] === undefined ? undefined : canonicalAuthority(hosts[0]);
  const stated = pseudo[0] === undefined ? undefined : canonicalAuthority(pseudo[0]);
  if ((hosts.length > 0 && host === undefined) || (pseudo.length > 0 && stated === undefined)) {
    return badAuthority("The request's host is not a plain host name with an optional port");
  }
  const authority = stated ?? host;
  if (authority === undefined) return badAuthority("The request names no host");
  if (host !== undefined && host.authority !== authority.authority) {
    return badAuthority("Host and :authority name different hosts");
  }
  return accept(authority);
}

/** Message framing that every server reads alike: at most one of `Content-Length` and `Transfer-Encoding: chunked`. */
export function framingFault(lengths: readonly string[], encodings: readonly string[]): boolean {
  if (lengths.length + encodings.length > 1) return true;
  if (lengths[0] !== undefined && !/^[0-9]{1,15}$/.test(lengths[0])) return true;
  return encodings[0] !== undefined && encodings[0].toLowerCase() !== "chunked";
}

/** Fields that are read here. */
type Named = ":scheme" | ":authority" | "host" | "authorization" | "content-length" | "transfer-encoding";

const NONE: readonly string[] = Object.freeze([]);
const NOTHING: Readonly<Record<Named, readonly string[]>> = Object.freeze({
  ":scheme": NONE,
  ":authority": NONE,
  host: NONE,
  authorization: NONE,
  "content-length": NONE,
  "transfer-encoding": NONE,
});
/** How long their names are: most other names are told by that. */
const LENGTHS = new Set(Object.keys(NOTHING).map((name) => name.length));

/** The values of each of them, in order. */
function readFields(raw: readonly string[]): Readonly<Record<Named, readonly string[]>> {
  const fields: Record<Named, readonly string[]> = { ...NOTHING };
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const written = raw[i] as string;
    if (!LENGTHS.has(written.length)) continue;
    const name = written.toLowerCase();
    if (!Object.hasOwn(NOTHING, name)) continue;
    const values = fields[name as Named];
    if (values === NONE) fields[name as Named] = [raw[i + 1] as string];
    else (values as string[]).push(raw[i + 1] as string);
  }
  return fields;
}

/**
 * Checks what a request says about itself before anybody acts on it.
 *
 * Refusals: `request.method` (not a token in capitals, CONNECT or TRACE), `request.target`, `request.authority`,
 * `request.authorization` (more than one field), `request.framing`.
 */
export function checkRequest(request: RawRequest): Verdict<RequestTarget> {
  const fields = readFields(request.rawHeaders);
  const method = request.method ?? "";
  if (!isServedMethod(method)) {
    return refuse("request.method", "The request's method is not one that is served");
  }
  const target = canonicalTarget(request.url ?? "");
  if (!target.ok) return target;
  if (fields[":scheme"].some((scheme) => scheme !== "https")) {
    return refuse("request.target", "The request's scheme is not https");
  }
  const authority = authorityOf(fields.host, fields[":authority"]);
  if (!authority.ok) return authority;
  const { authorization } = fields;
  if (authorization.length > 1) {
    return refuse("request.authorization", "The request has more than one Authorization field");
  }
  if (framingFault(fields["content-length"], fields["transfer-encoding"])) {
    return refuse("request.framing", "The length of the request body is not stated in one plain way");
  }
  return accept({ method, ...target.value, ...authority.value, authorization: authorization[0] });
}
