import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { createLocalJWKSet, decodeJwt, flattenedVerify, type JWTVerifyOptions, jwtVerify } from "jose";
import { isSpiffeError } from "../base/index.ts";
import { type JwtBundle, type JwtBundleSource, jwksFor } from "./index.ts";
import { ALGORITHMS, base64url, makeKey, type SigningKey, sign, signRaw } from "./sign.testing.ts";
import { AUDIENCE, bundleOf, claims, makeWorld, NOW_MS, SUBJECT, type World } from "./world.testing.ts";

type Jwk = Record<string, unknown>;

let world: World;
let stranger: SigningKey;
before(async () => {
  world = await makeWorld();
  stranger = await makeKey("ES256");
});

const sourceOf = (...bundles: JwtBundle[]): JwtBundleSource => ({
  jwtBundleFor: (domain) => bundles.find((bundle) => bundle.trustDomain.equals(domain)),
});

/** What jose says to a token with keys from bundles: `accept`, our reason, or the code of its own error. */
async function verdict(token: string, bundles: JwtBundleSource = world.bundle, options: JWTVerifyOptions = {}) {
  const settings = { audience: AUDIENCE, currentDate: new Date(NOW_MS), ...options };
  try {
    const { payload } = await jwtVerify(token, jwksFor(bundles), settings);
    assert.equal(payload.sub, decodeJwt(token).sub);
    return "accept";
  } catch (error) {
    if (isSpiffeError(error, "ERR_SPIFFE_JWT_VERIFY")) return error.reason;
    return (error as { code?: string }).code ?? String(error);
  }
}

const FORGED = "ERR_JWS_SIGNATURE_VERIFICATION_FAILED";

