/** A gateway as its status port sees it: what `/readyz`, `/status` and `/metrics` are made of. */
import type { Clock } from "../base/index.ts";
import type { TlsListener } from "../tls/index.ts";
import type { GatewayConfig, ListenerConfig } from "./config-types.ts";
import type { Gateway, GatewayIdentity } from "./gateway-types.ts";
import type { Live } from "./live.ts";
import { readinessOf } from "./readiness.ts";
import type { ReloadState } from "./reload.ts";
import type { ByteRoutes } from "./tcp/open.ts";

/** A listener and whether it still listens. */
export interface OpenListener {
  readonly config: ListenerConfig;
  readonly tls: TlsListener;
  closed: boolean;
}

/** What there is to see at the moment. */
export interface View {
  readonly state: Gateway["state"];
  /** Wall time in milliseconds. */
  readonly startedAt: number;
  readonly clock: Clock;
  readonly identity: GatewayIdentity | undefined;
  readonly listeners: readonly OpenListener[];
  /** What carries bytes; absent until it is open. */
  readonly bytes: ByteRoutes | undefined;
  /** The configuration in force. */
  readonly config: GatewayConfig;
  /** Absent until there is an identity to make it with. */
  readonly live: Live | undefined;
  /** Absent where no file is followed. */
  readonly reload: ReloadState | undefined;
  readonly rotation: { readonly count: number; readonly at: number | undefined } | undefined;
  /** Requests on their way. */
  readonly running: number;
  readonly logLinesDropped: number;
}

/** The own ID and its end; undefined without a valid SVID. */
export function svidOf({ identity }: View): { id: string; expiresAt: Date } | undefined {
  try {
    const svid = identity?.x509.x509Svid();
    return svid === undefined ? undefined : { id: svid.id.uri, expiresAt: svid.expiresAt };
  } catch {
    return undefined;
  }
}

/** The own SVID and its rotations. */
function identityOf(view: View): object | undefined {
  const svid = svidOf(view);
  const { count = 0, at } = view.rotation ?? {};
  return svid && { ...svid, rotations: count, ...(at !== undefined && { since: new Date(at) }) };
}

/** The whole state for `/status`: names, numbers and settings, never a claim, a header value or a key. */
export function reportOf(view: View): object {
  const { routes, upstreams, policy } = view.config;
  const { shadow } = view.live ?? {};
  return {
    state: view.state,
    startedAt: new Date(view.startedAt).toISOString(),
    ...readinessOf(view),
    identity: identityOf(view),
    running: view.running,
    logLinesDropped: view.logLinesDropped,
    reload: view.reload,
    listeners: view.listeners.map(({ config, tls }) => ({
      name: config.name,
      address: config.address,
      port: tls.port,
      clientCertificate: config.clientCertificate,
      counters: tls.counters,
    })),
    routes: routes.map(({ name, listeners, path, audience, upstream }) => ({
      name,
      listen: listeners,
      path: path.text,
      audience,
      upstream,
    })),
    upstreams: upstreams.map(({ name, targets, id }) => ({
      name,
      url: targets.map((target) => target.url),
      id,
      ...view.live?.upstreams.get(name)?.state(),
    })),
    bytes: view.bytes?.report(),
    rateStore: view.live?.rates?.store,
    rules: policy.rules,
    candidate: shadow && { rules: shadow.candidate.rules, ...shadow.counters },
  };
}
