import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { isSpiffeError } from "../../base/index.ts";
import { decodeBase64 } from "../../encoding/base64.ts";
import type { Curve, Hash, SignatureAlgorithm } from "../algorithms.ts";
import { chooseSyncVerifier, useWasmModule, wasmVerifier } from "../choose-backend.ts";
import { signTest, type TestKey, testKey } from "../keys.testing.ts";
import { type BatchMember, Engine, type RsaKey } from "./engine.ts";
import { MODULE_BASE64 } from "./module.ts";
import { answersRight } from "./self-test.ts";
import { WasmVerifier } from "./verifier.ts";

interface Api {
  Module: new (octets: Uint8Array) => object;
  Instance: new (module: object, imports: object) => { exports: unknown };
}
type Raw = Record<string, (...numbers: number[]) => number>;

const api = (globalThis as unknown as { WebAssembly: Api }).WebAssembly;
const data = new TextEncoder().encode("what is signed");
const HASHES = { "P-256": "SHA-256", "P-384": "SHA-384", "P-521": "SHA-512" } as const;
const CURVES = Object.keys(HASHES) as Curve[];

function ownModule(): object {
  const octets = decodeBase64(MODULE_BASE64);
  assert.ok(octets.ok);
  return new api.Module(octets.value);
}

function algorithmOf(hash: Hash): SignatureAlgorithm {
  return { family: "ecdsa", hash, encoding: "p1363" };
}

function pointOf({ publicKey: { numbers } }: TestKey): Uint8Array {
  assert.ok(numbers.kind === "ec");
  return Uint8Array.of(...numbers.x, ...numbers.y);
}

async function digestOf(hash: Hash): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest(hash, data));
}

describe("the module", () => {
  it("[G-5] traps for a hash, a curve or a length that it does not know, and has no default for them", () => {
    const raw = new api.Instance(ownModule(), {}).exports as Raw;
    for (const bits of [0, 1, 160, 224, 255, 257, 512.5e3, -256]) assert.throws(() => raw.hashStart!(bits), `${bits}`);
    assert.throws(() => raw.hashFinish!(), "no hash has begun");
    assert.throws(() => raw.hashUpdate!(0), "no hash has begun");
    for (const bits of [256, 384, 512]) {
      raw.hashStart!(bits);
      for (const length of [-1, 4097, 0x7fffffff]) assert.throws(() => raw.hashUpdate!(length), `${length}`);
      raw.hashUpdate!(4096);
      assert.equal(raw.hashFinish!(), bits / 8);
      assert.throws(() => raw.hashFinish!(), "a hash is finished once");
    }
    const key = raw.heapBase!();
    for (const curve of [0, 255, 257, 512, 520, -1]) {
      for (const name of ["keySize", "keyTableSize", "generatorTableSize", "buildGeneratorTable", "readKeyOf"]) {
        assert.throws(() => raw[name]!(curve, key), `${name} ${curve}`);
      }
      assert.throws(() => raw.buildKeyTable!(curve, key, key));
      assert.throws(() => raw.verifyDigest!(curve, 32, key, 0, 0));
    }
    for (const curve of [256, 384, 521]) {
      assert.ok(raw.keySize!(curve) > 0 && raw.keyTableSize!(curve) > 0);
      for (const length of [-1, 0, 1, 20, 31, 65]) {
        assert.throws(() => raw.verifyDigest!(curve, length, key, 0, 0), `${curve} ${length}`);
      }
      for (const length of [32, 48, 64]) assert.equal(raw.verifyDigest!(curve, length, key, 0, 0), 0);
    }
    for (const octets of [-1, 0, 1, 128, 255, 513, 0x7fffffff]) {
      assert.throws(() => raw.rsaLift!(octets), `${octets}`);
      assert.throws(() => raw.verifyRsa!(octets, 65_537, 256, 0), `${octets}`);
    }
    for (const octets of [256, 257, 512]) {
      assert.ok(raw.rsaLift!(octets) >= 16 * octets);
      for (const bits of [0, 1, 160, 224, 255, 521, -256]) {
        assert.throws(() => raw.verifyRsa!(octets, 65_537, bits, 0), `${bits}`);
      }
      for (const pss of [0, 1]) assert.equal(raw.verifyRsa!(octets, 65_537, 256, pss), 0, "a modulus of zeros");
    }
  });
});