describe("jwksFor as jose's key argument", () => {
  it("[JWT-03] [JWT-21] verifies each of the nine algorithms, with kid and without", async () => {
    for (const alg of ALGORITHMS) {
      const kid = alg.startsWith("E") ? alg.toLowerCase() : "rsa";
      for (const header of [{ alg }, { alg, kid }]) {
        assert.equal(await verdict(await sign(world.keyFor(alg), header, claims())), "accept", alg);
      }
      const forged = await sign(await makeKey(alg), { alg, kid }, claims());
      assert.equal(await verdict(forged), FORGED, alg);
    }
  });

  it("[JWT-20] [A-7] takes the key from the bundle of the subject's trust domain, and from no other", async () => {
    const other = bundleOf([{ ...stranger.publicJwk, kid: "es256" } as Jwk], "other.org");
    const header = { alg: "ES256", kid: "es256" } as const;
    const theirs = claims({ sub: "spiffe://other.org/web" });
    const both = sourceOf(world.bundle, other);
    assert.equal(await verdict(await sign(stranger, header, theirs), both), "accept");
    assert.equal(await verdict(await sign(world.keys.es256, header, theirs), both), FORGED, "our key, their subject");
    assert.equal(await verdict(await sign(stranger, header, claims()), both), FORGED, "their key, our subject");
    assert.equal(await verdict(await sign(world.keys.es256, header, claims()), both), "accept");
    assert.equal(await verdict(await sign(stranger, header, theirs), sourceOf(world.bundle)), "jwt.no-bundle");
    const liar = { jwtBundleFor: () => world.bundle };
    assert.equal(await verdict(await sign(world.keys.es256, header, theirs), liar), "jwt.no-bundle");
    assert.equal(await verdict(await sign(world.keys.es256, header, claims()), liar), "accept");
  });

  it("[JWT-20] asks the source anew for each token", async () => {
    const bundles: JwtBundle[] = [];
    const keys = jwksFor({ jwtBundleFor: (domain) => sourceOf(...bundles).jwtBundleFor(domain) });
    const options = { audience: AUDIENCE, currentDate: new Date(NOW_MS) };
    const token = await world.token();
    const refused = (error: unknown) => isSpiffeError(error) && error.reason === "jwt.no-bundle";
    await assert.rejects(jwtVerify(token, keys, options), refused);
    bundles.push(world.bundle);
    assert.equal((await jwtVerify(token, keys, options)).payload.sub, SUBJECT);
    bundles.pop();
    await assert.rejects(jwtVerify(token, keys, options), refused);
  });

  it("[S-15] without kid it finds the key among at most 8 that fit", async () => {
    const fillers: Jwk[] = [];
    for (let i = 0; i < 8; i++) fillers.push((await makeKey("ES256")).publicJwk as Jwk);
    const ours = world.keys.es256.publicJwk as Jwk;
    const token = await world.token({}, { kid: undefined });
    const unfit = [world.keys.rsa, world.keys.es384].map((key) => key.publicJwk as Jwk);
    assert.equal(await verdict(token, bundleOf([...unfit, ...fillers.slice(1), ours])), "accept");
    assert.equal(await verdict(token, bundleOf([...unfit, ...fillers, ours])), "jwt.signature");
    assert.equal(await verdict(token, bundleOf(fillers.slice(1))), "jwt.signature");
    const named = await world.token({}, { kid: "ours" });
    assert.equal(await verdict(named, bundleOf([...fillers, { ...ours, kid: "ours" }])), "accept");
    const twice = bundleOf([
      { ...stranger.publicJwk, kid: "ours" },
      { ...ours, kid: "ours" },
    ] as Jwk[]);
    assert.equal(await verdict(named, twice), "accept", "two keys of one kid");
  });

  it("[JWT-05] [BND-11] an unknown kid and an empty bundle give no key", async () => {
    assert.equal(await verdict(await world.token({}, { kid: "other" })), "jwt.key-not-found");
    assert.equal(await verdict(await world.token(), bundleOf([])), "jwt.key-not-found");
    assert.equal(await verdict(await sign(world.keys.rsa, { alg: "RS256", kid: "es256" }, claims())), "jwt.key-type");
    assert.equal(await verdict(await world.token()), "accept");
  });

  it("[JWT-02] [JWT-04] [JWT-06] [JWT-07] [JWT-08] [JWT-12] [JWT-14] holds tokens to rules that jose does not have", async () => {
    const header = (extra: object) => JSON.stringify({ alg: "ES256", kid: "es256", ...extra });
    const good = JSON.stringify(claims());
    const raw = (head: string, body: string) => signRaw(world.keys.es256, "ES256", head, body);
    const doubled = good.replace("{", '{"sub":"spiffe://example.org/admin",');
    const bad: [reason: string, token: string][] = [
      ["jwt.expiry-missing", await world.token({ exp: undefined })],
      ["jwt.subject", await world.token({ sub: undefined })],
      ["jwt.subject", await world.token({ sub: "spiffe://example.org" })],
      ["jwt.subject", await world.token({ sub: "SPIFFE://example.org/web" })],
      ["jwt.audience-missing", await world.token({ aud: [AUDIENCE, ""] })],
      ["jwt.type", await raw(header({ typ: "wit+jwt" }), good)],
      ["jwt.header", await raw(header({ jku: "https://example.org" }), good)],
      ["jwt.header", await raw(header({ jwk: world.keys.es256.publicJwk }), good)],
      ["jwt.header", await raw(header({ kid: "" }), good)],
      ["jwt.malformed", await raw('{"alg":"ES256","alg":"ES256"}', good)],
      ["jwt.malformed", await raw(header({}), doubled)],
      ["jwt.too-large", await raw(header({}), good.padEnd(16_384))],
    ];
    for (const [reason, token] of bad) assert.equal(await verdict(token), reason, token.slice(0, 200));
    assert.equal(await verdict(await raw(header({ typ: "JWT" }), good)), "accept");
  });

  it("[JWT-04] no algorithm but the nine gets a key, and no key is ever a secret", async () => {
    const body = base64url(JSON.stringify(claims()));
    for (const alg of ["none", "HS256", "EdDSA", "ES256K"]) {
      const token = `${base64url(JSON.stringify({ alg, kid: "es256" }))}.${body}.AAAA`;
      assert.equal(await verdict(token), "jwt.algorithm", alg);
    }
    assert.equal(await verdict(await world.token()), "accept");
  });

  it("[JWT-09] [JWT-13] leaves time, and the audience that the caller names, to jose", async () => {
    const token = await world.token({ aud: "somebody else" });
    assert.equal(await verdict(token), "ERR_JWT_CLAIM_VALIDATION_FAILED");
    assert.equal(await verdict(token, world.bundle, { audience: "somebody else" }), "accept");
    const late = { currentDate: new Date(NOW_MS + 301_000) };
    assert.equal(await verdict(await world.token(), world.bundle, late), "ERR_JWT_EXPIRED");
    assert.equal(await verdict(await world.token()), "accept");
  });

  it("[JWT-01] gives no key for a JSON serialization", async () => {
    const token = await world.token();
    const [head, payload, signature] = token.split(".") as [string, string, string];
    const keys = jwksFor(world.bundle);
    const flattened = { protected: head, payload, signature };
    assert.ok(await flattenedVerify(flattened, keys));
    const malformed = (error: unknown) => isSpiffeError(error) && error.reason === "jwt.malformed";
    await assert.rejects(flattenedVerify({ ...flattened, header: { kid2: "x" } }, keys), malformed);
    for (const parts of [
      undefined,
      null,
      {},
      { ...flattened, protected: undefined },
      { ...flattened, payload: new TextEncoder().encode(payload) },
      { ...flattened, payload: `${payload}.` },
      { ...flattened, signature: undefined },
    ]) {
      await assert.rejects(keys({}, parts as never), malformed);
    }
  });

  it("[JWT-19] its refusals do not show the token", async () => {
    for (const token of [await world.token({ sub: "x" }), await world.token({}, { kid: "other" })]) {
      await assert.rejects(jwtVerify(token, jwksFor(world.bundle)), (error: Error) =>
        token.split(".").every((part) => !`${error.message} ${error.stack}`.includes(part)),
      );
    }
  });

  it("[JWT-32] what toJwks writes has the use of a SPIFFE bundle, which jose takes for no signature key of its own", async () => {
    const token = await world.token();
    const options = { audience: AUDIENCE, currentDate: new Date(NOW_MS) };
    const jwks = world.bundle.toJwks();
    assert.ok(jwks.keys.every(({ use }) => use === "jwt-svid"));
    await assert.rejects(jwtVerify(token, createLocalJWKSet(jwks), options), { code: "ERR_JWKS_NO_MATCHING_KEY" });
    const plain = { keys: jwks.keys.map((jwk) => ({ ...jwk, use: "sig" })) };
    assert.equal((await jwtVerify(token, createLocalJWKSet(plain), options)).payload.sub, SUBJECT);
  });
});
