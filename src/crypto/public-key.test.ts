import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import type { Reason } from "../base/index.ts";
import { TAG } from "../encoding/der.ts";
import { encodeDer, encodeDerUnsigned } from "../encoding/encode-der.ts";
import { EC_KEY_IDENTIFIERS, ED25519_IDENTIFIER, pssIdentifiers, RSA_KEY_IDENTIFIER } from "./algorithms.ts";
import { CURVES, isSquare, modPow } from "./curves.ts";
import { type TestKey, testKey } from "./keys.testing.ts";
import { fromBigInt, fromHex, toBigInt, toHex } from "./octets.ts";
import { PublicKey } from "./public-key.ts";

const spki = (identifier: Uint8Array, key: Uint8Array) =>
  encodeDer(TAG.sequence, identifier, encodeDer(TAG.bitString, Uint8Array.of(0), key));
const rsa = (modulus: Uint8Array, exponent: Uint8Array, identifier = RSA_KEY_IDENTIFIER) =>
  spki(identifier, encodeDer(TAG.sequence, encodeDerUnsigned(modulus), encodeDerUnsigned(exponent)));
const reasonOf = (verdict: { ok: boolean; reason?: Reason }) => (verdict.ok ? "accepted" : verdict.reason);
const base64url = (octets: Uint8Array) =>
  btoa(String.fromCharCode(...octets))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

/** An odd number with exactly this many bits. */
function modulus(bits: number): Uint8Array {
  const octets = new Uint8Array(Math.ceil(bits / 8)).fill(0xff);
  octets[0] = 0xff >> (octets.length * 8 - bits);
  return octets;
}

