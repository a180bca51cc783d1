/** Handlers in the shape of fetch, on the bridge from node requests that `@hono/node-server` is. */
import { getRequestListener } from "@hono/node-server";
import type { X509Peer } from "../id/peer.ts";
import type { ListenerRequest, ListenerResponse } from "./connections.ts";
import type { Handler } from "./entries.ts";
import { connectionPeer, markConnection } from "./peer.ts";

/** What a {@link FetchHandler} is told beside the request. A Hono app takes it as its bindings. */
export interface FetchInfo {
  /** Who called; absent where the caller showed no certificate. */
  readonly peer: X509Peer | undefined;
  /** The request below, with addresses and trailers. */
  readonly incoming: ListenerRequest;
  readonly outgoing: ListenerResponse;
}

/** Answers a request as `fetch` would; what it throws becomes a 500. `peerOf(request)` tells who called. */
export type FetchHandler = (request: Request, info: FetchInfo) => Response | Promise<Response>;

/** Makes a handler of node requests from one of web requests. A target or host that makes no URL is answered 400. */
export function fetchHandler(answer: FetchHandler, failed: (error: unknown) => void): Handler {
  const listener = getRequestListener(
    async (request, { incoming, outgoing }) => {
      const verdict = connectionPeer(incoming);
      if (verdict !== undefined) markConnection(request, verdict);
      return answer(request, {
        peer: verdict?.accepted === true ? verdict.peer : undefined,
        incoming: incoming as ListenerRequest,
        outgoing: outgoing as ListenerResponse,
      });
    },
    {
      overrideGlobalObjects: false,
      errorHandler: (error) => {
        const { name } = error as { name?: unknown };
        if (name === "RequestError") return new Response(null, { status: 400 });
        failed(error);
        return new Response(null, { status: 500 });
      },
    },
  );
  return (request, response) => listener(request as never, response as never);
}
