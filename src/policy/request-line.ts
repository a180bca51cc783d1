/** Method, target and host of a request in the one spelling that gateway, policy and upstream share (S-22, S-23). */
import { accept, refuse, type Verdict } from "../base/index.ts";
import { canonicalPath } from "./path.ts";

/** Query characters of RFC 3986; the brackets and the bar are added, which browsers leave as they are. */
const QUERY = /^[A-Za-z0-9\-._~!$&'()*+,;=:@/?%[\]|]*$/;
const METHOD = /^[A-Z]+(?:-[A-Z]+)*$/;
const HOST = /^(?:[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_-])?|\[[0-9a-f:.]+\])$/;
const AUTHORITY = /^([a-z0-9_](?:[a-z0-9._-]*[a-z0-9_-])?|\[[0-9a-f:.]+\])\.?(:[0-9]{1,5})?$/i;
/** What programs take for an IP address, which can be written in many ways: brackets, or a number behind the last dot. */
const ADDRESS = /^\[|(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)$/;

/** Whether a text is a method as HTTP spells the registered ones. */
export function isMethod(text: string): boolean {
  return typeof text === "string" && METHOD.test(text);
}

/** Whether a method is one that the gateway serves. TRACE would show the caller what the gateway adds. */
export function isServedMethod(method: string): boolean {
  return METHOD.test(method) && method !== "CONNECT" && method !== "TRACE";
}

/** Brings a path with query into canonical form; refuses with `request.target`. */
export function canonicalTarget(raw: string): Verdict<{ path: string; target: string }> {
  const mark = raw.indexOf("?");
  const path = canonicalPath(mark < 0 ? raw : raw.slice(0, mark));
  if (!path.ok) return path;
  if (mark < 0) return accept({ path: path.value, target: path.value });
  const query = raw.slice(mark + 1);
  if (!QUERY.test(query)) return refuse("request.target", "The query holds a character that is not allowed there");
  if (/%(?![0-9A-Fa-f]{2})/.test(query)) return refuse("request.target", "The query holds an invalid percent-encoding");
  return accept({ path: path.value, target: `${path.value}?${query}` });
}

/** A host as URLs have it, so that no other form of an address leads around a rule or a route; undefined for what is none. */
function spelled(host: string): string | undefined {
  if (!ADDRESS.test(host)) return host;
  const url = `http://${host}`;
  return URL.canParse(url) ? new URL(url).hostname : undefined;
}

/** Whether a text is a host in the one spelling that {@link canonicalAuthority} gives it. */
export function isCanonicalHost(text: string): boolean {
  return typeof text === "string" && HOST.test(text) && !text.includes("..") && spelled(text) === text;
}

/**
 * Host and port in one spelling: lower case, without the dot at the end, IP addresses as URLs have them; undefined for
 * userinfo and anything odd.
 */
export function canonicalAuthority(raw: string): { authority: string; host: string } | undefined {
  // before it is put into small letters: some other letters become plain ones by that
  const match = AUTHORITY.exec(raw);
  if (match?.[1] === undefined || match[1].includes("..")) return undefined;
  const host = spelled(match[1].toLowerCase());
  return host === undefined ? undefined : { authority: host + (match[2] ?? ""), host };
}
