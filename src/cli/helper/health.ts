/** The helper's health endpoint: plain HTTP for probes and scrapers. Shows no identities and no contents. */
import { createServer } from "node:http";
import { Counter, Gauge, Registry } from "prom-client";
import { listening } from "../../tls/listening.ts";
import type { HelperConfig } from "./config.ts";

/** Whether every file is written and still valid, and if not, why. */
export interface HelperReadiness {
  readonly ready: boolean;
  readonly reasons: readonly string[];
  /** What is wrong without making the files invalid. */
  readonly warnings: readonly string[];
}

/** Counts of one helper, in a registry of its own. */
export class HelperMetrics {
  readonly generations: Counter;
  readonly writeFailures: Counter;
  readonly tokenFailures: Counter;
  readonly renewals: Counter<"kind" | "result">;
  readonly #registry = new Registry();

  constructor(readings: { ready(): boolean; svidExpiry(): number | undefined }) {
    const registers = [this.#registry];
    const counter = (name: string, help: string) => new Counter({ name, help, registers });
    this.generations = counter("spiffe_edge_helper_generations_total", "Generations written.");
    this.writeFailures = counter("spiffe_edge_helper_write_failures_total", "Generations that could not be written.");
    this.tokenFailures = counter("spiffe_edge_helper_token_failures_total", "JWT-SVIDs that could not be fetched.");
    this.renewals = new Counter({
      name: "spiffe_edge_helper_renewals_total",
      help: "Commands run and signals sent after a generation, by result.",
      labelNames: ["kind", "result"],
      registers,
    });
    new Gauge({
      name: "spiffe_edge_helper_ready",
      help: "1 while every file is written and valid.",
      registers,
      collect() {
        this.set(readings.ready() ? 1 : 0);
      },
    });
    new Gauge({
      name: "spiffe_edge_helper_svid_expiry_timestamp_seconds",
      help: "When the written X.509-SVID expires.",
      registers,
      collect() {
        this.reset();
        const expiry = readings.svidExpiry();
        if (expiry !== undefined) this.set(expiry);
      },
    });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}

/**
 * Opens the endpoint on every address of this machine, as a probe from outside of it needs.
 *
 * @returns its port, and how to close it
 * @throws `ERR_SPIFFE_PORT_IN_USE`, `ERR_SPIFFE_PERMISSION`
 */
export async function openHealth(
  { port, livePath, readyPath }: NonNullable<HelperConfig["health"]>,
  readiness: () => HelperReadiness,
  metrics: HelperMetrics,
): Promise<{ port: number; close(): Promise<void> }> {
  const answer = async (path: string): Promise<{ status: number; type: string; body: string }> => {
    if (path === livePath) return { status: 200, type: "text/plain", body: "alive\n" };
    if (path === readyPath) {
      const state = readiness();
      const body = `${JSON.stringify(state, null, 2)}\n`;
      return { status: state.ready ? 200 : 503, type: "application/json", body };
    }
    if (path === "/metrics") return { status: 200, type: metrics.contentType, body: await metrics.text() };
    return { status: 404, type: "text/plain", body: `${livePath} ${readyPath} /metrics\n` };
  };
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 }, async (request, response) => {
    request.resume();
    const get = request.method === "GET" || request.method === "HEAD";
    const { status, type, body } = get
      ? await answer((request.url ?? "").split("?")[0]!)
      : { status: 405, type: "text/plain", body: "GET only\n" };
    response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
    response.end(request.method === "HEAD" ? undefined : body);
  });
  const bound = await listening(server, { address: "0.0.0.0", port, name: "the health endpoint" });
  return {
    port: bound.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
