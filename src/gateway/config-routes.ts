/** `routes` of a gateway file, as far as they carry HTTP. */
import { checkHosts } from "../policy/conditions.ts";
import type { Path, Reader } from "./config-reader.ts";
import type { ByteParts } from "./config-tcp.ts";
import type { ListenerConfig, RouteConfig, UpstreamConfig } from "./config-types.ts";
import { parseRoutePath } from "./routes.ts";

const KEYS = ["name", "listen", "hosts", "path", "audience", "upstream", "unsafeForwardToken", "timeout", "websocket"];

/** Reads the hosts of a route; an absent list is for any. */
function readHosts(read: Reader, value: unknown, path: Path): readonly string[] {
  if (value === undefined) return [];
  const hosts = checkHosts(value, path, (issue) => read.issues.push(issue));
  return hosts === undefined ? [] : (value as string[]);
}

/** Whether two routes have a host in common. */
const shareHosts = (one: readonly string[], other: readonly string[]): boolean =>
  one.length === 0 ? other.length === 0 : one.some((host) => other.includes(host));

/** Reads the routes of HTTP listeners; those for bytes are passed over. */
export function readRoutes(
  read: Reader,
  value: unknown,
  listeners: readonly ListenerConfig[],
  upstreams: readonly string[],
  bytes: ByteParts,
): RouteConfig[] {
  const expected = '- { name: <name>, path: "/**", upstream: <name> }';
  if (value === undefined && listeners.length > 0)
    read.report(["routes"], "is missing", "no request would go anywhere", expected);
  const items = value === undefined ? [] : read.list(value, ["routes"], expected);
  const names = listeners.map((listener) => listener.name);
  const routes: RouteConfig[] = [];
  for (const [i, item] of items.entries()) {
    if (bytes.isRoute(item)) continue;
    const path: Path = ["routes", i];
    const block = read.object(item, path, KEYS);
    const missing = ["name", "path", "upstream"].filter((key) => block[key] === undefined);
    for (const key of missing) read.report(path, `needs "${key}"`, undefined, expected);
    if (missing.length > 0) continue;
    const name = read.name(block.name, [...path, "name"]);
    const listen =
      block.listen === undefined ? names : read.strings(block.listen, [...path, "listen"], `[${names.join(", ")}]`);
    if (block.listen !== undefined)
      for (const [j, one] of listen.entries()) read.reference(one, [...path, "listen", j], names, "listener");
    const upstream = read.string(block.upstream, [...path, "upstream"], "the name of an upstream");
    if (upstream !== undefined) read.reference(upstream, [...path, "upstream"], upstreams, "upstream");
    if (upstream !== undefined && bytes.isUpstream(upstream)) {
      const what = `upstream "${upstream}" is for bytes, this route speaks HTTP`;
      read.report([...path, "upstream"], what, undefined, "an upstream of its own, by https, http or unix");
    }
    const pattern = parseRoutePath(String(block.path));
    if (!pattern.ok) read.report([...path, "path"], pattern.message, undefined, '"/a/b", "/a/{name}/b" or "/a/b/**"');
    const hosts = readHosts(read, block.hosts, [...path, "hosts"]);
    const audience = read.strings(block.audience, [...path, "audience"], '["spiffe://<domain>/<path>"]');
    const open = listeners.find((one) => one.clientCertificate === "none" && listen.includes(one.name));
    if (open !== undefined && block.audience === undefined) {
      const why = "no caller could prove who it is";
      read.report(
        path,
        `listener "${open.name}" takes no certificates, so this needs "audience"`,
        why,
        'audience: ["spiffe://<domain>/<path>"]',
      );
    }
    if (routes.some((other) => other.name === name)) {
      read.report([...path, "name"], `a second route is called "${name}"`, undefined, "another name");
    }
    const twin = routes.find(
      (other) =>
        pattern.ok &&
        other.path.shape === pattern.value.shape &&
        shareHosts(other.hosts, hosts) &&
        other.listeners.some((one) => listen.includes(one)),
    );
    if (twin !== undefined) {
      read.report(
        [...path, "path"],
        `route "${twin.name}" takes the same paths on the same listener`,
        "one of them would never match",
        "another path",
      );
    }
    const timeoutMs = read.duration(block.timeout, [...path, "timeout"], 30_000);
    for (const key of ["websocket", "unsafeForwardToken"]) {
      if (block[key] !== undefined && block[key] !== true)
        read.report([...path, key], "is not true", undefined, "true, or leave it out");
    }
    if (block.unsafeForwardToken !== undefined && block.audience === undefined) {
      const why = "what goes on would be verified by nobody";
      read.report([...path, "unsafeForwardToken"], 'needs "audience" beside it', why, "audience, or leave it out");
    }
    if (name === undefined || upstream === undefined || !pattern.ok) continue;
    const flags = { websocket: block.websocket === true, forwardsToken: block.unsafeForwardToken === true };
    routes.push({ name, listeners: listen, hosts, path: pattern.value, audience, upstream, timeoutMs, ...flags });
  }
  return routes;
}

/** What a route and its upstream cannot do together: a try longer than all tries, WebSocket over HTTP/2, tokens in plaintext. */
export function checkTogether(
  read: Reader,
  routes: readonly RouteConfig[],
  upstreams: readonly UpstreamConfig[],
): void {
  for (const { name, upstream, timeoutMs, websocket, forwardsToken } of routes) {
    const { tryTimeoutMs = 0, protocol, unsafePlain } = upstreams.find((one) => one.name === upstream) ?? {};
    if (forwardsToken && unsafePlain) {
      const what = `route "${name}" forwards tokens`;
      const why = "whoever sees one on the way can use it";
      read.report(["upstreams", upstream, "unsafePlainUpstream"], what, why, "https with id, or loopback");
    }
    if (websocket && protocol === "h2") {
      const what = `route "${name}" takes WebSocket`;
      read.report(["upstreams", upstream, "protocol"], what, "it is passed on over HTTP/1.1 alone", "http1");
    }
    if (tryTimeoutMs <= timeoutMs) continue;
    const what = `${tryTimeoutMs} ms are longer than the ${timeoutMs} ms of route "${name}"`;
    const why = "no try would be over before the request is";
    read.report(["upstreams", upstream, "tryTimeout"], what, why, `at most ${timeoutMs}ms, or a longer timeout`);
  }
}
