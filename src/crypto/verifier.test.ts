import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { isSpiffeError } from "../base/index.ts";
import { TAG } from "../encoding/der.ts";
import { encodeDer, encodeDerUnsigned } from "../encoding/encode-der.ts";
import { type Hash, JWS_ALGORITHMS, type SignatureAlgorithm } from "./algorithms.ts";
import { CURVES } from "./curves.ts";
import { verifyEcdsa } from "./ecdsa.ts";
import { ED25519_ORDER } from "./edwards.ts";
import { signTest, type TestKey, testKey } from "./keys.testing.ts";
import { webcryptoVerifier } from "./native/webcrypto.ts";
import { fromBigInt, toBigInt } from "./octets.ts";
import { PublicKey } from "./public-key.ts";
import { ecdsaP1363ToDer } from "./signature.ts";
import {
  type Checks,
  chooseSyncVerifier,
  chooseVerifier,
  nativeVerifier,
  runChecks,
  runChecksSync,
  type SignatureVerifier,
  type SyncSignatureVerifier,
} from "./verifier.ts";

const HASHES: readonly Hash[] = ["SHA-256", "SHA-384", "SHA-512"];
const data = new TextEncoder().encode("what is signed");

function* one(alg: SignatureAlgorithm, key: PublicKey, signature: Uint8Array, message = data): Checks<boolean> {
  return yield { alg, key, signature, data: message };
}

/** The result of both backends, which must be the same. */
async function verdict(
  alg: SignatureAlgorithm,
  key: PublicKey,
  signature: Uint8Array,
  message = data,
): Promise<boolean> {
  const native = runChecksSync(one(alg, key, signature, message), nativeVerifier()!);
  const web = await runChecks(one(alg, key, signature, message), webcryptoVerifier);
  assert.equal(native, web, "the backends differ");
  return native;
}

const flipped = (octets: Uint8Array, at = octets.length - 1) => {
  const changed = Uint8Array.from(octets);
  changed[at < 0 ? changed.length + at : at]! ^= 1;
  return changed;
};

