/** Every case of the published list of SPIFFE IDs, and what a URL parser would have made of it. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isSpiffeError, type Verdict } from "../base/index.ts";
import { SpiffeId } from "./index.ts";
import { bytesOf, ID_CASES as CASES, type IdCase } from "./vectors.testing.ts";

const TEXTS = CASES.filter((one): one is IdCase & { input: string } => one.input !== undefined);

const verdictOf = (verdict: Verdict<unknown>) => (verdict.ok ? "accept" : verdict.reason);
/** A case's ID after a round trip through the runtime's URL parser, or undefined where that refuses it. */
function throughUrl(input: string): string | undefined {
  try {
    return new URL(input).href;
  } catch {
    return undefined;
  }
}

describe("the list of SPIFFE IDs", () => {
  it("has enough of both kinds, each case once and well formed", () => {
    assert.ok(CASES.filter(({ valid }) => valid).length >= 40);
    assert.ok(CASES.filter(({ valid }) => !valid).length >= 180);
    assert.equal(new Set(CASES.map(({ name }) => name)).size, CASES.length);
    for (const one of CASES) {
      assert.ok((one.input === undefined) !== (one.inputBase64 === undefined), one.name);
      assert.equal(one.valid, one.reason === undefined, one.name);
      assert.ok(one.requirements.length > 0, one.name);
    }
  });

  for (const one of CASES) {
    const ids = one.requirements.map((id) => `[${id}]`).join(" ");
    it(`${ids} ${one.valid ? "takes" : "refuses"} ${one.name}`, () => {
      const expected = one.reason ?? "accept";
      const { input } = one;
      assert.equal(verdictOf(SpiffeId.safeParse(bytesOf(one))), expected, "as bytes");
      if (input === undefined) return;
      assert.equal(verdictOf(SpiffeId.safeParse(input)), expected, "as text");
      if (one.valid) assert.equal(SpiffeId.parse(input).uri, input);
      else {
        assert.throws(
          () => SpiffeId.parse(input),
          (error) => isSpiffeError(error, "ERR_SPIFFE_ID") && error.reason === expected,
        );
      }
      const config = SpiffeId.safeParseConfig(input);
      assert.equal(config.ok ? config.value.uri : null, one.parseConfig, "as configuration");
    });
  }
});

describe("why no ID passes through a URL parser", () => {
  const invalid = TEXTS.filter(({ valid }) => !valid);
  const repaired = invalid.filter(({ input }) => {
    const href = throughUrl(input);
    return href !== undefined && SpiffeId.safeParse(href).ok;
  });

  it("[ID-26] new URL() makes invalid IDs valid, on every runtime these", () => {
    console.log(`new URL() turns ${repaired.length} of ${invalid.length} invalid IDs into valid ones`);
    assert.ok(repaired.length >= 15, `${repaired.length}`);
    const inputs = new Set(repaired.map(({ input }) => input));
    for (const input of [
      "SPIFFE://td/a", // lower-cased
      " spiffe://td/a", // trimmed
      "spiffe://@td/a", // an empty user dropped
      "spiffe://td:/a", // an empty port dropped
      "spiffe://td/a/../b", // dot segments resolved
      "spiffe://td/%2e%2e/a", // also encoded ones
      "spiffe://td/a\tb", // tab and line feed dropped
    ]) {
      assert.ok(inputs.has(input), JSON.stringify(input));
    }
  });

  it("[ID-26] what a URL parser made valid is another ID than the one that came, and the scanner refuses that one", () => {
    for (const { input, name } of repaired) {
      assert.notEqual(throughUrl(input), input, name);
      assert.ok(!SpiffeId.safeParse(input).ok, name);
      assert.ok(SpiffeId.safeParse(throughUrl(input)!).ok, name);
    }
  });
});
