/** The end of a connection that was opened to see whether it can be. */
import type { Duplex } from "node:stream";
import type { Clock } from "../../base/index.ts";
import { writeLocalProxyHeader } from "../../encoding/proxy-protocol.ts";
import { cut } from "../../tls/cut.ts";
import { readOn } from "../../tls/read-stop.ts";

/** Milliseconds that the other side has to end it too. */
const LEAVE_MS = 1_000;

/**
 * Leaves a connection by the header of the gateway's own ones and an end: who waits for a PROXY header takes one that
 * breaks off, or ends without it, for a fault.
 *
 * @param signal cuts it
 */
export function leaveProxied(socket: Duplex, clock: Clock, signal: AbortSignal): void {
  const over = new AbortController();
  const leave = () => cut(socket);
  socket.once("close", () => over.abort());
  signal.addEventListener("abort", leave, { once: true, signal: over.signal });
  clock.sleep(LEAVE_MS, over.signal).then(leave, () => {});
  socket.end(writeLocalProxyHeader());
  readOn(socket);
  if (signal.aborted) leave();
}
