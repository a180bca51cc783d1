/** The backend of WebCrypto, which every runtime has. */
import { HASH_LENGTH, type SignatureAlgorithm } from "../algorithms.ts";
import { type PublicKey, requireKey } from "../public-key.ts";
import { readInput } from "../signature.ts";
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
    // what failed once, as when memory is short, may work the next time
    key.catch(() => web.imports.delete(slot));
  }
  return key;
}

/** A handle is an empty object: one of another backend, or one made by hand, names no key here. */
const keys = new WeakMap<object, WebKey>();

/**
 * Checks signatures by WebCrypto, asynchronously.
 *
 * What a runtime's WebCrypto lacks (RSA above 4,096 bits on Deno) does not verify there.
 */
export const webcryptoVerifier: SignatureVerifier<unknown> = Object.freeze({
  name: "webcrypto",
  sync: false,
  importKey(key: PublicKey): object {
    requireKey(key);
    const handle = Object.freeze({});
    keys.set(handle, { key, imports: new Map() });
    return handle;
  },
  async verify(wanted, handle, made, signed) {
    const web = keys.get(handle as object);
    const input = web && readInput(wanted, web.key, made, signed);
    if (input === undefined) return false;
    const { alg } = input;
    // while the key is prepared, the caller may write into its memory
    const [signature, data] = [new Uint8Array(input.signature), new Uint8Array(input.data)];
    return crypto.subtle.verify(verifyParameters(alg), await cryptoKey(web!, alg), signature, data);
  },
} satisfies SignatureVerifier<unknown>);
