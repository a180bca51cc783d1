/** What happens to the client in a soak: seeded, one thing after the other. */
import { setTimeout as wait } from "node:timers/promises";
import type { FakeWorkloadApi, GrpcCode, MessageFault } from "../../src/authority/testing.ts";
import type { Random } from "./random.ts";
import type { Witness } from "./witness.ts";

/** Every status after which a client may ask again, without the one that takes the identity away. */
const TRANSIENT: readonly GrpcCode[] = [
  "Canceled",
  "Unknown",
  "DeadlineExceeded",
  "NotFound",
  "AlreadyExists",
  "ResourceExhausted",
  "FailedPrecondition",
  "Aborted",
  "OutOfRange",
  "Internal",
  "Unavailable",
  "DataLoss",
  "Unauthenticated",
];

/** Messages that are to be dropped while the stream goes on. */
const DROPPED: readonly MessageFault[] = [
  { empty: "svids" },
  { empty: "spiffe_id" },
  { empty: "x509_svid" },
  { empty: "x509_svid_key" },
  { empty: "bundle" },
  "wrong-key",
  "trailing-byte",
  { bytes: new Uint8Array() },
];

/** Messages that no stream survives. */
const BREAKING: readonly MessageFault[] = ["corrupt", "truncated", "oversized"];

export interface Stage {
  readonly fake: FakeWorkloadApi;
  readonly witness: Witness;
  readonly random: Random;
  /** Milliseconds between rotations. */
  readonly rotateEveryMs: number;
}

type Fault = (stage: Stage) => unknown;

/** Faults of a moment, by name. */
const MOMENTS: Readonly<Record<string, Fault>> = {
  "dropped message": ({ fake, random }) => fake.spoil(random.pick(DROPPED)),
  "duplicate hint": ({ fake }) => fake.spoil("duplicate-hint"),
  "broken message": ({ fake, witness, random }) => {
    witness.disturbed();
    fake.spoil(random.pick(BREAKING));
  },
  "spoilt bundles": ({ fake, random }) =>
    fake.spoil(random.pick([...BREAKING, { empty: "bundles" }]), "FetchJWTBundles"),
  "spoilt token": ({ fake, random }) => fake.spoil(random.pick([...BREAKING, { empty: "svid" }]), "FetchJWTSVID"),
  "clean end": ({ fake, witness }) => {
    witness.disturbed();
    fake.end();
  },
  "end after each answer": async ({ fake, witness, random }) => {
    witness.disturbed();
    fake.endAfterAnswer();
    await wait(random.between(50, 800));
    witness.disturbed();
    await fake.heal();
  },
  reset: ({ fake, witness }) => {
    witness.disturbed();
    fake.reset();
  },
  cut: ({ fake, witness }) => {
    witness.disturbed();
    fake.cut();
  },
  goaway: ({ fake }) => fake.goAway(),
  "goaway with an error": ({ fake, witness, random }) => {
    witness.disturbed();
    fake.goAway(random.pick(["INTERNAL_ERROR", "ENHANCE_YOUR_CALM"] as const));
  },
  replaced: async ({ fake, witness }) => {
    witness.disturbed();
    await fake.replace();
    // It is noticed within a second, and a stream of before is left then.
    await wait(1_200);
    witness.disturbed();
  },
  status: ({ fake, witness, random }) => {
    witness.disturbed();
    fake.fail(random.pick(TRANSIENT), { message: "scripted", calls: random.between(0, 2) });
  },
  delay: async ({ fake, witness, random }) => {
    witness.disturbed();
    fake.delay(random.between(20, 300));
    fake.cut();
    await wait(random.between(100, 600));
    witness.disturbed();
    await fake.heal();
  },
  flood: async ({ fake, witness }) => {
    witness.flooded();
    await fake.flood(200, 2_000);
    // What came last of it may still stand behind the others.
    await wait(500);
    witness.disturbed();
  },
  redaction: async ({ fake, witness, random }) => {
    const trouble = witness.begin("redaction");
    fake.redact();
    await wait(random.between(50, 1_500));
    await fake.heal();
    witness.heal(trouble);
    while (trouble.servedAt === undefined) await wait(5);
  },
};

/** Ways in which an agent gives nothing for a while. */
const OUTAGES: Readonly<Record<string, Fault>> = {
  "outage: stopped": ({ fake }) => fake.stop(),
  "outage: silent": ({ fake }) => fake.halfOpen(),
  "outage: failing": ({ fake, random }) => fake.fail(random.pick(TRANSIENT)),
  "outage: not renewing": ({ fake }) => fake.rotateEvery(0),
};

/** Names of the faults of a moment. */
export const MOMENT_NAMES: readonly string[] = Object.keys(MOMENTS);

/** Does one thing of a moment. */
export async function moment(stage: Stage, name: string): Promise<void> {
  await MOMENTS[name]!(stage);
}

/** Names of the ways in which an agent gives nothing. */
export const OUTAGE_NAMES: readonly string[] = Object.keys(OUTAGES);

/** Lets the agent give nothing for so long, and waits until it has served again. */
export async function outage(stage: Stage, name: string, ms: number): Promise<void> {
  const { fake, witness, random, rotateEveryMs } = stage;
  const trouble = witness.begin("outage");
  await OUTAGES[name]!(stage);
  await wait(ms);
  // An agent that did not renew does so first: what it would send again is over.
  await fake.rotate();
  // Half of all agents come back by a restart, which the client sees; the others while it waits for its next attempt.
  if (random.next() < 0.5) await fake.stop();
  await fake.heal();
  fake.rotateEvery(rotateEveryMs);
  witness.heal(trouble);
  while (trouble.servedAt === undefined) await wait(5);
}
