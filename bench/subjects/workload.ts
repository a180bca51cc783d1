/** Workload API calls on one warm connection, and reading what a source holds. */
import { Workload, WorkloadApiClient } from "../../src/workload/index.ts";
import { rowOf } from "../lib/rows.ts";
import { sampleAsync } from "../lib/sample.ts";
import type { Measure } from "./measure.ts";

export const measureWorkload: Measure = async ({ amount, runtime, add, keep }) => {
  const client = new WorkloadApiClient({});
  try {
    // As many calls before as are measured: by then the compilers have seen the whole way.
    const own = { samples: amount.samples, warmup: amount.samples };
    await add("workload", "x509 fetch", "spiffe-edge", () => client.fetchX509Context(), own);
    // An audience nobody asked for before: the agent has no token for it, the server has to sign one.
    let asked = 0;
    const fresh = () => client.fetchJwtSvid({ audience: `bench-${Date.now()}-${asked++}` });
    await add("workload", "jwt issue", "spiffe-edge", fresh, own);
    await add("workload", "jwt cached", "spiffe-edge", () => client.fetchJwtSvid({ audience: "bench-cached" }), own);
  } finally {
    await client.close();
  }
  await using workload = await Workload.open();
  const batch = 1_000;
  const many = { ...amount, batch };
  await add("workload", "source read", "spiffe-edge", () => void workload.x509.current!.svids, many);
  const audience = "bench-cached";
  await workload.jwt.fetch({ audience });
  const tokens = await sampleAsync(amount, async () => {
    for (let i = 0; i < batch; i++) await workload.jwt.fetch({ audience });
  });
  const head = { subject: "workload", name: "jwt from source", stack: "spiffe-edge", runtime } as const;
  keep(
    rowOf(
      head,
      tokens.map((us) => us / batch),
    ),
  );
};
