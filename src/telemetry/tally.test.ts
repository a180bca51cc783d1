import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Counter, Histogram, Registry } from "prom-client";
import { gatewayMetrics } from "./metrics.ts";
import type { OperationsReadings } from "./operations.ts";

const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const nothing: OperationsReadings = {
  listeners: [],
  streams: [],
  rotations: 0,
  rotatedAt: undefined,
  upstreams: [],
  candidate: {},
  reloads: {},
  lastReload: undefined,
  running: 0,
  logLinesDropped: 0,
  rateStore: undefined,
};
const readings = () => ({ ...nothing, svidExpiry: undefined, ready: true, draining: false, unsafeUpstreams: 0 });

/** The block of a metric in an exposition. */
function blockOf(text: string, name: string): string {
  const block = text.split("\n\n").find((one) => one.startsWith(`# HELP ${name} `));
  assert.ok(block !== undefined, `no ${name}`);
  return block.trim();
}

describe("metrics of every request", () => {
  it("read as if the library had counted each, at every scrape, and none is lost between two", async () => {
    const metrics = gatewayMetrics(readings);
    const registry = new Registry();
    const registers = [registry];
    const labelNames = ["listener", "route", "method", "status", "via"];
    const help = "Requests by listener, route, method, status and kind of identity.";
    const requests = new Counter({ name: "spiffe_edge_requests_total", help, labelNames, registers });
    const seconds = new Histogram({
      name: "spiffe_edge_request_duration_seconds",
      help: "Time from a request's arrival to the end of its answer.",
      labelNames: ["route"],
      buckets: BUCKETS,
      registers,
    });
    const decisions = new Counter({
      name: "spiffe_edge_decisions_total",
      help: "Policy decisions by verdict and reason.",
      labelNames: ["verdict", "reason"],
      registers,
    });
    const names = ["spiffe_edge_requests_total", "spiffe_edge_request_duration_seconds", "spiffe_edge_decisions_total"];
    const compare = async () => {
      const [own, theirs] = [await metrics.text(), await registry.metrics()];
      for (const name of names) assert.equal(blockOf(own, name), blockOf(theirs, name));
    };
    await compare();
    // on the bounds, between them, below the first and above the last
    const times = [0, ...BUCKETS, 0.0011, 0.3, 0.1 + 0.2, 10.000001, 3600];
    for (let i = 0; i < 3_000; i++) {
      const route = ["orders", 'a "quoted"\\ one', "none"][i % 3] as string;
      const method = ["GET", "POST", "DELETE", "BREW"][i % 4] as string;
      const status = [200, 403, 0][i % 5] ?? 502;
      const listener = `l${i % 2}`;
      const via = i % 7 === 0 ? "jwt" : "x509";
      const spent = times[i % times.length] as number;
      metrics.request({ listener, route, method, status, via, seconds: spent });
      const known = method === "BREW" ? "other" : method;
      requests.inc({ listener, route, method: known, status: String(status), via });
      seconds.observe({ route }, spent);
      const [verdict, reason] = i % 11 === 0 ? ["deny", "policy.denied"] : ["allow", "policy.allowed"];
      metrics.decision(verdict as string, reason as string);
      decisions.inc({ verdict, reason });
      if (i % 1_000 === 7) await compare();
    }
    await compare();
    // two scrapes at a time are whole each
    const [one, other] = await Promise.all([metrics.text(), metrics.text()]);
    assert.equal(one, other);
  });
});
