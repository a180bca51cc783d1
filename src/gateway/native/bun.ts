/** `Bun.serve`. */
import { claimSocket, openError, placeName } from "../../tls/listening.ts";
import type { NativeServer, OpenNative } from "./server.ts";

interface BunServer {
  readonly port: number | undefined;
  readonly hostname: string | undefined;
  readonly pendingRequests: number;
  stop(closeActive?: boolean): Promise<void>;
}

interface BunLike {
  serve(options: object): BunServer;
}

/** Seconds without a byte after which a connection is closed; the longest that there is, as streams may be silent. */
const IDLE_SECONDS = 255;

export const openBun: OpenNative = async (place, answer) => {
  const { serve } = (globalThis as unknown as { Bun: BunLike }).Bun;
  // without development the port would be shared with whoever else opens it
  const common = { fetch: answer, development: false, reusePort: false, idleTimeout: IDLE_SECONDS };
  if ("path" in place) await claimSocket(place.path);
  let server: BunServer;
  try {
    server = serve({
      ...common,
      ...("path" in place ? { unix: place.path } : { hostname: place.address, port: place.port }),
    });
  } catch (error) {
    throw openError(error as Error, placeName(place));
  }
  const native: NativeServer = {
    address: "path" in place ? place.path : place.address,
    port: server.port ?? 0,
    stop: () => server.stop(),
    async cut() {
      const { pendingRequests } = server;
      await server.stop(true);
      return pendingRequests;
    },
  };
  return native;
};
