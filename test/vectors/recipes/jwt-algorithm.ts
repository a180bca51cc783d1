/** Algorithms, keys that fit them or not, and signatures. */
import { createHmac, createPublicKey, generateKeyPairSync, sign as signBy } from "node:crypto";
import { base64url, makeKey, signature, signRaw } from "../../../src/jwt/sign.testing.ts";
import {
  type About,
  ALGORITHMS,
  type Algorithm,
  claims,
  DOMAIN,
  element,
  HEADER,
  type JwtRecipe,
  jwt,
  keys,
  kidOf,
  PAYLOAD,
  PLAIN,
  raw,
  TRIALS,
  token,
  wholeBundle,
} from "./jwt.ts";

/** A token with another signature, by the algorithm of the header. */
function signed(
  name: string,
  change: (good: Uint8Array) => Uint8Array,
  { algorithm = "ES256", ...about }: About & { algorithm?: Algorithm } = {},
): JwtRecipe {
  return jwt(`signature ${name}`, "JWT-14", { reason: "jwt.signature", ...about }, async () => {
    const [head, body, last] = (await token({}, {}, algorithm)).split(".") as [string, string, string];
    const changed = change(Uint8Array.from(Buffer.from(last, "base64url")));
    return { token: `${head}.${body}.${base64url(changed)}`, ...(algorithm !== "ES256" && (await every())) };
  });
}

const algorithms: readonly JwtRecipe[] = [
  jwt(PLAIN, "JWT-03 JWT-08 JWT-11 JWT-20", {}, async () => ({ token: await token() })),
  ...ALGORITHMS.map((algorithm) =>
    jwt(`${algorithm} with its key`, "JWT-03 JWT-21", {}, async () => ({
      token: await token({}, {}, algorithm),
      ...(await every()),
    })),
  ),
  ...ALGORITHMS.map((algorithm) =>
    jwt(`${algorithm} without kid`, "JWT-03 JWT-05 JWT-21", { choice: TRIALS }, async () => ({
      token: await token({}, { kid: undefined }, algorithm),
      ...(await every()),
    })),
  ),
  ...["none", "None", "nOnE", "", "RS256 ", "rs256", "ES256K", "EdDSA", "ML-DSA-44", "RSA1_5"].map((alg) =>
    jwt(`alg ${JSON.stringify(alg)} with a signature of ES256`, "JWT-04", { reason: "jwt.algorithm" }, async () => ({
      token: await raw(JSON.stringify({ alg, kid: "ES256" })),
    })),
  ),
  ...["none", "None", "nOnE"].map((alg) =>
    jwt(`alg ${JSON.stringify(alg)} without a signature`, "JWT-04", { reason: "jwt.algorithm" }, async () => ({
      token: `${base64url(JSON.stringify({ alg }))}.${base64url(PAYLOAD)}.`,
    })),
  ),
  ...[256, 384, 512].map((bits) =>
    jwt(
      `HS${bits} with the RSA key in PEM as secret`,
      "JWT-04",
      { reason: "jwt.algorithm", twin: "RS256 with its key" },
      async () => {
        const jwk = (await keys()).of("RS256").publicJwk;
        const secret = createPublicKey({ key: { ...jwk }, format: "jwk" }).export({ type: "spki", format: "pem" });
        const input = `${base64url(JSON.stringify({ alg: `HS${bits}`, kid: "rsa" }))}.${base64url(PAYLOAD)}`;
        const mac = createHmac(`sha${bits}`, secret).update(input).digest("base64url");
        return { token: `${input}.${mac}`, ...(await every()) };
      },
    ),
  ),
  jwt("EdDSA with its key in the bundle", "JWT-04", { reason: "jwt.algorithm" }, () => otherKey("EdDSA")),
  jwt("ES256K with its key in the bundle", "JWT-04", { reason: "jwt.algorithm" }, () => otherKey("ES256K")),
  ...[undefined, null, 256, ["ES256"], { ES256: true }].map((alg) =>
    jwt(`alg ${JSON.stringify(alg) ?? "absent"}`, "JWT-04", { reason: "jwt.algorithm" }, async () => ({
      token: await raw(JSON.stringify({ alg, kid: "ES256" })),
    })),
  ),
  ...(
    [
      ["RS256", "ES256"],
      ["PS256", "ES256"],
      ["ES256", "RS256"],
      ["ES256", "ES384"],
      ["ES384", "ES256"],
      ["ES512", "ES384"],
      ["ES256", "ES512"],
    ] as const
  ).map(([alg, key]) =>
    jwt(
      `${alg} that names the key ${kidOf(key)}`,
      "JWT-21",
      { reason: "jwt.key-type", twin: `${alg} with its key` },
      async () => ({
        token: await token({}, { kid: kidOf(key) }, alg),
        ...(await every()),
      }),
    ),
  ),
  ...(
    [
      ["RS256", "PS256"],
      ["PS256", "RS256"],
      ["RS256", "RS384"],
      ["PS512", "PS256"],
    ] as const
  ).map(([alg, by]) =>
    jwt(
      `${alg} with a signature of ${by}`,
      "JWT-14 JWT-21",
      { reason: "jwt.signature", twin: `${alg} with its key` },
      async () => ({
        token: await raw(JSON.stringify({ alg, kid: "rsa" }), PAYLOAD, by),
        ...(await every()),
      }),
    ),
  ),
  jwt(
    "a key that its JWK reserves for another algorithm",
    "JWT-21",
    { reason: "jwt.key-type", twin: "a key that its JWK reserves for the algorithm" },
    () => reserved("RS384"),
  ),
  jwt("a key that its JWK reserves for the algorithm", "JWT-21", {}, () => reserved("RS256")),
];

