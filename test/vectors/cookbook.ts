/** The JOSE cookbook's signatures: the same JWS in its three forms, of which a JWT-SVID may have one. */
import type { VectorCase } from "./set.ts";
import { bundleOf, jwsJudgement } from "./wycheproof.ts";

interface CookbookFile {
  readonly input: { readonly key: Readonly<Record<string, unknown>> };
  readonly output: Readonly<Record<string, unknown>>;
}

const PRIVATE = ["d", "p", "q", "dp", "dq", "qi"];

export function cookbookCases(file: string, data: unknown): VectorCase[] {
  const { input, output } = data as CookbookFile;
  const key = Object.fromEntries(Object.entries(input.key).filter(([name]) => !PRIVATE.includes(name)));
  const bundle = bundleOf([key]);
  return Object.entries(output).map(([form, jws]) => ({
    id: `${file}#${form}`,
    expected: "accept",
    judge: (verifier) => jwsJudgement(typeof jws === "string" ? jws : JSON.stringify(jws), bundle, verifier),
  }));
}
