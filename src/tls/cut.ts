/** Ending a connection so that the other side sees a break and not an end: what was cut must not pass for whole. */
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";
import { capabilities } from "../runtime/capabilities.ts";

/** Whether a reset can be sent: by TCP sockets, and by TLS sockets where the runtime can. */
function resettable(socket: Duplex): socket is Socket {
  if (!(socket instanceof Socket) || socket.destroyed || socket.remoteAddress === undefined) return false;
  // a reset while the end is on its way fails, and the socket would stay open for ever; nothing is left to be cut from it
  if (socket.writableEnded && !socket.writableFinished && socket.writableLength === 0) return false;
  return !(socket instanceof TLSSocket) || capabilities.tlsReset.value;
}

/** Cuts a connection: a reset where there can be one, else an end without the closing message of TLS. */
export function cut(socket: Duplex): void {
  try {
    if (resettable(socket)) socket.resetAndDestroy();
  } catch {
    // it ended by itself meanwhile
  }
  socket.destroy();
}
