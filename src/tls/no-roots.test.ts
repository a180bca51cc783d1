import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodePem } from "../encoding/pem.ts";
import { TrustDomain } from "../id/index.ts";
import { Certificate, safeVerifyX509SvidSync, X509Bundle } from "../x509/index.ts";
import { NO_ROOTS, NOBODY } from "./no-roots.ts";
import { bundlesOf } from "./wire.testing.ts";

describe("the roots of a dialled connection", () => {
  it("[S-5] stand for nobody: no authority, long ended, issued by nobody, and its own bundle does not take it", () => {
    const blocks = decodePem(NOBODY);
    assert.ok(blocks.ok);
    const nobody = Certificate.parse(blocks.value[0]!.der);
    assert.equal(nobody.isCa, false);
    assert.ok(nobody.notAfter.getTime() < Date.UTC(1971));
    const bundle = new X509Bundle(TrustDomain.parse("nobody.invalid"), [nobody]);
    assert.equal(safeVerifyX509SvidSync([nobody], bundlesOf(bundle)).ok, false);
    assert.ok(NO_ROOTS.every((pem) => pem === NOBODY));
  });
});
