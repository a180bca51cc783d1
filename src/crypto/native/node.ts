/** The synchronous backend of `node:crypto`, taken from the runtime without an import. */
import { HASH_LENGTH, type Hash, type SignatureAlgorithm } from "../algorithms.ts";
import { verifyEcdsa } from "../ecdsa.ts";
import { type PublicKey, requireKey } from "../public-key.ts";
import { ecdsaP1363ToDer, readInput } from "../signature.ts";
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

function verifierOf(crypto: NodeCrypto): SyncSignatureVerifier<object> {
  // Deno refuses hashes shorter than half the field, so P-521 with SHA-256 never verifies there
  const shortHashMissing = globalThis.process?.versions?.deno !== undefined;
  // workerd takes a key beside options as bytes alone, and by createVerify alone
  const optionsTakeNoKeyObject = globalThis.navigator?.userAgent === "Cloudflare-Workers";
  // a handle is an empty object: one of another backend, or one made by hand, names no key here
  const keys = new WeakMap<object, NativeKey>();
  return Object.freeze({
    name: "node:crypto",
    sync: true,
    importKey(key) {
      requireKey(key);
      const object = crypto.createPublicKey({ key: key.importSpki as never, format: "der", type: "spki" });
      const handle = Object.freeze({});
      keys.set(handle, { key, object });
      return handle;
    },
    verify(wanted: SignatureAlgorithm, handle, made, signed) {
      const prepared = keys.get(handle);
      const input = prepared && readInput(wanted, prepared.key, made, signed);
      if (input === undefined) return false;
      const { key, object } = prepared!;
      const { alg, signature, given, data } = input;
      switch (alg.family) {
        case "ecdsa": {
          if (shortHashMissing && key.curve === "P-521" && alg.hash === "SHA-256") {
            return verifyEcdsa(key, crypto.createHash("sha256").update(data).digest(), signature);
          }
          const der = alg.encoding === "der" ? given : ecdsaP1363ToDer(signature);
          return crypto.verify(NODE_HASH[alg.hash], data, object, der);
        }
        case "rsa-pkcs1":
          return crypto.verify(NODE_HASH[alg.hash], data, object, signature);
        case "rsa-pss": {
          const options = { padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: HASH_LENGTH[alg.hash] };
          if (!optionsTakeNoKeyObject) {
            return crypto.verify(NODE_HASH[alg.hash], data, { key: object, ...options }, signature);
          }
          const spki = { key: key.importSpki as never, format: "der", type: "spki" } as const;
          return crypto
            .createVerify(NODE_HASH[alg.hash])
            .update(data)
            .verify({ ...spki, ...options }, signature);
        }
        case "ed25519":
          return crypto.verify(null, data, object, signature);
      }
    },
  } satisfies SyncSignatureVerifier<object>);
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
