/** What a running gateway cannot change: its doors and who it is. */
import type { GatewayConfig, ListenerConfig } from "./config-types.ts";

const LISTENER_KEYS: Readonly<Record<keyof Omit<ListenerConfig, "name">, string>> = {
  address: "address",
  port: "port",
  clientCertificate: "clientCertificate",
  maxConnectionAgeMs: "maxConnectionAge",
  protocol: "protocol",
  alpn: "alpn",
  maxConnections: "maxConnections",
  proxies: "proxyProtocol",
};

/** Settings that open doors use, by their key in the file. */
const FIXED: Readonly<Record<string, (config: GatewayConfig) => unknown>> = {
  identity: (config) => config.identity,
  status: (config) => config.status,
  accessLog: (config) => config.accessLog,
  "tcp listeners, their routes and upstreams, egress": (config) => config.bytes,
  "limits.headers": (config) => config.limits.headerBytes,
  "limits.handshake": (config) => config.limits.handshakeMs,
};

/** The keys that differ and need a restart, as sentences name them. */
export function needsRestart(live: GatewayConfig, next: GatewayConfig): string[] {
  const keys = Object.entries(FIXED).flatMap(([key, of]) => (sameValue(of(live), of(next)) ? [] : [key]));
  const names = new Set([...live.listeners, ...next.listeners].map(({ name }) => name));
  for (const name of names) {
    const was = live.listeners.find((listener) => listener.name === name);
    const is = next.listeners.find((listener) => listener.name === name);
    if (was === undefined || is === undefined) keys.push(`listener ${name} (${was === undefined ? "new" : "gone"})`);
    else
      for (const [field, key] of Object.entries(LISTENER_KEYS)) {
        if (!sameValue(was[field as keyof ListenerConfig], is[field as keyof ListenerConfig]))
          keys.push(`${key} of listener ${name}`);
      }
    if (takesUpgrades(live, name) !== takesUpgrades(next, name)) keys.push(`websocket of routes of listener ${name}`);
  }
  return keys;
}

/** Whether some route of a listener takes WebSocket; a door without one answers `Upgrade` as any other request. */
export function takesUpgrades({ routes }: GatewayConfig, listener: string): boolean {
  return routes.some(({ websocket, listeners }) => websocket && listeners.includes(listener));
}

/** Whether two settings say the same; they hold plain values only. */
export function sameValue(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
