/** What the recipes of JWT cases share: keys, claims, and a bundle of all keys. */
import type { JWK } from "jose";
import type { Reason } from "../../../src/base/index.ts";
import { ALGORITHMS, type Algorithm, makeKey, type SigningKey, sign, signRaw } from "../../../src/jwt/sign.testing.ts";
import { AUDIENCE, claims, NOW_MS, SUBJECT } from "../../../src/jwt/world.testing.ts";
import type { JwtCase, LongText } from "../spiffe-cases.ts";
import type { Recipe } from "./add.ts";
import { once } from "./x509.ts";

export type JwtRecipe = Recipe<JwtCase>;

export const DOMAIN = "example.org";
export const PLAIN = "an ordinary token";
/** Decision on tokens without `kid`. */
export const TRIALS = "without kid the keys that fit the algorithm are tried, at most 8";

export interface Keys {
  readonly of: (algorithm: Algorithm) => SigningKey;
}

/** One key for each curve and one of RSA; their `kid` is the kind. */
export const keys: () => Promise<Keys> = once(async (): Promise<Keys> => {
  const made: Record<string, SigningKey> = { rsa: await makeKey("RS256") };
  for (const algorithm of ["ES256", "ES384", "ES512"] as const) made[algorithm] = await makeKey(algorithm);
  return { of: (algorithm) => made[kidOf(algorithm)]! };
});

export function kidOf(algorithm: Algorithm): string {
  return algorithm.startsWith("E") ? algorithm : "rsa";
}

/** A JWK as a SPIFFE bundle has it. */
export function element(key: SigningKey, kid: string, more: JWK = {}): Record<string, unknown> {
  return { ...key.publicJwk, use: "jwt-svid", kid, ...more };
}

/** Everything about a token and its validator that a case may change. */
export interface Made {
  readonly token: LongText;
  readonly bundles?: Readonly<Record<string, unknown>>;
  readonly audience?: readonly string[];
  readonly leewaySeconds?: number;
  readonly id?: string;
}

export interface About {
  readonly reason?: Reason | "ERR_SPIFFE_USAGE";
  readonly choice?: string | undefined;
  readonly twin?: string;
}

/** A bundle of our trust domain with these keys, ES256's alone unless told otherwise. */
export async function ownBundle(
  ...algorithms: readonly ("ES256" | "ES384" | "ES512" | "RS256")[]
): Promise<Record<string, unknown>> {
  const { of } = await keys();
  const list = algorithms.length === 0 ? (["ES256"] as const) : algorithms;
  return { [DOMAIN]: { keys: list.map((algorithm) => element(of(algorithm), kidOf(algorithm))) } };
}

/** A bundle with a key for every algorithm. */
export function wholeBundle(): Promise<Record<string, unknown>> {
  return ownBundle("ES256", "ES384", "ES512", "RS256");
}

export function jwt(name: string, requirements: string, about: About, make: () => Promise<Made>): JwtRecipe {
  const { reason, choice, twin = PLAIN } = about;
  return {
    name,
    requirements: requirements.split(" "),
    valid: reason === undefined,
    ...(reason !== undefined && { reason, twin }),
    ...(choice !== undefined && { choice }),
    async make() {
      const made = await make();
      return {
        ...(reason === undefined && { id: made.id ?? SUBJECT }),
        time: new Date(NOW_MS).toISOString(),
        leewaySeconds: made.leewaySeconds ?? 10,
        audience: made.audience ?? [AUDIENCE],
        bundles: made.bundles ?? (await ownBundle()),
        token: made.token,
      };
    },
  };
}

/** A token that is signed as it should be, with changed claims and header parameters. */
export async function token(
  changes: Record<string, unknown> = {},
  header: Record<string, unknown> = {},
  algorithm: Algorithm = "ES256",
): Promise<string> {
  const key = (await keys()).of(algorithm);
  return sign(key, { alg: algorithm, kid: kidOf(algorithm), ...header }, claims(changes));
}

/** A token of exactly this header and payload, signed by ES256. */
export async function raw(
  header: string | Uint8Array = HEADER,
  payload: string | Uint8Array = PAYLOAD,
  algorithm: Algorithm = "ES256",
): Promise<string> {
  return signRaw((await keys()).of(algorithm), algorithm, header, payload);
}

export const HEADER = '{"alg":"ES256","kid":"ES256"}';
export const PAYLOAD: string = JSON.stringify(claims());

export { ALGORITHMS, type Algorithm, AUDIENCE, claims, SUBJECT };
