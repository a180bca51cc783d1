/** Ports on the command line. */
import { usageError } from "./exit.ts";

/** Reads a TCP port; 0 takes a free one. */
export function parsePort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (port <= 65_535) return port;
  throw usageError(`Expected a port from 0 to 65535, but got "${text}"`, "0 takes a free one");
}
