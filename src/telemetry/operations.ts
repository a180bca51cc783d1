/** Prometheus metrics of what a gateway counts elsewhere: read at each scrape, so that nothing is counted twice. */
import { Counter, Gauge, type Registry } from "prom-client";

/** Numbers by a closed list of names. */
type Counts = Readonly<Record<string, number | undefined>>;

/** One listener. */
export interface ListenerReadings {
  readonly name: string;
  readonly open: number;
  /** Handshakes by how they ended, refusals aside. */
  readonly handshakes: Counts;
  /** Handshakes of peers that were not welcome, by reason. */
  readonly refused: Counts;
  /** Connections that were told to finish, and those that were cut, by reason. */
  readonly drained: Counts;
  readonly ended: Counts;
}

/** One stream of the Workload API. */
export interface StreamReadings {
  /** `x509` or `jwt`. */
  readonly kind: string;
  readonly state: string;
  /** Number of the newest state that came; undefined where the source does not count. */
  readonly sequence: number | undefined;
  /** Valid updates, dropped ones, streams opened, denials. */
  readonly counts: Counts;
}

/** One upstream. */
export interface UpstreamReadings {
  readonly name: string;
  readonly breaker: "closed" | "half-open" | "open";
  readonly addresses: Counts;
  readonly tries: Counts;
  readonly checks: Counts;
  readonly refused: Counts;
  readonly retries: number;
  readonly retriesWithheld: number;
  /** Retries that the budget would grant now; undefined where there is none. */
  readonly budget: number | undefined;
}

/** What is read at each scrape. */
export interface OperationsReadings {
  readonly listeners: readonly ListenerReadings[];
  readonly streams: readonly StreamReadings[];
  /** SVIDs that came after the first, and when the newest came, in seconds since the epoch. */
  readonly rotations: number;
  readonly rotatedAt: number | undefined;
  readonly upstreams: readonly UpstreamReadings[];
  readonly candidate: Counts;
  /** The store that rate limits are shared by; undefined without one. */
  readonly rateStore: { readonly up: boolean; readonly results: Counts } | undefined;
  readonly reloads: Counts;
  /** The last reload; undefined before there was one. */
  readonly lastReload: { readonly good: boolean; readonly at: number } | undefined;
  readonly running: number;
  readonly logLinesDropped: number;
}

const STREAM_STATES = ["starting", "ready", "stale", "expired", "revoked", "closed"];
const BREAKER_STATES = ["closed", "half-open", "open"];

/**
 * Makes these metrics in a registry.
 *
 * @returns to be called before each exposition
 */
