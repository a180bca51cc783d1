import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Authority } from "../authority/testing.ts";
import { wasmVerifier } from "../crypto/choose-backend.ts";
import { authorityKeys } from "./authorities.ts";
import { Workload } from "./workload.ts";

describe("authorities of a source", () => {
  let authority: Authority;
  before(async () => {
    const entries = [{ id: "spiffe://example.org/web", socket: "web" }];
    authority = await Authority.start({ trustDomain: "example.org", entries });
  });
  after(() => authority.close());

  it("[S-13] are pinned for the crypto backend while the source is open, and no longer", async () => {
    const verifier = wasmVerifier()!;
    const workload = await Workload.open({ socket: authority.socketFor("web") });
    const { x509, jwt } = workload;
    const keys = [...authorityKeys(x509.current!.bundles), ...authorityKeys(jwt.current!.bundles)];
    assert.ok(keys.length >= 2);
    const pins = () => keys.map((key) => verifier.isPinned(verifier.importKey(key)));
    assert.deepEqual(
      pins(),
      keys.map(({ kind }) => kind === "ec"),
    );
    await workload.close();
    assert.ok(pins().every((pinned) => !pinned));
  });
});
