/** Key pairs and signatures for the tests of this folder, made by WebCrypto. */
import type { Hash, SignatureAlgorithm } from "./algorithms.ts";
import { PublicKey } from "./public-key.ts";

type CryptoKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>;
type KeyUse = "sign" | "verify";

export interface TestKey {
  readonly publicKey: PublicKey;
  readonly spki: Uint8Array;
  readonly pkcs8: Uint8Array;
  readonly pair: { readonly publicKey: CryptoKey; readonly privateKey: CryptoKey };
}

/** Kinds of keys by name: a curve, `Ed25519`, or `RSA-` and the bits of the modulus. */
export async function testKey(type: string, exponent: readonly number[] = [1, 0, 1]): Promise<TestKey> {
  const uses: KeyUse[] = ["sign", "verify"];
  const generated = type.startsWith("P-")
    ? await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: type }, true, uses)
    : type === "Ed25519"
      ? await crypto.subtle.generateKey("Ed25519", true, uses)
      : await crypto.subtle.generateKey(rsaParameters(Number(type.slice(4)), exponent), true, uses);
  const pair = generated as TestKey["pair"];
  const spki = new Uint8Array(await crypto.subtle.exportKey("spki", pair.publicKey));
  const pkcs8 = new Uint8Array(await crypto.subtle.exportKey("pkcs8", pair.privateKey));
  const verdict = PublicKey.fromSpki(spki);
  if (!verdict.ok) throw new Error(verdict.message);
  return { publicKey: verdict.value, spki, pkcs8, pair };
}

function rsaParameters(modulusLength: number, exponent: readonly number[]) {
  return { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", modulusLength, publicExponent: Uint8Array.from(exponent) };
}

/** Signs by WebCrypto; ECDSA comes out as P1363. */
export async function signTest(
  key: TestKey,
  alg: SignatureAlgorithm,
  data: Uint8Array,
  saltLength?: number,
): Promise<Uint8Array> {
  const octets = data as Uint8Array<ArrayBuffer>;
  let signer = key.pair.privateKey;
  let parameters: { name: string; hash?: Hash; saltLength?: number } = { name: "Ed25519" };
  if (alg.family === "ecdsa") parameters = { name: "ECDSA", hash: alg.hash };
  if (alg.family === "rsa-pkcs1" || alg.family === "rsa-pss") {
    const name = alg.family === "rsa-pss" ? "RSA-PSS" : "RSASSA-PKCS1-v1_5";
    const pkcs8 = key.pkcs8 as Uint8Array<ArrayBuffer>;
    signer = await crypto.subtle.importKey("pkcs8", pkcs8, { name, hash: alg.hash }, false, ["sign"]);
    parameters = { name, saltLength: saltLength ?? Number(alg.hash.slice(4)) / 8 };
  }
  return new Uint8Array(await crypto.subtle.sign(parameters, signer, octets));
}
