import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { skipWhen } from "../../test/support/skip.ts";
import { runtime } from "../runtime/detect.ts";
import { HASH_LENGTH, type Hash } from "./algorithms.ts";
import { nativeDigest } from "./data-digest.ts";

describe("hashes of signed data by the runtime", () => {
  it("are used on Bun alone", () => {
    assert.equal(nativeDigest !== undefined, runtime.name === "bun");
  });

  const title = "are those of WebCrypto, for every length around a block and for views into larger memory";
  const absent = nativeDigest === undefined ? "the module is as fast, and hashes itself" : undefined;
  it(title, skipWhen(title, absent), async () => {
    const memory = Uint8Array.from({ length: 5_000 }, (_, i) => i * 31);
    for (const hash of Object.keys(HASH_LENGTH) as Hash[]) {
      for (const length of [0, 1, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 300, 4_900]) {
        const data = memory.subarray(3, 3 + length);
        const right = new Uint8Array(await crypto.subtle.digest(hash, data));
        assert.deepEqual([...nativeDigest!(hash, data)], [...right], `${hash} of ${length} octets`);
      }
    }
  });
});
