import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { KINDS } from "./cases.testing.ts";
import { tryCases } from "./differential.testing.ts";
import { RSA_KINDS } from "./rsa-cases.testing.ts";
import { tryRsaCases } from "./rsa-differential.testing.ts";

describe("WebAssembly against node:crypto, WebCrypto and BigInt", () => {
  it("[G-5] gives the verdict of every seeded case", async () => {
    const { counts, valid, faults } = await tryCases({ seed: 1, count: 2_000 });
    assert.deepEqual(faults, []);
    assert.ok(valid >= 600, `${valid} valid cases`);
    for (const curve of ["P-256", "P-384", "P-521"]) {
      for (const kind of KINDS) assert.ok((counts[`${curve} ${kind}`] ?? 0) > 0, `${curve} ${kind}`);
    }
  });

  it("[G-5] [S-15] gives the verdict of every seeded RSA case", async () => {
    const { counts, valid, faults } = await tryRsaCases({ seed: 1, count: 600 });
    assert.deepEqual(faults, []);
    assert.ok(valid >= 200, `${valid} valid cases`);
    for (const kind of RSA_KINDS) {
      const schemes = kind.startsWith("rsa") ? ["rsa-pkcs1", "rsa-pss"] : [`rsa-${kind.split("-")[0]}`];
      for (const scheme of schemes) assert.ok((counts[`${scheme} ${kind}`] ?? 0) > 0, `${scheme} ${kind}`);
    }
  });
});
