/** Stopping a socket from reading while nobody takes what it has, so that memory stays bounded on every runtime. */
import type { Duplex } from "node:stream";
import { capabilities } from "../runtime/capabilities.ts";

interface Handle {
  readStop?(): unknown;
  readStart?(): unknown;
}

/** The handle of the TCP socket below a TLS socket: undefined where the stream's own pause is enough, null after the end. */
function handleBelow(socket: Duplex): Handle | null | undefined {
  if (capabilities.readStop.value === "stream") return undefined;
  const { _parent: below } = socket as { _parent?: { _handle?: Handle | null } | null };
  return below === undefined || below === null ? undefined : (below._handle ?? null);
}

/**
 * Stops reading: what the other side sends waits in its own system. Where the handle below is stopped the stream is not
 * paused as well: it would lose the end of input that comes meanwhile.
 */
export function stopReading(socket: Duplex): void {
  const handle = handleBelow(socket);
  if (handle === undefined) socket.pause();
  else handle?.readStop?.();
}

/** Reads on. */
export function readOn(socket: Duplex): void {
  const handle = handleBelow(socket);
  socket.resume();
  handle?.readStart?.();
}
