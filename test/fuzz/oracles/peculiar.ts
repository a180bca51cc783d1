/** A second WebCrypto behind the verifier interface: `@peculiar/webcrypto`, which is made for Node alone. */
import {
  HASH_LENGTH,
  type PublicKey,
  type SignatureAlgorithm,
  type SignatureVerifier,
} from "../../../src/crypto/index.ts";
import { normalSignature } from "../../../src/crypto/signature.ts";

type Subtle = typeof crypto.subtle;

/** Why this backend is not here, or `undefined`. */
export const peculiarMissing: string | undefined =
  process.versions.bun === undefined && process.versions.deno === undefined
    ? undefined
    : "@peculiar/webcrypto is made for Node";

function parameters(alg: SignatureAlgorithm, { curve }: PublicKey) {
  switch (alg.family) {
    case "ecdsa":
      return { name: "ECDSA", namedCurve: curve!, hash: alg.hash };
    case "rsa-pkcs1":
      return { name: "RSASSA-PKCS1-v1_5", hash: alg.hash };
    case "rsa-pss":
      return { name: "RSA-PSS", hash: alg.hash, saltLength: HASH_LENGTH[alg.hash] };
    case "ed25519":
      return { name: "Ed25519" };
  }
}

/** The backend, or `undefined` where it is missing. */
export async function peculiarVerifier(): Promise<SignatureVerifier | undefined> {
  if (peculiarMissing !== undefined) return undefined;
  const { Crypto } = await import("@peculiar/webcrypto");
  const subtle = new Crypto().subtle as Subtle;
  return {
    name: "@peculiar/webcrypto",
    sync: false,
    importKey: (key) => key,
    async verify(alg, prepared, signature, data) {
      const key = prepared as PublicKey;
      const normal = normalSignature(alg, key, signature);
      if (normal === undefined) return false;
      const how = parameters(alg, key);
      const object = await subtle.importKey("spki", key.importSpki as Uint8Array<ArrayBuffer>, how, false, ["verify"]);
      return subtle.verify(how, object, normal as Uint8Array<ArrayBuffer>, data as Uint8Array<ArrayBuffer>);
    },
  };
}
