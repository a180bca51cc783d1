/** Elements of bundles: which are used, which are left out, and that the others stay. */
import { generateKeyPairSync } from "node:crypto";
import { makeKey } from "../../../src/jwt/sign.testing.ts";
import { issueCa } from "../../../src/x509/issue.testing.ts";
import {
  authority,
  type BundleRecipe,
  base64,
  base64url,
  bundle,
  contents,
  type Json,
  jwtElement,
  type Left,
  type Parts,
  parts,
  x509Element,
} from "./bundle.ts";

/** A document of elements, and what is left of them. */
function elements(
  name: string,
  requirements: string,
  make: (all: Parts) => Promise<{ keys: readonly unknown[]; left: Left }> | { keys: readonly unknown[]; left: Left },
  choice?: string,
): BundleRecipe {
  return bundle(`element: ${name}`, requirements, choice === undefined ? {} : { choice }, async () => {
    const { keys, left } = await make(await parts());
    return { document: JSON.stringify({ keys }), expected: await contents(left) };
  });
}

/** An element that is left out, between others that stay. */
function ignored(
  name: string,
  requirements: string,
  make: (all: Parts) => unknown | Promise<unknown>,
  choice?: string,
): BundleRecipe {
  const build = async (all: Parts) => ({
    keys: [await make(all), x509Element(all.next), jwtElement(all.key)],
    left: { x509: [all.next], jwt: ["key"] },
  });
  return elements(`ignored, ${name}`, requirements, build, choice);
}

const kinds: readonly BundleRecipe[] = [
  ignored("use missing, of an authority", "BND-10 BND-14", ({ root }) => x509Element(root, { use: undefined })),
  ignored("use missing, of a JWT key", "BND-10 BND-14", ({ rsa }) => jwtElement(rsa, { use: undefined })),
  ignored("use in upper case", "BND-13", ({ root }) => x509Element(root, { use: "X509-SVID" })),
  ignored("use unknown", "BND-10", ({ rsa }) => jwtElement(rsa, { use: "sig" })),
  ignored("use that is no text", "BND-13", ({ root }) => x509Element(root, { use: ["x509-svid"] })),
  ignored("kty missing, of an authority", "BND-12", ({ root }) => x509Element(root, { kty: undefined })),
  ignored("kty unknown, of an authority", "BND-10 BND-12", ({ root }) => x509Element(root, { kty: "AKP" })),
  ignored("kty oct, of an authority", "BND-10 BND-12", ({ root }) => x509Element(root, { kty: "oct", k: "AAAA" })),
  ignored("kty unknown, of a JWT key", "BND-10 BND-12", ({ rsa }) => jwtElement(rsa, { kty: "AKP" })),
  ignored("kty oct, of a JWT key", "BND-10 BND-12", () => ({ kty: "oct", k: "AAAA", use: "jwt-svid", kid: "x" })),
  ignored("crv unknown", "BND-10", ({ key }) => jwtElement(key, { crv: "P-999", kid: "x" })),
  ...[7, null, "key", true].map((value) => ignored(`${JSON.stringify(value)}`, "BND-10", () => value)),
  ignored("list", "BND-10", ({ root }) => [x509Element(root)]),
  ignored("empty object", "BND-10", () => ({})),
  ignored("WIT key", "JWT-32 WIT-26", ({ rsa }) => jwtElement(rsa, { use: "wit-svid", kid: "wit" })),
  ignored("authority as JWT key", "JWT-32", ({ root }) => x509Element(root, { use: "jwt-svid" })),
  ignored("JWT key as authority", "JWT-32 X509-54", ({ rsa }) => jwtElement(rsa, { use: "x509-svid" })),
  elements("nothing usable", "BND-11", ({ leaf, rsa }) => ({
    keys: [x509Element(leaf), jwtElement(rsa, { use: "sig" })],
    left: {},
  })),
  elements("members that have no meaning", "BND-02 BND-15", ({ root, key }) => ({
    keys: [
      x509Element(root, { kid: "x", alg: "ES256", x5t: "AAAA" }),
      jwtElement(key, { alg: "ES256", x: undefined, ...key.publicJwk, extra: {} }),
    ],
    left: { x509: [root], jwt: ["key"] },
  })),
  elements("the same authority twice", "X509-56", ({ root }) => ({
    keys: [x509Element(root), x509Element(root)],
    left: { x509: [root] },
  })),
];

const PRIVATE = "an element with private parameters is left out";

