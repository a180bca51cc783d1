import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isSpiffeError } from "../base/index.ts";
import type { Hash, SignatureAlgorithm } from "./algorithms.ts";
import { chooseSyncVerifier, chooseVerifier } from "./choose-backend.ts";
import { CURVES, mod, modInverse } from "./curves.ts";
import { twoMultiples } from "./ecdsa.ts";
import { signTest, type TestKey, testKey } from "./keys.testing.ts";
import { fromBigInt, toBigInt } from "./octets.ts";
import { PublicKey } from "./public-key.ts";
import { type Checks, runChecks, runChecksSync, type SignatureVerifier } from "./verifier.ts";
import { Engine } from "./wasm/engine.ts";
import { WasmVerifier } from "./wasm/verifier.ts";

const data = new TextEncoder().encode("what is signed");
const P256: SignatureAlgorithm = { family: "ecdsa", hash: "SHA-256", encoding: "p1363" };
const TYPES = ["P-256", "P-384", "P-521", "RSA-2048", "Ed25519"] as const;
/** Names that no hash has, among them those that every object's prototype has. */
const NO_HASHES: readonly unknown[] = [
  "SHA-1",
  "MD5",
  "SHA256",
  "sha256",
  "SHA-512/256",
  "",
  "constructor",
  "__proto__",
  "toString",
  "hasOwnProperty",
  undefined,
  null,
  256,
  ["SHA-256"],
  {},
];

/** Every backend; the module by itself as well, without tables and with them. */
function backends(): SignatureVerifier[] {
  return [
    ...([undefined, "wasm", "native", "webcrypto"] as const).map(chooseVerifier),
    new WasmVerifier({ schedule: () => {} }) as SignatureVerifier,
    new WasmVerifier({ schedule: (task) => task() }) as SignatureVerifier,
  ];
}

/** Prepared as a bundle's authority is, so that a table is used where there is one. */
async function prepared(verifier: SignatureVerifier, key: PublicKey): Promise<unknown> {
  if (verifier instanceof WasmVerifier) verifier.preload(key, [key]);
  return verifier.importKey(key);
}

/** A verdict, or what was thrown in its place. */
async function saidBy(verify: () => boolean | Promise<boolean>): Promise<unknown> {
  try {
    return await verify();
  } catch (error) {
    return error;
  }
}

function algorithmOf(type: string, hash: unknown): SignatureAlgorithm {
  if (type === "Ed25519") return { family: "ed25519" };
  return { family: type.startsWith("RSA") ? "rsa-pkcs1" : "ecdsa", hash, encoding: "p1363" } as SignatureAlgorithm;
}

/** A signature for a hash that counts as zero, made of the public key alone: R = t · Q, r = x(R), s = r / t. */
function forgedForZero({ publicKey }: TestKey): { point: Uint8Array; signature: Uint8Array } {
  const { numbers } = publicKey;
  if (numbers.kind !== "ec") throw new Error("no ECDSA key");
  const curve = CURVES[numbers.curve];
  const { n, p, size } = curve;
  const t = 123_456_789n;
  const [x, , z] = twoMultiples(curve, 0n, t, [toBigInt(numbers.x), toBigInt(numbers.y), 1n]);
  const r = mod(x * modInverse((z * z) % p, p), p) % n;
  const s = mod(r * modInverse(t, n), n);
  const joined = (a: Uint8Array, b: Uint8Array) => Uint8Array.of(...a, ...b);
  return { point: joined(numbers.x, numbers.y), signature: joined(fromBigInt(r, size), fromBigInt(s, size)) };
}

