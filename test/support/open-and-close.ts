/** Opens the workload of `SPIFFE_ENDPOINT_SOCKET`, fetches a token, closes; then nothing may keep the process. */
import { isSpiffeError } from "../../src/base/errors.ts";
import { Workload } from "../../src/workload/index.ts";

try {
  const workload = await Workload.open({ timeoutMs: 3_000 });
  await workload.jwt.fetch({ audience: "anyone" });
  await workload.close();
  console.log(`closed ${workload.id}`);
} catch (error) {
  if (!isSpiffeError(error)) throw error;
  console.log(`${error.code} ${error.message}`);
}