describe("signature backends", () => {
  const keys = new Map<string, TestKey>();
  before(async () => {
    for (const type of ["P-256", "P-384", "P-521", "RSA-2048", "RSA-3072", "Ed25519"])
      keys.set(type, await testKey(type));
  });
  const keyOf = (type: string) => keys.get(type)!;

  for (const type of ["P-256", "P-384", "P-521"]) {
    for (const hash of HASHES) {
      it(`[S-15] check ECDSA ${type} with ${hash} in both encodings`, async () => {
        const key = keyOf(type);
        const p1363: SignatureAlgorithm = { family: "ecdsa", hash, encoding: "p1363" };
        const der: SignatureAlgorithm = { family: "ecdsa", hash, encoding: "der" };
        const signature = await signTest(key, p1363, data);
        const written = ecdsaP1363ToDer(signature);
        assert.equal(await verdict(p1363, key.publicKey, signature), true);
        assert.equal(await verdict(der, key.publicKey, written), true);
        assert.equal(await verdict(p1363, key.publicKey, flipped(signature)), false);
        assert.equal(await verdict(der, key.publicKey, flipped(written)), false);
        assert.equal(await verdict(p1363, key.publicKey, signature, flipped(data)), false);
        assert.equal(await verdict(der, key.publicKey, signature), false, "P1363 for DER");
        assert.equal(await verdict(p1363, key.publicKey, written), false, "DER for P1363");
        assert.equal(await verdict(p1363, (await testKey(type)).publicKey, signature), false, "another key");
      });
    }
  }

  for (const family of ["rsa-pkcs1", "rsa-pss"] as const) {
    for (const hash of HASHES) {
      it(`[S-15] check ${family} with ${hash}`, async () => {
        const key = keyOf("RSA-2048");
        const alg: SignatureAlgorithm = { family, hash };
        const signature = await signTest(key, alg, data);
        assert.equal(await verdict(alg, key.publicKey, signature), true);
        assert.equal(await verdict(alg, key.publicKey, flipped(signature)), false);
        assert.equal(await verdict(alg, key.publicKey, signature, flipped(data)), false);
        const other: SignatureAlgorithm = { family: family === "rsa-pss" ? "rsa-pkcs1" : "rsa-pss", hash };
        assert.equal(await verdict(other, key.publicKey, signature), false, "the other padding");
        assert.equal(
          await verdict({ family, hash: hash === "SHA-256" ? "SHA-512" : "SHA-256" }, key.publicKey, signature),
          false,
        );
        assert.equal(await verdict(alg, keyOf("RSA-3072").publicKey, signature), false, "another key");
        assert.equal(await verdict(alg, key.publicKey, signature.subarray(1)), false, "a byte less");
        assert.equal(await verdict(alg, key.publicKey, Uint8Array.from([0, ...signature])), false, "a leading zero");
      });
    }
  }

  it("[S-15] refuse RSA signatures that are not below the modulus", async () => {
    const { publicKey } = keyOf("RSA-2048");
    const { numbers } = publicKey;
    assert.ok(numbers.kind === "rsa");
    const alg: SignatureAlgorithm = { family: "rsa-pkcs1", hash: "SHA-256" };
    const n = toBigInt(numbers.modulus);
    // a signature small enough that adding the modulus still fits its length
    for (let i = 0; ; i++) {
      const message = Uint8Array.of(i);
      const signature = await signTest(keyOf("RSA-2048"), alg, message);
      const above = toBigInt(signature) + n;
      if (above >= 2n ** 2048n) continue;
      assert.equal(await verdict(alg, publicKey, signature, message), true);
      assert.equal(await verdict(alg, publicKey, fromBigInt(above, 256), message), false);
      break;
    }
  });

  it("[S-15] refuse a PSS salt that is not as long as the hash", async () => {
    const key = keyOf("RSA-2048");
    const alg: SignatureAlgorithm = { family: "rsa-pss", hash: "SHA-256" };
    for (const [salt, result] of [
      [0, false],
      [20, false],
      [31, false],
      [32, true],
      [33, false],
      [64, false],
    ] as const) {
      assert.equal(await verdict(alg, key.publicKey, await signTest(key, alg, data, salt)), result, `salt ${salt}`);
    }
  });

  it("[S-15] check Ed25519, and refuse S plus the group order", async () => {
    const key = keyOf("Ed25519");
    const alg: SignatureAlgorithm = { family: "ed25519" };
    const signature = await signTest(key, alg, data);
    assert.equal(await verdict(alg, key.publicKey, signature), true);
    assert.equal(await verdict(alg, key.publicKey, flipped(signature)), false);
    assert.equal(await verdict(alg, key.publicKey, flipped(signature, 0)), false);
    assert.equal(await verdict(alg, key.publicKey, signature.subarray(1)), false);
    assert.equal(await verdict(alg, key.publicKey, Uint8Array.from([...signature, 0])), false);
    const order = 2n ** 252n + 27742317777372353535851937790883648493n;
    const s = toBigInt(Uint8Array.from(signature.subarray(32)).reverse()) + order;
    const above = Uint8Array.from([...signature.subarray(0, 32), ...fromBigInt(s, 32).reverse()]);
    assert.equal(await verdict(alg, key.publicKey, above), false);
  });

  it("[S-15] refuse an Ed25519 signature of the key's owner whose R is the neutral point", async () => {
    const key = keyOf("Ed25519");
    const alg: SignatureAlgorithm = { family: "ed25519" };
    const numberOf = (octets: Uint8Array) => toBigInt(Uint8Array.from(octets).reverse());
    const sha512 = async (octets: Uint8Array) =>
      new Uint8Array(await crypto.subtle.digest("SHA-512", Uint8Array.from(octets)));
    const secret = (await sha512(key.pkcs8.subarray(-32))).subarray(0, 32);
    secret[0]! &= 0xf8;
    secret[31] = (secret[31]! & 0x3f) | 0x40;
    const neutral = Uint8Array.of(1, ...new Uint8Array(31));
    const challenge = numberOf(await sha512(Uint8Array.of(...neutral, ...key.spki.subarray(-32), ...data)));
    const s = (challenge * numberOf(secret)) % ED25519_ORDER;
    // the equation of RFC 8032 holds for it, as it does for the honest one
    assert.equal(await verdict(alg, key.publicKey, Uint8Array.of(...neutral, ...fromBigInt(s, 32).reverse())), false);
    assert.equal(await verdict(alg, key.publicKey, await signTest(key, alg, data)), true);
  });

  it("[S-15] leave a signature in a Buffer as it was", async () => {
    const key = keyOf("Ed25519");
    const signature = Buffer.from(await signTest(key, { family: "ed25519" }, data));
    assert.equal(await verdict({ family: "ed25519" }, key.publicKey, signature), true);
    assert.equal(await verdict({ family: "ed25519" }, key.publicKey, signature), true);
  });

  for (const type of ["P-256", "P-384", "P-521"] as const) {
    it(`[S-15] refuse ${type} signatures whose r or s is zero, the order or above, and take the twin with n − s`, async () => {
      const key = keyOf(type);
      const { n, size } = CURVES[type];
      const alg: SignatureAlgorithm = { family: "ecdsa", hash: "SHA-512", encoding: "p1363" };
      const signature = await signTest(key, alg, data);
      const [r, s] = [toBigInt(signature.subarray(0, size)), toBigInt(signature.subarray(size))];
      const made = (a: bigint, b: bigint) => Uint8Array.from([...fromBigInt(a, size), ...fromBigInt(b, size)]);
      assert.equal(await verdict(alg, key.publicKey, made(r, n - s)), true);
      for (const [a, b] of [
        [0n, s],
        [r, 0n],
        [n, s],
        [r, n],
        [0n, 0n],
        [1n, n],
      ] as const) {
        assert.equal(await verdict(alg, key.publicKey, made(a, b)), false);
      }
      const top = 2n ** BigInt(size * 8);
      if (r + n < top) assert.equal(await verdict(alg, key.publicKey, made(r + n, s)), false);
      if (s + n < top) assert.equal(await verdict(alg, key.publicKey, made(r, s + n)), false);
      assert.equal(await verdict(alg, key.publicKey, Uint8Array.from([0, ...made(r, s)])), false);
      assert.equal(await verdict(alg, key.publicKey, new Uint8Array()), false);
    });
  }

  it("[S-15] refuse every ECDSA encoding but minimal DER", async () => {
    const key = keyOf("P-256");
    const alg: SignatureAlgorithm = { family: "ecdsa", hash: "SHA-256", encoding: "der" };
    const p1363 = await signTest(key, alg, data);
    const [r, s] = [p1363.subarray(0, 32), p1363.subarray(32)];
    const [ri, si] = [encodeDerUnsigned(r), encodeDerUnsigned(s)];
    const padded = encodeDer(TAG.integer, Uint8Array.from([0, ...ri.subarray(2)]));
    const good = encodeDer(TAG.sequence, ri, si);
    assert.equal(await verdict(alg, key.publicKey, good), true);
    for (const [what, wrong] of [
      ["a padded r", encodeDer(TAG.sequence, padded, si)],
      ["a third element", encodeDer(TAG.sequence, ri, si, Uint8Array.of(5, 0))],
      ["a byte behind", Uint8Array.from([...good, 0])],
      ["a long length", Uint8Array.from([0x30, 0x81, good[1]!, ...good.subarray(2)])],
      ["an indefinite length", Uint8Array.from([0x30, 0x80, ...good.subarray(2), 0, 0])],
      ["a SET", Uint8Array.from([0x31, ...good.subarray(1)])],
      ["r alone", encodeDer(TAG.sequence, ri)],
      ["a negative r", encodeDer(TAG.sequence, encodeDer(TAG.integer, Uint8Array.from([0x80, ...r])), si)],
      ["nothing", new Uint8Array()],
    ] as const) {
      assert.equal(await verdict(alg, key.publicKey, wrong), false, what);
    }
  });

  it("[JWT-21] refuse a right signature under the name of another scheme of the same hash", async () => {
    const hash = "SHA-256";
    const schemes: readonly (readonly [string, SignatureAlgorithm])[] = [
      ["P-256", { family: "ecdsa", hash, encoding: "der" }],
      ["P-256", { family: "ecdsa", hash, encoding: "p1363" }],
      ["RSA-2048", { family: "rsa-pkcs1", hash }],
      ["RSA-2048", { family: "rsa-pss", hash }],
      ["Ed25519", { family: "ed25519" }],
    ];
    for (const [type, alg] of schemes) {
      const key = keyOf(type);
      const signature = await signTest(key, alg, data);
      const made = alg.family === "ecdsa" && alg.encoding === "der" ? ecdsaP1363ToDer(signature) : signature;
      for (const [, named] of schemes)
        assert.equal(await verdict(named, key.publicKey, made), named === alg, `${JSON.stringify([type, alg, named])}`);
    }
  });

  it("[JWT-21] refuse a key of another kind than the algorithm's", async () => {
    const ec = keyOf("P-256");
    const alg: SignatureAlgorithm = { family: "ecdsa", hash: "SHA-256", encoding: "p1363" };
    const signature = await signTest(ec, alg, data);
    assert.equal(await verdict(alg, ec.publicKey, signature), true);
    for (const type of ["RSA-2048", "Ed25519", "P-384"])
      assert.equal(await verdict(alg, keyOf(type).publicKey, signature), false, type);
    assert.equal(await verdict({ family: "ed25519" }, ec.publicKey, signature), false);
    assert.equal(await verdict({ family: "rsa-pss", hash: "SHA-256" }, ec.publicKey, signature), false);
  });

  it("[S-15] agree with ECDSA by BigInt, which stands in for P-521 with SHA-256 on Deno", async () => {
    for (const type of ["P-256", "P-384", "P-521"] as const) {
      for (const hash of HASHES) {
        const key = keyOf(type);
        const signature = await signTest(key, { family: "ecdsa", hash, encoding: "p1363" }, data);
        const digest = new Uint8Array(await crypto.subtle.digest(hash, data));
        assert.equal(verifyEcdsa(key.publicKey, digest, signature), true, `${type} ${hash}`);
        assert.equal(verifyEcdsa(key.publicKey, digest, flipped(signature)), false);
        assert.equal(verifyEcdsa(key.publicKey, flipped(digest, 0), signature), false);
        const { n, size } = CURVES[type];
        const s = toBigInt(signature.subarray(size)) + n;
        // of P-521 alone a coordinate's length leaves room above the order
        if (s >= 2n ** BigInt(8 * size)) continue;
        const above = Uint8Array.from([...signature.subarray(0, size), ...fromBigInt(s, size)]);
        assert.equal(verifyEcdsa(key.publicKey, digest, above), false, `${type} ${hash}, s plus the order`);
      }
    }
  });

  it("[S-15] by BigInt meet equal and opposite points: the keys 1 and n − 1", async () => {
    for (const type of ["P-256", "P-384", "P-521"] as const) {
      const { gx, gy, n, p, size } = CURVES[type];
      const text = (value: bigint) => Buffer.from(fromBigInt(value, size)).toString("base64url");
      for (const [d, y] of [
        [1n, gy],
        [n - 1n, p - gy],
      ] as const) {
        const jwk = { kty: "EC", crv: type, x: text(gx), y: text(y) };
        const key = PublicKey.fromJwk(jwk);
        assert.ok(key.ok);
        const parameters = { name: "ECDSA", namedCurve: type, hash: "SHA-512" };
        const signer = await crypto.subtle.importKey("jwk", { ...jwk, d: text(d) }, parameters, false, ["sign"]);
        const signature = new Uint8Array(await crypto.subtle.sign(parameters, signer, data));
        const digest = new Uint8Array(await crypto.subtle.digest("SHA-512", data));
        assert.equal(verifyEcdsa(key.value, digest, signature), true, `${type} ${d === 1n ? "1" : "n − 1"}`);
        assert.equal(verifyEcdsa(key.value, flipped(digest, 0), signature), false);
      }
    }
  });
});

