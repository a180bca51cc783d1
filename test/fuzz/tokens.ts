/** Random JWT-SVIDs: valid by construction, or with something wrong that a table names. */
import { createPublicKey } from "node:crypto";
import { JWS_ALGORITHMS } from "../../src/crypto/index.ts";
import { encodeBase64Url } from "../../src/encoding/base64.ts";
import { NOW } from "./chains.ts";
import { type FixedKey, KEYS, type Signing, sign } from "./keys.ts";
import type { Random } from "./random.ts";

/** Seconds since the epoch. */
export const NOW_SECONDS: number = NOW / 1_000;
export const AUDIENCE = "spiffe://example.org/orders";

/** A token and the keys of the trust domain, as a validator gets them. */
export interface TokenCase {
  readonly label: string;
  /** What was made wrong; nothing for a token that must be accepted. */
  readonly flaw: string | undefined;
  readonly token: string;
  /** Elements of the JWK set. */
  readonly jwks: readonly Record<string, unknown>[];
  readonly bundleDomain: string;
}

/** A token before it is written; flaws change it. */
export interface TokenDraft {
  key: FixedKey;
  signing: Signing;
  header: Record<string, unknown>;
  claims: Record<string, unknown>;
  jwks: Record<string, unknown>[];
  bundleDomain: string;
  /** Changes header and payload as text before they are signed. */
  rewrite?: (header: string, payload: string) => readonly [header: string | Uint8Array, payload: string | Uint8Array];
  /** Changes the parts after signing. */
  respell?: (header: string, payload: string, signature: string) => string;
  /** Changes the signature. */
  resign?: (signature: Uint8Array) => Uint8Array;
}

/** The public key as a JWK without further members, in an order that is the same on every runtime. */
export function publicJwk(key: FixedKey): Record<string, unknown> {
  const jwk = createPublicKey({ key: Buffer.from(key.spki), format: "der", type: "spki" }).export({ format: "jwk" });
  return Object.fromEntries(Object.entries(jwk).sort(([a], [b]) => (a < b ? -1 : 1)));
}

const FITTING = [...JWS_ALGORITHMS.values()].map(({ name, kind, curve, algorithm }) => ({
  name,
  signing: algorithm as Signing,
  keys: KEYS.filter(({ type }) => (kind === "ec" ? type === curve : type === "RSA-2048" || type === "RSA-3072")),
}));
const JWT_KEYS = [...new Set(FITTING.flatMap(({ keys }) => keys))];
const jwkOf: ReadonlyMap<FixedKey, Record<string, unknown>> = new Map(JWT_KEYS.map((key) => [key, publicJwk(key)]));

/** Makes a token that must be accepted. */
export function draftToken(random: Random): TokenDraft {
  const { name, signing, keys } = random.pick(
    random.chance(0.5) ? FITTING.filter((one) => one.name === "ES256") : FITTING,
  );
  const key = random.pick(keys);
  const kid = `key-${random.below(1_000)}`;
  const others = random.shuffled(JWT_KEYS.filter((other) => other !== key)).slice(0, random.below(5));
  const jwks = random.shuffled([key, ...others]).map((one, index): Record<string, unknown> => {
    const named = one === key ? { kid } : random.chance(0.8) ? { kid: `other-${index}` } : {};
    return { ...jwkOf.get(one), ...named, ...(random.chance(0.6) && { use: "jwt-svid" }) };
  });
  const entries = random.shuffled([
    ["alg", name],
    ...(random.chance(0.8) ? [["kid", kid]] : []),
    ...(random.chance(0.7) ? [["typ", random.pick(["JWT", "JOSE"])]] : []),
  ]);
  const audience = random.shuffled([AUDIENCE, ...random.some(["spiffe://example.org/other", "https://example.org"])]);
  return {
    key,
    signing,
    header: Object.fromEntries(entries),
    claims: {
      sub: `spiffe://example.org/${random.pick(["web", "ns/shop/sa/web", "a.b_c-d"])}`,
      aud: audience.length === 1 && random.chance(0.5) ? AUDIENCE : audience,
      exp: NOW_SECONDS + random.pick([1, 60, 300, 86_400, 2 ** 31]),
      ...(random.chance(0.7) && { iat: NOW_SECONDS - random.below(600) }),
      ...(random.chance(0.3) && { nbf: NOW_SECONDS - random.below(600) }),
      ...(random.chance(0.2) && { iss: "https://example.org", jti: encodeBase64Url(random.bytes(12)) }),
      ...(random.chance(0.2) && { groups: ["a", { b: [1.5, null, "ü"] }], __proto: true, "": "" }),
    },
    jwks,
    bundleDomain: "example.org",
  };
}

const utf8 = new TextEncoder();
const encode = (part: string | Uint8Array) => encodeBase64Url(typeof part === "string" ? utf8.encode(part) : part);

/** Writes and signs a token. */
export function writeToken(draft: TokenDraft, label: string, flaw: string | undefined, random: Random): TokenCase {
  const plain = [JSON.stringify(draft.header), JSON.stringify(draft.claims)] as const;
  const [header, payload] = (draft.rewrite?.(...plain) ?? plain).map(encode) as [string, string];
  const made = sign(draft.key, draft.signing, utf8.encode(`${header}.${payload}`), random);
  const signature = encodeBase64Url(draft.resign?.(made) ?? made);
  const token = draft.respell?.(header, payload, signature) ?? `${header}.${payload}.${signature}`;
  return { label, flaw, token, jwks: draft.jwks, bundleDomain: draft.bundleDomain };
}
