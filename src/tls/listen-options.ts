/** The options of `listen()`, checked and completed. */

import { inRange, type OptionNames, onlyKnown, plainOptions, usage, wholeInRange } from "../base/check-options.ts";
import { capabilities } from "../runtime/capabilities.ts";
import type { ConnectHandlers } from "./entries.ts";
import type { ListenOptions } from "./listen.ts";
import { HEADER_BYTES, type HttpProtocol, type ServerSettings } from "./options.ts";
import { isPrefix, type ProxyProtocolOptions } from "./proxy-gate.ts";
import { DEFAULT_THROTTLE, type ThrottleLimits } from "./throttle.ts";

const AGE_WITH_RESUMPTION_MS = 30 * 60_000;

/** What a listener goes by. */
export interface ListenSettings {
  readonly server: ServerSettings;
  readonly maxConnections: number;
  readonly maxAgeMs: number;
  /** Absent: no address is ever shut out. */
  readonly throttle: ThrottleLimits | undefined;
}

const KNOWN: OptionNames<ListenOptions> = {
  handler: true,
  fetch: true,
  onConnection: true,
  onExpect: true,
  onUpgrade: true,
  onConnect: true,
  port: true,
  address: true,
  path: true,
  sharePort: true,
  fd: true,
  protocols: true,
  alpn: true,
  clientCertificate: true,
  certificate: true,
  svid: true,
  authorize: true,
  handshakeTimeoutMs: true,
  maxConnections: true,
  maxHeaderBytes: true,
  maxConcurrentStreams: true,
  maxConnectionAgeMs: true,
  proxyProtocol: true,
  throttle: true,
  clock: true,
  logger: true,
  onRefused: true,
};

const CONNECT: OptionNames<ConnectHandlers> = { http1: true, http2: true };
const PROXIES: OptionNames<ProxyProtocolOptions> = { from: true };

const FUNCTIONS = ["handler", "fetch", "onConnection", "onExpect", "onUpgrade", "authorize", "onRefused"] as const;

/**
 * Checks the options and fills in the defaults.
 *
 * @throws SpiffeError `ERR_SPIFFE_USAGE`
 */
export function listenSettings(options: ListenOptions): ListenSettings {
  onlyKnown("listen", options, KNOWN);
  for (const name of FUNCTIONS) {
    if (options[name] !== undefined && typeof options[name] !== "function") {
      throw usage(`Expected ${name} to be a function; got ${typeof options[name]}`);
    }
  }
  if (options.onConnect !== undefined) onlyKnown("onConnect", options.onConnect, CONNECT);
  const { http1, http2 } = options.onConnect ?? {};
  if (options.onConnect !== undefined && (typeof http1 !== "function" || typeof http2 !== "function")) {
    throw usage("Expected onConnect to be { http1, http2 }, a function for each protocol");
  }
  const { handler, fetch, onConnection, onExpect, onUpgrade, onConnect, path, port, address, certificate, svid } =
    options;
  const takers = [handler, fetch, onConnection].filter((each) => each !== undefined).length;
  if (takers !== 1) {
    throw usage(`Expected one of handler, fetch and onConnection; got ${takers === 0 ? "none" : "several"}`);
  }
  for (const [name, value] of Object.entries({ onExpect, onUpgrade, onConnect })) {
    if (value === undefined || onConnection === undefined) continue;
    throw usage(`Expected ${name} beside a handler of requests; got it beside onConnection`);
  }
  if (path !== undefined && (port !== undefined || address !== undefined)) {
    throw usage("Expected path, or address and port; got both");
  }
  if (path !== undefined && (typeof path !== "string" || path === ""))
    throw usage("Expected path to name a unix socket");
  if (address !== undefined && (typeof address !== "string" || address === "")) {
    throw usage("Expected address to be an IP address or a name of this machine");
  }
  if (options.sharePort !== undefined && (typeof options.sharePort !== "boolean" || path !== undefined)) {
    throw usage("Expected sharePort to be true or false, of a TCP port");
  }
  if (options.fd !== undefined && (path !== undefined || port !== undefined || address !== undefined)) {
    throw usage("Expected fd, or a path, or address and port; got several");
  }
  wholeInRange("fd", options.fd, 3, 65_535);
  wholeInRange("port", port, 0, 65_535);
  const clientCertificate = options.clientCertificate ?? "require";
  if (!["require", "optional", "none"].includes(clientCertificate)) {
    throw usage(`Expected clientCertificate to be require, optional or none; got ${String(clientCertificate)}`);
  }
  if (certificate !== undefined && svid !== undefined) {
    throw usage("Expected either certificate, of the Web PKI, or svid; a listener shows one of them");
  }
  checkProxies(options);
  const { handshakeTimeoutMs = 5_000, maxConnections = 10_000 } = options;
  const { maxHeaderBytes = HEADER_BYTES, maxConcurrentStreams = 128 } = options;
  inRange("handshakeTimeoutMs", handshakeTimeoutMs, 1, 10_000);
  wholeInRange("maxConnections", maxConnections, 1, Infinity);
  wholeInRange("maxHeaderBytes", maxHeaderBytes, 1_024, 1_048_576);
  wholeInRange("maxConcurrentStreams", maxConcurrentStreams, 1, 65_536);
  inRange("maxConnectionAgeMs", options.maxConnectionAgeMs, 1, Infinity);
  return {
    server: {
      protocols: protocolsOf(options.protocols),
      alpn: alpnOf(options),
      clientCertificate,
      handshakeTimeoutMs,
      maxHeaderBytes,
      maxConcurrentStreams,
    },
    maxConnections,
    maxAgeMs: options.maxConnectionAgeMs ?? (capabilities.resumptionOff.value ? Infinity : AGE_WITH_RESUMPTION_MS),
    throttle: throttleLimits(options.throttle),
  };
}