describe("the module's batches", () => {
  it("[G-5] trap where none has begun, when they are full, and without tables; another check ends them", () => {
    const raw = new api.Instance(ownModule(), {}).exports as Raw & { memory: { buffer: ArrayBuffer } };
    const at = raw.heapBase!();
    for (const curve of [0, 255, 257, 512, -1]) assert.throws(() => raw.batchStart!(curve), `${curve}`);
    assert.throws(() => raw.batchAdd!(32, at), "none has begun");
    assert.throws(() => raw.batchFinish!(at), "none has begun");
    for (const [curve, size, room] of [
      [256, 32, 32],
      [384, 48, 5],
      [521, 66, 2],
    ] as const) {
      assert.equal(raw.batchStart!(curve), room);
      const signature = new Uint8Array(raw.memory.buffer, raw.signatureArea!(), 2 * size).fill(0);
      assert.equal(raw.batchAdd!(32, at), 0, "r and s are 0: no place in the batch");
      signature[size - 1] = 1;
      assert.equal(raw.batchAdd!(32, at), 0, "s is 0");
      signature[2 * size - 1] = 1;
      for (const length of [-1, 0, 31, 65]) assert.throws(() => raw.batchAdd!(length, at), `${length}`);
      assert.throws(() => raw.batchAdd!(32, 0), "no table");
      for (let i = 0; i < room; i++) assert.equal(raw.batchAdd!(32, at), 1, `${curve} ${i}`);
      assert.throws(() => raw.batchAdd!(32, at), "full");
      assert.throws(() => raw.batchFinish!(0), "no table of the generator");
      assert.throws(() => raw.batchFinish!(at), "what failed is over");
      raw.batchStart!(curve);
      assert.equal(raw.batchAdd!(32, at), 1);
      raw.verifyDigest!(curve, 32, at, 0, 0);
      assert.throws(() => raw.batchAdd!(32, at), "another check ended it");
      assert.throws(() => raw.batchFinish!(at));
      raw.batchStart!(curve);
      assert.equal(raw.batchFinish!(at), 0, "nothing in it");
    }
  });
});