const authorities: readonly BundleRecipe[] = [
  ignored("x5c missing", "X509-54", ({ root }) => x509Element(root, { x5c: undefined })),
  ignored("x5c empty", "X509-54", ({ root }) => x509Element(root, { x5c: [] })),
  ignored("x5c null", "X509-54", ({ root }) => x509Element(root, { x5c: null })),
  ignored("x5c a text", "X509-52", ({ root }) => x509Element(root, { x5c: base64(root) })),
  ignored("x5c an object", "X509-52", ({ root }) => x509Element(root, { x5c: { 0: base64(root), length: 1 } })),
  ignored("x5c of a number", "X509-52", ({ root }) => x509Element(root, { x5c: [1] })),
  ignored("x5c of an empty text", "X509-52", ({ root }) => x509Element(root, { x5c: [""] })),
  ignored("x5c of base64 that is no certificate", "X509-52", ({ root }) => x509Element(root, { x5c: ["AAAA"] })),
  ignored("x5c of garbage", "X509-52", ({ root }) => x509Element(root, { x5c: ["?"] })),
  ignored("x5c in base64url", "X509-52", async () => {
    // a certificate whose standard base64 has characters that base64url has not
    let ca = await authority("url");
    while (!/[+/]/.test(base64(ca))) ca = await authority("url");
    return x509Element(ca, { x5c: [base64url(ca)] });
  }),
  ignored("x5c without padding", "X509-52", async () => {
    let ca = await authority("padded");
    while (!base64(ca).endsWith("=")) ca = await authority("padded");
    return x509Element(ca, { x5c: [base64(ca).replace(/=+$/, "")] });
  }),
  ignored("x5c with a line break", "X509-52", ({ root }) => {
    const text = base64(root);
    return x509Element(root, { x5c: [`${text.slice(0, 64)}\n${text.slice(64)}`] });
  }),
  ignored("x5c in PEM", "X509-52", ({ root }) => x509Element(root, { x5c: [root.certificate.toPem()] })),
  ignored("x5c with a byte after the certificate", "X509-52", ({ root }) =>
    x509Element(root, { x5c: [Buffer.from([...root.der, 0]).toString("base64")] }),
  ),
  ignored("x5c of two certificates in one text", "X509-52", ({ root, next }) =>
    x509Element(root, { x5c: [Buffer.from([...root.der, ...next.der]).toString("base64")] }),
  ),
  ignored("x5c truncated", "X509-52", ({ root }) =>
    x509Element(root, { x5c: [Buffer.from(root.der.slice(0, -1)).toString("base64")] }),
  ),
  ignored("x5c of a leaf certificate", "X509-52 X509-08", ({ leaf }) => x509Element(leaf)),
  ignored("x5c whose first is broken, the second good", "X509-55", ({ root }) =>
    x509Element(root, { x5c: ["AAAA", base64(root)] }),
  ),
  elements("x5c of two certificates, the first is used", "X509-55", ({ root, next }) => ({
    keys: [x509Element(root, { x5c: [base64(root), base64(next)] })],
    left: { x509: [root] },
  })),
  elements("x5c of a certificate and garbage, the first is used", "X509-55", ({ root }) => ({
    keys: [x509Element(root, { x5c: [base64(root), "?"] })],
    left: { x509: [root] },
  })),
  elements(
    "key that is not the certificate's, the certificate is used",
    "X509-57",
    ({ root, next }) => ({
      keys: [x509Element(root, { ...next.certificate.publicKey.toJwk() })],
      left: { x509: [root] },
    }),
    "the certificate counts, whatever key stands beside it",
  ),
  elements("authority with kid", "X509-51", ({ root }) => ({
    keys: [x509Element(root, { kid: "root" })],
    left: { x509: [root] },
  })),
  elements("authority that did not sign itself", "X509-38 X509-53", async ({ root }) => {
    const intermediate = await issueCa({ subject: "between", issuer: root });
    return { keys: [x509Element(intermediate)], left: { x509: [intermediate] } };
  }),
  elements("authority with a key of RSA", "X509-52", async () => {
    const rsa = await authority("rsa", "RSA-2048");
    return { keys: [x509Element(rsa)], left: { x509: [rsa] } };
  }),
  ignored(
    "authority with private parameters",
    "BND-10",
    ({ root, key }) => x509Element(root, { d: key.privateJwk.d }),
    PRIVATE,
  ),
];

