/** Runs in workerd: judges single cases and whole sets of test vectors, says with which verifiers, and tries options. */
import { SpiffeId } from "spiffe-edge";
import { chooseVerifier } from "spiffe-edge/crypto";
import { parsePolicy } from "spiffe-edge/policy";
import { judge } from "../packed/judge.mjs";
import type { JudgedCase } from "../support/cases.ts";
import { PORTABLE_ENTRIES, triedOptions } from "../support/option-entries.ts";
import { backends } from "../vectors/set.ts";
import { judgeSet, SETS } from "../vectors/sets.ts";

/** A set by its name, with the contents of its files. */
export interface SetQuestion {
  readonly set: string;
  readonly contents: Readonly<Record<string, unknown>>;
}

/** A policy file and a request of a caller with a certificate. */
export interface PolicyQuestion {
  readonly text: string;
  readonly peer: string;
  readonly path: string;
}

export default {
  async fetch(request: Request): Promise<Response> {
    if (new URL(request.url).pathname === "/policy") {
      const { text, peer, path } = (await request.json()) as PolicyQuestion;
      const caller = { via: "x509", id: SpiffeId.parse(peer), expiresAt: new Date(2 ** 42) } as const;
      return Response.json(parsePolicy(text).decide(caller, { method: "GET", path }));
    }
    if (new URL(request.url).pathname === "/options") {
      const tried = PORTABLE_ENTRIES.map(async (entry) => [entry.name, await triedOptions(entry)]);
      return Response.json(await Promise.all(tried));
    }
    if (new URL(request.url).pathname === "/vectors") {
      const { set: name, contents } = (await request.json()) as SetQuestion;
      const set = SETS.find((one) => one.name === name)!;
      const verifiers = backends().map((verifier) => verifier.name);
      return Response.json({ result: await judgeSet(set, contents), verifiers });
    }
    const testCase = (await request.json()) as JudgedCase;
    return Response.json({ verdict: await judge(testCase), verifier: chooseVerifier().name });
  },
};
