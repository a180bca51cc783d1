/** A program that asks for its identity once by each way, closes what it opened, and has nothing left to do. */
import { Workload, WorkloadApiClient } from "../../src/workload/index.ts";

const client = new WorkloadApiClient();
const { svids } = await client.fetchX509Context();
await client.fetchX509Bundles();
await client.fetchJwtBundles();
await client.close();
const workload = await Workload.open();
await workload.close();
console.log(svids[0]?.id.uri);
