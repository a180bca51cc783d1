/**
 * Measures subjects in this process: `run.ts JOB`, where JOB is a JSON file
 * `{ subjects, fixtures, samples, warmup, calls, out }`; writes `{ rows, verdicts }` to `out`.
 */
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { runtime } from "../src/runtime/detect.ts";
import type { Fixtures } from "./lib/fixtures.ts";
import type { Result, Runtime, Subject } from "./lib/rows.ts";
import type { Job } from "./lib/sizes.ts";
import { measureCrypto } from "./subjects/crypto.ts";
import { measureHostile } from "./subjects/hostile.ts";
import { measureId } from "./subjects/id.ts";
import { measureJwt } from "./subjects/jwt.ts";
import { collector, type Measure } from "./subjects/measure.ts";
import { measureMemory } from "./subjects/memory.ts";
import { measurePolicy } from "./subjects/policy.ts";
import { measureWorkload } from "./subjects/workload.ts";
import { measureX509 } from "./subjects/x509.ts";

const MEASURES: Partial<Record<Subject, Measure>> = {
  id: measureId,
  x509: async (bench) => {
    await measureX509(bench);
    await measureHostile(bench);
  },
  jwt: measureJwt,
  crypto: measureCrypto,
  workload: measureWorkload,
  policy: measurePolicy,
  memory: measureMemory,
};

const job = JSON.parse(readFileSync(process.argv[2]!, "utf8")) as Job;
const fixtures = JSON.parse(readFileSync(job.fixtures, "utf8")) as Fixtures;
const result: Result = { rows: [], verdicts: {} };
for (const subject of job.subjects) {
  const samples = subject === "workload" ? job.calls : job.samples;
  const amount = { samples, warmup: job.warmup };
  await MEASURES[subject]?.(collector(fixtures, runtime.name as Runtime, amount, result.rows, result.verdicts));
}
writeFileSync(job.out, JSON.stringify(result));
process.exit(0);