const jwtKeys: readonly BundleRecipe[] = [
  ignored("JWT key without kid", "JWT-31", ({ rsa }) => jwtElement(rsa, { kid: undefined })),
  ignored("JWT key with an empty kid", "JWT-31", ({ rsa }) => jwtElement(rsa, { kid: "" })),
  ignored("JWT key with a number as kid", "JWT-31", ({ rsa }) => jwtElement(rsa, { kid: 1 })),
  ignored(
    "JWT key with private parameters",
    "BND-10",
    ({ rsa }) => ({ ...rsa.privateJwk, use: "jwt-svid", kid: "x" }),
    PRIVATE,
  ),
  ignored(
    "JWT key of RSA, 1024 bits",
    "S-15",
    () => {
      const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 1_024 });
      return { ...publicKey.export({ format: "jwk" }), use: "jwt-svid", kid: "x" };
    },
    "RSA keys have 2048 to 8192 bits",
  ),
  ignored("JWT key of RSA with an even modulus", "S-15", ({ rsa }) => {
    const n = Buffer.from(rsa.publicJwk.n!, "base64url");
    n[n.length - 1]! ^= 1;
    return jwtElement(rsa, { n: n.toString("base64url"), kid: "x" });
  }),
  ignored("JWT key of RSA with a zero byte before its modulus", "S-15", ({ rsa }) => {
    const n = Buffer.concat([Buffer.of(0), Buffer.from(rsa.publicJwk.n!, "base64url")]);
    return jwtElement(rsa, { n: n.toString("base64url"), kid: "x" });
  }),
  ignored("JWT key of RSA without an exponent", "S-15", ({ rsa }) => jwtElement(rsa, { e: undefined, kid: "x" })),
  ignored("JWT key that is no point of its curve", "S-15", async () => {
    const { publicJwk } = await makeKey("ES256");
    const x = Buffer.from(publicJwk.x!, "base64url");
    x[31]! ^= 1;
    return { ...publicJwk, x: x.toString("base64url"), use: "jwt-svid", kid: "x" };
  }),
  ignored("JWT key of Ed25519", "JWT-21", () => {
    const { publicKey } = generateKeyPairSync("ed25519");
    return { ...publicKey.export({ format: "jwk" }), use: "jwt-svid", kid: "x" };
  }),
  ignored("JWT key for an algorithm that JWT-SVIDs have not", "JWT-03", ({ rsa }) =>
    jwtElement(rsa, { alg: "HS256", kid: "x" }),
  ),
  ignored("JWT key that is not for verifying", "JWT-21", ({ rsa }) =>
    jwtElement(rsa, { key_ops: ["encrypt"], kid: "x" }),
  ),
  ignored("JWT key with padding in its coordinates", "BND-10", ({ key }) =>
    jwtElement(key, { x: `${key.publicJwk.x}=`, kid: "x" }),
  ),
  ignored("JWT key with a coordinate that is too short", "BND-10", ({ key }) => jwtElement(key, { x: "AA", kid: "x" })),
  elements("two JWT keys of one kid", "JWT-31", ({ key, rsa }) => ({
    keys: [jwtElement(key), jwtElement(rsa)],
    left: { jwt: ["key", "key"] },
  })),
  elements("JWT key for verifying", "JWT-21", ({ key }) => ({
    keys: [jwtElement(key, { key_ops: ["verify"] })],
    left: { jwt: ["key"] },
  })),
];

/** A JWK set as FetchJWTBundles sends it, and the `kid`s that are left. */
function workloadApi(
  name: string,
  requirements: string,
  make: (all: Parts) => readonly Json[],
  jwt: readonly (string | null)[],
  choice?: string,
): BundleRecipe {
  const about = { format: "workload-api-jwks", ...(choice !== undefined && { choice }) } as const;
  return bundle(`Workload API: ${name}`, requirements, about, async () => ({
    document: JSON.stringify({ keys: make(await parts()) }),
    expected: await contents({ jwt }),
  }));
}

const NO_USE = "keys without use are taken, as SPIRE sends them; other uses are not";

const sets: readonly BundleRecipe[] = [
  workloadApi("no keys", "JWT-33 BND-11", () => [], []),
  workloadApi("use missing", "JWT-32", ({ key }) => [jwtElement(key, { use: undefined })], ["key"], NO_USE),
  workloadApi("use jwt-svid", "JWT-32", ({ key }) => [jwtElement(key)], ["key"]),
  workloadApi("kid missing", "JWT-31", ({ key }) => [jwtElement(key, { kid: undefined })], [null], NO_USE),
  ...["x509-svid", "wit-svid", "sig", "enc", "JWT-SVID", ""].map((use) =>
    workloadApi(
      `use ${use === "" ? "empty" : use}`,
      "JWT-32",
      ({ key, rsa }) => [jwtElement(rsa, { use }), jwtElement(key)],
      ["key"],
      NO_USE,
    ),
  ),
];

export const ELEMENTS: readonly BundleRecipe[] = [...kinds, ...authorities, ...jwtKeys, ...sets];
