/** Judges a set of test vectors and compares each verdict with the file's. Runs on every runtime, in workerd too. */
import { wasmVerifier } from "../../src/crypto/choose-backend.ts";
import {
  type Checks,
  chooseVerifier,
  nativeVerifier,
  runChecks,
  runChecksSync,
  type SignatureVerifier,
  type SyncSignatureVerifier,
  webcryptoVerifier,
} from "../../src/crypto/index.ts";

/** What came out of judging a case: the decision, and in a word why or as whom. */
export interface Judgement {
  readonly accepted: boolean;
  readonly text: string;
}

export interface VectorCase {
  /** The file's name, `#`, and the case's own name or number. */
  readonly id: string;
  /** The file's verdict; `either` where it leaves the choice, anything else is none. */
  readonly expected: "accept" | "refuse" | "either" | string;
  /** What the judgement has to say besides, where the file knows that too. */
  readonly text?: string | undefined;
  judge(verifier: SignatureVerifier): Judgement | Promise<Judgement>;
}

/** Cases that say nothing about this project, by reason. */
export interface Exception {
  readonly reason: string;
  /** How they are judged here all the same, which is not as the file says; `not-run` where nothing here could judge them. */
  readonly here: "accept" | "refuse" | "not-run";
  /** File names, each with its cases' names or numbers. */
  readonly cases: Readonly<Record<string, readonly (string | number)[]>>;
}

/** The checked-in knowledge about one set. */
export interface SetNotes {
  /** The most cases that may be exceptions. */
  readonly ceiling: number;
  readonly exceptions: readonly Exception[];
  /** What was chosen where the file says `either`, by case. */
  readonly choices: Readonly<Record<string, "accept" | "refuse">>;
}

export interface SetResult {
  readonly right: number;
  /** A sentence for each case, or rule of the lists, that is not as it should be. */
  readonly wrong: readonly string[];
  readonly notApplicable: number;
  readonly total: number;
}

export const NO_NOTES: SetNotes = { ceiling: 0, exceptions: [], choices: {} };

/** Every backend that this runtime has: native ones, WebAssembly for all it can do, and the pair that is chosen unasked. */
export function backends(): readonly SignatureVerifier[] {
  const native = nativeVerifier();
  const wasm = wasmVerifier() === undefined ? [] : [chooseVerifier("wasm"), chooseVerifier()];
  return [...(native === undefined ? [] : [native]), webcryptoVerifier, ...wasm];
}

/** Runs a verification by the driver that goes with the backend. */
export function drive<T>(checks: Checks<T>, verifier: SignatureVerifier): T | Promise<T> {
  return verifier.sync ? runChecksSync(checks, verifier as SyncSignatureVerifier) : runChecks(checks, verifier);
}

/** Judges every case by every backend. */
export async function runSet(
  cases: readonly VectorCase[],
  notes: SetNotes,
  verifiers: readonly SignatureVerifier[] = backends(),
): Promise<SetResult> {
  const wrong: string[] = [];
  let right = 0;
  let notApplicable = 0;
  const exceptions = listed(notes, wrong);
  const seen = new Set<string>();
  for (const one of cases) {
    if (seen.has(one.id)) wrong.push(`${one.id}: there are two cases of this name`);
    seen.add(one.id);
    const exception = exceptions.get(one.id);
    if (exception?.here === "not-run") {
      notApplicable++;
      continue;
    }
    const fault = await faultOf(one, exception, notes, verifiers);
    if (fault !== undefined) wrong.push(`${one.id}: ${fault}`);
    else if (exception !== undefined) notApplicable++;
    else right++;
  }
  for (const id of [...exceptions.keys(), ...Object.keys(notes.choices)]) {
    if (!seen.has(id)) wrong.push(`${id} is listed, but there is no such case`);
  }
  if (exceptions.size > notes.ceiling) wrong.push(`${exceptions.size} exceptions are more than ${notes.ceiling}`);
  if (cases.length === 0) wrong.push("there is no case");
  return { right, wrong, notApplicable, total: cases.length };
}

function listed({ exceptions }: SetNotes, wrong: string[]): Map<string, Exception> {
  const byCase = new Map<string, Exception>();
  for (const exception of exceptions) {
    if (exception.reason.length < 10) wrong.push(`${JSON.stringify(exception.reason)} is no reason`);
    for (const [file, names] of Object.entries(exception.cases)) {
      for (const name of names) {
        const id = `${file}#${name}`;
        if (byCase.has(id)) wrong.push(`${id} is listed twice`);
        byCase.set(id, exception);
      }
    }
  }
  return byCase;
}

/** What is wrong about a case, or `undefined`. */
async function faultOf(
  one: VectorCase,
  exception: Exception | undefined,
  { choices }: SetNotes,
  verifiers: readonly SignatureVerifier[],
): Promise<string | undefined> {
  if (verifiers.length === 0) return "there is no backend";
  const judgements: Judgement[] = [];
  for (const verifier of verifiers) judgements.push(await one.judge(verifier));
  const [{ accepted, text }] = judgements as [Judgement];
  if (judgements.some((other) => other.accepted !== accepted || other.text !== text)) {
    return `the backends differ: ${judgements.map((judgement, i) => `${verifiers[i]!.name} ${judgement.text}`).join(", ")}`;
  }
  const given = accepted ? "accept" : "refuse";
  const { expected } = one;
  if (!["accept", "refuse", "either"].includes(expected)) return `no verdict of the file: ${expected}`;
  if (exception !== undefined) {
    if (expected === exception.here || expected === "either") return "is listed as an exception, but is none";
    return given === exception.here ? undefined : `is listed for ${exception.here}, but got ${given}: ${text}`;
  }
  if (expected === "either") {
    const choice = Object.hasOwn(choices, one.id) ? choices[one.id] : undefined;
    if (choice === undefined) return `no choice is recorded; here it is ${given}`;
    return given === choice ? undefined : `the recorded choice is ${choice}, but got ${given}: ${text}`;
  }
  if (given !== expected) return `expected ${expected}, got ${given}: ${text}`;
  return one.text === undefined || one.text === text ? undefined : `expected ${one.text}, got ${text}`;
}