describe("drivers", () => {
  function* two(first: Parameters<typeof one>, second: Parameters<typeof one>): Checks<string> {
    return `${yield* one(...first)} ${yield* one(...second)}`;
  }

  it("give each check its own result, and the verification's at the end", async () => {
    const key = await testKey("P-256");
    const alg: SignatureAlgorithm = { family: "ecdsa", hash: "SHA-256", encoding: "p1363" };
    const good: Parameters<typeof one> = [alg, key.publicKey, await signTest(key, alg, data)];
    const bad: Parameters<typeof one> = [alg, key.publicKey, new Uint8Array(64)];
    assert.equal(runChecksSync(two(good, bad)), "true false");
    assert.equal(await runChecks(two(bad, good)), "false true");
    assert.equal(await runChecks(two(good, good), webcryptoVerifier), "true true");
  });

  it("[S-8] take a backend that throws, or answers anything but true, for a signature that does not verify", async () => {
    const key = await testKey("P-256");
    const alg: SignatureAlgorithm = { family: "ecdsa", hash: "SHA-256", encoding: "p1363" };
    const check: Parameters<typeof one> = [alg, key.publicKey, await signTest(key, alg, data)];
    const broken = (verify: () => unknown): SignatureVerifier => {
      return { name: "broken", sync: true, importKey: () => 0, verify: verify as () => boolean };
    };
    const answers: (() => unknown)[] = [
      () => {
        throw new Error("broken");
      },
      () => Promise.reject(new Error("broken")),
      () => 1,
      () => "true",
      () => undefined,
    ];
    for (const answer of answers) assert.equal(await runChecks(one(...check), broken(answer)), false);
    for (const answer of answers.filter((_, index) => index !== 1)) {
      assert.equal(runChecksSync(one(...check), broken(answer) as SyncSignatureVerifier), false);
    }
    assert.equal(runChecksSync(one(...check), broken(() => Promise.resolve(true)) as SyncSignatureVerifier), false);
    const noImport = {
      ...broken(() => true),
      importKey: () => {
        throw new Error("broken");
      },
    };
    assert.equal(await runChecks(one(...check), noImport), false);
    assert.equal(
      await runChecks(
        one(...check),
        broken(() => true),
      ),
      true,
    );
    assert.equal(runChecksSync(one(...check), broken(() => true) as SyncSignatureVerifier), true);
  });

  it("prepare a key object once per backend", async () => {
    const key = await testKey("P-256");
    let imports = 0;
    const counting: SyncSignatureVerifier = {
      name: "counting",
      sync: true,
      importKey: () => imports++,
      verify: () => true,
    };
    const alg: SignatureAlgorithm = { family: "ecdsa", hash: "SHA-256", encoding: "p1363" };
    for (let i = 0; i < 3; i++) runChecksSync(one(alg, key.publicKey, new Uint8Array(64)), counting);
    await runChecks(one(alg, key.publicKey, new Uint8Array(64)), counting);
    assert.equal(imports, 1);
  });

  it("[S-8] refuse to run at once with a backend that is not synchronous", async () => {
    const key = await testKey("P-256");
    const alg: SignatureAlgorithm = { family: "ecdsa", hash: "SHA-256", encoding: "p1363" };
    assert.throws(
      () => runChecksSync(one(alg, key.publicKey, new Uint8Array(64)), webcryptoVerifier as SyncSignatureVerifier),
      (error) => isSpiffeError(error, "ERR_SPIFFE_BACKEND"),
    );
    assert.equal(chooseSyncVerifier().sync, true);
    assert.equal(chooseSyncVerifier("native"), nativeVerifier());
    assert.equal(chooseVerifier("native"), nativeVerifier());
  });
});

