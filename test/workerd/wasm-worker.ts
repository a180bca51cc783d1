/** Runs in workerd with the module that workerd compiled: judges a case, or tries signatures and measures them. */
import { chooseVerifier, type Hash, PublicKey } from "spiffe-edge/crypto";
import { WasmVerifier } from "spiffe-edge/crypto/wasm";
import { judge } from "../packed/judge.mjs";
import type { JudgedCase } from "../support/cases.ts";

/** Signatures of one key, in hexadecimal. */
export interface SignatureCases {
  readonly spki: string;
  readonly hash: Hash;
  readonly encoding: "der" | "p1363";
  readonly tests: readonly { readonly msg: string; readonly sig: string }[];
}

function octets(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

export default {
  async fetch(request: Request): Promise<Response> {
    const body = (await request.json()) as JudgedCase | SignatureCases;
    if (!("spki" in body)) return Response.json({ verdict: await judge(body), verifier: chooseVerifier().name });
    const bare = new WasmVerifier({ schedule: () => {} });
    const full = new WasmVerifier({ schedule: (task) => task() });
    const key = PublicKey.fromSpki(octets(body.spki));
    if (!key.ok) return Response.json({ verdicts: body.tests.map(() => [false]) });
    full.preload(body, [key.value]);
    const { hash, encoding } = body;
    const alg = { family: "ecdsa", hash, encoding } as const;
    const verifiers = [bare, full, chooseVerifier(), chooseVerifier("wasm")];
    const verdicts: boolean[][] = [];
    for (const { msg, sig } of body.tests) {
      const row: boolean[] = [];
      for (const verifier of verifiers) {
        const prepared = (await verifier.importKey(key.value)) as never;
        row.push(await verifier.verify(alg, prepared, octets(sig), octets(msg)));
      }
      verdicts.push(row);
    }
    return Response.json({ verdicts });
  },
};
