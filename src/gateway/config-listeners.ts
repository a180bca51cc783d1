/** `listen` of a gateway file. */
import type { Path, Reader } from "./config-reader.ts";
import { MAX_CONNECTIONS, readProxies } from "./config-tcp.ts";
import type { ListenerConfig } from "./config-types.ts";

const LISTENER_KEYS = [
  "name",
  "protocol",
  "alpn",
  "address",
  "port",
  "clientCertificate",
  "maxConnectionAge",
  "maxConnections",
  "proxyProtocol",
];

/**
 * Reads the listeners.
 *
 * @param optional whether there may be none
 * @param connections how many each takes where it does not say
 */
export function readListeners(read: Reader, value: unknown, optional: boolean, connections: number): ListenerConfig[] {
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
    const { protocol = "http" } = block;
    if (protocol !== "http" && protocol !== "tcp") {
      read.report([...path, "protocol"], `${JSON.stringify(protocol)} is no protocol`, undefined, "http or tcp");
      continue;
    }
    if (protocol === "tcp" && mode !== "require") {
      const why = "nothing else than a certificate proves who opens a connection for bytes";
      read.report([...path, "clientCertificate"], `is ${mode} on a tcp listener`, why, "require, or leave it out");
    }
    const alpn = readAlpn(read, block.alpn, protocol, [...path, "alpn"]);
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
    const limitAt: Path = [...path, "maxConnections"];
    const maxConnections = read.count(block.maxConnections, limitAt, connections, MAX_CONNECTIONS, "connections");
    const proxies = readProxies(read, block.proxyProtocol, [...path, "proxyProtocol"]);
    const limits = { maxConnectionAgeMs, maxConnections, proxies, alpn };
    listeners.push({ name, protocol, address, port, clientCertificate: mode, ...limits });
  }
  return listeners;
}

/** The one name that a listener for bytes agrees on by ALPN. */
function readAlpn(read: Reader, value: unknown, protocol: "http" | "tcp", path: Path): string | undefined {
  if (value === undefined) return undefined;
  if (protocol === "http")
    return read.report(path, "is of a listener that speaks HTTP", "that agrees on h2 or http/1.1", "leave it out");
  if (typeof value === "string" && /^[!-~]{1,255}$/.test(value)) return value;
  return read.report(path, `${JSON.stringify(value)} is no name of a protocol`, undefined, "a name such as postgresql");
}
