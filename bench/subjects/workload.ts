/** Workload API calls on one warm connection. */
import { WorkloadApiClient } from "../../src/workload/index.ts";
import type { Measure } from "./measure.ts";

export const measureWorkload: Measure = async ({ amount, add }) => {
  const client = new WorkloadApiClient({});
  try {
    const own = { samples: amount.samples, warmup: Math.min(amount.warmup, 20) };
    await add("workload", "x509 fetch", "spiffe-edge", () => client.fetchX509Context(), own);
    // An audience nobody asked for before: the agent has no token for it, the server has to sign one.
    let asked = 0;
    const fresh = () => client.fetchJwtSvid({ audience: `bench-${Date.now()}-${asked++}` });
    await add("workload", "jwt issue", "spiffe-edge", fresh, own);
    await add("workload", "jwt cached", "spiffe-edge", () => client.fetchJwtSvid({ audience: "bench-cached" }), own);
  } finally {
    await client.close();
  }
};
