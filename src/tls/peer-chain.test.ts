import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TestCa } from "../authority/test-ca.ts";
import { safeVerifyX509SvidSync } from "../x509/index.ts";
import { chainOf, peerFrom } from "./judge.ts";
import { bundlesOf } from "./wire.testing.ts";

/** What is kept of a peer that presented these certificates. */
function kept(presented: readonly Uint8Array[], ca: TestCa): readonly Uint8Array[] {
  const verdict = safeVerifyX509SvidSync(presented, bundlesOf(ca.x509Bundle()));
  assert.ok(verdict.ok);
  return chainOf(peerFrom({ verified: verdict.value, presented }))!;
}

describe("chainOf", () => {
  it("gives the path that was used, leaf first, without the authority and what was presented beside it", async () => {
    const ca = await TestCa.create();
    const other = await TestCa.create();
    const svid = await (await (await ca.intermediate()).intermediate()).issue({ id: "spiffe://example.org/web" });
    const [leaf, lower, upper] = svid.certificatesDer as [Uint8Array, Uint8Array, Uint8Array];
    const path = [leaf, lower, upper];
    for (const presented of [path, [leaf, upper, lower], [leaf, other.rootDer, upper, ca.rootDer, lower]]) {
      assert.deepEqual(kept(presented, ca), path);
    }
    const alone = await ca.issue({ id: "spiffe://example.org/web" });
    assert.deepEqual(kept(alone.certificatesDer, ca), alone.certificatesDer);
    assert.deepEqual(kept([...alone.certificatesDer, ca.rootDer], ca), alone.certificatesDer);
  });

  it("holds the presented bytes themselves, and no second copy beside them", async () => {
    const ca = await TestCa.create();
    const { certificatesDer: presented } = await (await ca.intermediate()).issue({ id: "spiffe://example.org/web" });
    const chain = kept(presented, ca);
    assert.equal(chain.length, 2);
    assert.ok(chain.every((der, i) => der === presented[i]));
  });

  it("knows nothing of a peer that came otherwise", () => {
    assert.equal(chainOf({ via: "x509", id: {} as never, expiresAt: new Date(0) }), undefined);
  });
});