describe("PublicKey from SubjectPublicKeyInfo", () => {
  let ec: TestKey;
  before(async () => {
    ec = await testKey("P-256");
  });

  for (const type of ["P-256", "P-384", "P-521", "RSA-2048", "Ed25519"]) {
    it(`[S-15] takes a ${type} key and shows it as SPKI and JWK`, async () => {
      const { publicKey, spki: der, pair } = await testKey(type);
      assert.deepEqual(publicKey.spki, der);
      assert.deepEqual(publicKey.importSpki, der);
      assert.equal(publicKey.kind, type.startsWith("P-") ? "ec" : type.startsWith("RSA") ? "rsa" : "ed25519");
      assert.equal(publicKey.curve, type.startsWith("P-") ? type : undefined);
      assert.equal(publicKey.bits, type === "RSA-2048" ? 2048 : undefined);
      const jwk = await crypto.subtle.exportKey("jwk", pair.publicKey);
      const again = PublicKey.fromJwk({ ...jwk });
      assert.ok(again.ok && again.value.equals(publicKey));
      const { kty, crv, x, y, n, e } = jwk;
      assert.deepEqual(publicKey.toJwk(), JSON.parse(JSON.stringify({ kty, crv, x, y, n, e })));
    });
  }

  it("tells keys apart", async () => {
    const other = await testKey("P-256");
    assert.equal(ec.publicKey.equals(other.publicKey), false);
    const same = PublicKey.fromSpki(ec.spki);
    assert.ok(same.ok && same.value.equals(ec.publicKey));
  });

  it("keeps its own copy of the bytes, also of a Buffer's", () => {
    const shared = Buffer.from(ec.spki);
    const verdict = PublicKey.fromSpki(shared);
    shared.fill(0);
    assert.ok(verdict.ok && verdict.value.equals(ec.publicKey));
  });

  it("[S-15] judges the bytes it keeps, whatever the given ones say when they are read again", async () => {
    const other = await testKey("P-256");
    class TwoFaced extends Uint8Array {
      override subarray(start?: number, end?: number) {
        return Uint8Array.from(other.spki).subarray(start, end);
      }
    }
    for (const given of [new TwoFaced(ec.spki), ec.spki]) {
      const verdict = PublicKey.fromSpki(given);
      assert.ok(verdict.ok);
      assert.deepEqual(verdict.value.spki, ec.spki);
      assert.deepEqual(verdict.value.toJwk(), ec.publicKey.toJwk());
    }
  });

  it("[S-15] refuses RSA below 2,048 and above 8,192 bits, and takes both ends", () => {
    for (const [bits, result] of [
      [1024, "key.weak"],
      [2047, "key.weak"],
      [2048, "accepted"],
      [3072, "accepted"],
      [8192, "accepted"],
      [8193, "key.weak"],
    ] as const) {
      assert.equal(reasonOf(PublicKey.fromSpki(rsa(modulus(bits), fromHex("010001")))), result, `${bits} bits`);
    }
  });

  it("[S-15] refuses RSA exponents that are even, 3 or less, or above 32 bits, and takes odd ones between", () => {
    for (const [exponent, result] of [
      ["01", "key.weak"],
      ["02", "key.weak"],
      ["03", "key.weak"],
      ["04", "key.weak"],
      ["010000", "key.weak"],
      ["0100000001", "key.weak"],
      ["00", "key.weak"],
      ["05", "accepted"],
      ["11", "accepted"],
      ["010001", "accepted"],
      ["ffffffff", "accepted"],
    ] as const) {
      assert.equal(reasonOf(PublicKey.fromSpki(rsa(modulus(2048), fromHex(exponent)))), result, exponent);
    }
  });

  it("[S-15] refuses an even modulus, and takes the odd one beside it", () => {
    const even = modulus(2048);
    even[255] = 0xfe;
    assert.equal(reasonOf(PublicKey.fromSpki(rsa(even, fromHex("010001")))), "key.invalid");
    assert.equal(reasonOf(PublicKey.fromSpki(rsa(modulus(2048), fromHex("010001")))), "accepted");
  });

  it("[S-15] refuses a point off the curve, out of range, at infinity or compressed", () => {
    const point = ec.spki.subarray(-65);
    const off = Uint8Array.from(point);
    off[64]! ^= 1;
    const p = fromHex("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff");
    const outOfRange = Uint8Array.from([4, ...p, ...point.subarray(33)]);
    const compressed = Uint8Array.from([2 + (point[64]! & 1), ...point.subarray(1, 33)]);
    const id = EC_KEY_IDENTIFIERS["P-256"];
    assert.equal(reasonOf(PublicKey.fromSpki(spki(id, off))), "key.not-on-curve");
    assert.equal(reasonOf(PublicKey.fromSpki(spki(id, outOfRange))), "key.not-on-curve");
    assert.equal(reasonOf(PublicKey.fromSpki(spki(id, Uint8Array.of(0)))), "key.unsupported");
    assert.equal(reasonOf(PublicKey.fromSpki(spki(id, compressed))), "key.unsupported");
    assert.equal(reasonOf(PublicKey.fromSpki(spki(id, Uint8Array.from([6, ...point.subarray(1)])))), "key.unsupported");
    assert.equal(reasonOf(PublicKey.fromSpki(spki(EC_KEY_IDENTIFIERS["P-384"], point))), "key.unsupported");
    assert.equal(reasonOf(PublicKey.fromSpki(spki(id, point))), "accepted");
  });

  it("[S-15] refuses coordinates that are a point's plus the field's modulus", async () => {
    const { publicKey } = await testKey("P-521");
    const { numbers } = publicKey;
    assert.ok(numbers.kind === "ec");
    const p = 2n ** 521n - 1n;
    const [x, y] = [toBigInt(numbers.x), toBigInt(numbers.y)];
    const id = EC_KEY_IDENTIFIERS["P-521"];
    for (const [a, b, wanted] of [
      [x, y, "accepted"],
      [x + p, y, "key.not-on-curve"],
      [x, y + p, "key.not-on-curve"],
    ] as const) {
      const point = Uint8Array.from([4, ...fromBigInt(a, 66), ...fromBigInt(b, 66)]);
      assert.equal(reasonOf(PublicKey.fromSpki(spki(id, point))), wanted);
    }
  });

  it("[S-15] refuses the modulus itself as a coordinate, and takes zero", () => {
    const { p, b, size } = CURVES["P-256"];
    const y = modPow(b, (p + 1n) / 4n, p);
    assert.equal((y * y) % p, b);
    for (const [x, wanted] of [
      [0n, "accepted"],
      [p, "key.not-on-curve"],
    ] as const) {
      const point = Uint8Array.from([4, ...fromBigInt(x, size), ...fromBigInt(y, size)]);
      assert.equal(reasonOf(PublicKey.fromSpki(spki(EC_KEY_IDENTIFIERS["P-256"], point))), wanted);
    }
  });

  it("[S-15] takes named curves alone: no explicit parameters, no other curve, no other algorithm", () => {
    const point = ec.spki.subarray(-65);
    const oid = fromHex("06072a8648ce3d0201");
    for (const [what, identifier] of [
      ["secp256k1", encodeDer(TAG.sequence, oid, fromHex("06052b8104000a"))],
      ["P-192", encodeDer(TAG.sequence, oid, fromHex("06082a8648ce3d030101"))],
      ["no parameters", encodeDer(TAG.sequence, oid)],
      ["explicit parameters", encodeDer(TAG.sequence, oid, encodeDer(TAG.sequence, fromHex("020101")))],
      ["implicit parameters", encodeDer(TAG.sequence, oid, fromHex("0500"))],
      ["DSA", fromHex("300906072a8648ce380401")],
      ["Ed448", fromHex("300506032b6571")],
      ["X25519", fromHex("300506032b656e")],
    ] as const) {
      assert.equal(reasonOf(PublicKey.fromSpki(spki(identifier, point))), "key.unsupported", what);
    }
    assert.equal(reasonOf(PublicKey.fromSpki(spki(EC_KEY_IDENTIFIERS["P-256"], point))), "accepted");
  });

  it("[S-15] refuses rsaEncryption without NULL", () => {
    const bare = fromHex("300b06092a864886f70d010101");
    assert.equal(reasonOf(PublicKey.fromSpki(rsa(modulus(2048), fromHex("010001"), bare))), "key.unsupported");
    assert.equal(reasonOf(PublicKey.fromSpki(rsa(modulus(2048), fromHex("010001")))), "accepted");
  });

  it("[S-15] holds an id-RSASSA-PSS key to PSS, and one with parameters to their hash", () => {
    const [n, e] = [modulus(2048), fromHex("010001")];
    const plain = PublicKey.fromSpki(rsa(n, e));
    const any = PublicKey.fromSpki(rsa(n, e, fromHex("300b06092a864886f70d01010a")));
    assert.ok(plain.ok && any.ok);
    const fits = (key: PublicKey) => [
      key.fits({ family: "rsa-pkcs1", hash: "SHA-256" }),
      key.fits({ family: "rsa-pss", hash: "SHA-256" }),
      key.fits({ family: "rsa-pss", hash: "SHA-384" }),
    ];
    assert.deepEqual(fits(plain.value), [true, true, true]);
    assert.deepEqual(fits(any.value), [false, true, true]);
    for (const identifier of pssIdentifiers("SHA-256")) {
      const one = PublicKey.fromSpki(rsa(n, e, identifier));
      assert.ok(one.ok);
      assert.deepEqual(fits(one.value), [false, true, false]);
      assert.deepEqual(one.value.importSpki, plain.value.spki);
      assert.equal(one.value.equals(plain.value), false);
    }
    // SHA-1 by default, and a salt of 20
    assert.equal(reasonOf(PublicKey.fromSpki(rsa(n, e, fromHex("300d06092a864886f70d01010a3000")))), "key.unsupported");
    const shortSalt = fromHex(toHex(pssIdentifiers("SHA-256")[0]!).replace(/020120$/, "020114"));
    assert.equal(reasonOf(PublicKey.fromSpki(rsa(n, e, shortSalt))), "key.unsupported");
  });

  it("[S-15] refuses Ed25519 points of small order, off the curve, or not canonical", async () => {
    const good = (await testKey("Ed25519")).spki.subarray(-32);
    const key = (hex: string) => reasonOf(PublicKey.fromSpki(spki(ED25519_IDENTIFIER, fromHex(hex))));
    const p = "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";
    for (const small of [
      "0100000000000000000000000000000000000000000000000000000000000000",
      "0100000000000000000000000000000000000000000000000000000000000080",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
      "0000000000000000000000000000000000000000000000000000000000000000",
      "0000000000000000000000000000000000000000000000000000000000000080",
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ]) {
      assert.equal(key(small), "key.weak", small);
    }
    assert.equal(key(p), "key.invalid");
    assert.equal(key(p.replace("ed", "ee")), "key.invalid");
    assert.equal(key(`02${"00".repeat(31)}`), "key.not-on-curve");
    assert.equal(key(toHex(good).slice(2)), "key.invalid");
    assert.equal(key(toHex(good)), "accepted");
  });

  it("[S-15] tells squares from others modulo a prime, which decides whether a point is on Ed25519's curve", () => {
    for (const prime of [3, 5, 7, 11, 13, 17, 97, 241, 257]) {
      const squares = new Set(Array.from({ length: prime }, (_, root) => (root * root) % prime));
      for (let number = 1; number < prime; number++) {
        for (const shift of [-prime, 0, prime]) {
          assert.equal(isSquare(BigInt(number + shift), BigInt(prime)), squares.has(number), `${number} of ${prime}`);
        }
      }
    }
    const p = 2n ** 255n - 19n;
    for (let root = 3n; root < p; root *= 3n) {
      assert.equal(isSquare(root * root, p), true);
      assert.equal(isSquare(2n * root * root, p), false, "2 is none, as p is 5 modulo 8");
    }
  });

  it("refuses what is no SubjectPublicKeyInfo", () => {
    const whole = ec.spki;
    assert.equal(reasonOf(PublicKey.fromSpki(new Uint8Array())), "key.invalid");
    const gone = new Uint8Array(whole);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    assert.equal(reasonOf(PublicKey.fromSpki(gone)), "key.invalid");
    assert.equal(reasonOf(PublicKey.fromSpki(whole.subarray(0, -1))), "key.invalid");
    assert.equal(reasonOf(PublicKey.fromSpki(Uint8Array.from([...whole, 0]))), "key.invalid");
    assert.equal(reasonOf(PublicKey.fromSpki(new Uint8Array(4096))), "key.unsupported");
    const negative = spki(
      RSA_KEY_IDENTIFIER,
      encodeDer(TAG.sequence, encodeDer(TAG.integer, modulus(2048)), fromHex("0203010001")),
    );
    assert.equal(reasonOf(PublicKey.fromSpki(negative)), "key.invalid");
    assert.equal(reasonOf(PublicKey.fromSpki(whole)), "accepted");
  });
});

