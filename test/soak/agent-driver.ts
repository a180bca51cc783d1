/**
 * Runs a real SPIRE for a soak, in a process of its own, so that the client's process holds nothing but the client. Says
 * the endpoint, then for each line it reads that the killed agent is back; ends with its input.
 */
import { createInterface } from "node:readline";
import { startSpire } from "../support/spire.ts";

const spire = await startSpire({ entries: [{ path: "/soak", x509TtlSeconds: Number(process.argv[2]) }] });
console.log(spire.endpoint);
for await (const _ of createInterface({ input: process.stdin })) {
  await spire.restartAgent("SIGKILL");
  console.log("back");
}
await spire.stop();
