import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isSpiffeError } from "../base/index.ts";
import { TrustDomain } from "../id/index.ts";
import { type AuthorityEntry, checkEntries } from "./entries.ts";

const ORG = TrustDomain.parse("example.org");
const web: AuthorityEntry = { id: "spiffe://example.org/web", socket: "web" };
const read = (...entries: AuthorityEntry[]) => checkEntries(entries, ORG, { ttlMs: 60_000, jwtTtlMs: 30_000 });
/** `accept`, or the place that is named as wrong. */
function verdict(...entries: AuthorityEntry[]): string {
  try {
    read(...entries);
    return "accept";
  } catch (error) {
    assert.ok(isSpiffeError(error, "ERR_SPIFFE_CONFIG"), `${error}`);
    return error.message.slice(0, error.message.indexOf(":"));
  }
}

describe("entries of an authority", () => {
  it("are of workloads of its own trust domain", () => {
    assert.equal(read(web)[0]?.id.uri, "spiffe://example.org/web");
    for (const id of [
      "spiffe://other.test/web",
      "spiffe://sub.example.org/web",
      "spiffe://example.org",
      "spiffe://example.org/",
      "spiffe://example.org/../web",
      "example.org/web",
      "",
    ]) {
      assert.equal(verdict({ ...web, id }), "entries[0].id", id);
      assert.equal(verdict(web, { ...web, id, socket: "b" }), "entries[1].id", id);
    }
  });

  it("[S-28] have sockets in the authority's directory: no name leads out of it", () => {
    for (const socket of ["a", "web-1", "_", "-", "a.b", "A..b", "0"])
      assert.equal(verdict({ ...web, socket }), "accept", socket);
    for (const socket of [
      "",
      ".",
      "..",
      ".web",
      "../web",
      "/web",
      "a/b",
      "web/",
      "web/../../b",
      "a\\b",
      "a b",
      "web\n",
      "\nweb",
      "web\0",
      "wéb",
    ]) {
      assert.equal(verdict({ ...web, socket }), "entries[0].socket", JSON.stringify(socket));
    }
  });

  it("federate with other trust domains alone", () => {
    const federated = (...federatesWith: string[]) => verdict({ ...web, federatesWith });
    assert.equal(federated("other.test", "third.test"), "accept");
    for (const name of ["example.org", "Other.test", "", "other test"])
      assert.equal(federated("other.test", name), "entries[0].federatesWith", name);
  });

  it("[WL-15] of one socket differ in ID and in hint, and are 100 at most", () => {
    const api = { ...web, id: "spiffe://example.org/api" };
    assert.equal(verdict(web, api), "accept");
    assert.equal(verdict(web, web), "entries[1].id");
    assert.equal(verdict(web, { ...web, socket: "b" }), "accept");
    assert.equal(verdict({ ...web, hint: "x" }, { ...api, hint: "x" }), "entries[1].hint");
    assert.equal(verdict({ ...web, hint: "x" }, { ...api, hint: "y" }), "accept");
    const many = (count: number) =>
      Array.from({ length: count }, (_, i) => ({ ...web, id: `spiffe://example.org/${i}` }));
    assert.equal(verdict(...many(100)), "accept");
    assert.equal(verdict(...many(101)), "entries[100].socket");
    assert.equal(verdict(...many(100), { ...web, socket: "b" }), "accept");
  });

  it("live for a second at least, each as long as it says, or as the authority does", () => {
    const [entry] = read({ ...web, ttlMs: 1_000 });
    assert.deepEqual([entry?.ttlMs, entry?.jwtTtlMs], [1_000, 30_000]);
    for (const field of ["ttlMs", "jwtTtlMs"]) {
      for (const ms of [999, 0, -1, Number.NaN, Number.POSITIVE_INFINITY])
        assert.equal(verdict({ ...web, [field]: ms }), `entries[0].${field}`, `${ms}`);
    }
  });
});