describe("an engine", () => {
  const keys: Partial<Record<Curve, readonly TestKey[]>> = {};
  before(async () => {
    for (const curve of CURVES) keys[curve] = [await testKey(curve), await testKey(curve)];
  });

  it("[G-5] takes hashes of 32 to 64 octets and no others", async () => {
    const engine = new Engine();
    for (const curve of CURVES) {
      const key = keys[curve]![0]!;
      for (const hash of ["SHA-256", "SHA-384", "SHA-512"] as const) {
        const signature = await signTest(key, algorithmOf(hash), data);
        const digest = await digestOf(hash);
        const verdict = (octets: unknown) =>
          engine.verifyDigest(curve, octets as Uint8Array, pointOf(key), undefined, signature);
        assert.equal(verdict(digest), true, `${curve} ${hash}`);
        for (const length of [0, 1, 20, 31]) assert.equal(verdict(digest.subarray(0, length)), false, `${length}`);
        for (const wrong of [
          Uint8Array.of(...digest, ...new Uint8Array(65 - digest.length)),
          digest.buffer,
          "",
          null,
        ]) {
          assert.equal(verdict(wrong), false, `${curve} ${hash}`);
        }
      }
    }
  });

  it("[S-15] [G-5] answers false for a hash or curve that it does not know, and for what is no octets", async () => {
    const engine = new Engine();
    const key = keys["P-256"]![0]!;
    const point = pointOf(key);
    const signature = await signTest(key, algorithmOf("SHA-256"), data);
    const nothing = await signTest(key, algorithmOf("SHA-256"), new Uint8Array(0));
    const verdict = (
      curve: unknown,
      hash: unknown,
      made: unknown = signature,
      signed: unknown = data,
      of: unknown = point,
    ) =>
      engine.verify(
        curve as Curve,
        hash as Hash,
        of as Uint8Array,
        undefined,
        made as Uint8Array,
        signed as Uint8Array,
      );
    for (const hash of ["SHA-1", "SHA-384", "constructor", "__proto__", "", undefined, 256]) {
      assert.equal(verdict("P-256", hash), false, `${hash}`);
    }
    for (const curve of ["P-384", "P-521", "P-192", "constructor", "__proto__", undefined, 256]) {
      assert.equal(verdict(curve, "SHA-256"), false, `${curve}`);
    }
    for (const other of [data.slice().buffer, {}, "", null, 0]) {
      assert.equal(verdict("P-256", "SHA-256", nothing, other), false);
      assert.equal(verdict("P-256", "SHA-256", other), false);
      assert.equal(verdict("P-256", "SHA-256", signature, data, other), false);
    }
    for (const other of [signature.subarray(1), signature.subarray(0, -1), Uint8Array.of(...signature, 0)]) {
      assert.equal(verdict("P-256", "SHA-256", other), false, `${other.length} octets`);
    }
    for (const other of [point.subarray(1), point.subarray(0, -1), Uint8Array.of(...point, 0)]) {
      assert.equal(verdict("P-256", "SHA-256", signature, data, other), false, `${other.length} octets`);
    }
    const long = await signTest(key, algorithmOf("SHA-256"), new Uint8Array(20_000));
    const liar = Object.defineProperty(new Uint8Array(20_000), "length", { value: 0 });
    assert.equal(verdict("P-256", "SHA-256", nothing, liar), false);
    assert.equal(verdict("P-256", "SHA-256", long, liar), true);
    assert.equal(verdict("P-256", "SHA-256", nothing, new Uint8Array(0)), true);
    assert.equal(verdict("P-256", "SHA-256"), true);
  });

  it("[S-13] [G-5] uses a table for the one key, curve and engine that it was made for", async () => {
    const [one, other] = [new Engine(), new Engine()];
    for (const curve of CURVES) {
      const [mine, theirs] = keys[curve]!;
      const alg = algorithmOf(HASHES[curve]);
      const signatures = [await signTest(mine!, alg, data), await signTest(theirs!, alg, data)];
      const digest = await digestOf(HASHES[curve]);
      for (const engine of [one, other]) engine.buildGeneratorTable(curve);
      // at the same addresses of both memories
      const [place, elsewhere] = [one.newPlace(curve), other.newPlace(curve)];
      assert.ok(one.buildTable(curve, pointOf(mine!), place) && other.buildTable(curve, pointOf(theirs!), elsewhere));
      const verdict = (engine: Engine, key: TestKey, where: typeof place, signature: Uint8Array) =>
        engine.verifyDigest(curve, digest, pointOf(key), where, signature);
      assert.equal(verdict(one, mine!, place, signatures[0]!), true);
      assert.equal(verdict(other, theirs!, elsewhere, signatures[1]!), true);
      for (const signature of signatures) {
        assert.equal(verdict(other, mine!, place, signature), false, "another engine's place");
        assert.equal(verdict(one, theirs!, place, signature), false, "another key's table");
        assert.equal(verdict(one, mine!, { ...place }, signature), false, "a place made by hand");
      }
      // a place whose new table failed has none
      assert.equal(one.buildTable(curve, new Uint8Array(pointOf(mine!).length), place), false);
      assert.equal(verdict(one, mine!, place, signatures[0]!), false);
      assert.ok(one.buildTable(curve, pointOf(theirs!), place));
      assert.equal(verdict(one, theirs!, place, signatures[1]!), true);
      assert.equal(verdict(one, mine!, place, signatures[0]!), false, "the key that was there before");
    }
  });

  it("[S-13] [G-5] knows a caller's own key again by its octets, and takes a table for no other", async () => {
    const engine = new Engine();
    for (const curve of CURVES) {
      const [mine, theirs] = keys[curve]!;
      const digest = await digestOf(HASHES[curve]);
      const [good, other] = [mine!, theirs!].map((key) => signTest(key, algorithmOf(HASHES[curve]), data));
      const signatures = { mine: await good!, theirs: await other! };
      engine.buildGeneratorTable(curve);
      const place = engine.newPlace(curve);
      const given = pointOf(mine!);
      const verdicts = (own: boolean, point: Uint8Array, by: keyof typeof signatures) => {
        const member = { point, place, signature: signatures[by], signed: { digest } };
        return engine.verifyBatch(curve, [member, member], own).join();
      };
      assert.ok(engine.buildTable(curve, given, place));
      for (const own of [true, false]) {
        assert.equal(verdicts(own, given, "mine"), "true,true");
        assert.equal(verdicts(own, pointOf(mine!), "mine"), "true,true", "a copy of them");
        assert.equal(verdicts(own, given, "theirs"), "false,false");
        for (const by of ["mine", "theirs"] as const)
          assert.equal(verdicts(own, pointOf(theirs!), by), "false,false", "another key's table");
      }
      given.set(pointOf(theirs!));
      assert.equal(verdicts(false, given, "mine"), "false,false", "octets that somebody has written to");
      assert.ok(engine.buildTable(curve, pointOf(theirs!), place));
      given.set(pointOf(mine!));
      for (const own of [true, false]) {
        assert.equal(verdicts(own, given, "theirs"), "false,false", "the key that was there before");
        assert.equal(verdicts(own, pointOf(theirs!), "theirs"), "true,true");
      }
    }
  });

  it("[S-13] [S-15] [G-5] gives each signature of a batch the verdict that it has alone", async () => {
    const [engine, other] = [new Engine(), new Engine()];
    for (const curve of CURVES) {
      const [mine, theirs] = keys[curve]!;
      const hash = HASHES[curve];
      const good = await signTest(mine!, algorithmOf(hash), data);
      const bad = await signTest(theirs!, algorithmOf(hash), data);
      const place = engine.newPlace(curve);
      const elsewhere = other.newPlace(curve);
      for (const one of [engine, other]) one.buildGeneratorTable(curve);
      assert.ok(engine.buildTable(curve, pointOf(mine!), place) && other.buildTable(curve, pointOf(mine!), elsewhere));
      const member = { point: pointOf(mine!), place, signature: good, signed: { hash, data } };
      const digest = await digestOf(hash);
      const zeros = new Uint8Array(good.length);
      const valid: BatchMember[] = [
        member,
        { ...member, signed: { digest } },
        { ...member, place: undefined },
        { ...member, point: pointOf(theirs!), place: undefined, signature: bad },
      ];
      const invalid: BatchMember[] = [
        { ...member, signature: bad },
        { ...member, signature: zeros },
        { ...member, signature: good.subarray(1) },
        { ...member, signature: Uint8Array.of(...good, 0) },
        { ...member, signature: null as never },
        { ...member, signed: { hash, data: data.subarray(1) } },
        { ...member, signed: { hash: "SHA-1" as Hash, data } },
        { ...member, signed: { hash, data: "" as never } },
        { ...member, signed: { digest: digest.subarray(1, 32) } },
        { ...member, point: pointOf(theirs!) },
        { ...member, point: pointOf(theirs!), signature: bad },
        { ...member, place: elsewhere },
        { ...member, place: { ...place } },
      ];
      for (let turn = 0; turn < 24; turn++) {
        // every order of what is valid beside what is not, and every size around what the module takes at once
        const all = [...valid, ...invalid, ...valid, ...invalid].slice(turn, turn + 2 + ((turn * 5) % 31));
        const wanted = all.map((one) => valid.includes(one));
        assert.deepEqual(engine.verifyBatch(curve, all), wanted, `${curve} ${turn}`);
      }
      assert.deepEqual(engine.verifyBatch(curve, []), []);
      for (const wrong of ["P-192", "constructor", undefined, CURVES.find((one) => one !== curve)]) {
        assert.deepEqual(engine.verifyBatch(wrong as Curve, [member, member]), [false, false], `${wrong}`);
      }
    }
  });

  it("[S-15] [G-5] takes RSA signatures of its scheme, hash, key and length, and no others", async () => {
    const engine = new Engine();
    const [mine, theirs] = [await testKey("RSA-2048"), await testKey("RSA-2048")];
    const keyOf = ({ publicKey: { numbers } }: TestKey): RsaKey => {
      assert.ok(numbers.kind === "rsa");
      return { modulus: numbers.modulus, exponent: 65_537, lift: engine.rsaLift(numbers.modulus)! };
    };
    const key = keyOf(mine);
    for (const family of ["rsa-pkcs1", "rsa-pss"] as const) {
      for (const hash of ["SHA-256", "SHA-384", "SHA-512"] as const) {
        const made = await signTest(mine, { family, hash }, data);
        const verdict = (change: {
          scheme?: unknown;
          hash?: unknown;
          key?: unknown;
          made?: unknown;
          data?: unknown;
        }) => {
          const all = { scheme: family, hash, key, made, data, ...change };
          return engine.verifyRsa(
            all.scheme as "rsa-pss",
            all.hash as Hash,
            all.key as RsaKey,
            all.made as Uint8Array,
            all.data as Uint8Array,
          );
        };
        assert.equal(verdict({}), true, `${family} ${hash}`);
        const other = family === "rsa-pss" ? "rsa-pkcs1" : "rsa-pss";
        for (const scheme of [other, "constructor", "", undefined]) assert.equal(verdict({ scheme }), false);
        for (const wrong of ["SHA-1", "constructor", undefined, hash === "SHA-256" ? "SHA-512" : "SHA-256"]) {
          assert.equal(verdict({ hash: wrong }), false, `${hash} as ${wrong}`);
        }
        for (const wrong of [
          keyOf(theirs),
          { ...key, exponent: 3 },
          { ...key, exponent: 65_539 },
          { ...key, lift: made },
        ]) {
          assert.equal(verdict({ key: wrong }), false);
        }
        for (const wrong of [made.subarray(1), Uint8Array.of(0, ...made), new Uint8Array(256), key.modulus, null, ""]) {
          assert.equal(verdict({ made: wrong }), false);
        }
        for (const wrong of [data.subarray(1), data.slice().buffer, null])
          assert.equal(verdict({ data: wrong }), false);
      }
    }
    for (const octets of [255, 513]) assert.equal(engine.rsaLift(new Uint8Array(octets).fill(255)), undefined);
    assert.equal(engine.rsaLift(new Uint8Array(256)), undefined, "a leading zero");
  });

  it("refuses a module with a fault on one curve or in RSA alone, which its own check shows", () => {
    const good = decodeBase64(MODULE_BASE64);
    assert.ok(good.ok);
    const limb = (value: number) => new Uint8Array(BigInt64Array.of(BigInt(value)).buffer);
    // the first limb of each generator's x, the name of a hash, and the trailer of PSS as it is compared
    const places = [
      limb(-182_286_461),
      limb(-265_467_373),
      limb(48_610_662),
      Uint8Array.of(0x30, 0x0d, 6, 9, 0x60, 0x86),
      Uint8Array.of(0x41, 0xbc, 1, 0x47),
    ];
    for (const [index, wanted] of places.entries()) {
      const octets: Uint8Array = Uint8Array.from(good.value);
      const found: number[] = [...octets.keys()].filter((at) => wanted.every((octet, i) => octets[at + i] === octet));
      assert.equal(found.length, 1, `place ${index}`);
      octets[found[0]! + 2]! ^= 1;
      const module = new api.Module(octets);
      assert.ok(new Engine(module) instanceof Engine);
      assert.throws(
        () => new WasmVerifier({ module }),
        (error) => isSpiffeError(error, "ERR_SPIFFE_BACKEND"),
        `place ${index}`,
      );
    }
    assert.ok(new WasmVerifier({ module: new api.Module(good.value) }) instanceof WasmVerifier);
  });

  it("[G-5] refuses in its own check what takes or refuses everything, by one curve or one scheme alone", () => {
    const engine = new Engine(ownModule());
    const asked: { rsa: string[]; curves: string[] } = { rsa: [], curves: [] };
    const answering = (fault: (name: string) => boolean | undefined) => ({
      rsaLift: (modulus: Uint8Array) => engine.rsaLift(modulus),
      verifyDigest(...all: Parameters<Engine["verifyDigest"]>) {
        asked.curves.push(all[0]);
        return fault(all[0]) ?? engine.verifyDigest(...all);
      },
      verifyRsa(...all: Parameters<Engine["verifyRsa"]>) {
        asked.rsa.push(all[0]);
        return fault(all[0]) ?? engine.verifyRsa(...all);
      },
    });
    assert.equal(answersRight(answering(() => undefined)), true);
    assert.deepEqual(asked.rsa.toSorted(), ["rsa-pkcs1", "rsa-pkcs1", "rsa-pss", "rsa-pss"]);
    assert.deepEqual([...new Set(asked.curves)], ["P-256", "P-384", "P-521"]);
    for (const name of [...new Set([...asked.rsa, ...asked.curves])]) {
      for (const always of [true, false]) {
        const faulty = answering((one) => (one === name ? always : undefined));
        assert.equal(answersRight(faulty), false, `${name}: ${always}`);
      }
    }
    assert.equal(answersRight({ ...answering(() => undefined), rsaLift: () => undefined }), false);
  });

  it("takes the package's own module and refuses every other one by name", () => {
    const refused = (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_BACKEND");
    // a module without exports, and one with the same names that takes every signature
    const empty = new api.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0));
    const before = wasmVerifier();
    const strange = [null, {}, 5, "ecdsa.wasm", empty, MODULE_BASE64];
    for (const module of strange) assert.throws(() => new Engine(module as object), refused);
    for (const module of [...strange, willing()]) {
      assert.throws(() => new WasmVerifier({ module: module as object }), refused);
      assert.throws(() => useWasmModule(module as object), refused);
    }
    assert.throws(() => useWasmModule(undefined as never), refused, "the own module is not taken in silence");
    assert.equal(wasmVerifier(), before);
    assert.ok(new Engine(ownModule()) instanceof Engine);
  });
});

