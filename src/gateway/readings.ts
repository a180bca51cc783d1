/** The numbers of a scrape that are counted elsewhere. */
import type { GatewayReadings } from "../telemetry/metrics.ts";
import type { ListenerReadings, StreamReadings, UpstreamReadings } from "../telemetry/operations.ts";
import type { TlsListener } from "../tls/index.ts";
import { readinessOf } from "./readiness.ts";
import type { UpstreamState } from "./upstream.ts";
import { svidOf, type View } from "./view.ts";

/** What a source of the Workload API has beside its states; an identity of another kind may have none of it. */
interface Observable {
  readonly state?: string;
  readonly counters?: Readonly<Record<string, number>>;
  readonly current?: { readonly sequence?: number } | undefined;
}

function streamOf(kind: string, source: unknown): StreamReadings | undefined {
  const { state, counters = {}, current } = source as Observable;
  if (typeof state !== "string") return undefined;
  return { kind, state, sequence: current?.sequence, counts: { ...counters } };
}

function listenerOf(name: string, { counters }: TlsListener): ListenerReadings {
  return {
    name,
    open: counters.open,
    handshakes: {
      accepted: counters.accepted,
      throttled: counters.throttled,
      "over-limit": counters.overLimit,
      failed: counters.failed,
      "timed-out": counters.timedOut,
    },
    refused: counters.reasons,
    drained: counters.drained,
    ended: counters.ended,
  };
}

function upstreamOf(name: string, { breaker, budget, addresses, counters }: UpstreamState): UpstreamReadings {
  const healthy = addresses.filter((one) => one.healthy).length;
  return {
    name,
    breaker,
    addresses: { healthy, unhealthy: addresses.length - healthy },
    tries: counters.tries,
    checks: counters.checks,
    refused: { "upstream.breaker-open": counters.refusedOpen, "upstream.unhealthy": counters.refusedUnhealthy },
    retries: counters.retries,
    retriesWithheld: counters.retriesWithheld,
    budget,
  };
}

/** Reads what a scrape needs. */
export function readingsOf(view: View): GatewayReadings {
  const { identity, live, reload, config } = view;
  const { same = 0, wouldAllow = 0, wouldDeny = 0 } = live?.shadow?.counters ?? {};
  const last = reload?.last;
  const svid = svidOf(view);
  return {
    svidExpiry: svid === undefined ? undefined : svid.expiresAt.getTime() / 1_000,
    ready: readinessOf(view).ready,
    draining: view.state === "draining",
    unsafeUpstreams: [...config.upstreams, ...config.bytes.upstreams].filter((upstream) => upstream.unsafePlain).length,
    listeners: [
      ...view.listeners.map((listener) => listenerOf(listener.config.name, listener.tls)),
      ...(view.bytes?.listeners ?? []).map(({ name, tls }) => listenerOf(name, tls)),
    ],
    streams: [streamOf("x509", identity?.x509 ?? {}), streamOf("jwt", identity?.jwt ?? {})].filter(
      (stream) => stream !== undefined,
    ),
    rotations: view.rotation?.count ?? 0,
    rotatedAt: view.rotation?.at === undefined ? undefined : view.rotation.at / 1_000,
    upstreams: [...(live?.upstreams.values() ?? []), ...(view.bytes?.upstreams ?? [])].map((upstream) =>
      upstreamOf(upstream.name, upstream.state()),
    ),
    candidate: live?.shadow === undefined ? {} : { same, "would-allow": wouldAllow, "would-deny": wouldDeny },
    rateStore: live?.rates?.store,
    reloads: reload?.counts ?? {},
    lastReload: last && { good: last.result !== "refused", at: last.at.getTime() / 1_000 },
    running: view.running,
    logLinesDropped: view.logLinesDropped,
  };
}
