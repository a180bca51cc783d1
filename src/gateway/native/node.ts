/** `node:http`, where the runtime has no server of its own that is faster. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { askWhenRead } from "../../tls/ask-when-read.ts";
import { listening, type OwnPlace } from "../../tls/listening.ts";
import { HEADER_BYTES } from "../../tls/options.ts";
import { markConnection } from "../../tls/peer.ts";
import { appHandler, type ServedApp } from "../app-handler.ts";
import type { NativeServer } from "./server.ts";

/** Opens a server for an app; the checks are those of `serve`, which need what only node requests show. */
export async function openNode(place: OwnPlace, app: ServedApp): Promise<NativeServer> {
  const handler = appHandler(app);
  let running = 0;
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    running++;
    response.once("close", () => running--);
    void handler(request, response);
  };
  const server = createServer({ maxHeaderSize: HEADER_BYTES }, answer);
  server.on("checkContinue", (request: IncomingMessage, response: ServerResponse) => {
    askWhenRead(request, response);
    answer(request, response);
  });
  server.on("connection", (socket: Socket) => markConnection(socket, { accepted: true }));
  const bound = await listening(server, { ...place, name: "the plaintext listener" });
  const closed = new Promise<void>((resolve) => server.once("close", resolve));
  return {
    address: bound.address,
    port: bound.port,
    stop() {
      server.close();
      server.closeIdleConnections();
      return closed;
    },
    async cut() {
      const left = running;
      server.closeAllConnections();
      await closed;
      return left;
    },
  };
}
