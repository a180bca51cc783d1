/** From the text of a gateway file to a checked configuration, or to a list of everything that is wrong with it. */
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { SpiffeError } from "../base/index.ts";
import { type ConfigOrigin, readConfigText } from "../policy/config-text.ts";
import { Policy } from "../policy/index.ts";
import { formatFaults } from "../policy/issue.ts";
import { readId } from "../policy/principals.ts";
import { checkEnd } from "../policy/rule-set.ts";
import { readAccessLog } from "./config-access-log.ts";
import { readLimits } from "./config-limits.ts";
import { readListeners } from "./config-listeners.ts";
import { type PolicyConfig, type PolicyContext, type PolicyFileReader, readPolicy } from "./config-policy.ts";
import { isRecord, type Path, Reader } from "./config-reader.ts";
import { checkTogether, readRoutes } from "./config-routes.ts";
import { ByteParts, checkByteRules, readBytes } from "./config-tcp.ts";
import type { GatewayConfig, GatewayInput, UpstreamConfig } from "./config-types.ts";
import { readUpstream } from "./config-upstream.ts";

const checked = new WeakSet<GatewayConfig>();

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

const KNOWN: OptionNames<ParseOptions> = { file: true, env: true, readPolicyFiles: true };

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
  onlyKnown("parseGatewayConfig", options, KNOWN);
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
