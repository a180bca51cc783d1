/** Whether a private key belongs to a public one: a fresh signature of it must verify. */
import { SpiffeError } from "../base/index.ts";
import { contextTag, decodeDer, TAG } from "../encoding/der.ts";
import { encodeDer } from "../encoding/encode-der.ts";
import { HASH_LENGTH, type Hash, RSA_KEY_IDENTIFIER, type SignatureAlgorithm } from "./algorithms.ts";
import { nodeCrypto, nodeVerifier } from "./native/node.ts";
import { webcryptoVerifier } from "./native/webcrypto.ts";
import { keyAlgorithm, type PublicKey } from "./public-key.ts";

const CHALLENGE_LENGTH = 32;

/** The PKCS#8 (RFC 5958) that backends take, or `undefined` when it is none or of another kind than the public key. */
function fittingPkcs8(pkcs8: Uint8Array, key: PublicKey): Uint8Array | undefined {
  if (!(pkcs8 instanceof Uint8Array)) return undefined;
  const parts = decodeDer(pkcs8, (reader) => {
    const sequence = reader.sequence();
    const version = sequence.smallInteger();
    const algorithm = sequence.element(TAG.sequence);
    const octets = sequence.octetString();
    let last = -1;
    for (; !sequence.atEnd; sequence.element()) last = sequence.next;
    return { version, algorithm, octets, last };
  });
  if (!parts.ok) return undefined;
  const { version, algorithm, octets, last } = parts.value;
  // version 2 is for a public key beside the private one (RFC 5958 §2); runtimes differ without it
  if (version > 1 || (version === 1 && last !== contextTag(1, false))) return undefined;
  const known = keyAlgorithm(algorithm);
  if (known === undefined || known.kind !== key.kind) return undefined;
  if (known.kind === "ed25519" && !isCurvePrivateKey(octets)) return undefined;
  // no WebCrypto takes id-RSASSA-PSS keys, and Bun's node:crypto does not either; the numbers are the same
  if (known.kind === "rsa" && known.pss !== undefined) {
    const version = encodeDer(TAG.integer, Uint8Array.of(0));
    return encodeDer(TAG.sequence, version, RSA_KEY_IDENTIFIER, encodeDer(TAG.octetString, octets));
  }
  return pkcs8;
}

/** Whether octets are an Ed25519 private key as RFC 8410 §7 wraps it; WebCrypto of Bun and Deno takes the last 32 of any. */
function isCurvePrivateKey(octets: Uint8Array): boolean {
  const secret = decodeDer(octets, (reader) => reader.octetString());
  return secret.ok && secret.value.length === 32;
}

/** A scheme that the key may sign with, and one that every runtime has for it. */
function challengeAlgorithm(key: PublicKey): SignatureAlgorithm {
  if (key.kind === "ed25519") return { family: "ed25519" };
  if (key.kind === "ec") {
    const hash: Hash = key.curve === "P-256" ? "SHA-256" : key.curve === "P-384" ? "SHA-384" : "SHA-512";
    return { family: "ecdsa", hash, encoding: "p1363" };
  }
  if (key.pss === undefined) return { family: "rsa-pkcs1", hash: "SHA-256" };
  return { family: "rsa-pss", hash: key.pss === "any" ? "SHA-256" : key.pss };
}

function webcryptoParameters(alg: SignatureAlgorithm, key: PublicKey) {
  switch (alg.family) {
    case "ecdsa":
      return { name: "ECDSA", namedCurve: key.curve!, hash: alg.hash };
    case "rsa-pkcs1":
      return { name: "RSASSA-PKCS1-v1_5", hash: alg.hash };
    case "rsa-pss":
      return { name: "RSA-PSS", hash: alg.hash, saltLength: HASH_LENGTH[alg.hash] };
    case "ed25519":
      return { name: "Ed25519" };
  }
}

/**
 * Tells whether a private key is the counterpart of a public key, by signing random bytes and checking the signature.
 *
 * @param pkcs8 the private key, PKCS#8 in DER
 * @param key the public key
 * @returns `false` also for octets that are no private key
 * @example
 * ```ts
 * import { privateKeyMatches, PublicKey } from "spiffe-edge/crypto";
 * const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
 * const key = PublicKey.fromSpki(new Uint8Array(await crypto.subtle.exportKey("spki", pair.publicKey)));
 * const pkcs8 = new Uint8Array(await crypto.subtle.exportKey("pkcs8", pair.privateKey));
 * console.assert(key.ok && (await privateKeyMatches(pkcs8, key.value)));
 * ```
 */
export async function privateKeyMatches(pkcs8: Uint8Array, key: PublicKey): Promise<boolean> {
  if (nodeVerifier() === undefined) return privateKeyMatchesByWebcrypto(pkcs8, key);
  if (privateKeyMatchesSync(pkcs8, key)) return true;
  // workerd's node:crypto lacks RSA-PSS with a private key; any other key that only WebCrypto reads is one no TLS takes
  return key.pss !== undefined && privateKeyMatchesByWebcrypto(pkcs8, key);
}

/** {@link privateKeyMatches} by WebCrypto alone, which runtimes without `node:crypto` use. */
export async function privateKeyMatchesByWebcrypto(pkcs8: Uint8Array, key: PublicKey): Promise<boolean> {
  const fitting = fittingPkcs8(pkcs8, key);
  if (fitting === undefined) return false;
  try {
    const alg = challengeAlgorithm(key);
    const parameters = webcryptoParameters(alg, key);
    const challenge = crypto.getRandomValues(new Uint8Array(CHALLENGE_LENGTH));
    const octets = fitting as Uint8Array<ArrayBuffer>;
    const object = await crypto.subtle.importKey("pkcs8", octets, parameters, false, ["sign"]);
    const signature = new Uint8Array(await crypto.subtle.sign(parameters, object, challenge));
    return await webcryptoVerifier.verify(alg, webcryptoVerifier.importKey(key), signature, challenge);
  } catch {
    return false;
  }
}

/**
 * {@link privateKeyMatches} at once, by `node:crypto`.
 *
 * @throws SpiffeError `ERR_SPIFFE_BACKEND` where the runtime has no `node:crypto`
 */
export function privateKeyMatchesSync(pkcs8: Uint8Array, key: PublicKey): boolean {
  const native = nodeCrypto();
  const verifier = nodeVerifier();
  if (native === undefined || verifier === undefined) {
    throw new SpiffeError("ERR_SPIFFE_BACKEND", "Expected a runtime with node:crypto to match a key at once");
  }
  const fitting = fittingPkcs8(pkcs8, key);
  if (fitting === undefined) return false;
  try {
    const alg = challengeAlgorithm(key);
    const challenge = native.randomBytes(CHALLENGE_LENGTH);
    const object = native.createPrivateKey({ key: fitting as never, format: "der", type: "pkcs8" });
    const hash = "hash" in alg ? alg.hash.replace("SHA-", "sha") : null;
    const padding = native.constants.RSA_PKCS1_PSS_PADDING;
    const signer = alg.family === "rsa-pss" ? { key: object, padding, saltLength: HASH_LENGTH[alg.hash] } : object;
    const signature = native.sign(hash, challenge, signer);
    const written: SignatureAlgorithm = alg.family === "ecdsa" ? { ...alg, encoding: "der" } : alg;
    return verifier.verify(written, verifier.importKey(key), signature, challenge);
  } catch {
    return false;
  }
}
