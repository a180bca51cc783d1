/**
 * Soaks the Workload API client, mTLS or the gateway: `npm run soak -- [workload|tls|gateway] [--runtime bun|deno|node|all] [--seed N]`.
 *
 * Thousands of rotations of SVIDs that live two seconds, with every fault the fake Workload API knows, and a real SPIRE
 * agent that is killed again and again. About eleven minutes for a runtime. With `tls`: 10,000
 * half-open handshakes, or `--half-open`; then 20,000 handshakes, or `--handshakes`, while SVIDs and CA rotate and wrong
 * peers knock. About two minutes for a runtime. With `gateway`: 50 reloads and rotations at
 * least, or `--reloads`, under load for ten minutes, or `--minutes`, in which memory and descriptors stay as they are; then
 * ten gateways that drain under load. Ends with 1 when a goal is missed.
 */
import { parseArgs } from "node:util";
import { bin, root, run } from "./lib/run.ts";
import { CONDITION, RUNTIMES, type RuntimeName } from "./lib/runtimes.ts";

const LIMIT_MS = 900_000;

/** The program of each soak, and the options it takes beside the runtime. */
const SOAKS = {
  workload: { program: "test/soak/main.ts", options: ["seed", "rotations"] },
  tls: { program: "test/soak-tls/main.ts", options: ["handshakes", "half-open"] },
  gateway: { program: "test/soak-gateway/main.ts", options: ["reloads", "minutes"] },
} as const;
type Soak = (typeof SOAKS)[keyof typeof SOAKS];

/** How each runtime runs a program that can collect garbage on demand. */
const FLAGS: Readonly<Record<RuntimeName, readonly string[]>> = {
  bun: [CONDITION],
  deno: ["run", "-A", "--no-check", CONDITION, "--v8-flags=--expose-gc"],
  node: [CONDITION, "--expose-gc"],
};

function usage(problem: string): never {
  console.error(
    `soak: ${problem}. Usage: npm run soak -- [workload|tls|gateway] [--runtime ${RUNTIMES.join("|")}|all] ` +
      "[--seed N] [--rotations N] [--handshakes N] [--half-open N] [--reloads N] [--minutes N]",
  );
  process.exit(2);
}

function parse() {
  const text = { type: "string" } as const;
  const tls = { handshakes: text, "half-open": text };
  const options = { runtime: text, seed: text, rotations: text, ...tls, reloads: text, minutes: text };
  try {
    return parseArgs({ allowPositionals: true, options });
  } catch (error) {
    return usage((error as Error).message);
  }
}

function readArguments(): { soak: Soak; runtimes: readonly RuntimeName[]; passed: string[] } {
  const { values, positionals } = parse();
  const { runtime = "bun", ...numbers } = values;
  const [name = "workload", ...more] = positionals;
  if (!Object.hasOwn(SOAKS, name) || more.length > 0)
    usage(`expected workload, tls or gateway, got "${positionals.join(" ")}"`);
  const soak = SOAKS[name as keyof typeof SOAKS];
  const runtimes = runtime === "all" ? RUNTIMES : RUNTIMES.filter((each) => each === runtime);
  if (runtimes.length === 0) usage(`expected --runtime ${RUNTIMES.join("|")}|all, got "${runtime}"`);
  const passed: string[] = [];
  for (const [option, value] of Object.entries(numbers)) {
    if (!(soak.options as readonly string[]).includes(option)) usage(`${name} takes no --${option}`);
    if (!(option === "seed" ? /^\d{1,10}$/ : /^[1-9]\d{0,6}$/).test(value))
      usage(`expected a whole number as --${option}, got "${value}"`);
    passed.push(`--${option}`, value);
  }
  return { soak, runtimes, passed };
}

const { soak, runtimes, passed } = readArguments();
let failed = 0;
for (const runtime of runtimes) {
  const args = [...FLAGS[runtime], `${root}/${soak.program}`, ...passed];
  const { code, stdout } = await run(bin(runtime), args, {
    env: { SPIFFE_ENDPOINT_SOCKET: undefined, NODE_OPTIONS: undefined },
    timeoutMs: LIMIT_MS,
    live: true,
  });
  if (code !== 0) failed++;
  if (code !== 0 && code !== 1) console.log(`${runtime}: ended with code ${code}\n${stdout}`);
}
console.log(
  `soak: ${runtimes.length} runtimes, ${failed === 0 ? "all goals reached" : `${failed} of them missed a goal`}`,
);
process.exitCode = failed === 0 ? 0 : 1;
