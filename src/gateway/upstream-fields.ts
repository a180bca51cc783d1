/** The fields of a request as its upstream gets them: the caller's own, and what the gateway vouches for. */
import type { ListenerRequest } from "../tls/index.ts";
import { type Field, fieldsOf, requestFields } from "./headers.ts";
import type { Journey } from "./journey.ts";
import type { Judged } from "./judge.ts";
import { carriesSvid } from "./middleware/authenticate.ts";
import { type Room, upstreamOf } from "./room.ts";

/** The fields for an upstream at an address. */
export function forwardedFields(
  room: Room,
  request: ListenerRequest,
  { target, route, peer, clientCert }: Judged,
  { address, requestId, confirmed, trace }: Journey,
): (authority: string) => Field[] {
  const carried = peer?.token !== undefined || carriesSvid(target.authorization);
  const dropAuthorization = carried && !route.forwardsToken;
  const received = fieldsOf(request.rawHeaders);
  const authorizer = room.authorizer && { names: room.authorizer.headers, fields: confirmed?.headers ?? [] };
  return (host) =>
    requestFields(received, {
      peerId: peer?.id.uri,
      authorizer,
      dropAuthorization,
      host,
      forwardedHost: target.authority,
      address,
      requestId,
      trace: trace?.tried(upstreamOf(room, route).config, target, host),
      clientCert,
    });
}
