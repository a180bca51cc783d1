/** The Workload API that a bench runs against. */
import { Authority } from "../../src/authority/index.ts";
import { spireMissing, startSpire } from "../../test/support/spire.ts";
import type { Environment } from "./target.ts";

/** A running Workload API with one identity, `spiffe://x0tta6bl4.local/bench`. */
export interface BenchWorkloadApi {
  kind: Environment;
  /** What it is, for the output. */
  label: string;
  /** Value for `SPIFFE_ENDPOINT_SOCKET`. */
  endpoint: string;
  stop(): Promise<void>;
}

export const BENCH_TRUST_DOMAIN = "x0tta6bl4.local";
export const BENCH_ID: string = `spiffe://${BENCH_TRUST_DOMAIN}/bench`;

/** Audience of the gateway's route that takes tokens. */
export const GATEWAY_AUDIENCE: string = `spiffe://${BENCH_TRUST_DOMAIN}/orders`;

/** Starts a real SPIRE when its programs are there, else the embedded authority. */
export async function startWorkloadApi(): Promise<BenchWorkloadApi> {
  const missing = spireMissing();
  if (missing === undefined) {
    const spire = await startSpire({ entries: [{ path: "/bench" }], trustDomain: BENCH_TRUST_DOMAIN });
    return { kind: "spire", label: "a real SPIRE", endpoint: spire.endpoint, stop: () => spire.stop() };
  }
  const authority = await Authority.start({
    trustDomain: BENCH_TRUST_DOMAIN,
    entries: [{ id: BENCH_ID, socket: "bench" }],
  });
  return {
    kind: "embedded",
    label: `the embedded authority (${missing})`,
    endpoint: authority.socketFor("bench"),
    stop: () => authority.close(),
  };
}
