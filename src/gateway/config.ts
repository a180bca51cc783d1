/** From the text of a gateway file to a checked configuration, or to a list of everything that is wrong with it. */
import { SpiffeError } from "../base/index.ts";
import { type ConfigOrigin, readConfigText } from "../policy/config-text.ts";
import { Policy } from "../policy/index.ts";
import { formatFaults } from "../policy/issue.ts";
import { readId } from "../policy/principals.ts";
import { checkEnd } from "../policy/rule-set.ts";
import { readAccessLog } from "./config-access-log.ts";
import { readLimits } from "./config-limits.ts";
import { type PolicyConfig, type PolicyContext, type PolicyFileReader, readPolicy } from "./config-policy.ts";
import { isRecord, type Path, Reader } from "./config-reader.ts";
import { ByteParts, checkByteRules, readBytes, readLimit, readProxies } from "./config-tcp.ts";
import type { GatewayConfig, GatewayInput, ListenerConfig, RouteConfig, UpstreamConfig } from "./config-types.ts";
import { readUpstream } from "./config-upstream.ts";
import { parseRoutePath } from "./routes.ts";

const checked = new WeakSet<GatewayConfig>();

const LISTENER_KEYS = [
  "name",
  "protocol",
  "address",
  "port",
  "clientCertificate",
  "maxConnectionAge",
  "maxConnections",
  "proxyProtocol",
];

function readListeners(read: Reader, value: unknown, optional: boolean, connections: number): ListenerConfig[] {
  const many = Array.isArray(value);
  if (value === undefined && !optional)
    read.report(["listen"], "is missing", "there would be no door", "listen: { port: 8443 }");
  const items = many
    ? read.list(value, ["listen"], "- { name: <name>, port: 8443 }")
    : value === undefined
      ? []
      : [value];
  const listeners: ListenerConfig[] = [];
  for (const [i, item] of items.entries()) {
    const path: Path = many ? ["listen", i] : ["listen"];
    const block = read.object(item, path, LISTENER_KEYS);
    if (items.length > 1 && block.name === undefined) {
      read.report(path, 'needs "name"', "routes choose listeners by name", "name: <name>");
      continue;
    }
    const name = block.name === undefined ? "main" : read.name(block.name, [...path, "name"]);
    const { clientCertificate: mode = "require" } = block;
    if (mode !== "require" && mode !== "optional" && mode !== "none") {
      read.report(
        [...path, "clientCertificate"],
        `${JSON.stringify(mode)} is no mode`,
        undefined,
        "require, optional or none",
      );
      continue;
    }
    const protocol = block.protocol ?? "http";
    if (protocol !== "http" && protocol !== "tcp") {
      read.report([...path, "protocol"], `${JSON.stringify(protocol)} is no protocol`, undefined, "http or tcp");
      continue;
    }
    if (protocol === "tcp" && mode !== "require") {
      const why = "nothing else than a certificate proves who opens a connection for bytes";
      read.report([...path, "clientCertificate"], `is ${mode} on a tcp listener`, why, "require, or leave it out");
    }
    if (protocol === "tcp" && block.port === undefined)
      read.report(path, 'needs "port"', "a tcp listener has no usual one", "port: 5432");
    if (name === undefined) continue;
    if (listeners.some((other) => other.name === name)) {
      read.report([...path, "name"], `a second listener is called "${name}"`, undefined, "another name");
    }
    const address = read.string(block.address, [...path, "address"], "an IP address") ?? "0.0.0.0";
    const port = read.port(block.port, [...path, "port"], 8_443);
    if (port !== 0 && listeners.some((other) => other.port === port && other.address === address)) {
      read.report([...path, "port"], `another listener has port ${port} of ${address}`, undefined, "another port");
    }
    const age = block.maxConnectionAge;
    const maxConnectionAgeMs = age === undefined ? undefined : read.duration(age, [...path, "maxConnectionAge"], 0);
    const maxConnections = readLimit(read, block.maxConnections, [...path, "maxConnections"], connections);
    const proxies = readProxies(read, block.proxyProtocol, [...path, "proxyProtocol"]);
    const limits = { maxConnectionAgeMs, maxConnections, proxies };
    listeners.push({ name, protocol, address, port, clientCertificate: mode, ...limits });
  }
  return listeners;
}

