import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { inspect } from "node:util";
import { isSpiffeError, systemClock } from "../base/index.ts";
import type { PublicKey, SignatureVerifier } from "../crypto/index.ts";
import type { TrustDomain } from "../id/index.ts";
import { ID_CASES } from "../id/vectors.testing.ts";
import {
  type JwtBundle,
  type JwtBundleSource,
  type JwtValidateOptions,
  safeValidateJwtSvid,
  safeValidateJwtSvidSync,
  validateJwtSvid,
  validateJwtSvidSync,
} from "./index.ts";
import { base64url, makeKey, type SigningKey, sign, signature, signRaw } from "./sign.testing.ts";
import { AUDIENCE, bundleOf, claims, clockAt, makeWorld, NOW, NOW_MS, SUBJECT, type World } from "./world.testing.ts";

let world: World;
let stranger: SigningKey;
before(async () => {
  world = await makeWorld();
  stranger = await makeKey("ES256");
});

const verdictOf = async (changes: Record<string, unknown>, options?: Partial<JwtValidateOptions>) =>
  world.verdict(await world.token(changes), options);

describe("claims of a JWT-SVID", () => {
  it("[JWT-07] sub is a workload's SPIFFE ID, by the letter", async () => {
    assert.equal(await verdictOf({ sub: "spiffe://example.org/ns/shop" }), "accept");
    const bad = [
      undefined,
      "",
      "web",
      "spiffe://example.org",
      "spiffe://example.org/",
      "SPIFFE://example.org/web",
      "spiffe://Example.org/web",
      "spiffe://example.org/../web",
      "spiffe://example.org/%77eb",
      "https://example.org/web",
      "spiffe://example.org/web?x",
      " spiffe://example.org/web",
      "spiffe://example.org/web\u0000",
      `spiffe://example.org/${"a".repeat(2040)}`,
      1,
      null,
      ["spiffe://example.org/web"],
      {},
    ];
    for (const sub of bad) assert.equal(await verdictOf({ sub }), "jwt.subject", JSON.stringify(sub));
  });

  it("[JWT-07] [ID-26] sub is judged as the list of IDs says", async () => {
    const jwk = world.keys.es256.publicJwk as Record<string, unknown>;
    const everywhere = { jwtBundleFor: ({ name }: TrustDomain) => bundleOf([{ ...jwk, kid: "es256" }], name) };
    for (const { name, input, valid } of ID_CASES) {
      if (input === undefined) continue; // bytes that no JSON carries
      const isWorkload = valid && /^spiffe:\/\/[^/]+\//.test(input);
      const verdict = await world.verdict(await world.token({ sub: input }), {}, everywhere);
      assert.equal(verdict, isWorkload ? "accept" : "jwt.subject", name);
    }
  });

  it("[JWT-08] aud has values, as a text or a list", async () => {
    assert.equal(await verdictOf({ aud: AUDIENCE }), "accept");
    assert.equal(await verdictOf({ aud: [AUDIENCE] }), "accept");
    assert.equal(await verdictOf({ aud: ["other", AUDIENCE] }), "accept");
    for (const aud of [undefined, [], "", [""], [AUDIENCE, ""]]) {
      assert.equal(await verdictOf({ aud }), "jwt.audience-missing", JSON.stringify(aud));
    }
    for (const aud of [1, null, {}, true, [1], [AUDIENCE, 1], [[AUDIENCE]], [null], { 0: AUDIENCE, length: 1 }]) {
      assert.equal(await verdictOf({ aud }), "jwt.claim", JSON.stringify(aud));
    }
    const many = Array.from({ length: 99 }, (_, i) => `a${i}`);
    assert.equal(await verdictOf({ aud: [...many, AUDIENCE] }), "accept");
    assert.equal(await verdictOf({ aud: [...many, "b", AUDIENCE] }), "jwt.too-large");
    assert.equal(await verdictOf({ aud: Array.from({ length: 1000 }, (_, i) => `${i}`) }), "jwt.too-large");
  });

  it("[JWT-09] the validator's audience is one of them, byte for byte", async () => {
    for (const aud of [
      "other",
      AUDIENCE.toUpperCase(),
      `${AUDIENCE}/`,
      AUDIENCE.slice(0, -1),
      `${AUDIENCE}x`,
      ` ${AUDIENCE}`,
      "*",
      "spiffe://example.org",
    ]) {
      assert.equal(await verdictOf({ aud }), "jwt.audience", aud);
      assert.equal(await verdictOf({ aud: [aud] }), "jwt.audience", aud);
      assert.equal(await verdictOf({ aud }, { audience: aud }), "accept", aud);
    }
    assert.equal(await verdictOf({ aud: "b" }, { audience: ["a", "b"] }), "accept");
    assert.equal(await verdictOf({ aud: "c" }, { audience: ["a", "b"] }), "jwt.audience");
    assert.equal(await verdictOf({ aud: ["__proto__", "constructor"] }), "jwt.audience");
  });

  it("[JWT-08] an SVID has all the audiences of its token, in their order, whichever of them is the validator's", async () => {
    const options = { audience: [AUDIENCE, "b"], clock: clockAt(NOW_MS) };
    for (const aud of [[AUDIENCE], [AUDIENCE, "other"], [AUDIENCE, "b"], ["other", AUDIENCE], ["b", "other", "b"]]) {
      const {
        audience,
        claims: all,
        identity,
      } = await validateJwtSvid(await world.token({ aud }), world.bundle, options);
      assert.deepEqual([audience, all.aud, identity.audience], [aud, aud, aud]);
    }
    const { audience, claims: all } = await validateJwtSvid(await world.token({ aud: "b" }), world.bundle, options);
    assert.deepEqual([audience, all.aud], [["b"], "b"]);
  });

  it("[JWT-22] a validator without an audience is an error, never any audience", async () => {
    const token = await world.token();
    for (const audience of ["", [], [""], [AUDIENCE, ""], undefined, null, [undefined], [1], {}, new Set([AUDIENCE])]) {
      const options = { audience: audience as never, clock: clockAt(NOW_MS) };
      const usage = (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_USAGE");
      await assert.rejects(validateJwtSvid(token, world.bundle, options), usage);
      await assert.rejects(safeValidateJwtSvid(token, world.bundle, options), usage);
      assert.throws(() => validateJwtSvidSync(token, world.bundle, options), usage);
      assert.throws(() => safeValidateJwtSvidSync(token, world.bundle, options), usage);
    }
    assert.equal(await world.verdict(token, { audience: [AUDIENCE] }), "accept");
  });

  it("[JWT-11] [JWT-12] exp is there, and a date", async () => {
    assert.equal(await verdictOf({ exp: undefined }), "jwt.expiry-missing");
    for (const exp of [`${NOW + 300}`, null, true, [NOW + 300], {}, 8.64e12 + 1, 1e300, 2 ** 60]) {
      assert.equal(await verdictOf({ exp }), "jwt.claim", JSON.stringify(exp));
    }
    assert.equal(await verdictOf({ exp: 8.64e12 }), "accept");
    assert.equal(await verdictOf({ exp: NOW + 0.5 }), "accept");
    for (const exp of [0, -1, -8.64e12, 1]) assert.equal(await verdictOf({ exp }), "jwt.expired", `${exp}`);
  });

  it("[JWT-12] [JWT-14] numbers that JSON can not say are refused", async () => {
    const raw = (exp: string) =>
      signRaw(
        world.keys.es256,
        "ES256",
        '{"alg":"ES256"}',
        JSON.stringify(claims({ exp: 42 })).replace('"exp":42', `"exp":${exp}`),
      );
    for (const exp of ["1e999", "NaN", "Infinity", "0x7fffffff", "01800000300"]) {
      assert.equal(await world.verdict(await raw(exp)), "jwt.malformed", exp);
    }
    assert.equal(await world.verdict(await raw("99999999999999999999")), "jwt.claim");
    assert.equal(await world.verdict(await raw("1.8000003e9")), "accept");
    assert.equal(await world.verdict(await raw("1800000300.0")), "accept");
  });

  it("[JWT-13] [S-17] a token ends at exp and the leeway after it", async () => {
    for (const [leewayMs, edge] of [
      [undefined, 10],
      [0, 0],
      [1_000, 1],
      [120_000, 120],
    ] as const) {
      const options = leewayMs === undefined ? {} : { leewayMs };
      assert.equal(await verdictOf({ exp: NOW - edge }, options), "jwt.expired", `leeway ${leewayMs}`);
      assert.equal(await verdictOf({ exp: NOW - edge + 0.001 }, options), "accept", `leeway ${leewayMs}`);
      assert.equal(await verdictOf({ exp: NOW - edge - 1 }, options), "jwt.expired", `leeway ${leewayMs}`);
    }
  });

  it("[JWT-14] [S-17] nbf in the future refuses, up to the leeway", async () => {
    assert.equal(await verdictOf({ nbf: NOW }), "accept");
    assert.equal(await verdictOf({ nbf: NOW + 10 }), "accept");
    assert.equal(await verdictOf({ nbf: NOW + 10.001 }), "jwt.not-yet-valid");
    assert.equal(await verdictOf({ nbf: NOW + 0.001 }, { leewayMs: 0 }), "jwt.not-yet-valid");
    assert.equal(await verdictOf({ nbf: NOW }, { leewayMs: 0 }), "accept");
    for (const nbf of ["1", null, [], 1e300]) assert.equal(await verdictOf({ nbf }), "jwt.claim", JSON.stringify(nbf));
  });

  it("[JWT-14] iat does not limit, but is a date", async () => {
    assert.equal(await verdictOf({ iat: NOW + 10_000 }), "accept");
    assert.equal(await verdictOf({ iat: undefined }), "accept");
    for (const iat of ["1", null, {}]) assert.equal(await verdictOf({ iat }), "jwt.claim", JSON.stringify(iat));
  });

  it("[S-17] a leeway out of range is an error, and a clock that throws or tells no time refuses", async () => {
    const token = await world.token();
    for (const leewayMs of [-1, 120_001, Number.NaN, Number.POSITIVE_INFINITY, "10" as never]) {
      const options = { audience: AUDIENCE, leewayMs, clock: clockAt(NOW_MS) };
      await assert.rejects(safeValidateJwtSvid(token, world.bundle, options), (e) =>
        isSpiffeError(e, "ERR_SPIFFE_USAGE"),
      );
    }
    assert.equal(await world.verdict(token, { leewayMs: 120_000 }), "accept");
    const odd = [undefined, null, `${NOW_MS}`, BigInt(NOW_MS), new Date(NOW_MS), [NOW_MS], { valueOf: () => NOW_MS }];
    const numbers = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (const now of [...numbers, ...odd]) {
      assert.equal(await world.verdict(token, { clock: clockAt(now as number) }), "jwt.expired", String(now));
    }
    const broken = { ...clockAt(NOW_MS), now: () => assert.fail("no time today") };
    assert.equal(await world.verdict(token, { clock: broken }), "jwt.expired");
    assert.equal(await world.verdict(token, { clock: clockAt(NOW_MS) }), "accept");
    assert.equal(
      await world.verdict(await world.token({ exp: Math.floor(systemClock.now() / 1000) + 60 }), {
        clock: systemClock,
      }),
      "accept",
    );
  });

  it("[JWT-15] [JWT-18] other claims pass through; registered ones keep their type", async () => {
    const extra = { iss: "https://issuer", jti: "1", "https://x": { a: [1, "b", null] }, groups: ["a"], big: 5 };
    const token = await world.token(extra);
    const svid = await validateJwtSvid(token, world.bundle, { audience: AUDIENCE, clock: clockAt(NOW_MS) });
    assert.equal(JSON.stringify(svid.claims), JSON.stringify(claims(extra)));
    assert.equal(svid.id.uri, SUBJECT);
    assert.deepEqual(svid.audience, [AUDIENCE]);
    assert.equal(svid.expiresAt.getTime(), NOW_MS + 300_000);
    assert.equal(svid.issuedAt?.getTime(), NOW_MS);
    assert.equal(svid.keyId, "es256");
    assert.throws(() => ((svid.claims.groups as string[])[0] = "admin"), TypeError);
    for (const bad of [{ iss: 1 }, { iss: null }, { jti: 1 }, { jti: ["1"] }]) {
      assert.equal(await verdictOf(bad), "jwt.claim", JSON.stringify(bad));
    }
  });

  it("[JWT-15] integers beyond 2^53 come through whole, at every depth", async () => {
    const options = { audience: AUDIENCE, clock: clockAt(NOW_MS) };
    const numbers = '"big":9007199254740993,"list":[{"least":-18446744073709551615}],"safe":9007199254740991';
    const body = JSON.stringify(claims()).replace("{", `{${numbers},`);
    const token = await signRaw(world.keys.es256, "ES256", '{"alg":"ES256"}', body);
    const { claims: read, identity } = await validateJwtSvid(token, world.bundle, options);
    assert.equal(read.big, 9_007_199_254_740_993n);
    assert.equal((read.list as { least: bigint }[])[0]?.least, -18_446_744_073_709_551_615n);
    assert.equal(read.safe, 9_007_199_254_740_991);
    assert.equal(identity.claims, read);
    assert.equal(Object.getPrototypeOf(read), null);
  });

  it("[JWT-14] a claim named __proto__ changes nothing", async () => {
    const body = JSON.stringify(claims()).replace("{", '{"__proto__":{"admin":true},');
    const token = await signRaw(world.keys.es256, "ES256", '{"alg":"ES256"}', body);
    const svid = await validateJwtSvid(token, world.bundle, { audience: AUDIENCE, clock: clockAt(NOW_MS) });
    assert.equal(svid.claims.admin, undefined);
    const sneaky = JSON.stringify({ aud: AUDIENCE, exp: NOW + 300 }).replace("{", `{"__proto__":{"sub":"${SUBJECT}"},`);
    assert.equal(
      await world.verdict(await signRaw(world.keys.es256, "ES256", '{"alg":"ES256"}', sneaky)),
      "jwt.subject",
    );
  });
});

describe("the key of a JWT-SVID", () => {
  it("[JWT-20] [WL-52] [A-7] comes from the subject's own trust domain", async () => {
    const other = bundleOf([{ ...stranger.publicJwk, kid: "es256" }], "other.org");
    const source = (...bundles: JwtBundle[]): JwtBundleSource => ({
      jwtBundleFor: (domain) => bundles.find((bundle) => bundle.trustDomain.equals(domain)),
    });
    const sub = "spiffe://other.org/web";
    const byStranger = await sign(stranger, { alg: "ES256", kid: "es256" }, claims({ sub }));
    const byOurs = await world.token({ sub });
    assert.equal(await world.verdict(byStranger, {}, source(world.bundle, other)), "accept");
    assert.equal(await world.verdict(byOurs, {}, source(world.bundle, other)), "jwt.signature");
    assert.equal(await world.verdict(byOurs, {}, source(world.bundle)), "jwt.no-bundle");
    assert.equal(await world.verdict(byStranger, {}, source(world.bundle)), "jwt.no-bundle");
    assert.equal(await world.verdict(await world.token(), {}, source(other)), "jwt.no-bundle");
    assert.equal(await world.verdict(await world.token(), {}, source(world.bundle, other)), "accept");
  });

  it("[JWT-20] a source that hands out another trust domain's bundle is not believed", async () => {
    const token = await world.token({ sub: "spiffe://other.org/web" });
    assert.equal(await world.verdict(token, {}, { jwtBundleFor: () => world.bundle }), "jwt.no-bundle");
    assert.equal(await world.verdict(await world.token(), {}, { jwtBundleFor: () => world.bundle }), "accept");
  });

  it("[BND-11] an empty bundle trusts nothing", async () => {
    assert.equal(await world.verdict(await world.token(), {}, bundleOf([])), "jwt.key-not-found");
    assert.equal(await world.verdict(await world.token({}, { kid: undefined }), {}, bundleOf([])), "jwt.key-not-found");
    assert.equal(await world.verdict(await world.token(), {}, world.bundle), "accept");
  });

  it("[JWT-05] without kid the keys that fit are tried; requireKeyId refuses", async () => {
    const token = await world.token({}, { kid: undefined });
    assert.equal(await world.verdict(token), "accept");
    for (const yes of [true, 1, "yes"] as true[]) {
      assert.equal(await world.verdict(token, { requireKeyId: yes }), "jwt.header", `${yes}`);
    }
    assert.equal(await world.verdict(await world.token(), { requireKeyId: true }), "accept");
    const foreign = await sign(stranger, { alg: "ES256" }, claims());
    assert.equal(await world.verdict(foreign), "jwt.signature");
  });

  it("[JWT-05] an unknown kid is refused, though another key would fit", async () => {
    for (const kid of ["other", "ES256", "es256 ", "__proto__", "constructor"]) {
      assert.equal(await world.verdict(await world.token({}, { kid })), "jwt.key-not-found", kid);
    }
    assert.equal(await world.verdict(await world.token({}, { kid: "es256" })), "accept");
  });

  it("[S-15] without kid at most 8 fitting keys are tried; keys that do not fit do not count", async () => {
    const fillers: Record<string, unknown>[] = [];
    for (let i = 0; i < 8; i++) fillers.push((await makeKey("ES256")).publicJwk as Record<string, unknown>);
    const ours = world.keys.es256.publicJwk as Record<string, unknown>;
    const unfit = [world.keys.es384, world.keys.es512, world.keys.rsa].map(
      (key) => key.publicJwk as Record<string, unknown>,
    );
    const token = await world.token({}, { kid: undefined });
    assert.equal(await world.verdict(token, {}, bundleOf([...unfit, ...fillers.slice(1), ours])), "accept");
    assert.equal(await world.verdict(token, {}, bundleOf([...unfit, ...fillers, ours])), "jwt.signature");
    const named = await world.token({}, { kid: "ours" });
    assert.equal(await world.verdict(named, {}, bundleOf([...fillers, { ...ours, kid: "ours" }])), "accept");
    let checks = 0;
    const counting: SignatureVerifier<PublicKey> = {
      name: "counting",
      sync: false,
      importKey: (key) => key,
      verify: () => {
        checks++;
        return false;
      },
    };
    const bundle = bundleOf([...fillers, ...fillers, ours]);
    await safeValidateJwtSvid(token, bundle, { audience: AUDIENCE, clock: clockAt(NOW_MS), verifier: counting });
    assert.equal(checks, 8);
  });

  it("[JWT-31] two keys of one kid: the one that fits is used", async () => {
    const both = bundleOf([
      { ...world.keys.rsa.publicJwk, kid: "k" },
      { ...stranger.publicJwk, kid: "k" },
      { ...world.keys.es256.publicJwk, kid: "k" },
    ]);
    assert.equal(await world.verdict(await world.token({}, { kid: "k" }), {}, both), "accept");
    const without = bundleOf([
      { ...world.keys.rsa.publicJwk, kid: "k" },
      { ...stranger.publicJwk, kid: "k" },
    ]);
    assert.equal(await world.verdict(await world.token({}, { kid: "k" }), {}, without), "jwt.signature");
  });

  it("[JWT-21] type and curve fit the algorithm", async () => {
    const pairs = [
      ["RS256", "es256"],
      ["PS256", "es256"],
      ["ES256", "rsa"],
      ["ES256", "es384"],
      ["ES384", "es256"],
      ["ES512", "es384"],
      ["ES256", "es512"],
    ] as const;
    for (const [alg, kid] of pairs) {
      const token = await sign(world.keyFor(alg), { alg, kid }, claims());
      assert.equal(await world.verdict(token), "jwt.key-type", `${alg} with ${kid}`);
      const right = alg.startsWith("E") ? alg.toLowerCase() : "rsa";
      assert.equal(await world.verdict(await sign(world.keyFor(alg), { alg, kid: right }, claims())), "accept");
    }
    const ecOnly = bundleOf([world.keys.es256.publicJwk as Record<string, unknown>]);
    assert.equal(
      await world.verdict(await sign(world.keys.rsa, { alg: "RS256" }, claims()), {}, ecOnly),
      "jwt.key-type",
    );
  });

  it("[JWT-21] a JWK reserved for one algorithm serves no other", async () => {
    const reserved = bundleOf([{ ...world.keys.rsa.publicJwk, kid: "rsa", alg: "PS256" }]);
    assert.equal(
      await world.verdict(await sign(world.keys.rsa, { alg: "PS256", kid: "rsa" }, claims()), {}, reserved),
      "accept",
    );
    for (const alg of ["RS256", "PS384"] as const) {
      assert.equal(
        await world.verdict(await sign(world.keys.rsa, { alg, kid: "rsa" }, claims()), {}, reserved),
        "jwt.key-type",
      );
    }
  });
});

describe("the signature of a JWT-SVID", () => {
  const withSignature = (token: string, bytes: Uint8Array) =>
    `${token.slice(0, token.lastIndexOf("."))}.${base64url(bytes)}`;
  const signatureOf = (token: string) =>
    Uint8Array.from(Buffer.from(token.slice(token.lastIndexOf(".") + 1), "base64url"));

  it("[JWT-21] a signature of another scheme or hash under the same key is refused", async () => {
    const key = world.keys.rsa;
    for (const [claimed, real] of [
      ["RS256", "PS256"],
      ["PS256", "RS256"],
      ["RS256", "RS384"],
      ["PS384", "PS256"],
    ] as const) {
      const token = await sign(key, { alg: claimed }, claims());
      const input = new TextEncoder().encode(token.slice(0, token.lastIndexOf(".")));
      assert.equal(await world.verdict(withSignature(token, await signature(key, real, input))), "jwt.signature");
      assert.equal(await world.verdict(withSignature(token, await signature(key, claimed, input))), "accept");
    }
  });

  it("[JWT-14] truncated, extended, empty, swapped and foreign signatures are refused, for every kind of key", async () => {
    for (const alg of ["ES256", "ES384", "ES512", "RS256", "PS256"] as const) {
      const token = await sign(world.keyFor(alg), { alg }, claims());
      const good = signatureOf(token);
      assert.equal(await world.verdict(token), "accept", alg);
      const half = good.length / 2;
      const bad: Record<string, Uint8Array> = {
        empty: new Uint8Array(0),
        "one octet": good.slice(0, 1),
        truncated: good.slice(0, -1),
        "first octet gone": good.slice(1),
        extended: Uint8Array.from([...good, 0]),
        "zero in front": Uint8Array.from([0, ...good]),
        doubled: Uint8Array.from([...good, ...good]),
        swapped: Uint8Array.from([...good.slice(half), ...good.slice(0, half)]),
        zeros: new Uint8Array(good.length),
        ones: new Uint8Array(good.length).fill(0xff),
        "first half zero": Uint8Array.from([...new Uint8Array(half), ...good.slice(half)]),
        "second half zero": Uint8Array.from([...good.slice(0, half), ...new Uint8Array(half)]),
        "of another token": signatureOf(
          await sign(world.keyFor(alg), { alg }, claims({ sub: "spiffe://example.org/x" })),
        ),
      };
      for (const [name, bytes] of Object.entries(bad)) {
        assert.equal(await world.verdict(withSignature(token, bytes)), "jwt.signature", `${alg} ${name}`);
      }
    }
  });

  it("[JWT-14] ECDSA is r and s side by side, never DER; both values of s are valid", async () => {
    const token = await world.token();
    const good = signatureOf(token);
    const integer = (bytes: Uint8Array) => {
      const start = bytes.findIndex((octet) => octet !== 0);
      const value = bytes[start]! & 0x80 ? [0, ...bytes.slice(start)] : [...bytes.slice(start)];
      return [2, value.length, ...value];
    };
    const body = [...integer(good.slice(0, 32)), ...integer(good.slice(32))];
    assert.equal(
      await world.verdict(withSignature(token, Uint8Array.from([0x30, body.length, ...body]))),
      "jwt.signature",
    );
    const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
    const s = BigInt(`0x${Buffer.from(good.slice(32)).toString("hex")}`);
    const other = Uint8Array.from(Buffer.from((order - s).toString(16).padStart(64, "0"), "hex"));
    assert.equal(
      await world.verdict(withSignature(token, Uint8Array.from([...good.slice(0, 32), ...other]))),
      "accept",
    );
    const atOrder = Uint8Array.from(Buffer.from(order.toString(16), "hex"));
    for (const bytes of [
      [...good.slice(0, 32), ...atOrder],
      [...atOrder, ...good.slice(32)],
    ]) {
      assert.equal(await world.verdict(withSignature(token, Uint8Array.from(bytes))), "jwt.signature");
    }
  });

  it("[JWT-14] only a backend's exact true counts; one that throws refuses", async () => {
    const token = await world.token();
    const backend = (verify: () => unknown): SignatureVerifier => ({
      name: "odd",
      sync: false,
      importKey: (key) => key,
      verify: verify as never,
    });
    const odd = [
      () => 1,
      () => "true",
      () => ({}),
      () => undefined,
      () => {
        throw new Error("broken");
      },
      () => Promise.reject(new Error("broken")),
      () => Promise.resolve(1),
    ];
    for (const verify of odd) {
      const verdict = await safeValidateJwtSvid(token, world.bundle, {
        audience: AUDIENCE,
        clock: clockAt(NOW_MS),
        verifier: backend(verify),
      });
      assert.ok(!verdict.ok && verdict.reason === "jwt.signature");
    }
    assert.equal(await world.verdict(token), "accept");
  });
});

describe("how validation answers", () => {
  it("[JWT-13] [JWT-09] throws with code and reason, or gives a verdict, in both drivers", async () => {
    const options = { audience: AUDIENCE, clock: clockAt(NOW_MS) };
    const expired = await world.token({ exp: NOW - 60 });
    const thrown = (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_JWT_VERIFY") && error.reason === "jwt.expired";
    await assert.rejects(validateJwtSvid(expired, world.bundle, options), thrown);
    assert.throws(() => validateJwtSvidSync(expired, world.bundle, options), thrown);
    const good = await world.token();
    assert.equal((await validateJwtSvid(good, world.bundle, options)).id.uri, SUBJECT);
    assert.equal(validateJwtSvidSync(good, world.bundle, options).id.uri, SUBJECT);
  });

  it("[JWT-19] neither refusal nor SVID shows the token", async () => {
    const options = { audience: AUDIENCE, clock: clockAt(NOW_MS) };
    for (const changes of [{}, { exp: 0 }, { aud: "x" }, { sub: "x" }, { sub: "spiffe://other.org/a" }, { iss: 1 }]) {
      const token = await world.token(changes);
      const verdict = await safeValidateJwtSvid(token, world.bundle, options);
      const shown = [
        inspect(verdict, { depth: 9, showHidden: true }),
        JSON.stringify(verdict),
        `${verdict.ok && verdict.value}`,
      ];
      for (const text of shown) {
        for (const part of token.split(".")) assert.ok(!text.includes(part), text);
      }
    }
  });
});
