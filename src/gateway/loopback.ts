/** What never leaves the machine. */
import { isIPv4 } from "node:net";

/** Whether an address is loopback's. What only looks like one is a name, which may lead anywhere. */
export function isLoopbackAddress(address: string): boolean {
  return address === "::1" || (isIPv4(address) && address.startsWith("127."));
}

/** Whether a host never leaves the machine: an address, or the one name that is nobody's else (RFC 6761 section 6.3). */
export function isLoopback(host: string): boolean {
  return host === "localhost" || isLoopbackAddress(host);
}
