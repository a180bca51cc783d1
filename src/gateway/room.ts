/** What the requests of one listener share while one configuration is in force. */
import { type Clock, SpiffeError } from "../base/index.ts";
import type { Authorizer, Policy, Shadow } from "../policy/index.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { GatewayMetrics } from "../telemetry/metrics.ts";
import type { AccessLog } from "./access-log.ts";
import type { GatewayConfig, RouteConfig } from "./config-types.ts";
import type { Rates } from "./rates/rates.ts";
import type { Explain } from "./refusal.ts";
import type { RouteTable } from "./routes.ts";
import type { RunningRequests } from "./running.ts";
import type { TokenDoors } from "./token-doors.ts";
import type { Upstream } from "./upstream.ts";
import type { Xfcc } from "./xfcc.ts";

/** What the requests of one listener share. */
export interface Room {
  readonly listener: string;
  readonly routes: RouteTable;
  readonly policy: Policy;
  readonly shadow: Shadow | undefined;
  readonly authorizer: Authorizer | undefined;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly doors: TokenDoors;
  readonly limits: GatewayConfig["limits"];
  readonly rates: Rates | undefined;
  readonly xfcc: Xfcc | undefined;
  readonly explain: Explain;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: GatewayMetrics;
  readonly running: RunningRequests;
  readonly access: AccessLog;
}

/** Where a route leads. */
export function upstreamOf(room: Room, route: RouteConfig): Upstream {
  const upstream = room.upstreams.get(route.upstream);
  if (upstream === undefined) throw new SpiffeError("ERR_SPIFFE_INTERNAL", `Route ${route.name} has no upstream`);
  return upstream;
}
