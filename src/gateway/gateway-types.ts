/** What a gateway is and takes, as programs see it. */
import type { Clock } from "../base/index.ts";
import type { JwtBundleSource } from "../jwt/index.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { TlsIdentity } from "../tls/index.ts";
import type { GatewayConfig, GatewayInput } from "./config-types.ts";
import type { Readiness } from "./readiness.ts";

/** The identity a gateway serves and dials with; a `Workload` is one. */
export interface GatewayIdentity extends TlsIdentity {
  readonly jwt: JwtBundleSource;
}

/** Settings of `createGateway`. */
export interface GatewayOptions {
  /** The gateway's identity. Without it one is opened as `identity` of the configuration says, and closed at the end. */
  readonly workload?: GatewayIdentity | undefined;
  /** Gets one `request` line per request, and what the gateway has to say itself. */
  readonly logger?: Logger | undefined;
  readonly clock?: Clock | undefined;
  /** The gateway file that the configuration came from: it and the policy files it names are followed. */
  readonly file?: string | undefined;
  /**
   * Number of this process among workers, from 0: it shares the ports of its listeners with the others, and its status port
   * is that of the configuration plus this number.
   */
  readonly worker?: number | undefined;
  /** Listening sockets that were passed to this process, by the name of a listener or `status`; see `passedSockets`. */
  readonly sockets?: ReadonlyMap<string, number> | undefined;
}

/** A running gateway. */
export interface Gateway extends AsyncDisposable {
  readonly state: "starting" | "serving" | "draining" | "closed";
  readonly listeners: readonly { readonly name: string; readonly address: string; readonly port: number }[];
  readonly status: { readonly address: string; readonly port: number };
  /** What `/readyz` answers. */
  readiness(): Readiness;
  /** What `/status` answers: names, numbers and settings; no claim, no header value, no key. */
  report(): object;
  /**
   * Puts another configuration in force without closing a connection: policy, candidate, authorizer, routes, upstreams,
   * body and idle limits, drain deadline. Requests that run are judged again, and ended where the new policy denies them.
   *
   * @param config the new configuration; without it, the `file` that is followed is read at once
   * @throws `ERR_SPIFFE_CONFIG` for a fault, for what needs a restart, for a policy that may not follow the one in force;
   *   `ERR_SPIFFE_CLOSED` while the gateway drains. What was in force stays then
   */
  reload(config?: GatewayConfig | GatewayInput): Promise<void>;
  /** Goes on in a new access log file of the same name, as after logrotate. */
  reopen(): Promise<void>;
  /** Settles when everything is closed. */
  readonly closed: Promise<void>;
  /**
   * Drains: `/readyz` says so; after the delay no new connection is taken, running requests finish, and at the deadline
   * the rest is cut. Idempotent.
   *
   * @param options.deadlineMs milliseconds from the end of the delay; `drain.deadline` of the configuration by default
   * @param options.delayMs milliseconds in which new connections are still taken; `drain.delay`, or none, by default
   * @returns how many connections had to be cut
   */
  close(options?: { deadlineMs?: number; delayMs?: number }): Promise<{ cut: number }>;
}
