/** Sockets that a supervisor passed, each for the listener whose name it has. */
import { SpiffeError } from "../base/index.ts";
import type { GatewayConfig, ListenerConfig } from "./config-types.ts";

/**
 * Holds the names of passed sockets against the configuration: a socket that nobody serves would take connections that
 * nobody answers.
 *
 * @throws `ERR_SPIFFE_CONFIG` for a name that no listener has
 */
export function checkSockets({ listeners, bytes }: GatewayConfig, sockets: ReadonlyMap<string, number>): void {
  const names = [...listeners, ...bytes.listeners, ...bytes.egress].map((one) => one.name);
  for (const name of sockets.keys()) {
    if (name === "status" || names.includes(name)) continue;
    const what = `A socket named "${name}" was passed, and no listener is called so`;
    throw new SpiffeError("ERR_SPIFFE_CONFIG", what, {
      phase: "listen",
      hint: `Expected FileDescriptorName= to be one of ${[...names, "status"].join(", ")}`,
    });
  }
}

/** Where a listener listens: on the socket that was passed for it, or where its configuration says. */
export function placeOf(
  { name, address, port }: ListenerConfig,
  sockets: ReadonlyMap<string, number>,
): { fd: number } | { address: string; port: number } {
  const fd = sockets.get(name);
  return fd === undefined ? { address, port } : { fd };
}