describe("a verifier's handles", () => {
  it("[S-13] [S-15] end with its module: after another one took its place, and after disposal", async () => {
    const [mine, theirs] = [await testKey("P-384"), await testKey("P-384")];
    const alg = algorithmOf("SHA-384");
    const [good, bad] = [await signTest(mine, alg, data), await signTest(theirs, alg, data)];
    const schedule = (task: () => void) => task();
    const [one, other] = [new WasmVerifier({ schedule }), new WasmVerifier({ schedule })];
    one.preload(one, [mine.publicKey]);
    other.preload(other, [theirs.publicKey]);
    const handle = one.importKey(mine.publicKey);
    assert.ok(one.hasTable(handle) && one.verify(alg, handle, good, data));
    for (const signature of [good, bad]) assert.equal(other.verify(alg, handle, signature, data), false);
    one.dispose();
    const later = one.importKey(mine.publicKey);
    for (let i = 0; i < 20; i++) {
      one.noteTrusted(handle);
      one.noteTrusted(later);
    }
    one.preload(one, [mine.publicKey]);
    for (const kept of [handle, later]) {
      assert.deepEqual([one.hasTable(kept), one.isPinned(kept)], [false, false]);
      for (const signature of [good, bad]) {
        assert.equal(one.verify(alg, kept, signature, data), false);
        assert.equal(other.verify(alg, kept, signature, data), false);
      }
    }
    assert.equal(one.memory.waiting, 0);
    const own = other.importKey(mine.publicKey);
    assert.deepEqual(
      [good, bad].map((signature) => other.verify(alg, own, signature, data)),
      [true, false],
    );

    const before = chooseSyncVerifier();
    const stale = before.importKey(mine.publicKey);
    useWasmModule(ownModule());
    const after = chooseSyncVerifier();
    wasmVerifier()!.preload(after, [theirs.publicKey]);
    await wasmVerifier()!.ready();
    assert.notEqual(after, before);
    for (const signature of [good, bad]) assert.equal(after.verify(alg, stale, signature, data), false);
    assert.deepEqual(
      [good, bad].map((signature) => after.verify(alg, after.importKey(mine.publicKey), signature, data)),
      [true, false],
    );
    assert.deepEqual(
      [good, bad].map((signature) => before.verify(alg, stale, signature, data)),
      [true, false],
    );
    wasmVerifier()!.preload(after, []);
  });
});

