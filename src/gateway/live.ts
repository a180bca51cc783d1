/** What a gateway goes by at the moment: made whole from one configuration, put in force by one assignment. */
import { type Clock, SpiffeError } from "../base/index.ts";
import { Authorizer } from "../policy/authorizer.ts";
import { admitReload, Shadow } from "../policy/index.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { GatewayMetrics } from "../telemetry/metrics.ts";
import type { AccessLog } from "./access-log.ts";
import type { GatewayConfig } from "./config-types.ts";
import type { GatewayIdentity } from "./gateway-types.ts";
import { Rates } from "./rates/rates.ts";
import { needsRestart, sameValue } from "./restart.ts";
import type { Room } from "./room.ts";
import { RouteTable } from "./routes.ts";
import type { RunningRequests } from "./running.ts";
import type { TokenDoors } from "./token-doors.ts";
import { Upstream } from "./upstream.ts";
import { Xfcc } from "./xfcc.ts";

/** What stays the same whatever the configuration says. */
export interface Grounds {
  readonly identity: GatewayIdentity;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: GatewayMetrics;
  readonly running: RunningRequests;
  readonly access: AccessLog;
  readonly doors: TokenDoors;
}

/** A configuration with everything that was made of it. Never changed, only replaced. */
export class Live {
  readonly config: GatewayConfig;
  readonly shadow: Shadow | undefined;
  readonly authorizer: Authorizer | undefined;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  /** One for all listeners; goes on where the limits are the same. */
  readonly rates: Rates | undefined;
  readonly #rooms: ReadonlyMap<string, Room>;

  /**
   * @param before what it follows: upstreams whose settings are the same go on with their connections
   * @throws `ERR_SPIFFE_CONFIG` for an authorizer that cannot be asked
   */
  constructor(config: GatewayConfig, grounds: Grounds, before?: Live) {
    const { clock, logger, metrics, running, access, identity, doors } = grounds;
    this.config = config;
    const { candidate } = config;
    this.shadow = candidate === before?.shadow?.candidate ? before?.shadow : candidate && new Shadow(candidate);
    this.authorizer = config.authorizer === undefined ? undefined : new Authorizer(config.authorizer, { clock });
    const { perIdentity } = config.limits;
    this.rates = perIdentity && Rates.after(before?.rates, perIdentity, grounds);
    this.upstreams = new Map(
      config.upstreams.map((settings) => {
        const known = before?.upstreams.get(settings.name);
        const isSame = known !== undefined && sameValue(known.config, settings);
        return [settings.name, isSame ? known : new Upstream(settings, identity, clock)];
      }),
    );
    this.#rooms = new Map(
      config.listeners.map(({ name }) => [
        name,
        {
          listener: name,
          routes: new RouteTable(config.routes, name),
          policy: config.policy,
          shadow: this.shadow,
          authorizer: this.authorizer,
          upstreams: this.upstreams,
          doors,
          limits: config.limits,
          rates: this.rates,
          xfcc: config.xfcc && new Xfcc(config.xfcc, identity),
          explain: config.explain,
          clock,
          logger,
          metrics,
          running,
          access,
        },
      ]),
    );
  }

  /** What the requests of a listener share. */
  room(listener: string): Room {
    const room = this.#rooms.get(listener);
    if (room === undefined) throw new SpiffeError("ERR_SPIFFE_INTERNAL", `There is no listener ${listener}`);
    return room;
  }
}

/**
 * Makes what may follow the state in force (S-26).
 *
 * @throws `ERR_SPIFFE_CONFIG` for what needs a restart, and for a policy that may not follow: one without rules, or of a
 *   file cut short
 */
export function successor(live: Live, config: GatewayConfig, grounds: Grounds): Live {
  const fixed = needsRestart(live.config, config);
  if (fixed.length > 0) {
    const sentence = `Expected the same ${fixed.join(", ")} as in force; a change of it needs a restart`;
    throw new SpiffeError("ERR_SPIFFE_CONFIG", sentence, { hint: "Restart the gateway, or write back what it was" });
  }
  const pairs = [[live.config.policy, config.policy] as const];
  if (live.config.candidate !== undefined && config.candidate !== undefined)
    pairs.push([live.config.candidate, config.candidate]);
  for (const [inForce, next] of pairs) {
    const verdict = admitReload(inForce, next);
    if (!verdict.ok) throw new SpiffeError("ERR_SPIFFE_CONFIG", verdict.message, { reason: verdict.reason });
  }
  return new Live(config, grounds, live);
}
