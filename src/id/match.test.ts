import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isSpiffeError } from "../base/index.ts";
import {
  type IdMatcher,
  matchAny,
  matchId,
  matchIdPrefix,
  matchMemberOf,
  matchOneOf,
  SpiffeId,
  TrustDomain,
} from "./index.ts";

const reason = (match: IdMatcher, id: string) => {
  const verdict = match(SpiffeId.parse(id));
  if (verdict.ok) assert.equal(verdict.value.uri, id);
  return verdict.ok ? "accept" : verdict.reason;
};

describe("matchers", () => {
  it("[X509-39] any", () => {
    assert.equal(reason(matchAny(), "spiffe://td/a"), "accept");
    assert.equal(reason(matchAny(), "spiffe://other"), "accept");
  });

  it("[X509-39] one ID", () => {
    for (const match of [matchId("spiffe://td/a"), matchId(SpiffeId.parse("spiffe://td/a"))]) {
      assert.equal(reason(match, "spiffe://td/a"), "accept");
      for (const other of ["spiffe://td/A", "spiffe://td", "spiffe://td/a/b", "spiffe://td2/a"]) {
        assert.equal(reason(match, other), "id.not-allowed");
      }
    }
  });

  it("[X509-39] a list; an empty list matches nothing", () => {
    const match = matchOneOf("spiffe://td/a", SpiffeId.parse("spiffe://td/b"));
    assert.equal(reason(match, "spiffe://td/a"), "accept");
    assert.equal(reason(match, "spiffe://td/b"), "accept");
    assert.equal(reason(match, "spiffe://td/c"), "id.not-allowed");
    assert.equal(reason(matchOneOf(), "spiffe://td/a"), "id.not-allowed");
  });

  it("[X509-39] members of a trust domain", () => {
    for (const match of [matchMemberOf("td"), matchMemberOf("spiffe://td"), matchMemberOf(TrustDomain.parse("td"))]) {
      assert.equal(reason(match, "spiffe://td/a"), "accept");
      assert.equal(reason(match, "spiffe://td"), "accept");
      assert.equal(reason(match, "spiffe://td2/a"), "id.not-member");
      assert.equal(reason(match, "spiffe://t/td"), "id.not-member");
    }
  });

  it("[X509-39] a prefix ends on a segment boundary", () => {
    const match = matchIdPrefix("spiffe://td/ns/a");
    assert.equal(reason(match, "spiffe://td/ns/a"), "accept");
    assert.equal(reason(match, "spiffe://td/ns/a/sa/b"), "accept");
    for (const other of ["spiffe://td/ns/ab", "spiffe://td/ns/A/sa/b", "spiffe://td/ns", "spiffe://td2/ns/a/b"]) {
      assert.equal(reason(match, other), "id.not-allowed");
    }
    assert.equal(reason(matchIdPrefix("spiffe://td"), "spiffe://td/x"), "accept");
    assert.equal(reason(matchIdPrefix("spiffe://td"), "spiffe://td2/x"), "id.not-allowed");
  });

  it("[ID-07] a matcher is not built from something that is no ID; the corrected text is taken", () => {
    const builders = [
      () => matchId("spiffe://TD/a"),
      () => matchOneOf("spiffe://td/a", "td/a"),
      () => matchMemberOf("Td"),
      () => matchIdPrefix("spiffe://td/ns/"),
    ];
    for (const build of builders) assert.throws(build, (error) => isSpiffeError(error, "ERR_SPIFFE_ID"));
    for (const odd of [{ uri: "spiffe:/" }, { name: "TD" }, ["spiffe://td/a"], {}, undefined, null, 7] as never[]) {
      for (const build of [matchId, matchOneOf, matchMemberOf, matchIdPrefix]) {
        assert.throws(() => build(odd), { code: "ERR_SPIFFE_ID" });
      }
    }
    const id = SpiffeId.parse("spiffe://td/a");
    for (const match of [matchId(id), matchOneOf(id), matchMemberOf(id.trustDomain), matchIdPrefix(id)]) {
      assert.equal(reason(match, "spiffe://td/a"), "accept");
    }
    assert.equal(reason(matchIdPrefix("spiffe://td/ns"), "spiffe://td/ns/a"), "accept");
  });
});
