/** What a gateway is and takes, as programs see it. */
import type { Clock } from "../base/index.ts";
import type { JwtBundleSource } from "../jwt/index.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { TlsIdentity } from "../tls/index.ts";
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
}

/** A running gateway. */
export interface Gateway extends AsyncDisposable {
  readonly state: "starting" | "serving" | "draining" | "closed";
  readonly listeners: readonly { readonly name: string; readonly address: string; readonly port: number }[];
  readonly status: { readonly address: string; readonly port: number };
  /** What `/readyz` answers. */
  readiness(): Readiness;
  /** Settles when everything is closed. */
  readonly closed: Promise<void>;
  /**
   * Drains: takes no new connection, lets running requests finish, cuts the rest at the deadline. Idempotent.
   *
   * @param options.deadlineMs milliseconds; `drain.deadline` of the configuration by default
   * @returns how many connections had to be cut
   */
  close(options?: { deadlineMs?: number }): Promise<{ cut: number }>;
}
