/** Requests of servers that hand out a `Request`: the checks of {@link checkRequest}, on what such a server still shows. */
import { accept, type Refusal, refuse, type Verdict } from "../base/index.ts";
import { canonicalAuthority, canonicalTarget, isServedMethod } from "../policy/request-line.ts";
import { capabilities } from "../runtime/capabilities.ts";
import { isIdentityField } from "./headers.ts";
import { framingFault } from "./target.ts";

/** What URLs of a plaintext server begin with; the second is one runtime's, on a unix socket. */
const SCHEMES = ["http://", "http+unix://"] as const;
/** A comma, a word, a blank and more: the second of two credentials that the server has joined. */
const JOINED = /,\s*[!#$%&'*+\-.^_`|~0-9A-Za-z]+\s+\S/;
/** A quoted string, or what begins like one and has no end: taken too, as looking for another end behind each quote is slow. */
const QUOTED = /"(?:[^"\\]|\\.)*("?)/g;

const refuseHost = (message: string): Refusal => refuse("request.authority", message);

/** Whether `Host` and the authority of a URL name one plain host. A target that is absolute brings its own. */
function sameHost(host: string, authority: string): boolean {
  const named = canonicalAuthority(host)?.host;
  return named !== undefined && canonicalAuthority(authority)?.host === named;
}

/** The last pair that was found to name one host: most requests of a server do. */
let last = { host: "", authority: "" };

function checkHost(host: string | undefined, authority: string): Refusal | undefined {
  if (host === undefined) return refuseHost("The request names no host");
  if (host === last.host && authority === last.authority && host !== "") return undefined;
  if (!sameHost(host, authority)) return refuseHost("The request does not name one plain host");
  last = { host, authority };
  return undefined;
}

/** Fields by their names in lower case. Of one that repeats the values are joined; only cookies of answers are a list. */
type Fields = Readonly<Record<string, string | undefined>>;

const fieldsByCall = (headers: Headers): Fields =>
  (headers as unknown as { toJSON(): Record<string, string> }).toJSON();

function fieldsOneByOne(headers: Headers): Fields {
  const fields: Record<string, string> = Object.create(null);
  headers.forEach((value, name) => {
    fields[name] = value;
  });
  return fields;
}

const fieldsOf = capabilities.requestFields.value === "toJSON" ? fieldsByCall : fieldsOneByOne;

/** A value with nothing in its quoted strings; one without an end stays as it is. */
const withoutQuoted = (value: string): string => value.replace(QUOTED, (text, end) => (end === "" ? text : '""'));

const NONE: readonly string[] = Object.freeze([]);
const listOf = (value: string | undefined): readonly string[] => (value === undefined ? NONE : [value]);

/**
 * Checks a request, and gives the one that the app shall see: the same, or one with the canonical target and without the
 * fields that claim an identity (S-21, S-22, S-23).
 *
 * The server has read the request line before: what it has changed there is what everybody sees, and what it has joined of
 * repeated fields is refused.
 */
export function checkFetchRequest(request: Request): Verdict<Request> {
  const { url, method, headers } = request;
  if (!isServedMethod(method)) return refuse("request.method", "The request's method is not one that is served");
  const scheme = url.startsWith(SCHEMES[0]) ? SCHEMES[0] : SCHEMES[1];
  if (!url.startsWith(scheme)) return refuseHost("The request names no plain host");
  const slash = url.indexOf("/", scheme.length);
  const raw = slash < 0 ? "" : url.slice(slash);
  const target = canonicalTarget(raw);
  if (!target.ok) return target;
  const authority = url.slice(scheme.length, slash);
  const fields = fieldsOf(headers);
  const badHost = checkHost(fields.host, authority);
  if (badHost !== undefined) return badHost;
  const { authorization } = fields;
  if (authorization?.includes(",") && JOINED.test(withoutQuoted(authorization)))
    return refuse("request.authorization", "The request has more than one Authorization field");
  if (framingFault(listOf(fields["content-length"]), listOf(fields["transfer-encoding"])))
    return refuse("request.framing", "The length of the request body is not stated in one plain way");
  let claims: string[] | undefined;
  for (const name in fields) if (isIdentityField(name)) (claims ??= []).push(name);
  if (claims === undefined && target.value.target === raw && scheme === SCHEMES[0]) return accept(request);
  const kept = new Headers(headers);
  for (const name of claims ?? []) kept.delete(name);
  // not a copy of the whole: one runtime warns of a signal that is only touched
  const init = { method, headers: kept, body: request.body, duplex: "half" };
  return accept(new Request(`${SCHEMES[0]}${authority}${target.value.target}`, init as RequestInit));
}
