/** The inputs every stack measures on: distinct chains, tokens and IDs, one in a hundred of them tampered with. */
import { Buffer } from "node:buffer";
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { generateKeys, TestCa } from "../../src/authority/testing.ts";

export const TRUST_DOMAIN = "bench.example";
export const AUDIENCE = "spiffe://bench.example/orders";

/** What a server for tokens reads, and the tokens, of which one in a hundred is bad. */
export interface TokenFixtures {
  readonly trustDomain: string;
  readonly audience: readonly string[];
  readonly jwks: { readonly keys: readonly object[] };
  readonly tokens: readonly string[];
}

/** The file the measuring processes read; byte strings are base64. */
export interface Fixtures {
  trustDomain: string;
  audience: string;
  ids: string[];
  x509: { name: string; bundle: string; chains: string[][] }[];
  jwt: { name: string; alg: string; jwks: { keys: object[] }; tokens: string[] }[];
  /** SPIFFE bundle documents, by what they hold. */
  bundles: { name: string; document: string }[];
  /** How many of each set's inputs are good. */
  good: number;
}

/** Every hundredth input is bad. */
const isBad = (i: number): boolean => i % 100 === 99;

/**
 * Prepares `count` distinct inputs per set, of which one in a hundred must be refused.
 *
 * @param expiresAt end of all tokens, seconds since the epoch
 */
export async function makeFixtures(count: number, now: number): Promise<Fixtures> {
  return {
    trustDomain: TRUST_DOMAIN,
    audience: AUDIENCE,
    ids: Array.from({ length: count }, (_, i) =>
      isBad(i)
        ? `spiffe://${TRUST_DOMAIN}/ns//sa/worker-${i}`
        : `spiffe://${TRUST_DOMAIN}/ns/team-${i % 7}/sa/worker-${i}`,
    ),
    x509: [
      await chains("chain P-256", "ec-p256", count, "new certificates"),
      await chains("chain P-256 new keys", "ec-p256", count, "new keys"),
      await chains("memoised P-256", "ec-p256", count, "shared"),
      await chains("chain P-384", "ec-p384", count, "new certificates"),
    ],
    jwt: [
      tokens("ES256", "P-256", "sha256", count, now),
      tokens("ES384", "P-384", "sha384", count, now),
      tokens("ES512", "P-521", "sha512", count, now),
    ],
    bundles: [
      { name: "bundle of 1000 keys", document: JSON.stringify({ keys: jwtKeys(1_000) }) },
      { name: "bundle of 1 MiB", document: JSON.stringify({ keys: [...jwtKeys(500), ...(await x509Keys(500))] }) },
    ],
    good: count - Math.floor(count / 100),
  };
}

function jwtKeys(count: number): object[] {
  return Array.from({ length: count }, (_, i) => {
    const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    return { ...publicKey.export({ format: "jwk" }), kid: `key-${i}`, use: "jwt-svid" };
  });
}

/** Entries with certificates of about 1,300 bytes, each another one. */
async function x509Keys(count: number): Promise<object[]> {
  const root = await TestCa.create({ trustDomain: TRUST_DOMAIN });
  const keys = await generateKeys("ec-p256", true);
  const { x, y } = createPublicKey({ key: Buffer.from(keys.spki), format: "der", type: "spki" }).export({
    format: "jwk",
  });
  const dnsSans = Array.from({ length: 15 }, (_, i) => `authority-${i}.with-a-rather-long-name.bench.example`);
  const entries: object[] = [];
  for (let i = 0; i < count; i++) {
    const { certificatesDer } = await root.issue({ id: `spiffe://${TRUST_DOMAIN}/authority/${i}`, keys, dnsSans });
    const x5c = [Buffer.from(certificatesDer[0]!).toString("base64")];
    entries.push({ kty: "EC", crv: "P-256", x, y, use: "x509-svid", x5c });
  }
  return entries;
}

