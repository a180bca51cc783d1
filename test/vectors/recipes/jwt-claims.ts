/** Tokens whose claims are right or wrong, and whose keys count. */
import { NOW } from "../../../src/jwt/world.testing.ts";
import {
  type About,
  AUDIENCE,
  DOMAIN,
  element,
  HEADER,
  type JwtRecipe,
  jwt,
  keys,
  type Made,
  ownBundle,
  PAYLOAD,
  PLAIN,
  raw,
  token,
} from "./jwt.ts";

const OTHER = "other.example";
type Reason = NonNullable<About["reason"]>;
type Claims = Readonly<Record<string, unknown>>;

function good(name: string, requirements: string, changes: Claims, more: Partial<Made> = {}): JwtRecipe {
  return jwt(name, requirements, {}, async () => ({ token: await token(changes), ...more }));
}

function bad(
  name: string,
  requirements: string,
  reason: Reason,
  changes: Claims,
  { twin = PLAIN, choice, ...more }: Partial<Made> & Pick<About, "twin" | "choice"> = {},
): JwtRecipe {
  return jwt(name, requirements, { reason, twin, choice }, async () => ({ token: await token(changes), ...more }));
}

/** How a value is shown in a name. */
function shown(value: unknown): string {
  if (value === undefined) return "absent";
  return value === "" ? "empty" : JSON.stringify(value);
}

const subjects: readonly JwtRecipe[] = [
  good(
    "sub with a longer path",
    "JWT-07",
    { sub: "spiffe://example.org/ns/shop/sa/web" },
    {
      id: "spiffe://example.org/ns/shop/sa/web",
    },
  ),
  ...[
    undefined,
    "",
    "web",
    "spiffe://example.org/",
    "SPIFFE://example.org/web",
    "spiffe://Example.org/web",
    "spiffe://example.org/a/../web",
    "spiffe://example.org//web",
    "spiffe://example.org/%77eb",
    "spiffe://example.org/web/",
    "spiffe://example.org/web?x",
    "spiffe://example.org/web#f",
    "spiffe://example.org:443/web",
    "spiffe://u@example.org/web",
    "https://example.org/web",
    " spiffe://example.org/web",
    "spiffe://example.org/web\n",
    "spiffe://example.org/web\u0000",
    "spiffe://ex\u0430mple.org/web",
    1,
    null,
    ["spiffe://example.org/web"],
  ].map((sub) => bad(`sub ${shown(sub)}`, "JWT-07", "jwt.subject", { sub })),
  bad("sub of the trust domain alone", "JWT-07 ID-15", "jwt.subject", { sub: "spiffe://example.org" }),
  bad("sub of more than 2048 bytes", "JWT-07 ID-16", "jwt.subject", {
    sub: `spiffe://example.org/${"a".repeat(2040)}`,
  }),
  jwt("sub inside __proto__", "JWT-07", { reason: "jwt.subject" }, async () => ({
    token: await raw(HEADER, `{"__proto__":${PAYLOAD},"aud":"${AUDIENCE}","exp":${NOW + 300}}`),
  })),
];

const MANY = "at most 100 audiences are read";

