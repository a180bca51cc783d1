/** A client of a real SPIRE agent that is killed and started again and again. */
import { setTimeout as wait } from "node:timers/promises";
import { Workload } from "../../src/workload/index.ts";
import { startSpire } from "../support/spire.ts";
import { measureResources, type Resources } from "./resources.ts";
import { type Violation, Witness } from "./witness.ts";

export interface AgentSoakOptions {
  readonly restarts: number;
  /** Restarts after which heap and files are measured the first time. */
  readonly settled: number;
  /** Life of an SVID in seconds. */
  readonly ttlSeconds: number;
  say(line: string): void;
}

export interface AgentSoakReport {
  readonly seconds: number;
  readonly restarts: number;
  readonly reads: number;
  /** SVIDs received. */
  readonly updates: number;
  /** The longest time from the agent's readiness to the first SVID from it, in ms. */
  readonly slowestReturnMs: number;
  /** Reads that threw because the SVID's life was over before the agent was back. */
  readonly expired: number;
  readonly early: Resources;
  readonly late: Resources;
  readonly violations: readonly Violation[];
}

/** A restarted agent has to serve the client within this time, in ms. */
const RETURN_MS = 10_000;

export async function agentSoak(options: AgentSoakOptions): Promise<AgentSoakReport> {
  const startedAt = performance.now();
  const spire = await startSpire({ entries: [{ path: "/soak", x509TtlSeconds: options.ttlSeconds }] });
  const workload = await Workload.open({ socket: spire.endpoint }).catch(async (error) => {
    await spire.stop();
    throw error;
  });
  const witness = new Witness(() => workload.x509.x509Svid());
  const onRejection = (reason: unknown) =>
    witness.violation("rejection", `A rejection that nobody took: ${String(reason)}`);
  process.on("unhandledRejection", onRejection);
  let early: Resources | undefined;
  witness.start();
  try {
    for (let restart = 1; restart <= options.restarts; restart++) {
      const trouble = witness.begin("outage");
      const { streams } = workload.x509.counters;
      await spire.restartAgent("SIGKILL");
      witness.heal(trouble);
      const deadline = performance.now() + RETURN_MS;
      const isBack = () => workload.x509.counters.streams > streams && workload.x509.state === "ready";
      while (!isBack() && performance.now() < deadline) await wait(5);
      if (!isBack()) witness.violation("late", `Restart ${restart}: not served within ${RETURN_MS} ms`);
      trouble.servedAt ??= Date.now();
      // Some of its life without trouble, so that the agent renews in between.
      await wait(options.ttlSeconds * 100);
      if (restart === options.settled) early = await quiet(workload);
      options.say(`  ${restart} restarts, ${witness.reads} reads, ${witness.violated} violations`);
    }
    const late = await quiet(workload);
    return {
      seconds: Math.round((performance.now() - startedAt) / 1_000),
      restarts: options.restarts,
      reads: witness.reads,
      updates: workload.x509.counters.updates,
      slowestReturnMs: Math.round(witness.slowestReturn),
      expired: witness.troubles.reduce((sum, { expired }) => sum + expired, 0),
      early: early ?? late,
      late,
      violations: witness.violations,
    };
  } finally {
    witness.stop();
    await workload.close();
    await spire.stop();
    process.off("unhandledRejection", onRejection);
  }
}

async function quiet(workload: Workload): Promise<Resources> {
  while (workload.x509.state !== "ready" || workload.jwt.state !== "ready") await wait(10);
  await wait(1_000);
  return measureResources();
}
