import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isSpiffeError, SpiffeError } from "./errors.ts";
import { accept, refuse, unwrap } from "./verdict.ts";

describe("errors of the project", () => {
  it("are told from every other value, and by their code", () => {
    const error = new SpiffeError("ERR_SPIFFE_ID", "Expected an ID", { reason: "id.empty" });
    assert.equal(isSpiffeError(error), true);
    assert.equal(isSpiffeError(error, "ERR_SPIFFE_ID"), true);
    assert.equal(isSpiffeError(error, "ERR_SPIFFE_KEY"), false);
    for (const other of [new Error("Expected an ID"), { code: "ERR_SPIFFE_ID" }, null, undefined, "ERR_SPIFFE_ID", 7])
      assert.equal(isSpiffeError(other), false, String(other));
  });

  it("carry a cause only where there is one", () => {
    const cause = new Error("why");
    assert.equal(new SpiffeError("ERR_SPIFFE_ID", "", { cause }).cause, cause);
    assert.equal("cause" in new SpiffeError("ERR_SPIFFE_ID", ""), false);
  });

  it("come of a refusal with its reason, and of nothing else", () => {
    assert.equal(unwrap(accept(5), "ERR_SPIFFE_ID"), 5);
    assert.throws(
      () => unwrap(refuse("id.empty", "Expected an ID"), "ERR_SPIFFE_ID"),
      (error) => isSpiffeError(error, "ERR_SPIFFE_ID") && error.reason === "id.empty",
    );
    assert.equal("index" in refuse("id.empty", ""), false);
    assert.equal(refuse("id.empty", "", 0).index, 0);
  });
});
