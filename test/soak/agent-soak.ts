/** A client of a real SPIRE agent that is killed and started again and again. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as wait } from "node:timers/promises";
import { Workload } from "../../src/workload/index.ts";
import { onThisRuntime } from "../support/programs.ts";
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
  const driver = new Driver(options.ttlSeconds);
  const workload = await Workload.open({ socket: await driver.line() }).catch(async (error) => {
    await driver.stop();
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
      await driver.kill();
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
    await driver.stop();
    process.off("unhandledRejection", onRejection);
  }
}

/** The process that runs SPIRE. */
class Driver {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(ttlSeconds: number) {
    const [command, args] = onThisRuntime("test/soak/agent-driver.ts", [String(ttlSeconds)]);
    this.#child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  /** What it says next. */
  async line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error("the process that runs SPIRE has ended");
    return value;
  }

  /** Kills the agent and waits until it is back. */
  async kill(): Promise<void> {
    this.#child.stdin!.write("kill\n");
    await this.line();
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.stdin!.end();
    await ended;
  }
}

async function quiet(workload: Workload): Promise<Resources> {
  while (workload.x509.state !== "ready" || workload.jwt.state !== "ready") await wait(10);
  await wait(1_000);
  return measureResources();
}
