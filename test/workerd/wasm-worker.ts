/** Runs in workerd with the module that workerd compiled: judges a case, or tries signatures and measures them. */
import { chooseSyncVerifier, chooseVerifier, PublicKey, type SignatureAlgorithm } from "spiffe-edge/crypto";
import { WasmVerifier } from "spiffe-edge/crypto/wasm";
import { judge } from "../packed/judge.mjs";
import type { JudgedCase } from "../support/cases.ts";

/** Signatures of one key, in hexadecimal. */
export interface SignatureCases {
  readonly spki: string;
  readonly alg: SignatureAlgorithm;
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
    if (!key.ok) return Response.json({ refused: key.reason });
    full.preload(body, [key.value]);
    const { alg } = body;
    // the synchronous one is the module alone where there is no node:crypto
    const verifiers = [bare, full, chooseVerifier(), chooseVerifier("wasm"), chooseSyncVerifier()];
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
