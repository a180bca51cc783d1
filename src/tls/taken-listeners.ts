/** Listeners of a server that a gate takes away, to call them itself once it has decided. */
import type { Http2SecureServer } from "node:http2";

export type AnyListener = (...args: unknown[]) => void;

/** Takes a server's own listeners of an event. */
export function takeListeners(server: Http2SecureServer, event: string): AnyListener[] {
  const own = server.listeners(event) as AnyListener[];
  server.removeAllListeners(event);
  return own;
}
