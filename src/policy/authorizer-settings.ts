/** Settings of the external authorizer, and their check. */
import { headerName } from "./conditions.ts";
import { type ConfigIssue, quoted } from "./issue.ts";
import { checkKeys, isRecord, type Path, type Report, stringList } from "./read.ts";

/** An authorizer as it is written. */
export interface AuthorizerInput {
  /** `https://…`, or `http://…` on loopback. */
  readonly url: string;
  /** Time for the whole answer, such as `200ms`; at most 10s, 500ms when absent. */
  readonly timeout?: string | undefined;
  /** Headers it may add; none when absent. */
  readonly headers?: readonly string[] | undefined;
}

/** Settings that passed the check. */
export interface AuthorizerSettings {
  readonly url: string;
  readonly timeoutMs: number;
  /** Names as `headerName` spells them. */
  readonly headers: readonly string[];
}

const DEFAULT_TIMEOUT_MS = 500;
const MAX_TIMEOUT_MS = 10_000;
const HEADER = /^[A-Za-z0-9-]{1,64}$/;

/** Names that frame, route or identify a request and are nobody's to add. */
const RESERVED =
  /^(?:authorization|connection|content-.*|cookie|expect|forwarded|host|http2-settings|keep-alive|max-forwards|proxy-.*|set-cookie|te|trailer|transfer-encoding|upgrade|via|x-forwarded-.*|x-http-method.*|x-method-override|x-original-.*|x-real-ip|x-request-id|x-rewrite-url|x-spiffe-id)$/;

function readUrl(value: unknown, path: Path, report: Report): string | undefined {
  const expected = '"https://host:port/path", or http:// to 127.0.0.1, [::1] or localhost';
  const url = typeof value === "string" && URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || (url.protocol !== "https:" && url.protocol !== "http:")) {
    report({ path, what: value === undefined ? "is missing" : "is no address of an authorizer", expected });
  } else if (url.username !== "" || url.password !== "" || url.hash !== "") {
    report({ path, what: "holds more than an address", why: "a password here would reach logs", expected });
  } else if (url.protocol === "http:" && !/^(?:127(?:\.\d{1,3}){3}|\[::1\]|localhost)$/.test(url.hostname)) {
    report({ path, what: "is plaintext to another machine", why: "whoever is on the way could allow", expected });
  } else return url.href;
  return undefined;
}

function readTimeout(value: unknown, path: Path, report: Report): number {
  if (value === undefined) return DEFAULT_TIMEOUT_MS;
  const [, digits, unit] = (typeof value === "string" ? /^([1-9]\d{0,4})(ms|s)$/.exec(value) : null) ?? [];
  const ms = digits === undefined ? Number.NaN : Number(digits) * (unit === "s" ? 1_000 : 1);
  if (ms <= MAX_TIMEOUT_MS) return ms;
  report({ path, what: `${quoted(value)} is no timeout`, expected: "such as 200ms, at most 10s" });
  return DEFAULT_TIMEOUT_MS;
}

/** Checks the settings of an authorizer. */
export function checkAuthorizer(
  input: unknown,
  path: Path,
): { settings: AuthorizerSettings | undefined; issues: readonly ConfigIssue[] } {
  const issues: ConfigIssue[] = [];
  const report: Report = (issue) => issues.push(issue);
  if (!isRecord(input)) {
    report({ path, what: "is not a block of keys", expected: '{ url: "http://127.0.0.1:9191/", timeout: 200ms }' });
    return { settings: undefined, issues };
  }
  checkKeys(input, path, ["url", "timeout", "headers"], report);
  const url = readUrl(input.url, [...path, "url"], report);
  const timeoutMs = readTimeout(input.timeout, [...path, "timeout"], report);
  const names = stringList(input.headers, [...path, "headers"], "[x-plan]", report) ?? [];
  for (const [i, name] of names.entries()) {
    const at = [...path, "headers", i];
    if (!HEADER.test(name))
      report({ path: at, what: `"${name}" is no header name`, expected: "letters, digits and dashes" });
    else if (RESERVED.test(headerName(name))) {
      report({
        path: at,
        what: `"${name}" is not for an authorizer to set`,
        expected: "a header of your own, such as x-plan",
      });
    }
  }
  const headers = names.map(headerName);
  return { settings: issues.length > 0 || url === undefined ? undefined : { url, timeoutMs, headers }, issues };
}
