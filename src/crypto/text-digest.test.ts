import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { sha256Text, webcryptoDigest } from "./text-digest.ts";

describe("SHA-256 of texts", () => {
  it("is the one of FIPS 180, by both ways", async () => {
    const known = [
      ["", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="],
      ["abc", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="],
    ] as const;
    for (const [text, digest] of known) {
      assert.equal(await sha256Text(text), digest);
      assert.equal(await webcryptoDigest(text), digest);
    }
    for (const text of ["x".repeat(20_000), "\u0141\u00e9\u{1f511}", "a\u0000b"]) {
      assert.equal(await sha256Text(text), await webcryptoDigest(text));
    }
  });
  it("no two characters are one: U+0141 is not A", async () => {
    assert.notEqual(await sha256Text("\u0141"), await sha256Text("A"));
    assert.equal(await sha256Text("A"), await sha256Text("\u0041"));
  });
});
