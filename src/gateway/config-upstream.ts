/** What an upstream may be: proven by SPIFFE ID over TLS, or in plaintext that stays on this machine. */
import type { OptionNames } from "../base/check-options.ts";
import { readId } from "../policy/principals.ts";
import { canonicalTarget } from "../policy/request-line.ts";
import type { Path, Reader } from "./config-reader.ts";
import type { HttpUpstreamInput, UpstreamConfig } from "./config-types.ts";
import { parseUpstreamUrl, shownUrl, type UpstreamTarget } from "./upstream-url.ts";

/** Addresses of one upstream. */
const MAX_TARGETS = 64;
/** Tries of one request after its first. */
const MAX_RETRIES = 10;
/** Milliseconds between two health checks at least, so that checks are never the load. */
const MIN_EVERY_MS = 1_000;

/** What an upstream for HTTP may say; one for bytes has other names. */
export const UPSTREAM_NAMES: OptionNames<HttpUpstreamInput> = {
  url: true,
  id: true,
  protocol: true,
  unsafePlainUpstream: true,
  tryTimeout: true,
  retries: true,
  health: true,
};
const KEYS = Object.keys(UPSTREAM_NAMES);

function readRetries(read: Reader, value: unknown, path: Path): UpstreamConfig["retries"] {
  const { max = 1, budget = "10%" } = read.object(value, path, ["max", "budget"]);
  if (!Number.isInteger(max) || (max as number) < 0 || (max as number) > MAX_RETRIES) {
    const what = `${JSON.stringify(max)} is no number of retries`;
    const why = "every one is load on an upstream that has trouble already";
    read.report([...path, "max"], what, why, `a whole number from 0 to ${MAX_RETRIES}`);
  }
  const percent = typeof budget === "string" ? /^(0|[1-9][0-9]?|100)%$/.exec(budget)?.[1] : undefined;
  if (percent === undefined) {
    const what = `${JSON.stringify(budget)} is no share of the requests`;
    read.report([...path, "budget"], what, "without one, retries multiply an outage", "a percentage such as 10%");
  }
  return { max: max as number, budget: Number(percent) / 100 };
}

function readHealth(read: Reader, value: unknown, path: Path): UpstreamConfig["health"] {
  if (value === undefined) return undefined;
  const expected = "health: { path: /healthz, every: 5s }";
  const block = read.object(value, path, ["path", "every"]);
  if (block.path === undefined) {
    read.report(path, 'needs "path"', "the address alone does not say whether the upstream can serve", expected);
  }
  const target = typeof block.path === "string" ? canonicalTarget(block.path) : undefined;
  if (block.path !== undefined && target?.ok !== true) {
    const what = `${JSON.stringify(block.path)} is no path to ask for`;
    read.report([...path, "path"], what, "every check would fail", 'a path such as "/healthz"');
  }
  const everyMs = readCheckEvery(read, block.every, [...path, "every"]);
  return { path: target?.ok === true ? target.value.target : "/", everyMs };
}

/** Reads how often health is checked, in milliseconds. */
export function readCheckEvery(read: Reader, value: unknown, path: Path): number {
  const everyMs = read.duration(value, path, 5_000);
  if (everyMs < MIN_EVERY_MS) {
    const why = "checks would be a load of their own";
    read.report(path, `"${value}" is too often`, why, `at least ${MIN_EVERY_MS / 1_000}s`);
  }
  return everyMs;
}

/** Reads one upstream at a place of the configuration; undefined where it has no address at all. */
export function readUpstream(read: Reader, name: string, item: unknown, path: Path): UpstreamConfig | undefined {
  const block = read.object(item, path, KEYS);
  const urls = "https://host:port, http://127.0.0.1:port or unix:/path";
  if (block.url === undefined) {
    read.report(path, 'needs "url"', undefined, `url: ${urls}`);
    return undefined;
  }
  if (block.unsafePlainUpstream !== undefined && block.unsafePlainUpstream !== true) {
    read.report([...path, "unsafePlainUpstream"], "is not true", undefined, "true, or leave it out");
  }
  const id = read.string(block.id, [...path, "id"], '"spiffe://<domain>/<path>"');
  const pinned = id === undefined ? undefined : readId(id, [...path, "id"], (issue) => read.issues.push(issue));
  const list = Array.isArray(block.url) ? read.strings(block.url, [...path, "url"], urls) : [block.url];
  const targets: UpstreamTarget[] = [];
  for (const [i, url] of list.entries()) {
    const at: Path = Array.isArray(block.url) ? [...path, "url", i] : [...path, "url"];
    const parsed = parseUpstreamUrl(url);
    if (parsed === undefined) read.report(at, `${shownUrl(url)} is no address of an upstream`, undefined, urls);
    else if (targets.some((other) => other.url === parsed.url))
      read.report(at, `"${parsed.url}" is there twice`, "it would get twice its share", "each address once");
    else targets.push(parsed);
  }
  if (list.length > MAX_TARGETS) {
    const what = `${list.length} addresses are too many`;
    read.report(
      [...path, "url"],
      what,
      "each is dialled and checked by itself",
      `at most ${MAX_TARGETS}, or one DNS name`,
    );
  }
  const kinds = new Set(targets.map((target) => target.tls));
  const remote = targets.some((target) => target.plainRemote);
  const unsafe = block.unsafePlainUpstream === true;
  if (kinds.size > 1) {
    read.report(
      [...path, "url"],
      "mixes https with plaintext",
      "one request would be checked and the next not",
      "two upstreams",
    );
  } else if (kinds.has(true) && block.id === undefined) {
    const why = "the SPIFFE ID that must answer; host names prove nothing here";
    read.report(path, `https needs "id", ${why}`, undefined, 'id: "spiffe://<domain>/<path>"');
  } else if (kinds.has(false) && block.id !== undefined) {
    read.report(
      [...path, "id"],
      "cannot be checked in plaintext",
      "nothing proves who answers",
      "url: https://host:port",
    );
  } else if (remote && !unsafe) {
    const why = "on the way everybody can read and change requests, and take any identity";
    read.report([...path, "url"], "plaintext leaves this machine", why, "https with id, or unsafePlainUpstream: true");
  } else if (unsafe && !remote) {
    read.report(
      [...path, "unsafePlainUpstream"],
      "is not needed here",
      "it would hide a later mistake",
      "leave it out",
    );
  }
  const { protocol = "http1" } = block;
  if (protocol !== "http1" && protocol !== "h2") {
    const what = `${JSON.stringify(protocol)} is no protocol`;
    read.report([...path, "protocol"], what, undefined, "http1 or h2");
  }
  const tryTimeoutMs =
    block.tryTimeout === undefined ? undefined : read.duration(block.tryTimeout, [...path, "tryTimeout"], 0);
  return {
    name,
    targets,
    id: pinned,
    protocol: protocol === "h2" ? "h2" : "http1",
    unsafePlain: remote,
    tryTimeoutMs,
    retries: readRetries(read, block.retries, [...path, "retries"]),
    health: readHealth(read, block.health, [...path, "health"]),
  };
}
