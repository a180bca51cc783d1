/** Signature algorithms: one table for JWS names (RFC 7518 §3.1) and one for X.509 AlgorithmIdentifiers. */
import { TAG } from "../encoding/der.ts";
import { encodeDer } from "../encoding/encode-der.ts";
import { binaryString, fromHex } from "./octets.ts";

/** A hash of the SHA-2 family; SHA-1 and MD5 are never taken (S-15). */
export type Hash = "SHA-256" | "SHA-384" | "SHA-512";

/** A named curve (RFC 5480 §2.1.1.1). */
export type Curve = "P-256" | "P-384" | "P-521";

/**
 * How a signature was made.
 *
 * For `rsa-pss` the mask generation function is MGF1 with the same hash and the salt is as long as the hash (S-15).
 * `encoding` says how an ECDSA signature is written: `der` in X.509 (RFC 5480), `p1363` in JOSE (RFC 7518 §3.4).
 */
export type SignatureAlgorithm =
  | { readonly family: "ecdsa"; readonly hash: Hash; readonly encoding: "der" | "p1363" }
  | { readonly family: "rsa-pkcs1"; readonly hash: Hash }
  | { readonly family: "rsa-pss"; readonly hash: Hash }
  | { readonly family: "ed25519" };

/** Octets of each hash value, which is also the salt length of RSA-PSS. */
export const HASH_LENGTH: Readonly<Record<Hash, number>> = Object.freeze({
  "SHA-256": 32,
  "SHA-384": 48,
  "SHA-512": 64,
});

const HASHES: readonly Hash[] = ["SHA-256", "SHA-384", "SHA-512"];

/** Whether a value names a hash; a name that only an object's prototype has is none. */
export function isHash(value: unknown): value is Hash {
  return typeof value === "string" && Object.hasOwn(HASH_LENGTH, value);
}

/** What a JWS `alg` value means: the signature and the one kind of key (and curve) that may make it. */
export interface JwsAlgorithm {
  readonly name: string;
  readonly algorithm: SignatureAlgorithm;
  readonly kind: "ec" | "rsa";
  readonly curve?: Curve;
}

/**
 * The nine `alg` values that a JWT-SVID may have (JWT-03); any other name is not in the map.
 *
 * @example
 * ```ts
 * import { JWS_ALGORITHMS } from "spiffe-edge/crypto";
 * console.assert(JWS_ALGORITHMS.get("ES256")?.curve === "P-256");
 * console.assert(!JWS_ALGORITHMS.has("none"));
 * ```
 */
export const JWS_ALGORITHMS: ReadonlyMap<string, JwsAlgorithm> = new Map(
  HASHES.flatMap((hash, index): JwsAlgorithm[] => {
    const bits = hash.slice(4);
    const curve = (["P-256", "P-384", "P-521"] as const)[index]!;
    return [
      { name: `RS${bits}`, algorithm: Object.freeze({ family: "rsa-pkcs1", hash }), kind: "rsa" },
      { name: `ES${bits}`, algorithm: Object.freeze({ family: "ecdsa", hash, encoding: "p1363" }), kind: "ec", curve },
      { name: `PS${bits}`, algorithm: Object.freeze({ family: "rsa-pss", hash }), kind: "rsa" },
    ];
  }).map((entry) => [entry.name, Object.freeze(entry)] as const),
);

/** The AlgorithmIdentifier of each named curve's key (RFC 5480 §2.1.1). */
export const EC_KEY_IDENTIFIERS: Readonly<Record<Curve, Uint8Array>> = {
  "P-256": fromHex("301306072a8648ce3d020106082a8648ce3d030107"),
  "P-384": fromHex("301006072a8648ce3d020106052b81040022"),
  "P-521": fromHex("301006072a8648ce3d020106052b81040023"),
};
/** rsaEncryption with NULL parameters (RFC 3279 §2.3.1). */
export const RSA_KEY_IDENTIFIER: Uint8Array = fromHex("300d06092a864886f70d0101010500");
/** id-Ed25519 without parameters (RFC 8410 §3). */
export const ED25519_IDENTIFIER: Uint8Array = fromHex("300506032b6570");
/** id-RSASSA-PSS without parameters, as a key may have it (RFC 4055 §3.1). */
export const PSS_KEY_IDENTIFIER: Uint8Array = fromHex("300b06092a864886f70d01010a");

const PSS_OID = fromHex("06092a864886f70d01010a");
const MGF1_OID = fromHex("06092a864886f70d010108");
const NULL = fromHex("0500");

/**
 * The encodings of id-RSASSA-PSS with MGF1 of the same hash and a salt of the hash's length.
 *
 * RFC 4055 §2.1 lets the parameters of a hash be NULL or absent, hence four encodings per hash.
 */
export function pssIdentifiers(hash: Hash): Uint8Array[] {
  const hashOid = fromHex(`060960864801650304020${HASHES.indexOf(hash) + 1}`);
  const hashes = [encodeDer(TAG.sequence, hashOid, NULL), encodeDer(TAG.sequence, hashOid)];
  const salt = encodeDer(0xa2, encodeDer(TAG.integer, Uint8Array.of(HASH_LENGTH[hash])));
  return hashes.flatMap((outer) =>
    hashes.map((inner) => {
      const mask = encodeDer(0xa1, encodeDer(TAG.sequence, MGF1_OID, inner));
      return encodeDer(TAG.sequence, PSS_OID, encodeDer(TAG.sequence, encodeDer(0xa0, outer), mask, salt));
    }),
  );
}

function x509Algorithms(): Map<string, SignatureAlgorithm> {
  const table = new Map<string, SignatureAlgorithm>();
  const add = (identifier: Uint8Array, algorithm: SignatureAlgorithm) => {
    table.set(binaryString(identifier), Object.freeze(algorithm));
  };
  HASHES.forEach((hash, index) => {
    add(fromHex(`300a06082a8648ce3d04030${index + 2}`), { family: "ecdsa", hash, encoding: "der" });
    const rsa = fromHex(`06092a864886f70d01010${(index + 11).toString(16)}`);
    // RFC 4055 §5: NULL is right, absent must be taken as well
    add(encodeDer(TAG.sequence, rsa, NULL), { family: "rsa-pkcs1", hash });
    add(encodeDer(TAG.sequence, rsa), { family: "rsa-pkcs1", hash });
    for (const identifier of pssIdentifiers(hash)) add(identifier, { family: "rsa-pss", hash });
  });
  add(ED25519_IDENTIFIER, { family: "ed25519" });
  return table;
}

const X509_ALGORITHMS = x509Algorithms();

/**
 * The signature algorithm that a DER AlgorithmIdentifier names, or `undefined` for every one that is not allowed.
 *
 * The whole encoding is compared, parameters included, so nothing about a signature is left to interpretation (S-15).
 */
export function x509SignatureAlgorithm(identifier: Uint8Array): SignatureAlgorithm | undefined {
  return X509_ALGORITHMS.get(binaryString(identifier));
}
