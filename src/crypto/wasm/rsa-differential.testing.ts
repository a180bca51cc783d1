/** Runs seeded RSA cases through the module and through every backend of this runtime. */
import { encodeBase64Url } from "../../encoding/base64.ts";
import { nodeVerifier } from "../native/node.ts";
import { webcryptoVerifier } from "../native/webcrypto.ts";
import { fromBigInt, toHex } from "../octets.ts";
import { PublicKey } from "../public-key.ts";
import type { DifferentialOptions, DifferentialResult } from "./differential.testing.ts";
import { Engine } from "./engine.ts";
import { RSA_KINDS, type RsaCase, RsaCases } from "./rsa-cases.testing.ts";

/** Tries `count` cases; every second one is plain, and most of those are valid. */
export async function tryRsaCases(options: DifferentialOptions): Promise<DifferentialResult> {
  const { seed, count, first = 0, without = [] } = options;
  const cases = new RsaCases(seed + first);
  const engine = new Engine(options.module);
  const counts: Record<string, number> = {};
  const faults: string[] = [];
  let valid = 0;
  for (let i = first; i < first + count; i++) {
    const kind = i % 2 === 0 ? RSA_KINDS[Math.floor(i / 2) % RSA_KINDS.length]! : RSA_KINDS[i % 8 === 1 ? 1 : 0];
    const one = cases.make(kind);
    if (one.valid) valid++;
    counts[`${one.scheme} ${kind}`] = (counts[`${one.scheme} ${kind}`] ?? 0) + 1;
    for (const [way, verdict] of await verdicts(one, engine, without)) {
      if (verdict !== one.valid)
        faults.push(`case ${i} of seed ${seed}, ${one.scheme} ${kind} by ${way}: ${told(one)}`);
    }
    if (faults.length > 20) break;
  }
  return { counts, valid, faults };
}

function told({ modulus, exponent, hash, data, signature, valid }: RsaCase): string {
  const key = `modulus ${toHex(modulus)} exponent ${exponent}`;
  const verdict = valid ? "valid" : "invalid";
  return `${key} ${hash} data ${toHex(data)} signature ${toHex(signature)} is ${verdict}`;
}

async function verdicts(one: RsaCase, engine: Engine, without: readonly string[]): Promise<[string, boolean][]> {
  const { scheme, hash, modulus, exponent, signature, data } = one;
  const lift = engine.rsaLift(modulus)!;
  const found: [string, boolean][] = [
    ["module", engine.verifyRsa(scheme, hash, { modulus, exponent, lift }, signature, data)],
  ];
  const e = encodeBase64Url(fromBigInt(BigInt(exponent), Math.ceil((32 - Math.clz32(exponent)) / 8)));
  const key = PublicKey.fromJwk({ kty: "RSA", n: encodeBase64Url(modulus), e });
  if (!key.ok) throw new Error(key.message);
  const alg = { family: scheme, hash } as const;
  const native = nodeVerifier()!;
  if (!without.includes("native")) {
    found.push([native.name, native.verify(alg, native.importKey(key.value), signature, data)]);
  }
  if (!without.includes("webcrypto")) {
    const verdict = await webcryptoVerifier.verify(alg, webcryptoVerifier.importKey(key.value), signature, data);
    found.push([webcryptoVerifier.name, verdict]);
  }
  return found;
}