/** A module with the names of the package's own, all of whose functions say 1: one (import-free) type, body and memory. */
function willing(): object {
  const names = [
    ...["heapBase", "inputArea", "signatureArea", "digestArea", "keySize", "keyTableSize", "generatorTableSize"],
    ...["buildGeneratorTable", "readKeyOf", "buildKeyTable", "hashStart", "hashUpdate", "hashFinish", "verifyDigest"],
    ...["batchStart", "batchAdd", "batchFinish", "rsaArea", "rsaLift", "verifyRsa"],
  ];
  const text = (name: string) => [name.length, ...new TextEncoder().encode(name)];
  const sized = (content: readonly number[]) => {
    const { length } = content;
    return length < 128 ? [length, ...content] : [(length & 127) | 128, length >> 7, ...content];
  };
  const section = (id: number, content: readonly number[]) => [id, ...sized(content)];
  return new api.Module(
    Uint8Array.of(
      ...[0, 97, 115, 109, 1, 0, 0, 0],
      ...section(1, [1, 0x60, 0, 1, 0x7f]),
      ...section(3, [1, 0]),
      ...section(5, [1, 0, 1]),
      ...section(6, [1, 0x7f, 0, 0x41, 0x80, 0x20, 0x0b]),
      ...section(7, [
        names.length + 2,
        ...names.flatMap((name) => [...text(name), 0, 0]),
        ...[...text("memory"), 2, 0],
        ...[...text("inputSize"), 3, 0],
      ]),
      ...section(10, [1, 4, 0, 0x41, 1, 0x0b]),
    ),
  );
}
