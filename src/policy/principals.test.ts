import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatIssue } from "./issue.ts";
import { readId } from "./principals.ts";

describe("one exact ID of a configuration", () => {
  const read = (text: string) => {
    const told: string[] = [];
    const id = readId(text, ["id"], (issue) => told.push(formatIssue(issue)));
    return id ?? told.join("\n");
  };
  it("is taken as it is compared", () => {
    assert.equal(read("spiffe://example.org/web"), "spiffe://example.org/web");
    assert.equal(read("SPIFFE://Example.org/Web"), "spiffe://example.org/Web");
  });
  // whoever reads one takes an ID that is not there for one that is not asked for
  for (const [text, why] of [
    ["spiffe://example.org", /^id: ".*" names a trust domain, not a workload/],
    ["spiffe://example.org/*", /^id: ".*" is a pattern; IDs are compared exactly/],
    ["spiffe://*/web", /^id: ".*" is a pattern; IDs are compared exactly/],
    ["example.org/*", /^id: ".*" has no scheme \(did you mean "spiffe:/],
    ["example.org/web", /^id: ".*" has no scheme \(did you mean "spiffe:/],
    ["web", /^id: "web" is no SPIFFE ID/],
    ["https://example.org/web", /^id: ".*" is no SPIFFE ID/],
    ["", /^id: "" is no SPIFFE ID/],
  ] as const) {
    it(`is not ${JSON.stringify(text)}`, () => assert.match(read(text), why));
  }
});
