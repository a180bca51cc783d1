/** Checks signatures in workerd, as often as it is told; a worker's clock stands still, so the time is taken outside. */
import { nativeVerifier, PublicKey, type SignatureAlgorithm, webcryptoVerifier } from "spiffe-edge/crypto";
import { WasmVerifier } from "spiffe-edge/crypto/wasm";

/** Signed data of one key, in hexadecimal, and how its signatures are to be checked. */
export interface BenchQuestion {
  readonly spki: string;
  readonly alg: SignatureAlgorithm;
  readonly tests: readonly { readonly data: string; readonly signature: string }[];
  readonly way: "table" | "first use" | "native" | "awaited";
  readonly rounds: number;
}

function octets(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** With the tables of the generators; what is preloaded has its own at once. */
const wasm = new WasmVerifier({ schedule: (task) => task() });

export default {
  async fetch(request: Request): Promise<Response> {
    const { spki, alg, tests, way, rounds } = (await request.json()) as BenchQuestion;
    const key = PublicKey.fromSpki(octets(spki));
    if (!key.ok) return new Response(key.message, { status: 400 });
    wasm.preload(wasm, way === "first use" ? [] : [key.value]);
    const signed = tests.map(({ data, signature }) => [octets(signature), octets(data)] as const);
    const verifier = way === "native" ? nativeVerifier()! : way === "awaited" ? webcryptoVerifier : wasm;
    const handle = (await verifier.importKey(key.value)) as never;
    let accepted = 0;
    for (let i = 0; i < rounds; i++) {
      const [signature, data] = signed[i % signed.length]!;
      const verdict = verifier.verify(alg, handle, signature, data);
      if (typeof verdict === "boolean" ? verdict : await verdict) accepted++;
    }
    return Response.json({ accepted });
  },
};