export function operationsMetrics(registry: Registry, read: () => OperationsReadings): () => void {
  const registers = [registry];
  const gauge = (name: string, help: string, labelNames: string[] = []) =>
    new Gauge({ name: `spiffe_edge_${name}`, help, labelNames, registers });
  const total = (name: string, help: string, labelNames: string[] = []) =>
    new Counter({ name: `spiffe_edge_${name}_total`, help, labelNames, registers });
  const all: (Gauge | Counter)[] = [];
  const kept = <T extends Gauge | Counter>(metric: T): T => {
    all.push(metric);
    return metric;
  };
  const open = kept(gauge("connections", "Accepted connections that are open now.", ["listener"]));
  const running = kept(gauge("requests_running", "Requests on their way to or from an upstream now."));
  const handshakes = kept(
    total("handshakes", "Handshakes by listener, result and, where refused, reason.", ["listener", "result", "reason"]),
  );
  const drained = kept(total("connections_drained", "Connections told to finish, by reason.", ["listener", "reason"]));
  const ended = kept(total("connections_ended", "Connections cut, by reason.", ["listener", "reason"]));
  const state = kept(gauge("workload_state", "1 for the state a Workload API stream is in.", ["kind", "state"]));
  const sequence = kept(gauge("bundle_sequence", "Number of the newest SVIDs and bundles that came.", ["kind"]));
  const updates = kept(
    total("workload_updates", "What came over a Workload API stream, by result.", ["kind", "result"]),
  );
  const rotations = kept(total("svid_rotations", "X509-SVIDs that followed the first."));
  const rotated = kept(gauge("svid_rotated_timestamp_seconds", "When the X509-SVID in use came."));
  const tries = kept(total("upstream_tries", "Tries of requests, by how they ended.", ["upstream", "outcome"]));
  const retries = kept(total("upstream_retries", "Tries after the first of a request.", ["upstream", "granted"]));
  const budget = kept(gauge("upstream_retry_budget", "Retries that would be granted now.", ["upstream"]));
  const refused = kept(total("upstream_refused", "Requests that got no address, by reason.", ["upstream", "reason"]));
  const breaker = kept(gauge("upstream_breaker", "1 for the state the breaker is in.", ["upstream", "state"]));
  const addresses = kept(gauge("upstream_addresses", "Addresses by health.", ["upstream", "health"]));
  const checks = kept(total("upstream_checks", "Health checks, by result.", ["upstream", "result"]));
  const candidate = kept(total("candidate", "Requests that the candidate policy judged, by difference.", ["result"]));
  const storeUp = kept(gauge("rate_store_up", "1 while the store of rate limits answers."));
  const asked = kept(total("rate_store", "Questions to the store of rate limits, by result.", ["result"]));
  const reloads = kept(total("config_reload", "Configurations that were tried, by result.", ["result"]));
  const good = kept(gauge("config_last_reload_successful", "0 while the newest configuration is refused."));
  const reloadAt = kept(gauge("config_last_reload_timestamp_seconds", "When a configuration was last tried."));
  const dropped = kept(total("access_log_dropped", "Access log lines that were lost."));

  const put = (metric: Counter, labels: Record<string, string>, label: string, counts: Counts) => {
    for (const [name, count = 0] of Object.entries(counts)) metric.inc({ ...labels, [label]: name }, count);
  };
  return () => {
    const now = read();
    // what is gone from the configuration is gone from here
    for (const metric of all) metric.reset();
    running.set(now.running);
    for (const { name: listener, ...one } of now.listeners) {
      open.set({ listener }, one.open);
      put(handshakes, { listener, reason: "" }, "result", one.handshakes);
      put(handshakes, { listener, result: "refused" }, "reason", one.refused);
      put(drained, { listener }, "reason", one.drained);
      put(ended, { listener }, "reason", one.ended);
    }
    for (const { kind, ...one } of now.streams) {
      for (const name of STREAM_STATES) state.set({ kind, state: name }, name === one.state ? 1 : 0);
      if (one.sequence !== undefined) sequence.set({ kind }, one.sequence);
      put(updates, { kind }, "result", one.counts);
    }
    rotations.inc(now.rotations);
    if (now.rotatedAt !== undefined) rotated.set(now.rotatedAt);
    for (const { name: upstream, ...one } of now.upstreams) {
      put(tries, { upstream }, "outcome", one.tries);
      put(retries, { upstream }, "granted", { yes: one.retries, no: one.retriesWithheld });
      if (one.budget !== undefined) budget.set({ upstream }, one.budget);
      put(refused, { upstream }, "reason", one.refused);
      for (const name of BREAKER_STATES) breaker.set({ upstream, state: name }, name === one.breaker ? 1 : 0);
      for (const [health, count = 0] of Object.entries(one.addresses)) addresses.set({ upstream, health }, count);
      put(checks, { upstream }, "result", one.checks);
    }
    put(candidate, {}, "result", now.candidate);
    storeUp.set(now.rateStore?.up === true ? 1 : 0);
    put(asked, {}, "result", now.rateStore?.results ?? {});
    put(reloads, {}, "result", now.reloads);
    good.set(now.lastReload?.good === false ? 0 : 1);
    if (now.lastReload !== undefined) reloadAt.set(now.lastReload.at);
    dropped.inc(now.logLinesDropped);
  };
}
