/** Warnings of a runtime in the output of a test run: each is a failure, as it would reach a user's log. */

/** Warnings that are not ours. At most one each in a run: a runtime tells each of these once per process. */
const FOREIGN: readonly { readonly name: string; readonly file: string; readonly reason: string }[] = [
  {
    name: "TimeoutNegativeWarning",
    file: "test/seams/kafka.test.ts",
    reason: "kafkajs computes the wait until its next throttled request, which may have passed",
  },
];

const WARNING = /^\(node:\d+\) (?:\[[\w-]+\] )?(\w*Warning): .*/gm;

/**
 * The warnings in what a run printed, in the one form that Bun, Deno and Node share.
 *
 * @param files the test files of the run; a foreign warning is allowed only where its cause ran
 */
export function warningsIn(output: string, files: readonly string[]): string[] {
  const allowed = new Set(FOREIGN.filter(({ file }) => files.includes(file)).map(({ name }) => name));
  return [...output.matchAll(WARNING)].flatMap(([line, name = ""]) => (allowed.delete(name) ? [] : [line]));
}
