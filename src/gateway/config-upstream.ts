/** What an upstream may be: proven by SPIFFE ID over TLS, or in plaintext that stays on this machine. */
import { readId } from "../policy/principals.ts";
import type { Path, Reader } from "./config-reader.ts";
import type { UpstreamConfig } from "./config-types.ts";
import { parseUpstreamUrl, type UpstreamTarget } from "./upstream-url.ts";

/** Reads one upstream at a place of the configuration; undefined where it has no address at all. */
export function readUpstream(read: Reader, name: string, item: unknown, path: Path): UpstreamConfig | undefined {
  const block = read.object(item, path, ["url", "id", "unsafePlainUpstream"]);
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
    if (parsed === undefined) read.report(at, `${JSON.stringify(url)} is no address of an upstream`, undefined, urls);
    else targets.push(parsed);
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
  return { name, targets, id: pinned, unsafePlain: remote };
}
