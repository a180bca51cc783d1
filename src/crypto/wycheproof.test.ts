import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { skipMissing } from "../../test/support/skip.ts";
import type { Hash, SignatureAlgorithm } from "./algorithms.ts";
import { webcryptoVerifier } from "./native/webcrypto.ts";
import { fromHex } from "./octets.ts";
import { PublicKey } from "./public-key.ts";
import { readVectors, vectorsMissing } from "./vectors.testing.ts";
import { type Checks, nativeVerifier, runChecks, runChecksSync } from "./verifier.ts";

interface VectorFile {
  readonly testGroups: readonly {
    readonly publicKeyDer: string;
    readonly sha?: string;
    readonly mgfSha?: string;
    readonly sLen?: number;
    readonly tests: readonly { tcId: number; comment: string; msg: string; sig: string; result: string }[];
  }[];
}

/** What a file may do at most: valid cases that a rule of ours refuses, each with the rule. */
interface Plan {
  readonly file: string;
  readonly algorithm: (hash: Hash) => SignatureAlgorithm;
  readonly refused?: string;
}

const der = (hash: Hash): SignatureAlgorithm => ({ family: "ecdsa", hash, encoding: "der" });
const p1363 = (hash: Hash): SignatureAlgorithm => ({ family: "ecdsa", hash, encoding: "p1363" });
const pkcs1 = (hash: Hash): SignatureAlgorithm => ({ family: "rsa-pkcs1", hash });
const pss = (hash: Hash): SignatureAlgorithm => ({ family: "rsa-pss", hash });

const PLANS: readonly Plan[] = [
  ...["secp256r1_sha256", "secp384r1_sha384", "secp521r1_sha512"].flatMap((name) => [
    { file: `ecdsa_${name}_test.json`, algorithm: der },
    { file: `ecdsa_${name}_p1363_test.json`, algorithm: p1363 },
  ]),
  { file: "ed25519_test.json", algorithm: () => ({ family: "ed25519" }) },
  ...["2048_sha256", "2048_sha384", "2048_sha512", "3072_sha256", "4096_sha256", "4096_sha512"].map((name) => {
    return { file: `rsa_signature_${name}_test.json`, algorithm: pkcs1 };
  }),
  ...["2048_sha256_mgf1_32", "2048_sha384_mgf1_48", "3072_sha256_mgf1_32", "4096_sha512_mgf1_64"].map((name) => {
    return { file: `rsa_pss_${name}_test.json`, algorithm: pss };
  }),
  { file: "rsa_pss_misc_test.json", algorithm: pss, refused: "S-15: MGF1 hash = hash, salt = hash length, SHA-2" },
];

function* one(alg: SignatureAlgorithm, key: PublicKey, signature: Uint8Array, data: Uint8Array): Checks<boolean> {
  return yield { alg, key, signature, data };
}

describe("Wycheproof signatures", () => {
  for (const { file, algorithm, refused } of PLANS) {
    const title = `[S-15] ${file}: both backends give the vectors' results`;
    it(title, skipMissing(title, vectorsMissing), async () => {
      const counts = { accepted: 0, refused: 0, byRule: 0, keys: 0 };
      for (const group of readVectors<VectorFile>(`wycheproof/${file}`).testGroups) {
        const key = PublicKey.fromSpki(fromHex(group.publicKeyDer));
        const alg = algorithm((group.sha ?? "SHA-256") as Hash);
        const saltLength = "hash" in alg ? Number(alg.hash.slice(4)) / 8 : 0;
        const outside =
          (group.mgfSha !== undefined && group.mgfSha !== group.sha) ||
          (group.sLen !== undefined && group.sLen !== saltLength) ||
          !["SHA-256", "SHA-384", "SHA-512"].includes(group.sha ?? "SHA-256");
        if (!key.ok) counts.keys++;
        for (const { tcId, comment, msg, sig, result } of group.tests) {
          const run = () => one(alg, key.ok ? key.value : assert.fail(), fromHex(sig), fromHex(msg));
          const native = key.ok && runChecksSync(run(), nativeVerifier()!);
          const web = key.ok && (await runChecks(run(), webcryptoVerifier));
          assert.equal(native, web, `${file} ${tcId} (${comment}): the backends differ`);
          if (native) counts.accepted++;
          else counts.refused++;
          if (result === "acceptable") continue;
          if (result === "valid" && !native && (!key.ok || (refused !== undefined && outside))) {
            counts.byRule++;
            continue;
          }
          assert.equal(native, result === "valid", `${file} ${tcId}: ${comment}`);
        }
      }
      console.log(`${file}: ${JSON.stringify(counts)}`);
      assert.ok(counts.accepted > 0);
    });
  }
});
