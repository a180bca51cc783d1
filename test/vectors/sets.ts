/** Every set of test vectors: its files, and how their cases are made. Portable; `files.ts` reads the files. */
import acceptable from "./acceptable.json" with { type: "json" };
import { cookbookCases } from "./cookbook.ts";
import { limboCases } from "./limbo.ts";
import notApplicable from "./not-applicable.json" with { type: "json" };
import { runSet, type SetNotes, type SetResult, type VectorCase } from "./set.ts";
import { bundleCases, idCases, jwtCases, x509Cases } from "./spiffe-cases.ts";
import { joseCases, signatureCases } from "./wycheproof.ts";

export interface VectorSet {
  readonly name: string;
  /** Folder of the public vectors, or `spiffe` for the project's own, which are in this repository. */
  readonly folder: "wycheproof" | "x509-limbo" | "jose-cookbook" | "spiffe";
  readonly files: readonly string[];
  /** Requirements that the set as a whole speaks for. */
  readonly requirements: readonly string[];
  readonly cases: (file: string, data: unknown) => VectorCase[];
}

const CURVES = ["secp256r1_sha256", "secp384r1_sha384", "secp521r1_sha512"];
const RSA = ["2048_sha256", "2048_sha384", "2048_sha512", "3072_sha256", "4096_sha256", "4096_sha512"];
const PSS = ["2048_sha256_mgf1_32", "2048_sha384_mgf1_48", "3072_sha256_mgf1_32", "4096_sha512_mgf1_64", "misc"];

export const SETS: readonly VectorSet[] = [
  {
    name: "wycheproof-ecdsa",
    folder: "wycheproof",
    files: CURVES.flatMap((name) => [`ecdsa_${name}_test.json`, `ecdsa_${name}_p1363_test.json`]),
    requirements: ["S-15"],
    cases: signatureCases,
  },
  {
    name: "wycheproof-ed25519",
    folder: "wycheproof",
    files: ["ed25519_test.json"],
    requirements: ["S-15"],
    cases: signatureCases,
  },
  {
    name: "wycheproof-rsa",
    folder: "wycheproof",
    files: RSA.map((name) => `rsa_signature_${name}_test.json`),
    requirements: ["S-15"],
    cases: signatureCases,
  },
  {
    name: "wycheproof-rsa-pss",
    folder: "wycheproof",
    files: PSS.map((name) => `rsa_pss_${name}_test.json`),
    requirements: ["S-15"],
    cases: signatureCases,
  },
  {
    name: "wycheproof-jose",
    folder: "wycheproof",
    files: ["json_web_signature_test.json", "json_web_key_test.json", "json_web_crypto_test.json"],
    requirements: ["JWT-04", "JWT-14", "JWT-21"],
    cases: joseCases,
  },
  {
    name: "x509-limbo",
    folder: "x509-limbo",
    files: ["limbo.json"],
    requirements: ["X509-30", "X509-37"],
    cases: limboCases,
  },
  {
    name: "jose-cookbook",
    folder: "jose-cookbook",
    files: ["4_1.rsa_v15_signature.json", "4_2.rsa-pss_signature.json", "4_3.ecdsa_signature.json"],
    requirements: ["JWT-01", "JWT-14"],
    cases: cookbookCases,
  },
  { name: "spiffe-id", folder: "spiffe", files: ["id.json"], requirements: [], cases: idCases },
  { name: "spiffe-x509", folder: "spiffe", files: ["x509.json"], requirements: [], cases: x509Cases },
  { name: "spiffe-jwt", folder: "spiffe", files: ["jwt.json"], requirements: [], cases: jwtCases },
  { name: "spiffe-bundle", folder: "spiffe", files: ["bundle.json"], requirements: [], cases: bundleCases },
];

/** What is known about a set: its exceptions and choices; none where it is not listed. */
export function notesOf(name: string): SetNotes {
  const exceptions = (notApplicable as Record<string, Omit<SetNotes, "choices">>)[name];
  const choices = (acceptable as Record<string, SetNotes["choices"]>)[name];
  return { ...(exceptions ?? { ceiling: 0, exceptions: [] }), choices: choices ?? {} };
}

/** The cases of a set, made of its files' contents by name. */
export function casesOf(set: VectorSet, contents: Readonly<Record<string, unknown>>): VectorCase[] {
  return set.files.flatMap((file) => set.cases(file, contents[file]));
}

/** Judges a whole set by every backend of this runtime. */
export function judgeSet(set: VectorSet, contents: Readonly<Record<string, unknown>>): Promise<SetResult> {
  return runSet(casesOf(set, contents), notesOf(set.name));
}
