/** A client in the hands of a Workload API that does everything wrong that it can. */
import { setTimeout as wait } from "node:timers/promises";
import { FakeWorkloadApi } from "../../src/authority/testing.ts";
import { isSpiffeError } from "../../src/base/errors.ts";
import type { LogFields } from "../../src/telemetry/logger.ts";
import { Workload } from "../../src/workload/index.ts";
import { MOMENT_NAMES, moment, OUTAGE_NAMES, outage, type Stage } from "./faults.ts";
import { Random } from "./random.ts";
import { measureResources, type Resources } from "./resources.ts";
import { type Violation, Witness } from "./witness.ts";

export interface FakeSoakOptions {
  readonly seed: number;
  /** The soak ends when there were so many rotations, reads and outages. */
  readonly rotations: number;
  readonly reads: number;
  readonly outages: number;
  /** Whether every fault comes once before they are drawn, so that its code is there when the heap is measured. */
  readonly eachFirst: boolean;
  /** Rotations after which heap and files are measured the first time. */
  readonly settled: number;
  /** Life of an SVID; rounded up to whole seconds of the clock. */
  readonly ttlMs: number;
  readonly rotateEveryMs: number;
  say(line: string): void;
}

export interface FakeSoakReport {
  readonly seed: number;
  readonly seconds: number;
  readonly rotations: number;
  readonly reads: number;
  /** Outages longer than the SVID's life. */
  readonly outages: number;
  readonly due: number;
  readonly missed: number;
  readonly slowestReturnMs: number;
  readonly tokens: number;
  /** Time in which others had the processor. */
  readonly starvedMs: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly early: Resources;
  readonly late: Resources;
  readonly violations: readonly Violation[];
}

/** An identity, so that a hint can be doubled. */
const IDENTITIES = [
  { id: "spiffe://example.org/soak", hint: "first" },
  { id: "spiffe://example.org/second", hint: "second" },
];

export async function fakeSoak(options: FakeSoakOptions): Promise<FakeSoakReport> {
  const { seed, ttlMs, rotateEveryMs } = options;
  const startedAt = performance.now();
  const random = new Random(seed);
  let witness: Witness | undefined;
  const fake = await FakeWorkloadApi.start({
    identities: IDENTITIES,
    x509TtlMs: ttlMs,
    rotateEveryMs,
    onSent: ({ serials }) => witness?.sent(serials[0]!),
  });
  // What the client says of its troubles stands among the events.
  const note = (message: string, fields?: LogFields) => witness?.note(`${message}: ${fields?.phase} ${fields?.error}`);
  const logger = { debug: note, info: note, warn: note, error: note };
  const workload = await Workload.open({ socket: fake.socket, keepaliveMs: 500, logger });
  const watching = new Witness(() => workload.x509.x509Svid());
  witness = watching;
  const onRejection = (reason: unknown) =>
    watching.violation("rejection", `A rejection that nobody took: ${String(reason)}`);
  process.on("unhandledRejection", onRejection);
  const stage: Stage = { fake, witness: watching, random, rotateEveryMs };
  const faults: Record<string, number> = {};
  // Woken by each state, so that one which the next replaces at once is seen as well.
  const following = (async () => {
    for await (const { svids } of workload.x509.updates()) if (svids[0]) watching.seen(svids[0].leaf.serialNumber);
  })();
  const tokens = new TokenReader(workload, watching, new Random(seed ^ 0x5eed));
  let early: Resources | undefined;
  // Longer than an SVID that was sent just before, whose end is rounded up by a second at most.
  const outageMs = ttlMs + 1_000 + rotateEveryMs;
  const strike = async (name: string) => {
    watching.next(name);
    if (OUTAGE_NAMES.includes(name)) await outage(stage, name, outageMs + random.between(50, 600));
    else await moment(stage, name);
    faults[name] = (faults[name] ?? 0) + 1;
  };
  const first = options.eachFirst ? [...MOMENT_NAMES, ...OUTAGE_NAMES] : [];
  watching.start();
  tokens.start();
  try {
    for (let step = 1; ; step++) {
      await wait(random.between(rotateEveryMs, 6 * rotateEveryMs));
      const isWarm = first.length === 0 && fake.rotations >= options.settled;
      if (early === undefined && isWarm) early = await quiet(stage, workload);
      const outages = watching.outagesAbove(ttlMs);
      if (fake.rotations >= options.rotations && watching.reads >= options.reads && outages >= options.outages) break;
      // Outages are spread over the rotations.
      const isDue = outages < Math.ceil((options.outages * fake.rotations) / options.rotations);
      await strike(first.shift() ?? random.pick(isDue ? OUTAGE_NAMES : MOMENT_NAMES));
      if (step % 25 === 0) {
        const counts = `${watching.reads} reads, ${outages} outages, ${watching.violated} violations`;
        options.say(`  ${fake.rotations} rotations, ${step} faults, ${counts}`);
      }
      if (watching.violated > 100) break;
    }
    const late = await quiet(stage, workload);
    return {
      seed,
      seconds: Math.round((performance.now() - startedAt) / 1_000),
      rotations: fake.rotations,
      reads: watching.reads,
      outages: watching.outagesAbove(ttlMs),
      due: watching.due,
      missed: watching.missed,
      slowestReturnMs: Math.round(watching.slowestReturn),
      tokens: tokens.fetched,
      starvedMs: Math.round(watching.starvedMs),
      faults,
      early: early ?? late,
      late,
      violations: watching.violations,
    };
  } finally {
    watching.stop();
    await tokens.stop();
    await workload.close();
    await following;
    await fake.close();
    process.off("unhandledRejection", onRejection);
  }
}

/** Lets everything come to rest and measures. */
async function quiet({ fake }: Stage, workload: Workload): Promise<Resources> {
  await fake.heal();
  while (workload.x509.state !== "ready" || workload.jwt.state !== "ready") await wait(10);
  // The connections of before are closed on both sides by then.
  await wait(1_500);
  return measureResources();
}

/** Fetches tokens all the while; what it throws has to be typed. */
class TokenReader {
  fetched = 0;
  readonly #workload: Workload;
  readonly #witness: Witness;
  readonly #random: Random;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(workload: Workload, witness: Witness, random: Random) {
    this.#workload = workload;
    this.#witness = witness;
    this.#random = random;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        const audience = `spiffe://example.org/${this.#random.between(1, 10)}`;
        const waiting = AbortSignal.any([signal, AbortSignal.timeout(2_000)]);
        await this.#workload.jwt.fetch({ audience, signal: waiting });
        this.fetched++;
      } catch (error) {
        if (!isSpiffeError(error)) this.#witness.violation("untyped", `An error without a type: ${String(error)}`);
      }
      await wait(200, undefined, { signal }).catch(() => {});
    }
  }
}
