/** Requests of servers that hand out a `Request`: the checks of {@link checkRequest}, on what such a server still shows. */
import { accept, type Refusal, refuse, type Verdict } from "../base/index.ts";
import { canonicalAuthority } from "../policy/request-line.ts";
import { isIdentityField } from "./headers.ts";
import { checkRequest } from "./target.ts";

/** What URLs of a plaintext server begin with; the second is one runtime's, on a unix socket. */
const SCHEMES = ["http://", "http+unix://"] as const;
const CHECKED = ["host", "authorization", "content-length", "transfer-encoding"];
/** A comma, a word, a blank and more: the second of two credentials that the server has joined. */
const JOINED = /,\s*[!#$%&'*+\-.^_`|~0-9A-Za-z]+\s+\S/;

const twoCredentials = (): Refusal =>
  refuse("request.authorization", "The request has more than one Authorization field");

/**
 * Checks a request, and gives the one that the app shall see: the same, or one with the canonical target and without the
 * fields that claim an identity (S-21, S-22, S-23).
 *
 * The server has read the request line before: what it has changed there is what everybody sees, and what it has joined of
 * repeated fields is refused.
 */
export function checkFetchRequest(request: Request): Verdict<Request> {
  const { url, method, headers } = request;
  const scheme = SCHEMES.find((known) => url.startsWith(known));
  if (scheme === undefined) return refuse("request.authority", "The request names no plain host");
  const start = scheme.length;
  const slash = url.indexOf("/", start);
  const target = slash < 0 ? "" : url.slice(slash);
  const rawHeaders: string[] = [];
  for (const name of CHECKED) {
    const value = headers.get(name);
    if (value !== null) rawHeaders.push(name, value);
  }
  const checked = checkRequest({ method, url: target, httpVersionMajor: 1, rawHeaders });
  if (!checked.ok) return checked;
  const { authorization, host, target: canonical } = checked.value;
  // an absolute target names its own host
  if (canonicalAuthority(url.slice(start, slash))?.host !== host)
    return refuse("request.authority", "Host and the request's target name different hosts");
  if (authorization?.includes(",") && JOINED.test(authorization.replace(/"(?:[^"\\]|\\.)*"/g, '""')))
    return twoCredentials();
  const claims = [...headers.keys()].filter(isIdentityField);
  if (claims.length === 0 && canonical === target && scheme === SCHEMES[0]) return accept(request);
  const kept = new Headers(headers);
  for (const name of claims) kept.delete(name);
  // not a copy of the whole: one runtime warns of a signal that is only touched
  const init = { method, headers: kept, body: request.body, duplex: "half" };
  return accept(new Request(`${SCHEMES[0]}${url.slice(start, slash)}${canonical}`, init as RequestInit));
}