const audiences: readonly JwtRecipe[] = [
  good("aud as a text", "JWT-08", { aud: AUDIENCE }),
  good("aud with others", "JWT-08 JWT-09", { aud: ["https://other.example", AUDIENCE] }),
  good("validator of two audiences", "JWT-09", { aud: ["b"] }, { audience: ["a", "b"] }),
  ...[undefined, [], "", [""]].map((aud) => bad(`aud ${shown(aud)}`, "JWT-08", "jwt.audience-missing", { aud })),
  ...[1, null, true, { 0: AUDIENCE }, [1], [AUDIENCE, 1], [[AUDIENCE]], [null]].map((aud) =>
    bad(`aud ${shown(aud)}`, "JWT-08", "jwt.claim", { aud }),
  ),
  bad(
    "aud of 1000 values",
    "JWT-08",
    "jwt.too-large",
    { aud: [AUDIENCE, ...Array.from({ length: 999 }, (_, i) => `${i}`)] },
    {
      choice: MANY,
      twin: "aud of 100 values",
    },
  ),
  good("aud of 100 values", "JWT-08", { aud: [AUDIENCE, ...Array.from({ length: 99 }, (_, i) => `${i}`)] }),
  ...(
    [
      ["in other case", AUDIENCE.toUpperCase()],
      ["with a slash more", `${AUDIENCE}/`],
      ["that begins like the validator's", `${AUDIENCE}x`],
      ["that the validator's begins with", AUDIENCE.slice(0, -1)],
      ["with a space in front", ` ${AUDIENCE}`],
      ["of the trust domain", "spiffe://example.org"],
      ["that is a pattern", "*"],
    ] as const
  ).map(([name, aud]) => bad(`aud ${name}`, "JWT-09", "jwt.audience", { aud: [aud] })),
  bad("aud of somebody else", "JWT-09", "jwt.audience", { aud: ["https://other.example"] }),
  bad("validator without an audience", "JWT-22", "ERR_SPIFFE_USAGE", {}, { audience: [] }),
  bad("validator with an empty audience", "JWT-22", "ERR_SPIFFE_USAGE", {}, { audience: [""] }),
];

/** A token whose payload has this text as a number. */
function number(name: string, literal: string, requirements: string, reason?: Reason): JwtRecipe {
  return jwt(name, requirements, reason === undefined ? {} : { reason }, async () => ({
    token: await raw(HEADER, PAYLOAD.replace(`"exp":${NOW + 300}`, `"exp":${literal}`)),
  }));
}

const times: readonly JwtRecipe[] = [
  bad("exp absent", "JWT-12", "jwt.expiry-missing", { exp: undefined }),
  ...[`${NOW + 300}`, null, true, [NOW + 300], {}, 1e300].map((exp) =>
    bad(`exp ${shown(exp)}`, "JWT-12", "jwt.claim", { exp }),
  ),
  ...["1e999", "NaN", "Infinity", "0x7fffffff", `0${NOW + 300}`].map((literal) =>
    number(`exp ${literal}`, literal, "JWT-12 JWT-14", "jwt.malformed"),
  ),
  number("exp with a fraction", `${NOW + 300}.5`, "JWT-11"),
  number("exp with an exponent", "1.8000003e9", "JWT-11"),
  ...[0, -1, 1, NOW - 3_600].map((exp) => bad(`exp ${exp}`, "JWT-13", "jwt.expired", { exp })),
  good("exp in a second, no leeway", "JWT-13", { exp: NOW + 1 }, { leewaySeconds: 0 }),
  bad(
    "exp now, no leeway",
    "JWT-13",
    "jwt.expired",
    { exp: NOW },
    {
      leewaySeconds: 0,
      twin: "exp in a second, no leeway",
    },
  ),
  good("exp less than the leeway ago", "JWT-13", { exp: NOW - 9 }),
  bad("exp the leeway ago", "JWT-13", "jwt.expired", { exp: NOW - 10 }, { twin: "exp less than the leeway ago" }),
  bad(
    "exp more than the leeway ago",
    "JWT-13",
    "jwt.expired",
    { exp: NOW - 11 },
    { twin: "exp less than the leeway ago" },
  ),
  good("nbf now", "JWT-14", { nbf: NOW }, { leewaySeconds: 0 }),
  bad(
    "nbf in a second, no leeway",
    "JWT-14",
    "jwt.not-yet-valid",
    { nbf: NOW + 1 },
    { leewaySeconds: 0, twin: "nbf now" },
  ),
  good("nbf within the leeway", "JWT-14", { nbf: NOW + 10 }),
  bad("nbf beyond the leeway", "JWT-14", "jwt.not-yet-valid", { nbf: NOW + 11 }, { twin: "nbf within the leeway" }),
  ...["1", null, [], {}].map((nbf) => bad(`nbf ${shown(nbf)}`, "JWT-14", "jwt.claim", { nbf })),
  good("iat in the future", "JWT-14", { iat: NOW + 3_600 }),
  good("iat absent", "JWT-14", { iat: undefined }),
  ...["1", null].map((iat) =>
    bad(`iat ${shown(iat)}`, "JWT-14", "jwt.claim", { iat }, { choice: "registered claims have their type" }),
  ),
];

