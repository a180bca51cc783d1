/** Prometheus metrics of a gateway. Labels are names from the configuration or closed lists, never a caller's words. */
import { Counter, Gauge, Registry } from "prom-client";
import { type OperationsReadings, operationsMetrics } from "./operations.ts";
import { Durations, Tally } from "./tally.ts";

/** One finished request. */
export interface RequestMetric {
  readonly listener: string;
  /** Name of the route; `none` where no route matched. */
  readonly route: string;
  readonly method: string;
  readonly status: number;
  /** How the caller proved itself; `none` without identity. */
  readonly via: string;
  readonly seconds: number;
}

/** One finished connection for bytes. */
export interface ConnectionMetric {
  readonly listener: string;
  /** Name of the route; `none` for an egress. */
  readonly route: string;
  readonly ended: string;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** What is read at each scrape. */
export interface GatewayReadings extends OperationsReadings {
  /** Seconds since the epoch; undefined without an SVID. */
  readonly svidExpiry: number | undefined;
  readonly ready: boolean;
  readonly draining: boolean;
  readonly unsafeUpstreams: number;
}

/** The metrics of one gateway, in a registry of their own. */
export interface GatewayMetrics {
  readonly contentType: string;
  request(metric: RequestMetric): void;
  /** One connection for bytes, once it is over. */
  connection(metric: ConnectionMetric): void;
  /** One policy decision, and what a rule in audit would have said to the contrary. */
  decision(verdict: string, reason: string, audited?: { readonly verdict: string; readonly rule: string }): void;
  /** One request over the limit of its identity, or of the bucket that its trust domain shares. */
  rateLimited(shared: boolean): void;
  /** The exposition text. */
  text(): Promise<string>;
}

const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/**
 * Makes the metrics of a gateway.
 *
 * @param readings called at each scrape for what is counted elsewhere
 */
export function gatewayMetrics(readings: () => GatewayReadings): GatewayMetrics {
  const registry = new Registry();
  const registers = [registry];
  const gauge = (name: string, help: string, labelNames: string[] = []) =>
    new Gauge({ name, help, labelNames, registers });
  const tally = <T extends string>(name: string, help: string, labelNames: readonly T[]) =>
    new Tally(new Counter({ name, help, labelNames, registers }), labelNames);
  const requests = tally(
    "spiffe_edge_requests_total",
    "Requests by listener, route, method, status and kind of identity.",
    ["listener", "route", "method", "status", "via"],
  );
  const seconds = new Durations(
    registry,
    "spiffe_edge_request_duration_seconds",
    "Time from a request's arrival to the end of its answer.",
    "route",
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  );
  const decisions = tally("spiffe_edge_decisions_total", "Policy decisions by verdict and reason.", [
    "verdict",
    "reason",
  ]);
  const carried = new Counter({
    name: "spiffe_edge_tcp_connections_total",
    help: "Connections for bytes that are over, by listener, route and how they ended.",
    labelNames: ["listener", "route", "ended"],
    registers,
  });
  const bytes = new Counter({
    name: "spiffe_edge_tcp_bytes_total",
    help: "Bytes of connections that are over, by listener, route and direction.",
    labelNames: ["listener", "route", "direction"],
    registers,
  });
  const audited = new Counter({
    name: "spiffe_edge_audit_passthroughs_total",
    help: "Requests that a rule in audit would have judged otherwise, by its verdict and name.",
    labelNames: ["verdict", "rule"],
    registers,
  });
  const limited = new Counter({
    name: "spiffe_edge_rate_limited_total",
    help: "Requests over the limit of their identity, or of the bucket that their trust domain shares.",
    labelNames: ["bucket"],
    registers,
  });
  const operations = operationsMetrics(registry, readings);
  const expiry = gauge("spiffe_edge_svid_expiry_timestamp_seconds", "When the own X509-SVID expires.");
  const ready = gauge("spiffe_edge_ready", "1 while /readyz answers 200.");
  const draining = gauge("spiffe_edge_draining", "1 while the gateway takes no new connections.");
  const unsafe = gauge("spiffe_edge_unsafe_plain_upstreams", "Upstreams that are reached in plaintext over a network.");
  return {
    contentType: registry.contentType,
    request({ listener, route, method, status, via, seconds: spent }) {
      requests.add(listener, route, METHODS.has(method) ? method : "other", String(status), via);
      seconds.add(route, spent);
    },
    connection({ listener, route, ended, bytesIn, bytesOut }) {
      carried.inc({ listener, route, ended });
      bytes.inc({ listener, route, direction: "in" }, bytesIn);
      bytes.inc({ listener, route, direction: "out" }, bytesOut);
    },
    decision(verdict, reason, other) {
      decisions.add(verdict, reason);
      if (other !== undefined) audited.inc({ verdict: other.verdict, rule: other.rule });
    },
    rateLimited(shared) {
      limited.inc({ bucket: shared ? "trust-domain" : "identity" });
    },
    async text() {
      const now = readings();
      requests.tell();
      decisions.tell();
      operations();
      expiry.reset();
      if (now.svidExpiry !== undefined) expiry.set(now.svidExpiry);
      ready.set(now.ready ? 1 : 0);
      draining.set(now.draining ? 1 : 0);
      unsafe.set(now.unsafeUpstreams);
      return registry.metrics();
    },
  };
}
