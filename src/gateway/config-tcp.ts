/**
 * What of a gateway file carries bytes and not HTTP: listeners with `protocol: tcp`, their routes, the upstreams these
 * name, and the way out, `egress`.
 */
import type { Policy } from "../policy/index.ts";
import { rulesOf } from "../policy/policy.ts";
import { readId } from "../policy/principals.ts";
import { isPrefix } from "../tls/proxy-gate.ts";
import { MAX_SOCKET_PATH } from "../tls/socket-file.ts";
import { isRecord, type Path, type Reader, type Values } from "./config-reader.ts";
import type { ListenerConfig } from "./config-types.ts";
import { readCheckEvery } from "./config-upstream.ts";
import { isLoopback } from "./loopback.ts";
import { shownUrl } from "./upstream-url.ts";

/** A way out as it is written: plaintext on this machine in, mutual TLS to one pinned peer out. */
export interface EgressInput {
  readonly name: string;
  /** A loopback address; `127.0.0.1` by default. */
  readonly address?: string;
  /** Port to bind, 0 for any free one; this or `socket`. */
  readonly port?: number;
  /** Path of a unix socket, in place of address and port. */
  readonly socket?: string;
  /** Who may open the socket, as digits of `chmod`; `"0600"` by default. */
  readonly mode?: string;
  readonly upstream: string;
  /** Time without a byte in either direction after which a connection ends; 1h by default. */
  readonly idle?: string;
  /** Connections at a time; 1,000 by default. */
  readonly maxConnections?: number;
}

/** Where bytes may go. */
export interface ByteTarget {
  /** As written, for logs. */
  readonly url: string;
  readonly tls: boolean;
  /** Path of a unix socket; host and port otherwise. */
  readonly socketPath?: string;
  readonly host?: string;
  readonly port?: number;
}

/** An upstream for bytes. */
export interface ByteUpstreamConfig {
  readonly name: string;
  readonly targets: readonly ByteTarget[];
  /** The SPIFFE ID that must answer; undefined for plaintext. */
  readonly id: string | undefined;
  /** Whether it is reached in plaintext over a network. */
  readonly unsafePlain: boolean;
  readonly connectTimeoutMs: number;
  /** Whether each connection begins with a PROXY header that tells who calls. */
  readonly proxyHeader: boolean;
  /** How often every address is dialled to see whether it can serve. */
  readonly health: { readonly everyMs: number } | undefined;
}

/** A route of a listener for bytes. */
export interface ByteRouteConfig {
  readonly name: string;
  readonly listeners: readonly string[];
  readonly upstream: string;
  readonly idleMs: number;
  readonly maxConnectionsPerIdentity: number;
}

/** A way out. */
export interface EgressConfig {
  readonly name: string;
  readonly place:
    | { readonly address: string; readonly port: number }
    | { readonly path: string; readonly mode: number };
  readonly upstream: string;
  readonly idleMs: number;
  readonly maxConnections: number;
}

/** All that carries bytes. */
export interface ByteConfig {
  readonly listeners: readonly ListenerConfig[];
  readonly upstreams: readonly ByteUpstreamConfig[];
  readonly routes: readonly ByteRouteConfig[];
  readonly egress: readonly EgressConfig[];
}

const HOUR_MS = 3_600_000;
/** The greatest number of connections that a limit may say. */
export const MAX_CONNECTIONS = 1_000_000;
const ROUTE = "- { name: <name>, listen: [<listener>], upstream: <name> }";
const URLS = "tls://host:port with id, tcp://127.0.0.1:port or unix:/path";

const isByteUrl = (url: unknown): boolean => typeof url === "string" && /^(?:tcp|tls):/.test(url);

/** Names in a list of the file, whatever else is wrong there. */
const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((one): one is string => typeof one === "string") : [];

/** Which items of the file are for bytes, told before any of them is judged. */
export class ByteParts {
  readonly #listeners: ReadonlySet<string>;
  readonly #upstreams: ReadonlySet<string>;
  readonly #alone: boolean;