const claimsBesides: readonly JwtRecipe[] = [
  good("other claims besides", "JWT-15 JWT-18", {
    iss: "https://issuer.example",
    jti: "1",
    groups: ["a", "b"],
    "https://claims.example/x": { a: [1, null, true] },
    big: 5,
  }),
  ...[{ iss: 1 }, { jti: 1 }].map((changes) =>
    bad(`${Object.keys(changes)[0]} that is no text`, "JWT-15", "jwt.claim", changes, {
      choice: "registered claims have their type",
    }),
  ),
];

const THEIRS = "token of another trust domain by that domain's key";
const theirSub = { sub: `spiffe://${OTHER}/web` };

/** A token of the other trust domain by our ES256 key, with these bundles. */
function foreign(name: string, about: About, bundles: () => Promise<Record<string, unknown>>): JwtRecipe {
  return jwt(name, "JWT-20 A-7", about, async () => ({
    token: await token(theirSub),
    bundles: await bundles(),
    id: theirSub.sub,
  }));
}

const es256 = async () => element((await keys()).of("ES256"), "ES256");
const es384 = async () => element((await keys()).of("ES384"), "ES384");
const onlyWith = async (changes: Claims) => ({ [DOMAIN]: { keys: [{ ...(await es256()), ...changes }] } });

/** An ordinary token and a bundle whose key has these changes. */
function keyed(name: string, requirements: string, reason: Reason, changes: Claims): JwtRecipe {
  return jwt(name, requirements, { reason }, async () => ({ token: await token(), bundles: await onlyWith(changes) }));
}

const bundles: readonly JwtRecipe[] = [
  foreign(THEIRS, {}, async () => ({ [DOMAIN]: { keys: [await es384()] }, [OTHER]: { keys: [await es256()] } })),
  foreign(
    "token of another trust domain by our key, no bundle of that domain",
    { reason: "jwt.no-bundle", twin: THEIRS },
    ownBundle,
  ),
  foreign(
    "token of another trust domain by our key, that domain has other keys",
    { reason: "jwt.key-not-found", twin: THEIRS },
    async () => ({ ...(await ownBundle()), [OTHER]: { keys: [await es384()] } }),
  ),
  foreign(
    "token of another trust domain by our key, that domain's bundle is empty",
    { reason: "jwt.key-not-found", twin: THEIRS },
    async () => ({ ...(await ownBundle()), [OTHER]: { keys: [] } }),
  ),
  jwt("an empty bundle", "BND-11 JWT-33", { reason: "jwt.key-not-found" }, async () => ({
    token: await token(),
    bundles: { [DOMAIN]: { keys: [] } },
  })),
  jwt("no bundle at all", "JWT-20", { reason: "jwt.no-bundle" }, async () => ({ token: await token(), bundles: {} })),
  keyed("the key is for X.509", "JWT-32", "jwt.key-not-found", { use: "x509-svid", x5c: [] }),
  keyed("the key is for WIT-SVIDs", "JWT-32 WIT-27", "jwt.key-not-found", { use: "wit-svid" }),
  keyed("the key's use is missing", "JWT-32 BND-14", "jwt.key-not-found", { use: undefined }),
  keyed("the key's use is sig", "JWT-32 BND-10", "jwt.key-not-found", { use: "sig" }),
];

export const CLAIMS: readonly JwtRecipe[] = [...subjects, ...audiences, ...times, ...claimsBesides, ...bundles];
