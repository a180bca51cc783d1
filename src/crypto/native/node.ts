/** The synchronous backend of `node:crypto`, taken from the runtime without an import. */
import { HASH_LENGTH, type Hash, type SignatureAlgorithm } from "../algorithms.ts";
import { verifyEcdsa } from "../ecdsa.ts";
import type { PublicKey } from "../public-key.ts";
import { ecdsaP1363ToDer, normalSignature } from "../signature.ts";
import type { SyncSignatureVerifier } from "../verifier.ts";

type NodeCrypto = ReturnType<typeof globalThis.process.getBuiltinModule<"node:crypto">>;
type KeyObject = ReturnType<NodeCrypto["createPublicKey"]>;

/** `node:crypto`, where the runtime has it. */
export function nodeCrypto(): NodeCrypto | undefined {
  return globalThis.process?.getBuiltinModule?.("node:crypto");
}

const NODE_HASH: Readonly<Record<Hash, string>> = { "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512" };

interface NativeKey {
  readonly key: PublicKey;
  readonly object: KeyObject;
}

function verifierOf(crypto: NodeCrypto): SyncSignatureVerifier<NativeKey> {
  // Deno refuses hashes shorter than half the field, so P-521 with SHA-256 never verifies there
  const shortHashMissing = globalThis.process?.versions?.deno !== undefined;
  // workerd takes a key beside options as bytes alone, and by createVerify alone
  const optionsTakeNoKeyObject = globalThis.navigator?.userAgent === "Cloudflare-Workers";
  return {
    name: "node:crypto",
    sync: true,
    importKey(key) {
      const object = crypto.createPublicKey({ key: key.importSpki as never, format: "der", type: "spki" });
      return { key, object };
    },
    verify(alg: SignatureAlgorithm, { key, object }, signature, data) {
      const normal = normalSignature(alg, key, signature);
      if (normal === undefined) return false;
      switch (alg.family) {
        case "ecdsa": {
          if (shortHashMissing && key.curve === "P-521" && alg.hash === "SHA-256") {
            return verifyEcdsa(key, crypto.createHash("sha256").update(data).digest(), normal);
          }
          const der = alg.encoding === "der" ? signature : ecdsaP1363ToDer(normal);
          return crypto.verify(NODE_HASH[alg.hash], data, object, der);
        }
        case "rsa-pkcs1":
          return crypto.verify(NODE_HASH[alg.hash], data, object, normal);
        case "rsa-pss": {
          const options = { padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: HASH_LENGTH[alg.hash] };
          if (!optionsTakeNoKeyObject) {
            return crypto.verify(NODE_HASH[alg.hash], data, { key: object, ...options }, normal);
          }
          const spki = { key: key.importSpki as never, format: "der", type: "spki" } as const;
          return crypto
            .createVerify(NODE_HASH[alg.hash])
            .update(data)
            .verify({ ...spki, ...options }, normal);
        }
        case "ed25519":
          return crypto.verify(null, data, object, normal);
      }
    },
  };
}

let verifier: SyncSignatureVerifier | undefined;

/** The backend, one object per process so that prepared keys are shared. */
export function nodeVerifier(): SyncSignatureVerifier | undefined {
  if (verifier === undefined) {
    const crypto = nodeCrypto();
    if (crypto !== undefined) verifier = verifierOf(crypto) as SyncSignatureVerifier;
  }
  return verifier;
}