  constructor(root: Values, listeners: readonly ListenerConfig[]) {
    this.#alone = listeners.length > 0 && listeners.every((one) => one.protocol === "tcp");
    this.#listeners = new Set(listeners.filter((one) => one.protocol === "tcp").map((one) => one.name));
    const routes = Array.isArray(root.routes) ? root.routes.filter((one) => this.isRoute(one)) : [];
    const egress = Array.isArray(root.egress) ? root.egress : [];
    const named = texts([...routes, ...egress].map((one) => (isRecord(one) ? one.upstream : undefined)));
    const written = isRecord(root.upstreams) ? Object.entries(root.upstreams) : [];
    const byUrl = written.filter(([, one]) => isRecord(one) && [one.url].flat().some(isByteUrl));
    this.#upstreams = new Set([...named, ...byUrl.map(([name]) => name)]);
  }

  /** A route is for bytes when it names a listener for bytes, or names none where there are no others. */
  isRoute(item: unknown): boolean {
    if (!isRecord(item)) return false;
    if (item.listen === undefined) return this.#alone;
    return texts(item.listen).some((name) => this.#listeners.has(name));
  }

  isUpstream(name: string): boolean {
    return this.#upstreams.has(name);
  }
}

function readTarget(text: unknown): ByteTarget | undefined {
  if (typeof text !== "string") return undefined;
  const unix = /^unix:(?:\/\/)?(\/[^\0?#]*[^\0?#/])$/.exec(text);
  if (unix?.[1] !== undefined) return { url: text, tls: false, socketPath: unix[1] };
  const found = /^(tcp|tls):\/\/(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+)):([1-9][0-9]{0,4})\/?$/.exec(text);
  if (found === null || Number(found[4]) > 65_535) return undefined;
  return { url: text, tls: found[1] === "tls", host: (found[2] ?? found[3]) as string, port: Number(found[4]) };
}

function readByteHealth(read: Reader, value: unknown, path: Path): ByteUpstreamConfig["health"] {
  if (value === undefined) return undefined;
  const own = isRecord(value) ? { ...value } : value;
  if (isRecord(own) && own.path !== undefined) {
    delete (own as Record<string, unknown>).path;
    const why = "bytes have no request to ask with; a check dials, proves the peer and leaves";
    read.report([...path, "path"], "belongs to HTTP", why, "health: { every: 5s }");
  }
  return { everyMs: readCheckEvery(read, read.object(own, path, ["every"]).every, [...path, "every"]) };
}

/** Reads an upstream for bytes; undefined where it has no address at all. */
function readByteUpstream(read: Reader, name: string, item: unknown, path: Path): ByteUpstreamConfig | undefined {
  const block = read.object(item, path, [
    "url",
    "id",
    "unsafePlainUpstream",
    "connectTimeout",
    "proxyProtocol",
    "health",
  ]);
  if (block.url === undefined) return read.report(path, 'needs "url"', undefined, `url: ${URLS}`);
  if (block.unsafePlainUpstream !== undefined && block.unsafePlainUpstream !== true) {
    read.report([...path, "unsafePlainUpstream"], "is not true", undefined, "true, or leave it out");
  }
  const id = read.string(block.id, [...path, "id"], '"spiffe://<domain>/<path>"');
  const pinned = id === undefined ? undefined : readId(id, [...path, "id"], (issue) => read.issues.push(issue));
  const many = Array.isArray(block.url);
  const list = many ? read.strings(block.url, [...path, "url"], URLS) : [block.url];
  const targets = list.flatMap((url, i) => {
    const target = readTarget(url);
    const at: Path = many ? [...path, "url", i] : [...path, "url"];
    if (target === undefined) {
      const what = `${shownUrl(url)} is no address for bytes`;
      read.report(at, what, "a route of a tcp listener or an egress goes there", URLS);
    }
    return target ?? [];
  });
  const kinds = new Set(targets.map((target) => target.tls));
  const remote = targets.some(({ tls, host }) => !tls && host !== undefined && !isLoopback(host));
  const unsafe = block.unsafePlainUpstream === true;
  if (kinds.size > 1) {
    const why = "one connection would be checked and the next not";
    read.report([...path, "url"], "mixes tls with plaintext", why, "two upstreams");
  } else if (kinds.has(true) && block.id === undefined) {
    const why = "the SPIFFE ID that must answer; host names prove nothing here";
    read.report(path, `tls needs "id", ${why}`, undefined, 'id: "spiffe://<domain>/<path>"');
  } else if (kinds.has(false) && block.id !== undefined) {
    const why = "nothing proves who answers";
    read.report([...path, "id"], "cannot be checked in plaintext", why, "url: tls://host:port");
  } else if (remote && !unsafe) {
    const why = "on the way everybody can read and change what is sent";
    read.report([...path, "url"], "plaintext leaves this machine", why, "tls with id, or unsafePlainUpstream: true");
  } else if (unsafe && !remote) {
    const why = "it would hide a later mistake";
    read.report([...path, "unsafePlainUpstream"], "is not needed here", why, "leave it out");
  }
  const connectTimeoutMs = read.duration(block.connectTimeout, [...path, "connectTimeout"], 5_000);
  if (block.proxyProtocol !== undefined && block.proxyProtocol !== "v2") {
    const what = `${JSON.stringify(block.proxyProtocol)} is no version that is sent`;
    read.report([...path, "proxyProtocol"], what, undefined, "v2, or leave it out");
  }
  const proxyHeader = block.proxyProtocol === "v2";
  const health = readByteHealth(read, block.health, [...path, "health"]);
  return { name, targets, id: pinned, unsafePlain: remote, connectTimeoutMs, proxyHeader, health };
}

function readRoute(
  read: Reader,
  item: unknown,
  path: Path,
  listeners: readonly ListenerConfig[],
): ByteRouteConfig | undefined {
  const own = isRecord(item) ? { ...item } : item;
  for (const key of isRecord(own) ? ["path", "audience", "timeout", "websocket"] : []) {
    if ((own as Values)[key] === undefined) continue;
    delete (own as Record<string, unknown>)[key];
    const why = "a connection has no request to look at; its listener alone leads here";
    read.report([...path, key], "belongs to HTTP, and this route is of a tcp listener", why, ROUTE);
  }
  const block = read.object(own, path, ["name", "listen", "upstream", "idle", "maxConnectionsPerIdentity"]);
  for (const key of ["name", "listen", "upstream"])
    if (block[key] === undefined) read.report(path, `needs "${key}"`, undefined, ROUTE);
  const name = block.name === undefined ? undefined : read.name(block.name, [...path, "name"]);
  const listen = read.strings(block.listen, [...path, "listen"], "[<listener>]");
  const names = listeners.map((one) => one.name);
  for (const [i, one] of listen.entries()) {
    read.reference(one, [...path, "listen", i], names, "listener");
    if (listeners.find((other) => other.name === one)?.protocol === "http") {
      const what = `listener "${one}" speaks HTTP, the others of this route do not`;
      read.report([...path, "listen", i], what, undefined, "two routes");
    }
  }
  const upstream = read.string(block.upstream, [...path, "upstream"], "the name of an upstream");
  const idleMs = read.duration(block.idle, [...path, "idle"], HOUR_MS);
  const limitAt: Path = [...path, "maxConnectionsPerIdentity"];
  const maxConnectionsPerIdentity = read.count(
    block.maxConnectionsPerIdentity,
    limitAt,
    1_000,
    MAX_CONNECTIONS,
    "connections",
  );
  if (name === undefined || upstream === undefined) return undefined;
  return { name, listeners: listen, upstream, idleMs, maxConnectionsPerIdentity };
}

function readPlace(read: Reader, block: Values, path: Path): EgressConfig["place"] | undefined {
  const expected = "port: 9001 on loopback, or socket: /run/<name>.sock";
  if (block.socket !== undefined) {
    if (block.port !== undefined || block.address !== undefined)
      read.report([...path, "socket"], "stands beside address or port", "it would be one of them", expected);
    const socket = read.string(block.socket, [...path, "socket"], "/run/<name>.sock");
    if (socket === undefined) return undefined;
    if (!/^\/[^\0]*[^\0/]$/.test(socket) || new TextEncoder().encode(socket).length > MAX_SOCKET_PATH) {
      const what = `${JSON.stringify(socket)} is no path of a socket`;
      return read.report([...path, "socket"], what, undefined, `an absolute path of at most ${MAX_SOCKET_PATH} bytes`);
    }
    const { mode = "0600" } = block;
    if (typeof mode !== "string" || !/^0?[0-6]{3}$/.test(mode)) {
      const what = `${JSON.stringify(mode)} is no mode of a socket`;
      return read.report([...path, "mode"], what, "whoever may write there is let out as this gateway", '"0600"');
    }
    return { path: socket, mode: Number.parseInt(mode, 8) };
  }
  if (block.mode !== undefined)
    read.report([...path, "mode"], "belongs to a socket", undefined, "socket: /run/<name>.sock beside it");
  if (block.port === undefined) return read.report(path, 'needs "port" or "socket"', undefined, expected);
  const address = read.string(block.address, [...path, "address"], "a loopback address") ?? "127.0.0.1";
  const port = read.port(block.port, [...path, "port"], 0);
  if (isLoopback(address)) return { address, port };
  const why = "everybody who reaches it would speak with this gateway's identity";
  return read.report([...path, "address"], `${address} is not loopback`, why, "127.0.0.1, ::1 or a socket");
}

function readEgress(read: Reader, value: unknown, names: Set<string>, upstreams: readonly string[]): EgressConfig[] {
  if (value === undefined) return [];
  const expected = "- { name: <name>, port: 9001, upstream: <name> }";
  return read.list(value, ["egress"], expected).flatMap((item, i) => {
    const path: Path = ["egress", i];
    const keys = ["name", "address", "port", "socket", "mode", "upstream", "idle", "maxConnections"];
    const block = read.object(item, path, keys);
    for (const key of ["name", "upstream"])
      if (block[key] === undefined) read.report(path, `needs "${key}"`, undefined, expected);
    const name = block.name === undefined ? undefined : read.name(block.name, [...path, "name"]);
    if (name !== undefined && names.has(name)) {
      const what = `another listener or egress is called "${name}"`;
      read.report([...path, "name"], what, undefined, "another name");
    }
    if (name !== undefined) names.add(name);
    const place = readPlace(read, block, path);
    const upstream = read.string(block.upstream, [...path, "upstream"], "the name of an upstream");
    if (upstream !== undefined) read.reference(upstream, [...path, "upstream"], upstreams, "upstream");
    const idleMs = read.duration(block.idle, [...path, "idle"], HOUR_MS);
    const maxConnections = read.count(
      block.maxConnections,
      [...path, "maxConnections"],
      1_000,
      MAX_CONNECTIONS,
      "connections",
    );
    if (name === undefined || place === undefined || upstream === undefined) return [];
    return [{ name, place, upstream, idleMs, maxConnections }];
  });
}

/** Reads all that carries bytes. */
export function readBytes(
  read: Reader,
  root: Values,
  parts: ByteParts,
  listeners: readonly ListenerConfig[],
): ByteConfig {
  const written = isRecord(root.upstreams) ? Object.entries(root.upstreams) : [];
  const upstreams = written.flatMap(([name, item]) => {
    if (!parts.isUpstream(name)) return [];
    const path: Path = ["upstreams", name];
    return (read.name(name, path) === undefined ? undefined : readByteUpstream(read, name, item, path)) ?? [];
  });
  const names = written.map(([name]) => name);
  const items = Array.isArray(root.routes) ? [...root.routes.entries()] : [];
  const routes: ByteRouteConfig[] = [];
  for (const [i, item] of items) {
    if (!parts.isRoute(item)) continue;
    const path: Path = ["routes", i];
    const route = readRoute(read, item, path, listeners);
    if (route === undefined) continue;
    read.reference(route.upstream, [...path, "upstream"], names, "upstream");
    const isTwin = (j: number, other: unknown) => (j < i || (j > i && !parts.isRoute(other))) && isRecord(other);
    if (items.some(([j, other]) => isTwin(j, other) && (other as Values).name === route.name))
      read.report([...path, "name"], `a second route is called "${route.name}"`, undefined, "another name");
    for (const one of route.listeners) {
      const twin = routes.find((other) => other.listeners.includes(one));
      if (twin === undefined) continue;
      const why = "nothing tells their connections apart";
      read.report([...path, "listen"], `route "${twin.name}" has listener "${one}" already`, why, "another listener");
    }
    routes.push(route);
  }
  const own = listeners.filter((one) => one.protocol === "tcp");
  for (const { name } of own) {
    if (routes.some((route) => route.listeners.includes(name))) continue;
    const at = Array.isArray(root.listen) ? root.listen.findIndex((one) => isRecord(one) && one.name === name) : -1;
    const path: Path = at < 0 ? ["listen"] : ["listen", at];
    read.report(path, `no route is of tcp listener "${name}"`, "its connections would go nowhere", ROUTE);
  }
  const egress = readEgress(read, root.egress, new Set(listeners.map((one) => one.name)), names);
  for (const [i, { upstream }] of egress.entries()) {
    if (upstreams.find((one) => one.name === upstream)?.proxyHeader === true) {
      const why = "an egress has no caller to tell of";
      read.report(["egress", i, "upstream"], `upstream "${upstream}" is sent a PROXY header`, why, "another upstream");
    }
    if (upstreams.find((one) => one.name === upstream)?.id !== undefined) continue;
    if (!upstreams.some((one) => one.name === upstream)) continue;
    const why = "an egress goes out by mutual TLS to one peer, and nothing would prove who that is";
    read.report(["egress", i, "upstream"], `upstream "${upstream}" has no "id"`, why, "url: tls://host:port with id");
  }
  return { listeners: own, upstreams, routes, egress };
}

/** Tells of rules that ask connections without requests for what only requests have: an allow rule would never match. */
export function checkByteRules(read: Reader, root: Values, policy: Policy, routes: readonly ByteRouteConfig[]): void {
  const names = new Set(routes.map((route) => route.name));
  for (const rule of rulesOf(policy)) {
    if (rule.deny || rule.routes === undefined || ![...rule.routes].every((name) => names.has(name))) continue;
    const asks = (["methods", "hosts", "path", "headers", "claims"] as const).filter((key) => rule[key] !== undefined);
    if (asks.length === 0) continue;
    const list = Array.isArray(root.policy) ? root.policy : isRecord(root.policy) ? root.policy.rules : undefined;
    const at = Array.isArray(list) ? list.findIndex((one) => isRecord(one) && one.rule === rule.name) : -1;
    const base: Path = Array.isArray(root.policy) ? ["policy"] : ["policy", "rules"];
    const what = `rule "${rule.name}" allows connections of tcp routes by ${asks.join(", ")}`;
    const why = "a connection has none of these, so that the rule would let nobody in";
    read.report(at < 0 ? ["policy"] : [...base, at], what, why, "ids, trustDomains, routes and time");
  }
}

/** Reads `proxyProtocol` of a listener: the load balancers whose word on the caller's address counts. */
export function readProxies(read: Reader, value: unknown, path: Path): readonly string[] | undefined {
  if (value === undefined) return undefined;
  const expected = "{ from: [10.0.0.0/8] }";
  const block = read.object(value, path, ["from"]);
  if (block.from === undefined) {
    const why = "whoever may send a header may take any address";
    return read.report(path, 'needs "from"', why, expected);
  }
  const from = read.strings(block.from, [...path, "from"], "addresses or prefixes such as 10.0.0.0/8");
  for (const [i, one] of from.entries()) {
    const at: Path = [...path, "from", i];
    if (!isPrefix(one))
      read.report(at, `"${one}" is no address or prefix`, undefined, "such as 10.0.0.0/8 or fd00::/8");
    else if (one.endsWith("/0"))
      read.report(at, `"${one}" is everybody`, "whoever may send a header may take any address", expected);
  }
  return from;
}
