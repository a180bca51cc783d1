/** Wycheproof: signatures through the signature checks of every backend, JOSE files through JWK set and JWS. */
import type { Verdict } from "../../src/base/index.ts";
import {
  type Checks,
  HASH_LENGTH,
  type Hash,
  PublicKey,
  type SignatureAlgorithm,
  type SignatureVerifier,
} from "../../src/crypto/index.ts";
import { fromHex } from "../../src/crypto/octets.ts";
import { JwtBundle } from "../../src/jwt/index.ts";
import { parseJws } from "../../src/jwt/jws.ts";
import { findSigner } from "../../src/jwt/signer.ts";
import { drive, type Judgement, type VectorCase } from "./set.ts";

interface Test {
  readonly tcId: number;
  readonly comment: string;
  readonly result: string;
}

interface SignatureFile {
  readonly numberOfTests: number;
  readonly testGroups: readonly {
    readonly type: string;
    readonly publicKeyDer: string;
    readonly sha?: string;
    readonly mgf?: string;
    readonly mgfSha?: string;
    readonly sLen?: number;
    readonly tests: readonly (Test & { msg: string; sig: string })[];
  }[];
}

type Jwk = Readonly<Record<string, unknown>>;

interface JoseFile {
  readonly numberOfTests: number;
  readonly testGroups: readonly {
    readonly public?: Jwk;
    readonly private: Jwk;
    readonly tests: readonly (Test & { jws?: unknown; jwe?: unknown })[];
  }[];
}

const VERDICTS: Readonly<Record<string, string>> = { valid: "accept", invalid: "refuse", acceptable: "either" };

function counted(file: string, wanted: number, cases: VectorCase[]): VectorCase[] {
  if (cases.length !== wanted) throw new Error(`${file} says ${wanted} cases, but has ${cases.length}`);
  return cases;
}

function common(file: string, { tcId, result }: Test): { id: string; expected: string } {
  return { id: `${file}#${tcId}`, expected: VERDICTS[result] ?? result };
}

/** The cases of a file of signatures, in DER or P1363 as its groups say. */
export function signatureCases(file: string, data: unknown): VectorCase[] {
  const { testGroups, numberOfTests } = data as SignatureFile;
  const cases = testGroups.flatMap((group) => {
    const algorithm = algorithmOf(group);
    const key = PublicKey.fromSpki(fromHex(group.publicKeyDer));
    return group.tests.map((test): VectorCase => {
      const [signature, message] = [fromHex(test.sig), fromHex(test.msg)];
      return {
        ...common(file, test),
        judge(verifier) {
          if (algorithm === undefined) return { accepted: false, text: "the algorithm is not taken" };
          if (!key.ok) return { accepted: false, text: key.reason };
          return signatureJudgement(algorithm, key.value, signature, message, verifier);
        },
      };
    });
  });
  return counted(file, numberOfTests, cases);
}

async function signatureJudgement(
  alg: SignatureAlgorithm,
  key: PublicKey,
  signature: Uint8Array,
  data: Uint8Array,
  verifier: SignatureVerifier,
): Promise<Judgement> {
  function* one(): Checks<boolean> {
    return yield { alg, key, signature, data };
  }
  const accepted = await drive(one(), verifier);
  return { accepted, text: accepted ? "verifies" : "does not verify" };
}

/** What a group's signatures are here; `undefined` for what no {@link SignatureAlgorithm} can say. */
function algorithmOf(group: SignatureFile["testGroups"][number]): SignatureAlgorithm | undefined {
  if (group.type === "EddsaVerify") return { family: "ed25519" };
  const hash = group.sha as Hash;
  if (HASH_LENGTH[hash] === undefined) return undefined;
  switch (group.type) {
    case "EcdsaVerify":
      return { family: "ecdsa", hash, encoding: "der" };
    case "EcdsaP1363Verify":
      return { family: "ecdsa", hash, encoding: "p1363" };
    case "RsassaPkcs1Verify":
      return { family: "rsa-pkcs1", hash };
    case "RsassaPssVerify":
      if (group.mgf !== "MGF1" || group.mgfSha !== hash || group.sLen !== HASH_LENGTH[hash]) return undefined;
      return { family: "rsa-pss", hash };
    default:
      throw new Error(`Groups of ${group.type} are not known`);
  }
}

/** The cases of a JOSE file: a token, and a key or a set of keys. */
export function joseCases(file: string, data: unknown): VectorCase[] {
  const { testGroups, numberOfTests } = data as JoseFile;
  const cases = testGroups.flatMap((group) => {
    const keys = group.public ?? group.private;
    const bundle = bundleOf(Array.isArray(keys.keys) ? keys.keys : [keys]);
    return group.tests.map(
      (test): VectorCase => ({
        ...common(file, test),
        judge: (verifier) => jwsJudgement(test.jws ?? test.jwe, bundle, verifier),
      }),
    );
  });
  return counted(file, numberOfTests, cases);
}

/** A JWT bundle of plain JWKs: what RFC 7517 calls `sig` is `jwt-svid` in SPIFFE; nothing else is changed. */
export function bundleOf(jwks: readonly Jwk[]): JwtBundle {
  const keys = jwks.map((jwk) => (jwk.use === "sig" ? { ...jwk, use: "jwt-svid" } : jwk));
  return JwtBundle.fromJwks("example.org", JSON.stringify({ keys }), "workload-api");
}

/** Judges a JWS as a validator of JWT-SVIDs does, up to the claims, which these sets know nothing of. */
export async function jwsJudgement(token: unknown, bundle: JwtBundle, verifier: SignatureVerifier): Promise<Judgement> {
  function* validation(): Checks<Verdict<unknown>> {
    const jws = parseJws(token as string);
    return jws.ok ? yield* findSigner(jws.value, bundle) : jws;
  }
  const verdict = await drive(validation(), verifier);
  return verdict.ok ? { accepted: true, text: "verifies" } : { accepted: false, text: verdict.reason };
}
