/** Tokens for tests: right ones and every kind of wrong one. */
import type { webcrypto } from "node:crypto";
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { systemClock } from "../base/index.ts";
import { encodeBase64Url } from "../encoding/index.ts";
import type { TrustDomain } from "../id/index.ts";
import { JwtBundle } from "../jwt/index.ts";

/** Signature algorithms a JWT-SVID may have, and some it may not. */
export type TestJwtAlgorithm =
  | "RS256"
  | "RS384"
  | "RS512"
  | "PS256"
  | "PS384"
  | "PS512"
  | "ES256"
  | "ES384"
  | "ES512"
  | "EdDSA";

/** A JWT signing key. */
export interface TestJwtKey {
  readonly alg: TestJwtAlgorithm;
  readonly kid: string;
  readonly privateKey: CryptoKey;
  /** The public key with `kid`, without `use` and `alg`. */
  readonly jwk: Readonly<Record<string, string>>;
}

export interface TestJwtOptions {
  readonly key: TestJwtKey;
  /** Header members over `{ alg, kid, typ: "JWT" }`; `undefined` takes one out; a string is the whole header as written. */
  readonly header?: Readonly<Record<string, unknown>> | string;
  /** Claims over `{ iat: now, exp: in five minutes }`; `undefined` takes one out; a string is the whole payload as written. */
  readonly claims?: Readonly<Record<string, unknown>> | string;
  /** Changes the signature bytes before they are written. */
  readonly signature?: (signature: Uint8Array) => Uint8Array;
}

const KNOWN: OptionNames<TestJwtOptions> = { key: true, header: true, claims: true, signature: true };

interface Kind {
  readonly key: webcrypto.RsaHashedKeyGenParams | webcrypto.EcKeyGenParams | { name: "Ed25519" };
  readonly sign: { name: string; hash?: string; saltLength?: number };
}

function rsa(name: string, bits: 256 | 384 | 512): Kind {
  const hash = `SHA-${bits}`;
  const publicExponent = new Uint8Array([1, 0, 1]);
  return { key: { name, modulusLength: 2048, publicExponent, hash }, sign: { name, hash, saltLength: bits / 8 } };
}

function ec(namedCurve: string, hash: string): Kind {
  return { key: { name: "ECDSA", namedCurve }, sign: { name: "ECDSA", hash } };
}

const KINDS: Readonly<Record<TestJwtAlgorithm, Kind>> = {
  RS256: rsa("RSASSA-PKCS1-v1_5", 256),
  RS384: rsa("RSASSA-PKCS1-v1_5", 384),
  RS512: rsa("RSASSA-PKCS1-v1_5", 512),
  PS256: rsa("RSA-PSS", 256),
  PS384: rsa("RSA-PSS", 384),
  PS512: rsa("RSA-PSS", 512),
  ES256: ec("P-256", "SHA-256"),
  ES384: ec("P-384", "SHA-384"),
  ES512: ec("P-521", "SHA-512"),
  EdDSA: { key: { name: "Ed25519" }, sign: { name: "Ed25519" } },
};

/** Makes a signing key; the key identifier is random unless given. */
export async function testJwtKey(
  alg: TestJwtAlgorithm = "ES256",
  kid: string = crypto.randomUUID(),
): Promise<TestJwtKey> {
  const pair = (await crypto.subtle.generateKey(KINDS[alg].key, true, ["sign", "verify"])) as webcrypto.CryptoKeyPair;
  const exported = await crypto.subtle.exportKey("jwk", pair.publicKey);
  const members = ["kty", "crv", "x", "y", "n", "e"] as const;
  const jwk = Object.fromEntries(members.flatMap((member) => (exported[member] ? [[member, exported[member]]] : [])));
  return { alg, kid, privateKey: pair.privateKey, jwk: { ...jwk, kid } };
}

/** The JWT bundle of a trust domain that signs with these keys. */
export function testJwtBundle(trustDomain: TrustDomain, ...keys: TestJwtKey[]): JwtBundle {
  return JwtBundle.fromJwks(trustDomain, JSON.stringify({ keys: keys.map((key) => key.jwk) }), "workload-api");
}

/**
 * Signs a token, without judging header and claims.
 *
 * @example
 * ```ts
 * import { signTestJwt, testJwtBundle, testJwtKey } from "spiffe-edge/testing";
 * import { TrustDomain, validateJwtSvid } from "spiffe-edge";
 * const key = await testJwtKey("ES256");
 * const token = await signTestJwt({ key, claims: { sub: "spiffe://example.org/web", aud: ["orders"] } });
 * const bundle = testJwtBundle(TrustDomain.parse("example.org"), key);
 * const svid = await validateJwtSvid(token, { jwtBundleFor: () => bundle }, { audience: "orders" });
 * console.assert(svid.id.uri === "spiffe://example.org/web");
 * ```
 */
export async function signTestJwt(options: TestJwtOptions): Promise<string> {
  onlyKnown("signTestJwt", options, KNOWN);
  const { key, header = {}, claims = {}, signature } = options;
  const now = Math.floor(systemClock.now() / 1_000);
  const protectedHeader =
    typeof header === "string" ? header : JSON.stringify({ alg: key.alg, kid: key.kid, typ: "JWT", ...header });
  const payload = typeof claims === "string" ? claims : JSON.stringify({ iat: now, exp: now + 300, ...claims });
  const input = `${encodeBase64Url(utf8(protectedHeader))}.${encodeBase64Url(utf8(payload))}`;
  const signed = new Uint8Array(await crypto.subtle.sign(KINDS[key.alg].sign, key.privateKey, utf8(input)));
  return `${input}.${encodeBase64Url(signature?.(signed) ?? signed)}`;
}

function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}
