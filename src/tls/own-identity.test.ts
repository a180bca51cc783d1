import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { ManualClock } from "../authority/manual-clock.ts";
import { type StaticIdentity, staticIdentity } from "../authority/static-identity.ts";
import { TestCa } from "../authority/test-ca.ts";
import { isSpiffeError } from "../base/errors.ts";
import { ownSvid } from "./own-identity.ts";

const HOUR_MS = 3_600_000;

describe("the own SVID", () => {
  let root: TestCa;
  before(async () => {
    root = await TestCa.create();
  });

  /** An identity whose leaf ends in two hours, under an intermediate that ends at the given time. */
  async function under(notAfter: number, clock: ManualClock): Promise<StaticIdentity> {
    const middle = await root.intermediate({ notAfter: new Date(notAfter) });
    const svid = await middle.issue({
      id: "spiffe://example.org/orders",
      notAfter: new Date(clock.now() + 2 * HOUR_MS),
    });
    return staticIdentity({ svid, bundles: root.x509Bundle() });
  }

  it("[S-10] ends with its first certificate, also where that is not the leaf", async () => {
    const clock = new ManualClock(Math.ceil(Date.now() / 1_000) * 1_000);
    const start = clock.now();
    const short = await under(start + HOUR_MS, clock);
    const twin = await under(start + 3 * HOUR_MS, clock);
    const leaf = start + 2 * HOUR_MS;
    const ended = (identity: StaticIdentity) =>
      assert.throws(
        () => ownSvid(identity, clock),
        (error) => isSpiffeError(error, "ERR_SPIFFE_EXPIRED") && error.reason === "x509.expired",
      );
    clock.step(HOUR_MS - 1);
    for (const identity of [short, twin]) assert.equal(ownSvid(identity, clock).expiresAt.getTime(), leaf);
    clock.step(1);
    ended(short);
    assert.equal(ownSvid(twin, clock).expiresAt.getTime(), leaf);
    clock.step(HOUR_MS - 1);
    assert.equal(ownSvid(twin, clock).expiresAt.getTime(), leaf);
    clock.step(1);
    ended(twin);
  });
});
