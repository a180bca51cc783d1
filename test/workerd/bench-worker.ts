/** Checks signatures in workerd, as often as it is told; a worker's clock stands still, so the time is taken outside. */
import { nativeVerifier, PublicKey, type SignatureAlgorithm, webcryptoVerifier } from "spiffe-edge/crypto";
import { WasmVerifier } from "spiffe-edge/crypto/wasm";

/** Signed data of one key, in hexadecimal, and how its signatures are to be checked from now on. */
export interface BenchSetup {
  readonly spki: string;
  readonly alg: SignatureAlgorithm;
  readonly tests: readonly { readonly data: string; readonly signature: string }[];
  readonly way: "table" | "first use" | "native" | "awaited";
}

function octets(text: string): Uint8Array {
  const all = new Uint8Array(text.length / 2);
  for (let i = 0; i < all.length; i++) all[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return all;
}

/** With the tables of the generators; what is preloaded has its own at once. */
const wasm = new WasmVerifier({ schedule: (task) => task() });
let check: (i: number) => boolean | Promise<boolean> = () => false;

/** Another key of the same curve: with its table comes the generator's, which any worker has by then. */
async function otherKey({ curve }: PublicKey): Promise<PublicKey> {
  const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: curve! }, true, ["sign", "verify"]);
  const other = PublicKey.fromSpki(new Uint8Array(await crypto.subtle.exportKey("spki", pair.publicKey)));
  if (!other.ok) throw new Error(other.message);
  return other.value;
}

async function prepare({ spki, alg, tests, way }: BenchSetup): Promise<void> {
  const key = PublicKey.fromSpki(octets(spki));
  if (!key.ok) throw new Error(key.message);
  wasm.preload(wasm, [way === "first use" ? await otherKey(key.value) : key.value]);
  const signed = tests.map(({ data, signature }) => [octets(signature), octets(data)] as const);
  const verifier = way === "native" ? nativeVerifier()! : way === "awaited" ? webcryptoVerifier : wasm;
  const handle = (await verifier.importKey(key.value)) as never;
  check = (i) => {
    const [signature, data] = signed[i % signed.length]!;
    return verifier.verify(alg, handle, signature, data);
  };
}

export default {
  async fetch(request: Request): Promise<Response> {
    const body = (await request.json()) as BenchSetup | { readonly rounds: number };
    let accepted = 0;
    if ("spki" in body) await prepare(body);
    else {
      for (let i = 0; i < body.rounds; i++) {
        const verdict = check(i);
        if (typeof verdict === "boolean" ? verdict : await verdict) accepted++;
      }
    }
    return Response.json({ accepted });
  },
};
