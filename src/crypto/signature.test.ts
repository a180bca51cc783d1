import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { encodeBase64Url } from "../encoding/base64.ts";
import { TAG } from "../encoding/der.ts";
import { encodeDer } from "../encoding/encode-der.ts";
import type { SignatureAlgorithm } from "./algorithms.ts";
import { CURVES, modPow } from "./curves.ts";
import { ED25519_ORDER } from "./edwards.ts";
import { type TestKey, testKey } from "./keys.testing.ts";
import { fromBigInt, fromHex, toBigInt } from "./octets.ts";
import { PublicKey } from "./public-key.ts";
import { ecdsaP1363ToDer, normalSignature } from "./signature.ts";
import { RsaCases } from "./wasm/rsa-cases.testing.ts";

const pass = (alg: SignatureAlgorithm, key: PublicKey, signature: Uint8Array) =>
  normalSignature(alg, key, signature) !== undefined;

describe("signature encodings, before any backend", () => {
  let ec: TestKey;
  let rsa: TestKey;
  let ed: TestKey;
  before(async () => {
    [ec, rsa, ed] = [await testKey("P-256"), await testKey("RSA-2048"), await testKey("Ed25519")];
  });

  it("[S-15] let ECDSA r and s pass from 1 to n − 1, in both forms", () => {
    const { n } = CURVES["P-256"];
    const made = (r: bigint, s: bigint) => Uint8Array.from([...fromBigInt(r, 32), ...fromBigInt(s, 32)]);
    for (const [r, s, fine] of [
      [1n, 1n, true],
      [n - 1n, n - 1n, true],
      [0n, 1n, false],
      [1n, 0n, false],
      [n, 1n, false],
      [1n, n, false],
      [2n ** 256n - 1n, 1n, false],
    ] as const) {
      const p1363 = made(r, s);
      assert.equal(
        pass({ family: "ecdsa", hash: "SHA-256", encoding: "p1363" }, ec.publicKey, p1363),
        fine,
        `${r} ${s}`,
      );
      const der = ecdsaP1363ToDer(p1363);
      assert.equal(
        pass({ family: "ecdsa", hash: "SHA-256", encoding: "der" }, ec.publicKey, der),
        fine,
        `${r} ${s} in DER`,
      );
    }
    for (const length of [0, 63, 65, 96]) {
      const p1363 = new Uint8Array(length).fill(1);
      assert.equal(
        pass({ family: "ecdsa", hash: "SHA-256", encoding: "p1363" }, ec.publicKey, p1363),
        false,
        `${length} bytes`,
      );
    }
  });

  it("[S-15] turn DER into P1363 and back", () => {
    const p1363 = Uint8Array.from([...new Uint8Array(31), 0x80, ...new Uint8Array(30), 1, 2]);
    const der = ecdsaP1363ToDer(p1363);
    assert.deepEqual(der, fromHex("30080202008002020102"));
    assert.deepEqual(normalSignature({ family: "ecdsa", hash: "SHA-256", encoding: "der" }, ec.publicKey, der), p1363);
    const long = encodeDer(TAG.sequence, encodeDer(TAG.integer, new Uint8Array(33).fill(1)), fromHex("020101"));
    assert.equal(pass({ family: "ecdsa", hash: "SHA-256", encoding: "der" }, ec.publicKey, long), false);
  });

  it("[S-15] take no octet of an s that is too long for one of r", () => {
    const made = (s: number) =>
      encodeDer(
        TAG.sequence,
        encodeDer(TAG.integer, new Uint8Array(32).fill(1)),
        encodeDer(TAG.integer, new Uint8Array(s).fill(1)),
      );
    const alg: SignatureAlgorithm = { family: "ecdsa", hash: "SHA-256", encoding: "der" };
    assert.deepEqual(normalSignature(alg, ec.publicKey, made(32)), new Uint8Array(64).fill(1));
    assert.equal(normalSignature(alg, ec.publicKey, made(33)), undefined);
  });

  it("[S-15] let RSA pass as long as the modulus and below it", () => {
    const { numbers } = rsa.publicKey;
    assert.ok(numbers.kind === "rsa");
    const n = toBigInt(numbers.modulus);
    for (const family of ["rsa-pkcs1", "rsa-pss"] as const) {
      const fine = (signature: Uint8Array) => pass({ family, hash: "SHA-256" }, rsa.publicKey, signature);
      assert.equal(fine(fromBigInt(n - 1n, 256)), true);
      assert.equal(fine(fromBigInt(n, 256)), false);
      assert.equal(fine(new Uint8Array(256).fill(0xff)), false);
      assert.equal(fine(new Uint8Array(255).fill(1)), false);
      assert.equal(fine(Uint8Array.from([0, ...fromBigInt(n - 1n, 256)])), false);
    }
  });

  it("[S-15] let PSS pass with a power as long as its encoding, which for 8k + 1 bits is an octet less", () => {
    const cases = new RsaCases(3);
    const counts = { shorter: 0, longer: 0, valid: 0 };
    for (let i = 0; i < 120; i++) {
      const { scheme, hash, modulus, exponent, signature, valid } = cases.make(
        i % 3 === 0 ? "rsa-valid" : "pss-top-bit",
      );
      const number = toBigInt(modulus);
      if (scheme !== "rsa-pss" || number.toString(2).length % 8 !== 1) continue;
      const e = encodeBase64Url(fromBigInt(BigInt(exponent), Math.ceil((32 - Math.clz32(exponent)) / 8)));
      const key = PublicKey.fromJwk({ kty: "RSA", n: encodeBase64Url(modulus), e });
      assert.ok(key.ok);
      const power = modPow(toBigInt(signature), BigInt(exponent), number);
      const short = power >> BigInt(8 * (modulus.length - 1)) === 0n;
      counts[short ? "shorter" : "longer"]++;
      if (valid) counts.valid++;
      assert.ok(short || !valid);
      assert.equal(pass({ family: scheme, hash }, key.value, signature), short);
    }
    assert.ok(counts.longer > 0 && counts.valid > 0, JSON.stringify(counts));
  });

  it("[S-15] let Ed25519 pass with S below the group order", () => {
    const made = (s: bigint) => Uint8Array.from([...new Uint8Array(32).fill(7), ...fromBigInt(s, 32).reverse()]);
    const fine = (signature: Uint8Array) => pass({ family: "ed25519" }, ed.publicKey, signature);
    assert.equal(fine(made(ED25519_ORDER - 1n)), true);
    assert.equal(fine(made(ED25519_ORDER)), false);
    assert.equal(fine(made(2n ** 256n - 1n)), false);
    assert.equal(fine(made(0n).subarray(1)), false);
  });

  it("[S-15] let Ed25519 pass with an R of large order, in each spelling of those of small order", () => {
    const p = 2n ** 255n - 19n;
    const fine = (y: bigint, sign = 0) => {
      const point = fromBigInt(y, 32).reverse();
      point[31]! |= sign;
      return pass({ family: "ed25519" }, ed.publicKey, Uint8Array.from([...point, ...new Uint8Array(32).fill(1)]));
    };
    const eighth = 2707385501144840649318225287225658788936804267575313519463743609750303402022n;
    for (const sign of [0, 0x80]) {
      for (const y of [0n, 1n, p - 1n, p, p + 1n, eighth, p - eighth]) assert.equal(fine(y, sign), false, `${y}`);
      for (const y of [2n, p - 2n, eighth + 1n]) assert.equal(fine(y, sign), true, `${y}`);
    }
  });

  it("[JWT-21] let nothing pass whose algorithm is not the key's", () => {
    const rows: readonly [SignatureAlgorithm, TestKey, number][] = [
      [{ family: "ecdsa", hash: "SHA-256", encoding: "p1363" }, ec, 64],
      [{ family: "rsa-pkcs1", hash: "SHA-256" }, rsa, 256],
      [{ family: "rsa-pss", hash: "SHA-256" }, rsa, 256],
      [{ family: "ed25519" }, ed, 64],
    ];
    for (const [alg, owner] of rows) {
      for (const [, key, length] of rows) {
        const signature = new Uint8Array(length).fill(1);
        assert.equal(pass(alg, key.publicKey, signature), key === owner, `${alg.family} with ${key.publicKey.kind}`);
      }
    }
    const pss = PublicKey.fromSpki(renamedToPss(rsa.spki));
    assert.ok(pss.ok);
    const signature = new Uint8Array(256).fill(1);
    assert.equal(pass({ family: "rsa-pkcs1", hash: "SHA-256" }, pss.value, signature), false);
    assert.equal(pass({ family: "rsa-pss", hash: "SHA-256" }, pss.value, signature), true);
  });
});

/** The same numbers as an id-RSASSA-PSS key. */
function renamedToPss(spki: Uint8Array): Uint8Array {
  const bits = spki.subarray(4 + 15);
  return encodeDer(TAG.sequence, fromHex("300b06092a864886f70d01010a"), bits);
}
