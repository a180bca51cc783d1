/** The backend of WebCrypto, which every runtime has. */
import { HASH_LENGTH, type SignatureAlgorithm } from "../algorithms.ts";
import type { PublicKey } from "../public-key.ts";
import { normalSignature } from "../signature.ts";
import type { SignatureVerifier } from "../verifier.ts";

type CryptoKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>;

/** A key with what WebCrypto made of it: a CryptoKey is bound to one scheme and, for RSA, to one hash. */
interface WebKey {
  readonly key: PublicKey;
  readonly imports: Map<string, Promise<CryptoKey>>;
}

function importParameters(alg: SignatureAlgorithm, key: PublicKey) {
  switch (alg.family) {
    case "ecdsa":
      return { name: "ECDSA", namedCurve: key.curve! };
    case "rsa-pkcs1":
      return { name: "RSASSA-PKCS1-v1_5", hash: alg.hash };
    case "rsa-pss":
      return { name: "RSA-PSS", hash: alg.hash };
    case "ed25519":
      return { name: "Ed25519" };
  }
}

function verifyParameters(alg: SignatureAlgorithm) {
  switch (alg.family) {
    case "ecdsa":
      return { name: "ECDSA", hash: alg.hash };
    case "rsa-pkcs1":
      return { name: "RSASSA-PKCS1-v1_5" };
    case "rsa-pss":
      return { name: "RSA-PSS", saltLength: HASH_LENGTH[alg.hash] };
    case "ed25519":
      return { name: "Ed25519" };
  }
}

function cryptoKey(web: WebKey, alg: SignatureAlgorithm): Promise<CryptoKey> {
  const parameters = importParameters(alg, web.key);
  const slot = "hash" in parameters ? `${parameters.name} ${parameters.hash}` : parameters.name;
  let key = web.imports.get(slot);
  if (key === undefined) {
    key = crypto.subtle.importKey("spki", web.key.importSpki as Uint8Array<ArrayBuffer>, parameters, false, ["verify"]);
    web.imports.set(slot, key);
  }
  return key;
}

/**
 * Checks signatures by WebCrypto, asynchronously.
 *
 * What a runtime's WebCrypto lacks (RSA above 4,096 bits on Deno) does not verify there.
 */
export const webcryptoVerifier: SignatureVerifier<unknown> = {
  name: "webcrypto",
  sync: false,
  importKey(key: PublicKey): WebKey {
    return { key, imports: new Map() };
  },
  async verify(alg, key, signature, data) {
    const web = key as WebKey;
    const normal = normalSignature(alg, web.key, signature);
    if (normal === undefined) return false;
    const object = await cryptoKey(web, alg);
    return crypto.subtle.verify(
      verifyParameters(alg),
      object,
      normal as Uint8Array<ArrayBuffer>,
      data as Uint8Array<ArrayBuffer>,
    );
  },
};
