/** What a module that was given has to answer before it is used: numbers whose verdict is known without it. */
import { type Curve, HASH_LENGTH } from "../algorithms.ts";
import { CURVES, mod } from "../curves.ts";
import { fromBigInt, fromHex, toBigInt } from "../octets.ts";
import type { Engine, RsaKey } from "./engine.ts";

/** What is asked of an engine here. */
type Asked = Pick<Engine, "verifyDigest" | "verifyRsa" | "rsaLift">;

const RSA_OCTETS = 256;
/** SHA-256 of no octets. */
const HASH_OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/** The EMSA-PSS encoding (RFC 8017 §9.1.1) of no octets in 2,047 bits, by SHA-256 and a salt of 32 zeros. */
const PSS_OF_NOTHING =
  "6bf699d233b24c95e57c8f8ece798965821314ff341706322e9260d3c03c29756d4614c961472faaca6d58f14fe53723" +
  "ad01af1497680d822f828701fa2fddfcd19a803d31bda7b14adaac840f73a19176ec9ce9e8803127ca31f7e3c3fef037" +
  "ddb52a96aadf7a7c9378a1df44f54a3496d81e25c967ef073184e37b21c633ec973c0c48ca20700b304843680956a14f" +
  "cd63ea5f1717024df32899da9bf8e43599fab413d1ea4de121969fb84e0ebbcf571e73e50b208b0ab5304f051cbe8bb8" +
  "a41ca57d653232d7ce960cd9615ae6d3c37e76f59d5ca5fff33497df05984c5e25bcf2924e603ed8b91dc11c2a1d82ab" +
  "296a72ccaf9af015d952d3da7de073bc";

/** Whether a module takes, on every curve and by both schemes of RSA, a signature that it must, and refuses those that it must not. */
export function answersRight(engine: Asked): boolean {
  return (Object.keys(CURVES) as Curve[]).every((curve) => answersRightOn(curve, engine)) && answersRightForRsa(engine);
}

function answersRightOn(curve: Curve, engine: Asked): boolean {
  const { gx, gy, n, size } = CURVES[curve];
  const two = (a: bigint, b: bigint) => Uint8Array.of(...fromBigInt(a, size), ...fromBigInt(b, size));
  const digest = new Uint8Array(HASH_LENGTH["SHA-256"]).fill(1);
  const hash = toBigInt(digest);
  // private key and nonce are 1, so r is x of the generator and s is hash + r
  const signed = (e: bigint) => two(mod(gx, n), mod(e + gx, n));
  const verdict = (made: Uint8Array) => engine.verifyDigest(curve, digest, two(gx, gy), undefined, made);
  return verdict(signed(hash)) && !verdict(signed(hash + 1n));
}

function answersRightForRsa(engine: Asked): boolean {
  const info = fromHex(`3031300d060960864801650304020105000420${HASH_OF_NOTHING}`);
  const padded = new Uint8Array(RSA_OCTETS).fill(0xff);
  padded.set([0, 1]);
  padded.set([0, ...info], RSA_OCTETS - info.length - 1);
  const pkcs1 = madeFor(12n << 679n, padded, engine);
  const pss = madeFor((25n << 678n) + 1n, fromHex(PSS_OF_NOTHING), engine);
  if (pkcs1 === undefined || pss === undefined) return false;
  const verdict = (scheme: "rsa-pkcs1" | "rsa-pss", { key, signature }: Made, octets = 0) =>
    engine.verifyRsa(scheme, "SHA-256", key, signature, new Uint8Array(octets));
  const right = verdict("rsa-pkcs1", pkcs1) && verdict("rsa-pss", pss);
  return right && !verdict("rsa-pkcs1", pkcs1, 1) && !verdict("rsa-pss", pss, 1);
}

/** A signature of nothing, and a key that fits it. */
interface Made {
  readonly key: RsaKey;
  readonly signature: Uint8Array;
}

/** Makes the modulus for a signature, by an exponent of 3: the signature's cube less the encoding that it has to give, which is odd. */
function madeFor(signature: bigint, encoded: Uint8Array, engine: Asked): Made | undefined {
  const modulus = fromBigInt(signature ** 3n - toBigInt(encoded), RSA_OCTETS);
  const lift = engine.rsaLift(modulus);
  return lift && { key: { modulus, exponent: 3, lift }, signature: fromBigInt(signature, RSA_OCTETS) };
}
