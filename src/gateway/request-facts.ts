/** What the rules of a policy are shown of a request. */
import { timeOf } from "../base/index.ts";
import { headerName, type RequestFacts } from "../policy/index.ts";
import type { ListenerRequest } from "../tls/index.ts";
import type { RouteConfig } from "./config-types.ts";
import { endToEnd, fieldsOf } from "./headers.ts";
import type { Room } from "./room.ts";
import type { RequestTarget } from "./target.ts";

/** The headers that the rules look at, of those that the upstream will see. */
function headerFacts(room: Room, request: ListenerRequest): Record<string, string[]> | undefined {
  const { headers } = room.policy;
  const more = room.shadow?.candidate.headers ?? headers;
  if (headers.length === 0 && more.length === 0) return undefined;
  const names = new Set([...headers, ...more]);
  const found: Record<string, string[]> = Object.create(null);
  for (const [name, value] of endToEnd(fieldsOf(request.rawHeaders))) {
    const plain = headerName(name);
    if (names.has(plain)) (found[plain] ??= []).push(value);
  }
  return found;
}

/** The facts of a request on a route. */
export function factsOf(room: Room, request: ListenerRequest, target: RequestTarget, route: RouteConfig): RequestFacts {
  const { method, path, host } = target;
  const { listener, clock } = room;
  return { method, path, host, listener, route: route.name, headers: headerFacts(room, request), now: timeOf(clock) };
}