function readUpstreams(read: Reader, value: unknown, bytes: ByteParts): UpstreamConfig[] {
  const expected = 'upstreams: { <name>: { url: "https://host:port", id: "spiffe://<domain>/<path>" } }';
  if (!isRecord(value) || Object.keys(value).length === 0) {
    read.report(["upstreams"], value === undefined ? "is missing" : "names no upstream", undefined, expected);
    return [];
  }
  return Object.entries(value).flatMap(([name, item]) => {
    if (bytes.isUpstream(name)) return [];
    const path: Path = ["upstreams", name];
    return (read.name(name, path) === undefined ? undefined : readUpstream(read, name, item, path)) ?? [];
  });
}

function readRoutes(
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
    const block = read.object(item, path, ["name", "listen", "path", "audience", "upstream", "timeout", "websocket"]);
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
        pattern.ok && other.path.shape === pattern.value.shape && other.listeners.some((one) => listen.includes(one)),
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
    if (block.websocket !== undefined && block.websocket !== true) {
      read.report([...path, "websocket"], "is not true", undefined, "true, or leave it out");
    }
    if (name === undefined || upstream === undefined || !pattern.ok) continue;
    const websocket = block.websocket === true;
    routes.push({ name, listeners: listen, path: pattern.value, audience, upstream, timeoutMs, websocket });
  }
  return routes;
}

