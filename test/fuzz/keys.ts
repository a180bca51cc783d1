/**
 * A fixed pool of key pairs and signatures that are the same in every run: what a seed made can be made again, byte by byte.
 *
 * keys.json holds key pairs made once for these tests, and for ECDSA a few nonces with their r; such keys protect nothing.
 */
import {
  constants,
  createHash,
  createPrivateKey,
  type KeyObject,
  privateDecrypt,
  sign as signNatively,
} from "node:crypto";
import { readFileSync } from "node:fs";
import { CURVES, mod, modInverse } from "../../src/crypto/curves.ts";
import type { Curve, Hash, SignatureAlgorithm } from "../../src/crypto/index.ts";
import { fromBigInt, fromHex, toBigInt } from "../../src/crypto/octets.ts";
import { decodeBase64 } from "../../src/encoding/base64.ts";
import type { Random } from "./random.ts";

export type KeyType = "P-256" | "P-384" | "P-521" | "RSA-2048" | "RSA-3072" | "RSA-4096" | "RSA-1024" | "Ed25519";

export interface FixedKey {
  readonly type: KeyType;
  readonly spki: Uint8Array;
  readonly pkcs8: Uint8Array;
  /** The private scalar of an EC key. */
  readonly scalar?: bigint;
}

/** A hash as signatures name it; SHA-1 is for what must be refused. */
export type AnyHash = Hash | "SHA-1";

interface File {
  readonly keys: readonly { type: KeyType; spki: string; pkcs8: string; d?: string }[];
  readonly nonces: Readonly<Record<Curve, readonly { k: string; r: string }[]>>;
}

const file = JSON.parse(readFileSync(new URL("keys.json", import.meta.url), "utf8")) as File;

function octets(base64: string): Uint8Array {
  const decoded = decodeBase64(base64);
  if (!decoded.ok) throw new Error(decoded.message);
  return decoded.value;
}

/** Every key of the pool. */
export const KEYS: readonly FixedKey[] = file.keys.map(({ type, spki, pkcs8, d }) => ({
  type,
  spki: octets(spki),
  pkcs8: octets(pkcs8),
  ...(d !== undefined && { scalar: toBigInt(fromHex(d)) }),
}));

/** The keys of one type. */
export function keysOf(type: KeyType): readonly FixedKey[] {
  return KEYS.filter((key) => key.type === type);
}

const HASH_LENGTH: Readonly<Record<AnyHash, number>> = { "SHA-1": 20, "SHA-256": 32, "SHA-384": 48, "SHA-512": 64 };
const objects = new Map<FixedKey, KeyObject>();

function keyObject(key: FixedKey): KeyObject {
  let object = objects.get(key);
  if (object === undefined) {
    object = createPrivateKey({ key: Buffer.from(key.pkcs8), format: "der", type: "pkcs8" });
    objects.set(key, object);
  }
  return object;
}

function digest(hash: AnyHash, ...parts: readonly Uint8Array[]): Uint8Array {
  const state = createHash(hash.replace("SHA-", "sha"));
  for (const part of parts) state.update(part);
  return new Uint8Array(state.digest());
}

/** How something is signed; as {@link SignatureAlgorithm}, with SHA-1 as well. */
export type Signing =
  | { readonly family: "ecdsa"; readonly hash: AnyHash }
  | { readonly family: "rsa-pkcs1" | "rsa-pss"; readonly hash: AnyHash; readonly saltLength?: number }
  | { readonly family: "ed25519" };

/** Signs; ECDSA comes out as r and s side by side. */
export function sign(key: FixedKey, signing: Signing, data: Uint8Array, random: Random): Uint8Array {
  switch (signing.family) {
    case "ecdsa":
      return signEcdsa(key, digest(signing.hash, data), random);
    case "rsa-pkcs1":
      return new Uint8Array(signNatively(signing.hash.replace("SHA-", "sha"), data, keyObject(key)));
    case "rsa-pss":
      return signPss(key, signing.hash, data, random.bytes(signing.saltLength ?? HASH_LENGTH[signing.hash]));
    case "ed25519":
      return new Uint8Array(signNatively(null, data, keyObject(key)));
  }
}

/** FIPS 186-5 §6.4.1 with a nonce of the pool. */
function signEcdsa({ type, scalar }: FixedKey, hashed: Uint8Array, random: Random): Uint8Array {
  const { n, size } = CURVES[type as Curve];
  const { k, r } = random.pick(file.nonces[type as Curve]);
  const excess = Math.max(0, hashed.length * 8 - n.toString(2).length);
  const z = toBigInt(hashed) >> BigInt(excess);
  const rNumber = toBigInt(fromHex(r));
  const s = mod(modInverse(toBigInt(fromHex(k)), n) * (z + rNumber * scalar!), n);
  return Buffer.concat([fromBigInt(rNumber, size), fromBigInt(s, size)]);
}

/** RFC 8017 §9.1.1, then the private operation without padding, because no runtime lets a caller choose the salt. */
function signPss(key: FixedKey, hash: AnyHash, data: Uint8Array, salt: Uint8Array): Uint8Array {
  const bits = Number(key.type.slice(4)) - 1;
  const length = Math.ceil(bits / 8);
  const hashed = digest(hash, new Uint8Array(8), digest(hash, data), salt);
  const block = new Uint8Array(length - hashed.length - 1);
  block.set(salt, block.length - salt.length);
  block[block.length - salt.length - 1] = 1;
  for (let i = 0, counter = 0; i < block.length; counter++) {
    const mask = digest(hash, hashed, Uint8Array.of(0, 0, 0, counter));
    for (let j = 0; j < mask.length && i < block.length; j++, i++) block[i]! ^= mask[j]!;
  }
  block[0]! &= 0xff >> (8 * length - bits);
  const encoded = Buffer.concat([block, hashed, Uint8Array.of(0xbc)]);
  return new Uint8Array(privateDecrypt({ key: keyObject(key), padding: constants.RSA_NO_PADDING }, encoded));
}

/** The schemes with which a key may sign what is to be accepted. */
export function schemesOf(type: KeyType): readonly Signing[] {
  if (type === "Ed25519") return [{ family: "ed25519" }];
  const hashes: readonly Hash[] = ["SHA-256", "SHA-384", "SHA-512"];
  if (type.startsWith("P-")) return hashes.map((hash) => ({ family: "ecdsa", hash }));
  // a PSS block with its salt has no room in a modulus of 1,024 bits
  if (type === "RSA-1024") return hashes.map((hash) => ({ family: "rsa-pkcs1", hash }));
  return hashes.flatMap((hash): Signing[] => [
    { family: "rsa-pkcs1", hash },
    { family: "rsa-pss", hash },
  ]);
}
