/** Chains and tokens with the verdict each must get: what a consumer of the package is asked to judge. */
import { signTestJwt, TestCa, testJwtKey } from "../../src/authority/testing.ts";
import type { Reason } from "../../src/base/codes.ts";

interface CaseBase {
  name: string;
  trustDomain: string;
  expected: { ok: true; id: string } | { ok: false; reason: Reason };
}

/** A chain with the bundle of its trust domain, all base64 of DER. */
export interface ChainCase extends CaseBase {
  kind: "x509";
  bundle: string;
  /** Leaf first. */
  chain: readonly string[];
}

export interface TokenCase extends CaseBase {
  kind: "jwt";
  jwks: string;
  token: string;
  audience: string;
}

export type JudgedCase = ChainCase | TokenCase;

const TRUST_DOMAIN = "x0tta6bl4.local";
const ID = `spiffe://${TRUST_DOMAIN}/orders`;
const AUDIENCE = `spiffe://${TRUST_DOMAIN}/web`;

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

async function chains(): Promise<ChainCase[]> {
  const ca = await TestCa.create({ trustDomain: TRUST_DOMAIN });
  const foreign = await TestCa.create({ trustDomain: TRUST_DOMAIN });
  const between = await ca.intermediate({ keyType: "ec-p384" });
  const rsa = await ca.intermediate({ keyType: "rsa-2048" });
  const minute = 60_000;
  const past = new Date(Date.now() - minute);
  const chain = async (name: string, issuer: TestCa, reason?: Reason, options: Parameters<TestCa["issue"]>[0] = {}) => {
    const { certificatesDer } = await issuer.issue({ id: ID, ...options });
    const expected = reason === undefined ? ({ ok: true, id: ID } as const) : ({ ok: false, reason } as const);
    return {
      kind: "x509" as const,
      name,
      trustDomain: TRUST_DOMAIN,
      bundle: base64(ca.rootDer),
      chain: certificatesDer.map(base64),
      expected,
    };
  };
  return [
    await chain("a chain from the CA is accepted", ca),
    await chain("a chain over an intermediate with P-384 is accepted", between),
    await chain("a chain over an intermediate with RSA is accepted", rsa),
    await chain("a chain from a foreign CA is refused", foreign, "x509.no-path"),
    await chain("an expired leaf is refused", ca, "x509.expired", { notAfter: past }),
    await chain("a leaf with one bit of its signature changed is refused", ca, "x509.signature", {
      tamper: "signature",
    }),
    await chain("a leaf of another trust domain is refused", ca, "x509.no-bundle", {
      id: "spiffe://other.example/orders",
    }),
  ];
}

async function tokens(): Promise<TokenCase[]> {
  const keys = { ES256: await testJwtKey("ES256"), RS256: await testJwtKey("RS256"), PS512: await testJwtKey("PS512") };
  const jwks = JSON.stringify({ keys: Object.values(keys).map(({ jwk }) => ({ ...jwk, use: "jwt-svid" })) });
  const now = Math.floor(Date.now() / 1_000);
  const token = async (
    name: string,
    key: (typeof keys)["ES256"],
    reason?: Reason,
    options: { audience?: string; exp?: number; spoilt?: true } = {},
  ): Promise<TokenCase> => ({
    kind: "jwt",
    name,
    trustDomain: TRUST_DOMAIN,
    jwks,
    token: await signTestJwt({
      key,
      claims: { sub: ID, aud: [options.audience ?? AUDIENCE], exp: options.exp ?? now + 3_600 },
      ...(options.spoilt === true ? { signature: flipped } : {}),
    }),
    audience: AUDIENCE,
    expected: reason === undefined ? { ok: true, id: ID } : { ok: false, reason },
  });
  return [
    await token("a token by ES256 is accepted", keys.ES256),
    await token("a token by RS256 is accepted", keys.RS256),
    await token("a token by PS512 is accepted", keys.PS512),
    await token("a token with one bit of its signature changed is refused", keys.ES256, "jwt.signature", {
      spoilt: true,
    }),
    await token("a token for another audience is refused", keys.ES256, "jwt.audience", { audience: `${AUDIENCE}/x` }),
    await token("an expired token is refused", keys.ES256, "jwt.expired", { exp: now - 3_600 }),
    await token(
      "a token by a key that is not in the bundle is refused",
      await testJwtKey("ES256"),
      "jwt.key-not-found",
    ),
  ];
}

function flipped(signature: Uint8Array): Uint8Array {
  const bytes = signature.slice();
  bytes[10] = (bytes[10] ?? 0) ^ 1;
  return bytes;
}

/** Fresh cases, valid for an hour. */
export async function judgedCases(): Promise<JudgedCase[]> {
  return [...(await chains()), ...(await tokens())];
}