describe("JWS algorithms", () => {
  it("[JWT-03] are nine, each with the one kind of key and curve that fits", () => {
    const rows = [...JWS_ALGORITHMS.values()].map(({ name, algorithm, kind, curve }) => {
      return `${name} ${algorithm.family} ${"hash" in algorithm ? algorithm.hash : ""} ${kind} ${curve ?? ""}`.trim();
    });
    assert.deepEqual(rows.sort(), [
      "ES256 ecdsa SHA-256 ec P-256",
      "ES384 ecdsa SHA-384 ec P-384",
      "ES512 ecdsa SHA-512 ec P-521",
      "PS256 rsa-pss SHA-256 rsa",
      "PS384 rsa-pss SHA-384 rsa",
      "PS512 rsa-pss SHA-512 rsa",
      "RS256 rsa-pkcs1 SHA-256 rsa",
      "RS384 rsa-pkcs1 SHA-384 rsa",
      "RS512 rsa-pkcs1 SHA-512 rsa",
    ]);
    for (const name of ["none", "HS256", "EdDSA", "ES256K", "rs256", "RS256 ", "constructor", "__proto__"]) {
      assert.equal(JWS_ALGORITHMS.get(name), undefined);
    }
  });
});

describe("a key whose preparation failed", () => {
  it("is prepared anew by the next check: by WebCrypto, and by a backend of one's own", async () => {
    const { publicKey, ...rest } = await testKey("P-256");
    const alg: SignatureAlgorithm = { family: "ecdsa", hash: "SHA-256", encoding: "p1363" };
    const signature = await signTest({ publicKey, ...rest }, alg, data);
    const { subtle } = crypto;
    const own = Object.getOwnPropertyDescriptor(subtle, "importKey");
    Object.defineProperty(subtle, "importKey", {
      configurable: true,
      value: () => Promise.reject(new Error("no memory")),
    });
    try {
      assert.equal(await runChecks(one(alg, publicKey, signature), webcryptoVerifier), false);
    } finally {
      if (own === undefined) Reflect.deleteProperty(subtle, "importKey");
      else Object.defineProperty(subtle, "importKey", own);
    }
    assert.equal(await runChecks(one(alg, publicKey, signature), webcryptoVerifier), true);

    let imports = 0;
    const failingOnce: SignatureVerifier = {
      name: "failing once",
      sync: false,
      async importKey(key) {
        if (++imports === 1) throw new Error("no memory");
        return nativeVerifier()!.importKey(key);
      },
      verify: (...check) => nativeVerifier()!.verify(...(check as Parameters<SyncSignatureVerifier["verify"]>)),
    };
    assert.equal(await runChecks(one(alg, publicKey, signature), failingOnce), false);
    for (let i = 0; i < 3; i++) assert.equal(await runChecks(one(alg, publicKey, signature), failingOnce), true);
    assert.equal(imports, 2, "prepared once when it worked");
  });
});