/** How the intermediates of a set differ: all of a new key, new certificates of a few keys, or one for all chains. */
type Intermediates = "new keys" | "new certificates" | "shared";

/** Keys that renewed intermediates go by. */
const FEW_KEYS = 8;

/** Leaf and intermediate per chain. Only where all share one does a remembered signature help. */
async function chains(
  name: string,
  keyType: "ec-p256" | "ec-p384",
  count: number,
  intermediates: Intermediates,
): Promise<Fixtures["x509"][number]> {
  const root = await TestCa.create({ trustDomain: TRUST_DOMAIN, keyType });
  const out: string[][] = [];
  let intermediate = root;
  const keys: TestCa["keys"][] = [];
  for (let i = 0; i < count; i++) {
    if (intermediates !== "shared" || i === 0) {
      const known = intermediates === "new certificates" ? keys[i % FEW_KEYS] : undefined;
      intermediate = await root.intermediate({ keyType, ...(known !== undefined && { keys: known }) });
      keys.push(intermediate.keys);
    }
    const issued = await intermediate.issue({
      id: `spiffe://${TRUST_DOMAIN}/ns/team-${i % 7}/sa/worker-${i}`,
      keyType,
    });
    const [leaf, ...rest] = issued.certificatesDer.map((der) => Uint8Array.from(der));
    if (isBad(i)) leaf![leaf!.length - 1]! ^= 1;
    out.push([leaf!, ...rest].map((der) => Buffer.from(der).toString("base64")));
  }
  return { name, bundle: Buffer.from(root.certificateDer).toString("base64"), chains: out };
}

function tokens(alg: string, curve: string, hash: string, count: number, now: number): Fixtures["jwt"][number] {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: curve });
  const key = createPrivateKey(privateKey.export({ format: "pem", type: "pkcs8" }));
  const jwk = { ...publicKey.export({ format: "jwk" }), kid: "bench", use: "jwt-svid" };
  const list = Array.from({ length: count }, (_, i) => {
    const token = signed(key, alg, hash, {
      sub: `spiffe://${TRUST_DOMAIN}/ns/team-${i % 7}/sa/worker-${i}`,
      aud: [AUDIENCE],
      iat: now,
      exp: now + 6 * 3600,
    });
    return isBad(i) ? tampered(token) : token;
  });
  return { name: `jwt-svid ${alg}`, alg, jwks: { keys: [jwk] }, tokens: list };
}

/** Distinct tokens of so many workloads for two audiences in turn, one in a hundred of them bad, and the key. */
export function makeTokens(count: number, identities: number, now: number): TokenFixtures {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = createPrivateKey(privateKey.export({ format: "pem", type: "pkcs8" }));
  const audience = [AUDIENCE, `spiffe://${TRUST_DOMAIN}/reports`];
  return {
    trustDomain: TRUST_DOMAIN,
    audience,
    jwks: { keys: [{ ...publicKey.export({ format: "jwk" }), kid: "bench", use: "jwt-svid" }] },
    tokens: Array.from({ length: count }, (_, i) => {
      const sub = `spiffe://${TRUST_DOMAIN}/ns/shop/sa/worker-${i % identities}`;
      const token = signed(key, "ES256", "sha256", {
        sub,
        aud: [audience[i % 2]],
        iat: now,
        exp: now + 6 * 3600,
        jti: `${i}`,
      });
      return isBad(i) ? tampered(token) : token;
    }),
  };
}

function signed(key: KeyObject, alg: string, hash: string, claims: object): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const input = `${part({ alg, kid: "bench", typ: "JWT" })}.${part(claims)}`;
  return `${input}.${sign(hash, Buffer.from(input), { key, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}

/** One bit of the signature flipped. */
export function tampered(token: string): string {
  const [header, claims, signature] = token.split(".") as [string, string, string];
  const bytes = Buffer.from(signature, "base64url");
  bytes[10]! ^= 1;
  return `${header}.${claims}.${bytes.toString("base64url")}`;
}
