/** Mutants by seed, each of which gets a typed answer in bounded time (G-4, A-8). */
import type { Finding } from "./differential.ts";
import { type Call, type Mutant, type Target, untyped } from "./mutants.ts";
import { Random } from "./random.ts";

/** The longest a call may take, in milliseconds; a bound for safety, far above what is usual. */
const MAX_MS = 50;
/** How often a call that took longer is measured again: other work of the machine is not its fault. */
const RETRIES = 8;

export interface MutationResult {
  readonly mutants: number;
  readonly calls: number;
  readonly accepted: number;
  /** The longest call, in milliseconds. */
  readonly slowest: number;
  readonly findings: readonly Finding[];
}

/** Makes the mutant of a seed, target and number. */
export function mutantOf(target: Target, seed: number, index: number): Mutant {
  return target.mutate(new Random(seed, target.name, index));
}

/** The time of a call: that of the clock or, where other work of the machine took the processor away, that of the process. */
async function timed<T>(run: () => T | Promise<T>): Promise<{ value: T; ms: number }> {
  const [started, before] = [performance.now(), process.cpuUsage()];
  const answer = run();
  const value = answer instanceof Promise ? await answer : answer;
  const elapsed = performance.now() - started;
  const { user, system } = process.cpuUsage(before);
  return { value, ms: Math.min(elapsed, (user + system) / 1_000) };
}

/** What is wrong with the answer to a call, or nothing. */
async function judge(one: Call, { secrets }: Mutant): Promise<{ ms: number; accepted: boolean; complaint?: string }> {
  try {
    const { value: answer, ms: first } = await timed(() => one.run());
    let ms = first;
    for (let i = 0; i < RETRIES && ms > MAX_MS; i++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      ms = Math.min(ms, (await timed(() => one.run())).ms);
    }
    const complaint =
      untyped(answer, secrets) ??
      (ms > MAX_MS ? `took ${ms.toFixed(0)} ms` : undefined) ??
      (answer.ok ? await one.accepted?.(answer.value) : undefined);
    return { ms, accepted: answer.ok === true, ...(complaint !== undefined && { complaint }) };
  } catch (error) {
    const complaint = `threw ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
    return { ms: 0, accepted: false, complaint };
  }
}

/** Makes and judges mutants of one target, from number `first` on. */
export async function fuzzTarget(target: Target, seed: number, count: number, first = 0): Promise<MutationResult> {
  const result = { mutants: 0, calls: 0, accepted: 0, slowest: 0, findings: [] as Finding[] };
  for (let index = first; index < first + count; index++) {
    const mutant = mutantOf(target, seed, index);
    result.mutants++;
    for (const one of mutant.calls) {
      const { ms, accepted, complaint } = await judge(one, mutant);
      result.calls++;
      if (accepted) result.accepted++;
      result.slowest = Math.max(result.slowest, ms);
      if (complaint === undefined) continue;
      result.findings.push({
        label: `${target.name}/${index}`,
        message: `${one.name}: ${complaint}`,
        input: mutant.input,
      });
    }
  }
  return result;
}

/** Makes and judges mutants of all targets, each with its share of the count. */
export async function fuzzAll(
  targets: readonly Target[],
  seed: number,
  count: number,
  report: (target: Target, result: MutationResult) => void = () => {},
): Promise<MutationResult> {
  const total = targets.reduce((sum, { share }) => sum + share, 0);
  const all = { mutants: 0, calls: 0, accepted: 0, slowest: 0, findings: [] as Finding[] };
  for (const target of targets) {
    const result = await fuzzTarget(target, seed, Math.ceil((count * target.share) / total));
    report(target, result);
    all.mutants += result.mutants;
    all.calls += result.calls;
    all.accepted += result.accepted;
    all.slowest = Math.max(all.slowest, result.slowest);
    all.findings.push(...result.findings);
  }
  return all;
}