describe("what is no hash, no octets or no key of a backend", () => {
  it("[S-15] [G-5] a hash that does not exist is no hash of zero: nothing verifies, by any backend", async () => {
    for (const type of TYPES) {
      const key = await testKey(type);
      const right = algorithmOf(type, "SHA-256");
      const signature = await signTest(key, right, data);
      const forged = type.startsWith("P-") ? forgedForZero(key) : undefined;
      if (forged !== undefined) {
        const engine = new Engine();
        const zero = engine.verifyDigest(
          key.publicKey.curve!,
          new Uint8Array(32),
          forged.point,
          undefined,
          forged.signature,
        );
        assert.ok(zero, "the forgery is one: it verifies for a hash that is zero");
      }
      for (const verifier of backends()) {
        if (verifier instanceof WasmVerifier && forged === undefined) continue;
        const handle = await prepared(verifier, key.publicKey);
        assert.equal(await verifier.verify(right, handle, signature, data), true, `${verifier.name} ${type}`);
        for (const hash of type === "Ed25519" ? [] : NO_HASHES) {
          for (const made of [signature, forged?.signature ?? signature]) {
            const wrong = algorithmOf(type, hash);
            const said = await saidBy(() => verifier.verify(wrong, handle, made, data));
            assert.equal(said, false, `${verifier.name} ${type} ${hash}`);
          }
        }
      }
    }
  });

  it("[S-15] an algorithm or an encoding that does not exist verifies nothing", async () => {
    const key = await testKey("P-256");
    const signature = await signTest(key, P256, data);
    for (const verifier of backends()) {
      const handle = await prepared(verifier, key.publicKey);
      for (const wrong of [
        { ...P256, encoding: "raw" },
        { ...P256, encoding: undefined },
        { ...P256, family: "dsa" },
        { family: "none" },
        {},
        null,
        undefined,
        "ES256",
      ]) {
        assert.equal(await verifier.verify(wrong as never, handle, signature, data), false, JSON.stringify(wrong));
      }
      assert.equal(await verifier.verify({ ...P256 }, handle, signature, data), true, verifier.name);
    }
  });

  it("[S-15] what is no Uint8Array is not read as one, and one that lies about its length is read in full", async () => {
    const key = await testKey("P-256");
    const nothing = await signTest(key, P256, new Uint8Array(0));
    const he = await signTest(key, P256, new TextEncoder().encode("he"));
    const digits = await signTest(key, P256, Uint8Array.of(1, 2, 3));
    const given = new Uint8Array(9);
    structuredClone(given, { transfer: [given.buffer] });
    const long = new Uint8Array(20_000).fill(7);
    const overLong = await signTest(key, P256, long);
    const liar = Object.defineProperty(Uint8Array.from(long), "length", { value: 0 });
    const others: readonly unknown[] = [
      data.slice().buffer,
      new DataView(new ArrayBuffer(9)),
      {},
      { length: 0 },
      [],
      5,
      null,
      undefined,
      new Set([1]),
      () => {},
      "",
      "abc",
      given,
      new Proxy(new Uint8Array(0), {}),
      Object.create(Uint8Array.prototype),
    ];
    for (const verifier of backends()) {
      const handle = await prepared(verifier, key.publicKey);
      const verdict = (signature: unknown, signed: unknown): Promise<unknown> =>
        saidBy(() => verifier.verify(P256, handle, signature as Uint8Array, signed as Uint8Array));
      assert.equal(await verdict(nothing, new Uint8Array(0)), true, verifier.name);
      for (const [index, other] of others.entries()) {
        assert.equal(await verdict(nothing, other), false, `${verifier.name} data ${index}`);
        assert.equal(await verdict(other, new Uint8Array(0)), false, `${verifier.name} signature ${index}`);
      }
      assert.equal(await verdict(he, new TextEncoder().encode("he")), true);
      assert.equal(await verdict(he, Uint16Array.of(0x168, 0x265)), false, `${verifier.name} low octets alone`);
      assert.equal(await verdict(digits, Uint8Array.of(1, 2, 3)), true);
      assert.equal(await verdict(digits, "123"), false);
      // octets of another subclass are octets
      assert.equal(await verdict(new (class extends Uint8Array {})(he), new TextEncoder().encode("he")), true);
      assert.equal(await verdict(nothing, liar), false, `${verifier.name}: a length of 0 is said, 20,000 are there`);
      assert.equal(await verdict(overLong, liar), true, verifier.name);
      // what lies beyond the input of the module is as it was
      assert.equal(await verdict(nothing, new Uint8Array(0)), true, verifier.name);
      assert.equal(await verdict(overLong, long), true, verifier.name);
    }
  });

  it("[S-15] memory that others may change or shrink is copied once, with the verdict of its octets", async () => {
    const key = await testKey("P-256");
    const signature = await signTest(key, P256, data);
    const spoilt = Uint8Array.from(signature);
    spoilt[40]! ^= 1;
    const Resizable = ArrayBuffer as unknown as new (
      length: number,
      options: { maxByteLength: number },
    ) => ArrayBuffer & { resize(length: number): void };
    const inMemory = [
      (octets: Uint8Array) => new Uint8Array(new SharedArrayBuffer(octets.length)),
      (octets: Uint8Array) => new Uint8Array(new Resizable(octets.length, { maxByteLength: 64 + octets.length })),
    ].map((make) => (octets: Uint8Array) => {
      const there = make(octets);
      there.set(octets);
      return there;
    });
    const shrunk = new Resizable(16, { maxByteLength: 16 });
    const outside = new Uint8Array(shrunk, 8, 8);
    shrunk.resize(4);
    const nothing = await signTest(key, P256, new Uint8Array(0));
    for (const verifier of backends()) {
      const handle = await prepared(verifier, key.publicKey);
      for (const put of inMemory) {
        assert.equal(await verifier.verify(P256, handle, put(signature), put(data)), true, verifier.name);
        assert.equal(await verifier.verify(P256, handle, put(spoilt), put(data)), false, verifier.name);
        assert.equal(await verifier.verify(P256, handle, put(signature), put(data.subarray(1))), false, verifier.name);
      }
      assert.equal(
        await verifier.verify(P256, handle, nothing, outside),
        false,
        `${verifier.name}: outside of its buffer`,
      );
    }
  });

  it("[S-15] a handle is its own backend's: of another one, or made by hand, it verifies nothing", async () => {
    const [mine, theirs] = [await testKey("P-256"), await testKey("P-256")];
    const signatures = [await signTest(mine, P256, data), await signTest(theirs, P256, data)];
    const all = backends();
    for (const [index, verifier] of all.entries()) {
      // both have a table where there are tables, at the same place of two modules
      await prepared(verifier, theirs.publicKey);
      const own = await prepared(verifier, mine.publicKey);
      assert.equal(await verifier.verify(P256, own, signatures[0]!, data), true, verifier.name);
      assert.equal(await verifier.verify(P256, own, signatures[1]!, data), false, verifier.name);
      const foreign = await Promise.all(
        all.filter((_, other) => other !== index).map((one) => prepared(one, mine.publicKey)),
      );
      const made = [{ ...(own as object) }, { key: mine.publicKey }, Object.create(own as object), null, undefined, 1];
      for (const handle of [...foreign, ...made]) {
        for (const signature of signatures) {
          assert.equal(await verifier.verify(P256, handle, signature, data), false, verifier.name);
        }
      }
    }
  });

  it("[S-13] [S-15] octets that a key gave are copies: writing into them changes neither the key nor another one", async () => {
    const [victim, attacker] = [await testKey("P-256"), await testKey("P-256")];
    const [good, bad] = [await signTest(victim, P256, data), await signTest(attacker, P256, data)];
    function* one(key: PublicKey, signature: Uint8Array): Checks<boolean> {
      return yield { alg: P256, key, signature, data };
    }
    for (const verifier of backends()) {
      const honest = PublicKey.fromSpki(victim.spki);
      const evil = PublicKey.fromSpki(attacker.spki);
      assert.ok(honest.ok && evil.ok);
      // the attacker's key takes the victim's name, and is prepared under it
      evil.value.spki.set(victim.spki);
      const { numbers } = evil.value;
      const real = honest.value.numbers;
      if (numbers.kind === "ec" && real.kind === "ec") numbers.x.set(real.x);
      assert.equal(await runChecks(one(evil.value, bad), verifier), true, verifier.name);
      assert.equal(await runChecks(one(honest.value, bad), verifier), false, verifier.name);
      assert.equal(await runChecks(one(honest.value, good), verifier), true, verifier.name);
      assert.equal(await runChecks(one(evil.value, good), verifier), false, verifier.name);
      assert.equal(evil.value.equals(honest.value), false);
      assert.throws(() => Object.assign(evil.value, { curve: "P-384" }), TypeError);
    }
    // two keys whose octets were given away are not one key
    const [a, b] = [PublicKey.fromSpki(victim.spki), PublicKey.fromSpki(attacker.spki)];
    assert.ok(a.ok && b.ok);
    for (const { value } of [a, b]) structuredClone(value.spki, { transfer: [value.spki.buffer as ArrayBuffer] });
    const verifier = new WasmVerifier();
    assert.notEqual(verifier.importKey(a.value), verifier.importKey(b.value));
    assert.equal(verifier.verify(P256, verifier.importKey(b.value), good, data), false);
    assert.equal(verifier.verify(P256, verifier.importKey(a.value), good, data), true);
  });

  it("[S-15] memory that changes while WebCrypto prepares a key is not what is checked", async () => {
    const key = await testKey("P-256");
    const signature = await signTest(key, P256, data);
    const verifier = chooseVerifier("webcrypto");
    const text = Uint8Array.from(data);
    const made = Uint8Array.from(signature);
    const early = verifier.verify(P256, await verifier.importKey(key.publicKey), made, text);
    text[0]! ^= 1;
    made[0]! ^= 1;
    assert.equal(await early, true, "what was given");
    const other = Uint8Array.from(data);
    other[0]! ^= 1;
    const late = verifier.verify(P256, await verifier.importKey(key.publicKey), signature, other);
    other[0]! ^= 1;
    assert.equal(await late, false, "not what it became");
  });

  it("what is no PublicKey is refused by every backend", async () => {
    const { publicKey } = await testKey("P-256");
    for (const verifier of backends()) {
      const imitated = { ...publicKey, spki: publicKey.spki, numbers: publicKey.numbers, importSpki: publicKey.spki };
      for (const wrong of [imitated, Object.create(publicKey), {}, null, undefined]) {
        await assert.rejects(
          async () => verifier.importKey(wrong as never),
          (error) => isSpiffeError(error, "ERR_SPIFFE_USAGE"),
          verifier.name,
        );
      }
      assert.ok(await verifier.importKey(publicKey));
    }
  });

  it("no key is made of another one's numbers under its name", async () => {
    const [honest, other] = [await testKey("P-384"), await testKey("P-384")];
    const made = honest.publicKey.constructor as unknown as new (...given: unknown[]) => PublicKey;
    const { numbers } = other.publicKey;
    for (const given of [
      [numbers, honest.publicKey.spki],
      [undefined, numbers, honest.publicKey.spki],
      [Symbol("made after its checks"), numbers, honest.publicKey.spki],
    ]) {
      assert.throws(
        () => Reflect.construct(made, given),
        (error) => isSpiffeError(error, "ERR_SPIFFE_USAGE"),
      );
    }
    const again = PublicKey.fromSpki(honest.publicKey.spki);
    assert.ok(again.ok && again.value.equals(honest.publicKey));
  });

  it("the verifiers that are shared do not change", () => {
    for (const backend of [undefined, "wasm", "native", "webcrypto"] as const) {
      const verifier = chooseVerifier(backend);
      assert.equal(
        Reflect.set(verifier, "verify", () => true),
        false,
        verifier.name,
      );
      assert.ok(Object.isFrozen(verifier));
    }
  });

  it("reads each member of an algorithm once, before it is judged", async () => {
    const key = await testKey("P-384");
    const wanted: SignatureAlgorithm = { ...P256, hash: "SHA-384" as Hash };
    const signature = await signTest(key, wanted, data);
    for (const backend of [undefined, "wasm", "native"] as const) {
      const verifier = chooseSyncVerifier(backend);
      const handle = verifier.importKey(key.publicKey);
      let reads = 0;
      const changing: object = Object.defineProperty({ ...wanted }, "hash", {
        get: () => (reads++ === 0 ? "SHA-384" : "SHA-1"),
      });
      assert.equal(verifier.verify(changing as SignatureAlgorithm, handle, signature, data), true, verifier.name);
      assert.equal(reads, 1, verifier.name);
    }
  });

  it("a verifier that was spread works where its methods are its own, and is named where they are not", async () => {
    const key = await testKey("P-384");
    const alg: SignatureAlgorithm = { ...P256, hash: "SHA-384" as Hash };
    const signature = await signTest(key, alg, data);
    function* one(octets: Uint8Array): Checks<boolean> {
      return yield { alg, key: key.publicKey, signature, data: octets, trusted: true };
    }
    for (const backend of [undefined, "wasm", "native", "webcrypto"] as const) {
      const spread = { ...chooseVerifier(backend) };
      assert.equal(await runChecks(one(data), spread), true, spread.name);
      assert.equal(await runChecks(one(data.subarray(1)), spread), false, spread.name);
    }
    const wasm = new WasmVerifier();
    const without = { ...wasm } as unknown as WasmVerifier;
    const named = (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_BACKEND") && /methods/.test(error.message);
    assert.throws(() => runChecksSync(one(data), without), named);
    await assert.rejects(runChecks(one(data), without as SignatureVerifier), named);
    assert.equal(runChecksSync(one(data), wasm), true);
  });
});