function checkProxies({ proxyProtocol, path }: ListenOptions): void {
  if (proxyProtocol === undefined) return;
  onlyKnown("proxyProtocol", proxyProtocol, PROXIES);
  const { from } = proxyProtocol;
  if (path !== undefined) throw usage("Expected proxyProtocol on a TCP port; got it on a unix socket");
  if (!Array.isArray(from) || from.length === 0 || !from.every(isPrefix)) {
    throw usage("Expected proxyProtocol.from to list addresses or prefixes such as 10.0.0.0/8");
  }
}

function alpnOf({ alpn, protocols, onConnection }: ListenOptions): string | undefined {
  if (alpn === undefined) return undefined;
  if (onConnection === undefined || protocols !== undefined)
    throw usage("Expected alpn beside onConnection; HTTP has protocols");
  if (typeof alpn !== "string" || !/^[!-~]{1,255}$/.test(alpn))
    throw usage(`Expected alpn to be a name such as "postgresql"; got ${JSON.stringify(alpn)}`);
  return alpn;
}

function protocolsOf(given: ListenOptions["protocols"] = ["h2", "http/1.1"]): readonly HttpProtocol[] {
  const known = Array.isArray(given) && given.every((name) => name === "h2" || name === "http/1.1");
  if (known && given.includes("http/1.1") && new Set(given).size === given.length) return [...given];
  throw usage(`Expected protocols to be ["http/1.1"], or that and "h2"; got ${JSON.stringify(given)}`);
}

function throttleLimits(given: ListenOptions["throttle"]): ThrottleLimits | undefined {
  if (given === false) return undefined;
  if (given !== undefined) onlyKnown("throttle", given, DEFAULT_THROTTLE);
  const limits = { ...DEFAULT_THROTTLE, ...plainOptions(given ?? {}, DEFAULT_THROTTLE) };
  wholeInRange("throttle.refusals", limits.refusals, 1, Infinity);
  inRange("throttle.windowMs", limits.windowMs, 1, Infinity);
  inRange("throttle.penaltyMs", limits.penaltyMs, 1, Infinity);
  wholeInRange("throttle.addresses", limits.addresses, 1, 1_000_000);
  return limits;
}
