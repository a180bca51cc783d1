/** `Deno.serve`. */
import { SpiffeError } from "../../base/index.ts";
import { denoNetFlag, isDenoRefusal } from "../../runtime/deno-permission.ts";
import { claimSocket, openError, placeName } from "../../tls/listening.ts";
import type { OpenNative } from "./server.ts";

interface DenoServer {
  readonly addr: { readonly port?: number };
  shutdown(): Promise<void>;
}

interface DenoLike {
  serve(
    options: object,
    answer: (request: Request, info: { completed: Promise<void> }) => Promise<Response>,
  ): DenoServer;
}

export const openDeno: OpenNative = async (place, answer) => {
  const { serve } = (globalThis as unknown as { Deno: DenoLike }).Deno;
  // after shutdown() nothing can be aborted (2.9.5), so that what is still asked for then is answered here
  const running = new Set<(response: Response) => void>();
  const counted = (request: Request, { completed }: { completed: Promise<void> }): Promise<Response> =>
    new Promise((resolve, reject) => {
      running.add(resolve);
      const over = () => void running.delete(resolve);
      completed.then(over, over);
      void Promise.resolve(answer(request)).then(resolve, reject);
    });
  const where = "path" in place ? { path: place.path } : { hostname: place.address, port: place.port };
  if ("path" in place) await claimSocket(place.path);
  let server: DenoServer;
  try {
    server = serve({ ...where, onListen: () => {} }, counted);
  } catch (error) {
    if (!isDenoRefusal(error)) throw openError(error as Error, placeName(place));
    const flag = "path" in place ? `--allow-net=unix:${place.path}` : denoNetFlag(place.address, place.port);
    throw new SpiffeError(
      "ERR_SPIFFE_PERMISSION",
      `Deno does not let this program open ${placeName(place)}. Run it with ${flag}`,
      { phase: "listen" },
    );
  }
  return {
    address: "path" in place ? place.path : place.address,
    port: server.addr.port ?? 0,
    stop: () => server.shutdown(),
    async cut() {
      const left = running.size;
      for (const end of running) end(new Response(null, { status: 503 }));
      return left;
    },
  };
};
