/** What becomes known of one request between its arrival and its line in the log. */
import type { Peer } from "../id/index.ts";
import type { AuthorizerOutcome, Decision, Difference } from "../policy/index.ts";
import type { ListenerRequest } from "../tls/index.ts";
import type { RouteConfig } from "./config-types.ts";
import type { RateVerdict } from "./rate-limits.ts";
import { RequestTrace } from "./request-trace.ts";
import type { Room } from "./room.ts";
import type { RequestTarget } from "./target.ts";

/** What becomes known of a request on its way: the material of its one log line. */
export interface Journey {
  readonly requestId: string;
  readonly startedAt: number;
  readonly address: string | undefined;
  target?: RequestTarget;
  route?: RouteConfig;
  peer?: Peer;
  decision?: Decision;
  /** What the candidate policy would have decided, where that differs. */
  difference?: Difference | undefined;
  /** What the external authorizer made of it, where one was asked. */
  confirmed?: AuthorizerOutcome | undefined;
  /** Whether the gateway refused it itself. */
  refused?: boolean;
  /** What its identity's limit said, once it has been counted there. */
  rated?: RateVerdict;
  /** Its spans, where somebody listens to them. */
  readonly trace?: RequestTrace | undefined;
  /** Why a policy that came into force meanwhile ended it. */
  ended?: Decision;
}

function addressOf(request: ListenerRequest): string | undefined {
  try {
    return request.socket.remoteAddress;
  } catch {
    // the session of an HTTP/2 request may be gone already
    return undefined;
  }
}

/** A request's way begins. */
export function beginJourney(room: Room, request: ListenerRequest): Journey {
  const { clock } = room;
  const trace = RequestTrace.begin(request, clock);
  return { requestId: crypto.randomUUID(), startedAt: clock.monotonic(), address: addressOf(request), trace };
}