describe("PublicKey from JWK", () => {
  it("[S-15] refuses coordinates of a wrong length, alphabet or type, and takes the right ones", async () => {
    const { publicKey } = await testKey("P-256");
    const jwk = publicKey.toJwk() as { kty: "EC"; crv: string; x: string; y: string };
    assert.equal(reasonOf(PublicKey.fromJwk(jwk)), "accepted");
    for (const change of [
      { x: jwk.x.slice(1) },
      { x: `${jwk.x}=` },
      { x: `A${jwk.x}` },
      { x: 1 },
      { x: undefined },
      { y: "" },
      { x: jwk.y, y: jwk.x },
      { crv: "P-384" },
      { crv: "p-256" },
      { crv: "secp256k1" },
      { crv: undefined },
      { kty: "ec" },
      { kty: "oct" },
      { kty: "OKP" },
      { kty: null },
    ]) {
      assert.notEqual(reasonOf(PublicKey.fromJwk({ ...jwk, ...change })), "accepted", JSON.stringify(change));
    }
  });

  it("[S-15] refuses a point that is cut elsewhere than between its coordinates", async () => {
    const { publicKey } = await testKey("P-256");
    const { numbers } = publicKey;
    assert.ok(numbers.kind === "ec");
    const point = [...numbers.x, ...numbers.y];
    for (const cut of [31, 32, 33, 0, 64]) {
      const [x, y] = [point.slice(0, cut), point.slice(cut)].map((part) => base64url(Uint8Array.from(part)));
      const verdict = PublicKey.fromJwk({ kty: "EC", crv: "P-256", x, y });
      assert.equal(reasonOf(verdict), cut === 32 ? "accepted" : "key.invalid", `${cut}`);
    }
  });

  it("[S-15] refuses an Ed25519 point under a type that is not its own", async () => {
    const { publicKey } = await testKey("Ed25519");
    const jwk = publicKey.toJwk();
    assert.equal(reasonOf(PublicKey.fromJwk(jwk)), "accepted");
    for (const kty of ["okp", "AKP", "oct", undefined, null])
      assert.equal(reasonOf(PublicKey.fromJwk({ ...jwk, kty })), "key.unsupported", `${kty}`);
    assert.equal(reasonOf(PublicKey.fromJwk({ ...jwk, crv: "X25519" })), "key.unsupported");
  });

  it("[S-15] refuses private parameters, whatever their value", async () => {
    const { publicKey } = await testKey("P-256");
    for (const name of ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]) {
      assert.equal(reasonOf(PublicKey.fromJwk({ ...publicKey.toJwk(), [name]: null })), "key.invalid", name);
    }
    assert.equal(reasonOf(PublicKey.fromJwk({ ...publicKey.toJwk(), kid: "1", use: "sig", x5c: [] })), "accepted");
  });

  it("[S-15] refuses RSA numbers with leading zeros or of a weak size", () => {
    const rsaJwk = (n: Uint8Array, e = "AQAB") => PublicKey.fromJwk({ kty: "RSA", n: base64url(n), e });
    assert.equal(reasonOf(rsaJwk(modulus(2048))), "accepted");
    assert.equal(reasonOf(rsaJwk(Uint8Array.from([0, ...modulus(2048)]))), "key.invalid");
    assert.equal(reasonOf(rsaJwk(modulus(2048), "AAEAAQ")), "key.invalid");
    assert.equal(reasonOf(rsaJwk(modulus(1024))), "key.weak");
    assert.equal(reasonOf(rsaJwk(modulus(2048), "Aw")), "key.weak");
    assert.equal(reasonOf(rsaJwk(new Uint8Array())), "key.invalid");
  });

  it("reads own members only", async () => {
    const { publicKey } = await testKey("P-256");
    assert.equal(reasonOf(PublicKey.fromJwk(Object.create(publicKey.toJwk()))), "key.unsupported");
    assert.equal(reasonOf(PublicKey.fromJwk(Object.assign(Object.create(null), publicKey.toJwk()))), "accepted");
    for (const odd of [undefined, null, "{}", 7] as never[]) {
      assert.equal(reasonOf(PublicKey.fromJwk(odd)), "key.invalid");
    }
  });
});
