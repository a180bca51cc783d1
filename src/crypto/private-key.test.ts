import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TAG } from "../encoding/der.ts";
import { encodeDer } from "../encoding/encode-der.ts";
import { testKey } from "./keys.testing.ts";
import { fromHex } from "./octets.ts";
import { privateKeyMatches, privateKeyMatchesByWebcrypto, privateKeyMatchesSync } from "./private-key.ts";
import { PublicKey } from "./public-key.ts";

async function matches(pkcs8: Uint8Array, key: PublicKey): Promise<boolean> {
  const results = [
    privateKeyMatchesSync(pkcs8, key),
    await privateKeyMatches(pkcs8, key),
    await privateKeyMatchesByWebcrypto(pkcs8, key),
  ];
  assert.ok(
    results.every((result) => result === results[0]),
    `the ways differ: ${results}`,
  );
  return results[0]!;
}

describe("private key match", () => {
  for (const type of ["P-256", "P-384", "P-521", "RSA-2048", "Ed25519"]) {
    it(`[S-11] takes the ${type} key of a public key and refuses every other one`, async () => {
      const [own, other] = [await testKey(type), await testKey(type)];
      assert.equal(await matches(own.pkcs8, own.publicKey), true);
      assert.equal(await matches(Buffer.from(own.pkcs8), own.publicKey), true);
      assert.equal(await matches(other.pkcs8, own.publicKey), false);
      const foreign = await testKey(type === "P-256" ? "P-384" : "P-256");
      assert.equal(await matches(foreign.pkcs8, own.publicKey), false);
      for (const wrong of [
        new Uint8Array(),
        own.pkcs8.subarray(1),
        own.pkcs8.subarray(0, -1),
        Uint8Array.from([...own.pkcs8, 0]),
        own.spki,
        undefined as never,
        Array.from(own.pkcs8) as never,
      ]) {
        assert.equal(await matches(wrong, own.publicKey), false);
      }
    });
  }

  it("[S-11] refuses an EC key that carries the wanted public point beside another secret", async () => {
    const [own, other] = [await testKey("P-256"), await testKey("P-256")];
    const publicPoint = own.spki.subarray(-65);
    const forged = Uint8Array.from(other.pkcs8);
    forged.set(publicPoint, forged.length - 65);
    assert.equal(await matches(own.pkcs8, own.publicKey), true);
    assert.equal(await matches(forged, own.publicKey), false);
  });

  it("[S-11] refuses an Ed25519 key that only some runtimes read: a spoilt wrapping, or version 2 without public key", async () => {
    const own = await testKey("Ed25519");
    assert.deepEqual([...own.pkcs8.subarray(12, 16)], [0x04, 0x22, 0x04, 0x20]);
    for (const [at, octet] of [
      [14, 0x84],
      [14, 0xff],
      [15, 0x00],
      [15, 0x1f],
      [4, 0x01],
    ] as const) {
      const spoilt = Uint8Array.from(own.pkcs8);
      spoilt[at] = octet;
      assert.equal(await matches(spoilt, own.publicKey), false, `${at}`);
    }
    assert.equal(await matches(own.pkcs8, own.publicKey), true);
  });

  it("takes an EC key without its public point, as RFC 5958 lets it", async () => {
    const own = await testKey("P-256");
    const secret = Buffer.from((await crypto.subtle.exportKey("jwk", own.pair.privateKey)).d!, "base64url");
    const inner = encodeDer(TAG.sequence, fromHex("020101"), encodeDer(TAG.octetString, secret));
    const algorithm = fromHex("301306072a8648ce3d020106082a8648ce3d030107");
    const pkcs8 = encodeDer(TAG.sequence, fromHex("020100"), algorithm, encodeDer(TAG.octetString, inner));
    assert.equal(await matches(pkcs8, own.publicKey), true);
    assert.equal(await matches(pkcs8, (await testKey("P-256")).publicKey), false);
  });

  it("[S-15] takes an id-RSASSA-PSS pair on every runtime", async () => {
    const own = await testKey("RSA-2048");
    const pss = fromHex("300b06092a864886f70d01010a");
    const renamed = (der: Uint8Array) => {
      const at = Buffer.from(der).indexOf(Buffer.from("300d06092a864886f70d0101010500", "hex"));
      return { before: der.subarray(0, at), after: der.subarray(at + 15) };
    };
    const key = encodeDer(TAG.sequence, pss, renamed(own.spki).after);
    const pkcs8 = encodeDer(TAG.sequence, fromHex("020100"), pss, renamed(own.pkcs8).after);
    const publicKey = PublicKey.fromSpki(key);
    assert.ok(publicKey.ok);
    assert.equal(await matches(pkcs8, publicKey.value), true);
    assert.equal(await matches(own.pkcs8, publicKey.value), true);
    assert.equal(await matches((await testKey("RSA-2048")).pkcs8, publicKey.value), false);
  });
});
