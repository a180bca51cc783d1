/**
 * Uses the Workload API of `SPIFFE_ENDPOINT_SOCKET` in every way, closes; then nothing may keep the process. The
 * argument is the time to wait for an identity, in milliseconds.
 */
import { isSpiffeError } from "../../src/base/errors.ts";
import { Workload, WorkloadApiClient } from "../../src/workload/index.ts";

try {
  const workload = await Workload.open({ timeoutMs: Number(process.argv[2] ?? 20_000) });
  await workload.jwt.fetch({ audience: "anyone" });
  await workload.close();
  const client = new WorkloadApiClient();
  await client.fetchX509Context();
  await client.fetchJwtSvid({ audience: "anyone" });
  for await (const _ of client.watchJwtBundles()) break;
  await client.close();
  console.log(`closed ${workload.id}`);
} catch (error) {
  if (!isSpiffeError(error)) throw error;
  console.log(`${error.code} ${error.message}`);
}