/** What a route and its upstream cannot do together: a try longer than all tries, WebSocket over HTTP/2. */
function checkTogether(read: Reader, routes: readonly RouteConfig[], upstreams: readonly UpstreamConfig[]): void {
  for (const { name, upstream, timeoutMs, websocket } of routes) {
    const { tryTimeoutMs = 0, protocol } = upstreams.find((one) => one.name === upstream) ?? {};
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

function readExplain(read: Reader, value: unknown): GatewayConfig["explain"] {
  if (value === "full" || value === "none" || value === "code" || value === undefined) return value ?? "code";
  read.report(["explain"], `${JSON.stringify(value)} is none of the three`, undefined, "full, code or none");
  return "code";
}

function readXfcc(read: Reader, value: unknown): GatewayConfig["xfcc"] {
  if (value === undefined) return undefined;
  const { from, chain = false } = read.object(value, ["xfcc"], ["from", "chain"]);
  if (typeof chain !== "boolean")
    read.report(["xfcc", "chain"], "is neither true nor false", undefined, "true or false");
  const ids = read.strings(from, ["xfcc", "from"], '["spiffe://<domain>/<path>"]').flatMap((id, i) => {
    return readId(id, ["xfcc", "from", i], (issue) => read.issues.push(issue)) ?? [];
  });
  return { from: ids, chain: chain === true };
}

const ROOT = [
  "identity",
  "status",
  "listen",
  "upstreams",
  "routes",
  "egress",
  "policy",
  "limits",
  "accessLog",
  "drain",
  "explain",
  "xfcc",
  "end",
];

type Rest = Omit<GatewayConfig, keyof PolicyConfig>;

function readConfig(
  read: Reader,
  value: unknown,
  context: Omit<PolicyContext, "ended" | "routes">,
): Rest & { decides: PolicyConfig | undefined } {
  const root = read.object(value, [], ROOT);
  const identity = read.object(root.identity, ["identity"], ["socket", "startupTimeout"]);
  const status = read.object(root.status, ["status"], ["address", "port"]);
  const drain = read.object(root.drain, ["drain"], ["delay", "deadline"]);
  const limits = readLimits(read, root.limits);
  const wayOut = root.egress !== undefined;
  const all = readListeners(read, root.listen, wayOut, limits.connections);
  const listeners = all.filter((one) => one.protocol === "http");
  const parts = new ByteParts(root, all);
  const upstreams = readUpstreams(read, root.upstreams, parts);
  // a route names what is written, also where that has faults of its own
  const upstreamNames = isRecord(root.upstreams) ? Object.keys(root.upstreams) : [];
  const routes = readRoutes(read, root.routes, listeners, upstreamNames, parts);
  checkTogether(read, routes, upstreams);
  const bytes = readBytes(read, root, parts, all);
  const ended = checkEnd(root, [], (issue) => read.issues.push(issue));
  const routeNames = [...routes, ...bytes.routes].map((route) => route.name);
  // what only goes out has no caller to decide on
  const decides =
    all.length === 0 && wayOut && root.policy === undefined
      ? { policy: Policy.compile([]), candidate: undefined, authorizer: undefined }
      : readPolicy(read, root.policy, { ...context, ended, routes: routeNames });
  if (decides !== undefined) checkByteRules(read, root, decides.policy, bytes.routes);
  return {
    identity: {
      socket: read.string(identity.socket, ["identity", "socket"], "unix:///path/of/the/agent.sock"),
      startupTimeoutMs: read.duration(identity.startupTimeout, ["identity", "startupTimeout"], 30_000),
    },
    status: {
      address: read.string(status.address, ["status", "address"], "an IP address") ?? "127.0.0.1",
      port: read.port(status.port, ["status", "port"], 9_464),
    },
    listeners,
    upstreams,
    routes,
    bytes,
    decides,
    limits,
    accessLog: readAccessLog(read, root.accessLog),
    drain: {
      delayMs: read.duration(drain.delay, ["drain", "delay"], 0),
      deadlineMs: read.duration(drain.deadline, ["drain", "deadline"], 30_000),
    },
    explain: readExplain(read, root.explain),
    xfcc: readXfcc(read, root.xfcc),
  };
}

/** Settings of {@link parseGatewayConfig}. */
export interface ParseOptions {
  /** File name for the messages. */
  readonly file?: string | undefined;
  /** Variables for `${NAME}`; those of the process by default. */
  readonly env?: ConfigOrigin["env"] | undefined;
  /** Reads the files that `policy.files` names; `loadGatewayConfig` looks beside the gateway file. */
  readonly readPolicyFiles?: PolicyFileReader | undefined;
}

/**
 * Checks a configuration, given as YAML or JSON text or as an object of the same shape. Every fault is told, with its
 * place; nothing is ever started from a configuration that has one.
 *
 * @throws `ERR_SPIFFE_CONFIG`, one line per fault: place, what is wrong, why it matters, what was expected
 *
 * @example
 * ```ts
 * import { parseGatewayConfig } from "spiffe-edge/gateway";
 * const config = parseGatewayConfig({
 *   listen: { port: 8443 },
 *   upstreams: { orders: { url: "http://127.0.0.1:3000" } },
 *   routes: [{ name: "orders", path: "/orders/**", upstream: "orders" }],
 *   policy: [{ rule: "web-reads", allow: { ids: ["spiffe://example.org/web"] }, methods: ["GET"], routes: ["orders"] }],
 * });
 * console.assert(config.listeners[0]?.clientCertificate === "require");
 * ```
 */
export function parseGatewayConfig(input: string | GatewayInput, options: ParseOptions = {}): GatewayConfig {
  const env = options.env ?? process.env;
  const text = typeof input === "string" ? input : textOf(input);
  const parsed = readConfigText(text, {
    file: typeof input === "string" ? (options.file ?? "gateway.yaml") : undefined,
    env,
  });
  const read = new Reader();
  const faults = [...parsed.faults];
  const file = options.file ?? "gateway.yaml";
  const context = { file, env, readFiles: options.readPolicyFiles, faults };
  const found = faults.length > 0 ? undefined : readConfig(read, parsed.value, context);
  const told = [...read.issues.map((issue) => parsed.sentence(issue)), ...faults];
  if (found?.decides === undefined || told.length > 0) throw new SpiffeError("ERR_SPIFFE_CONFIG", formatFaults(told));
  const { decides, ...rest } = found;
  const config: GatewayConfig = Object.freeze({ ...rest, ...decides });
  checked.add(config);
  return config;
}

/** The text of a configuration that a program made. */
function textOf(input: GatewayInput): string {
  try {
    return JSON.stringify(input) ?? "";
  } catch (cause) {
    const sentence =
      "Expected a configuration of texts, numbers, lists and blocks, but it holds what JSON cannot write";
    throw new SpiffeError("ERR_SPIFFE_CONFIG", sentence, {
      cause,
      hint: "Take out bigints and blocks within themselves",
    });
  }
}

/** Whether a value came out of {@link parseGatewayConfig}. */
export function isCheckedConfig(value: unknown): value is GatewayConfig {
  return typeof value === "object" && value !== null && checked.has(value as GatewayConfig);
}