async function reserved(alg: string) {
  const bundles = { [DOMAIN]: { keys: [element((await keys()).of("RS256"), "rsa", { alg })] } };
  return { token: await token({}, {}, "RS256"), bundles };
}

/** A token by a key that no algorithm of JWT-SVIDs uses, in a bundle that has it. */
async function otherKey(alg: "EdDSA" | "ES256K") {
  const { publicKey, privateKey } =
    alg === "EdDSA" ? generateKeyPairSync("ed25519") : generateKeyPairSync("ec", { namedCurve: "secp256k1" });
  const input = `${base64url(JSON.stringify({ alg, kid: "odd" }))}.${base64url(PAYLOAD)}`;
  const data = Buffer.from(input);
  const made =
    alg === "EdDSA"
      ? signBy(null, data, privateKey)
      : signBy("sha256", data, { key: privateKey, dsaEncoding: "ieee-p1363" });
  const jwk = { ...publicKey.export({ format: "jwk" }), use: "jwt-svid", kid: "odd" };
  return { token: `${input}.${base64url(made)}`, bundles: { [DOMAIN]: { keys: [jwk] } } };
}

/** For cases that are about other keys than that of ES256. */
async function every() {
  return { bundles: await wholeBundle() };
}

const ORDER_P256 = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const fromHex = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"));
const half = (value: bigint) => fromHex(value.toString(16).padStart(64, "0"));
const toBigInt = (octets: Uint8Array) => BigInt(`0x${Buffer.from(octets).toString("hex")}`);
const join = (...parts: Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]));
const flip = (octets: Uint8Array) => octets.map((octet, index) => (index === 10 ? octet ^ 1 : octet));
const NONE = new Uint8Array(32);

const signatures: readonly JwtRecipe[] = [
  ...(["ES256", "ES384", "ES512", "RS256", "PS256"] as const).map((algorithm) =>
    signed(`of ${algorithm} with one bit changed`, flip, { algorithm, twin: `${algorithm} with its key` }),
  ),
  signed("without its last byte", (good) => good.slice(0, -1)),
  signed("of RS256 without its last byte", (good) => good.slice(0, -1), {
    algorithm: "RS256",
    twin: "RS256 with its key",
  }),
  signed("with a zero byte after it", (good) => join(good, Uint8Array.of(0))),
  signed("with a zero byte before it", (good) => join(Uint8Array.of(0), good)),
  signed("of RS256 with a zero byte before it", (good) => join(Uint8Array.of(0), good), {
    algorithm: "RS256",
    twin: "RS256 with its key",
  }),
  signed("that is empty", () => new Uint8Array(0)),
  signed("that is one byte", () => Uint8Array.of(1)),
  signed("that is all zero", () => new Uint8Array(64)),
  signed("with r zero", (good) => join(NONE, good.slice(32))),
  signed("with s zero", (good) => join(good.slice(0, 32), NONE)),
  signed("with r the order of the curve", (good) => join(half(ORDER_P256), good.slice(32))),
  signed("with s the order of the curve", (good) => join(good.slice(0, 32), half(ORDER_P256))),
  signed("of RS256 that is all zero", (good) => new Uint8Array(good.length), {
    algorithm: "RS256",
    twin: "RS256 with its key",
  }),
  signed("in DER", derOf),
  jwt("signature with s in the upper half", "JWT-14", {}, async () => {
    const [head, body, last] = (await token()).split(".") as [string, string, string];
    const good = Uint8Array.from(Buffer.from(last, "base64url"));
    const s = toBigInt(good.slice(32));
    const upper = s > ORDER_P256 / 2n ? s : ORDER_P256 - s;
    return { token: `${head}.${body}.${base64url(join(good.slice(0, 32), half(upper)))}` };
  }),
  jwt("signature of another token", "JWT-14", { reason: "jwt.signature" }, async () => {
    const [head, , last] = (await token()).split(".");
    const body = base64url(JSON.stringify(claims({ sub: "spiffe://example.org/other" })));
    return { token: `${head}.${body}.${last}` };
  }),
  jwt("signature by a key that is not in the bundle", "JWT-20", { reason: "jwt.signature" }, async () => ({
    token: await signRaw(await makeKey("ES256"), "ES256", HEADER, PAYLOAD),
  })),
  jwt("signature over the payload alone", "JWT-14", { reason: "jwt.signature" }, async () => {
    const body = base64url(PAYLOAD);
    const made = await signature((await keys()).of("ES256"), "ES256", Uint8Array.from(Buffer.from(body)));
    return { token: `${base64url(HEADER)}.${body}.${base64url(made)}` };
  }),
];

/** r and s as DER integers in a sequence, as X.509 has them. */
function derOf(good: Uint8Array): Uint8Array {
  const integer = (octets: Uint8Array) => {
    const start = octets.findIndex((octet) => octet !== 0);
    const value = octets[start]! >= 0x80 ? [0, ...octets.slice(start)] : [...octets.slice(start)];
    return [2, value.length, ...value];
  };
  const body = [...integer(good.slice(0, 32)), ...integer(good.slice(32))];
  return Uint8Array.from([0x30, body.length, ...body]);
}

export const ALGORITHM_CASES: readonly JwtRecipe[] = [...algorithms, ...signatures];
