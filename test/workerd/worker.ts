/** Runs in workerd: judges the case in the request and says with which verifier. */
import { chooseVerifier } from "spiffe-edge/crypto";
import { judge } from "../packed/judge.mjs";
import type { JudgedCase } from "../support/cases.ts";

export default {
  async fetch(request: Request): Promise<Response> {
    const testCase = (await request.json()) as JudgedCase;
    return Response.json({ verdict: await judge(testCase), verifier: chooseVerifier().name });
  },
};
