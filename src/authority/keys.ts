/** Key pairs and signatures of the certificates that are written here, by WebCrypto. */
import type { webcrypto } from "node:crypto";
import * as asn1 from "./asn1.ts";

/** Kinds of keys a certificate can carry and be signed with. */
export type KeyType = "ec-p256" | "ec-p384" | "ec-p521" | "rsa-2048" | "ed25519";

/** Hash of a signature; with Ed25519 it has no meaning. */
export type HashName = "SHA-1" | "SHA-256" | "SHA-384" | "SHA-512";

/** A fresh key pair. The private key is a WebCrypto handle; it leaves memory only where a caller exports it. */
export interface KeyPair {
  readonly type: KeyType;
  readonly privateKey: CryptoKey;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
}

type GenerateParams = webcrypto.EcKeyGenParams | webcrypto.RsaHashedKeyGenParams | { name: "Ed25519" };

interface KeyKind {
  readonly generate: GenerateParams;
  readonly hash: HashName;
  /** Octets of one coordinate, for elliptic curves. */
  readonly coordinate?: number;
}

const KINDS: Readonly<Record<KeyType, KeyKind>> = {
  "ec-p256": { generate: { name: "ECDSA", namedCurve: "P-256" }, hash: "SHA-256", coordinate: 32 },
  "ec-p384": { generate: { name: "ECDSA", namedCurve: "P-384" }, hash: "SHA-384", coordinate: 48 },
  "ec-p521": { generate: { name: "ECDSA", namedCurve: "P-521" }, hash: "SHA-512", coordinate: 66 },
  "rsa-2048": {
    generate: {
      name: "RSASSA-PKCS1-v1_5",
      modulusLength: 2048,
      publicExponent: new Uint8Array([1, 0, 1]),
      hash: "SHA-256",
    },
    hash: "SHA-256",
  },
  ed25519: { generate: { name: "Ed25519" }, hash: "SHA-512" },
};

const ECDSA_OIDS: Readonly<Record<HashName, string>> = {
  "SHA-1": "1.2.840.10045.4.1",
  "SHA-256": "1.2.840.10045.4.3.2",
  "SHA-384": "1.2.840.10045.4.3.3",
  "SHA-512": "1.2.840.10045.4.3.4",
};

const RSA_OIDS: Readonly<Record<HashName, string>> = {
  "SHA-1": "1.2.840.113549.1.1.5",
  "SHA-256": "1.2.840.113549.1.1.11",
  "SHA-384": "1.2.840.113549.1.1.12",
  "SHA-512": "1.2.840.113549.1.1.13",
};

/**
 * Makes a key pair.
 *
 * @param type kind of key
 * @param extractable whether the private key can be exported; false for keys that only sign here
 */
export async function generateKeys(type: KeyType, extractable: boolean): Promise<KeyPair> {
  const kind = KINDS[type];
  const pair = (await crypto.subtle.generateKey(kind.generate, extractable, [
    "sign",
    "verify",
  ])) as webcrypto.CryptoKeyPair;
  const spki = new Uint8Array(await crypto.subtle.exportKey("spki", pair.publicKey));
  return { type, privateKey: pair.privateKey, spki };
}

/** The private key as unencrypted PKCS#8 DER. */
export async function exportPkcs8(keys: KeyPair): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.exportKey("pkcs8", keys.privateKey));
}

/** AlgorithmIdentifier of a signature by a key of this type, DER. */
export function signatureAlgorithm(type: KeyType, hash: HashName = KINDS[type].hash): Uint8Array {
  if (type === "ed25519") return asn1.sequence(asn1.oid("1.3.101.112"));
  if (type === "rsa-2048") return asn1.sequence(asn1.oid(RSA_OIDS[hash]), asn1.nullValue());
  return asn1.sequence(asn1.oid(ECDSA_OIDS[hash]));
}

/** Signs bytes; the signature has the encoding X.509 wants (DER for ECDSA). */
export async function signBytes(keys: KeyPair, data: Uint8Array, hash?: HashName): Promise<Uint8Array> {
  const kind = KINDS[keys.type];
  const key = keys.type === "rsa-2048" && hash !== undefined ? await rsaKeyWithHash(keys, hash) : keys.privateKey;
  const params = { name: kind.generate.name, hash: hash ?? kind.hash };
  const signature = new Uint8Array(await crypto.subtle.sign(params, key, data as Uint8Array<ArrayBuffer>));
  return kind.coordinate === undefined ? signature : ecdsaToDer(signature, kind.coordinate);
}

/** WebCrypto binds the hash to an RSA key, so another hash needs the key imported again. */
async function rsaKeyWithHash(keys: KeyPair, hash: HashName): Promise<CryptoKey> {
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  return crypto.subtle.importKey("pkcs8", pkcs8, { name: "RSASSA-PKCS1-v1_5", hash }, false, ["sign"]);
}

function ecdsaToDer(signature: Uint8Array, coordinate: number): Uint8Array {
  return asn1.sequence(
    asn1.integerBytes(unsigned(signature.subarray(0, coordinate))),
    asn1.integerBytes(unsigned(signature.subarray(coordinate))),
  );
}

/** Content octets of a non-negative INTEGER: no needless leading zero, one where the top bit is set. */
export function unsigned(value: Uint8Array): Uint8Array {
  let start = 0;
  while (start < value.length - 1 && value[start] === 0) start++;
  const short = value.subarray(start);
  return (short[0] ?? 0) & 0x80 ? asn1.concat([new Uint8Array(1), short]) : short;
}
