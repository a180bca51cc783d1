/** The first X.509 context of this fresh process, after imports; prints microseconds. */
import process from "node:process";
import { WorkloadApiClient } from "../src/workload/index.ts";

const start = process.hrtime.bigint();
const client = new WorkloadApiClient({});
const context = await client.fetchX509Context();
const took = Number(process.hrtime.bigint() - start) / 1000;
if (context.svids.length === 0) throw new Error("no SVID came");
process.stdout.write(`${took}\n`);
await client.close();
process.exit(0);
