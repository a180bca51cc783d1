/** Signs tokens for tests: ordinary ones by `jose`, an implementation of its own, odd ones byte by byte. */
import { CompactSign, exportJWK, generateKeyPair, importJWK, type JWK } from "jose";

/** The nine algorithms of JWT-SVIDs. */
export const ALGORITHMS = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

/** A key pair as JWKs, without `alg`, `use` and `kid`. */
export interface SigningKey {
  readonly privateJwk: JWK;
  readonly publicJwk: JWK;
}

/** Makes a key pair that fits the algorithm; RSA keys fit all six RSA algorithms. */
export async function makeKey(algorithm: Algorithm): Promise<SigningKey> {
  const pair = await generateKeyPair(algorithm, { extractable: true, modulusLength: 2048 });
  return { privateJwk: await exportJWK(pair.privateKey), publicJwk: await exportJWK(pair.publicKey) };
}

/** Signs a token the ordinary way. */
export async function sign(
  key: SigningKey,
  header: { alg: Algorithm } & Record<string, unknown>,
  claims: object,
): Promise<string> {
  const payload = new TextEncoder().encode(JSON.stringify(claims));
  return new CompactSign(payload).setProtectedHeader(header).sign(await importJWK(key.privateJwk, header.alg));
}

/** Signs whatever is given as header and payload, with a signature that is right for `algorithm`. */
export async function signRaw(
  key: SigningKey,
  algorithm: Algorithm,
  header: string | Uint8Array,
  payload: string | Uint8Array,
): Promise<string> {
  const input = `${base64url(header)}.${base64url(payload)}`;
  return `${input}.${base64url(await signature(key, algorithm, new TextEncoder().encode(input)))}`;
}

/** The signature of some bytes. */
export async function signature(
  key: SigningKey,
  algorithm: Algorithm,
  data: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array> {
  const hash = `SHA-${algorithm.slice(2)}`;
  const family = algorithm.slice(0, 2);
  const name = family === "ES" ? "ECDSA" : family === "PS" ? "RSA-PSS" : "RSASSA-PKCS1-v1_5";
  const { kty, crv, n, e, d, p, q, dp, dq, qi, x, y } = key.privateJwk;
  const jwk = JSON.parse(JSON.stringify({ kty, crv, n, e, d, p, q, dp, dq, qi, x, y }));
  const parameters = { name, hash, ...(crv !== undefined && { namedCurve: crv }) };
  const imported = await crypto.subtle.importKey("jwk", jwk, parameters, false, ["sign"]);
  return new Uint8Array(
    await crypto.subtle.sign({ name, hash, saltLength: Number(hash.slice(4)) / 8 }, imported, data),
  );
}

/** Unpadded base64url of bytes or of a text in UTF-8. */
export function base64url(input: string | Uint8Array): string {
  return Buffer.from(input as Uint8Array).toString("base64url");
}
