import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isSpiffeError } from "../base/errors.ts";
import { refuse } from "../base/verdict.ts";
import { SpiffeId } from "../id/index.ts";
import type { VerifiedX509Svid } from "../x509/index.ts";
import {
  type Authorizer,
  authorizeAny,
  authorizeId,
  authorizeIdPrefix,
  authorizeMemberOf,
  authorizeOneOf,
  authorizerFor,
  expectationOf,
  unsafeAnyPeer,
} from "./authorizers.ts";

const WEB = "spiffe://example.org/ns/shop/web";
const DB = "spiffe://example.org/ns/shop-db";
const FAR = "spiffe://partner.example/ns/shop/web";

function verified(id: string): VerifiedX509Svid {
  return { id: SpiffeId.parse(id), chain: [], expiresAt: new Date(0) };
}

/** Each authorizer with whom it welcomes; everybody else of the three is refused. */
const CASES: readonly [name: string, authorizer: Authorizer, welcome: readonly string[]][] = [
  ["authorizeAny", authorizeAny(), [WEB, DB, FAR]],
  ["unsafeAnyPeer", unsafeAnyPeer, [WEB, DB, FAR]],
  ["authorizeId", authorizeId(WEB), [WEB]],
  ["authorizeOneOf", authorizeOneOf(WEB, SpiffeId.parse(FAR)), [WEB, FAR]],
  ["authorizeMemberOf", authorizeMemberOf("example.org"), [WEB, DB]],
  ["authorizeIdPrefix on a segment boundary", authorizeIdPrefix("spiffe://example.org/ns/shop"), [WEB]],
  ["expectation: an ID", authorizerFor(WEB), [WEB]],
  ["expectation: a SpiffeId", authorizerFor(SpiffeId.parse(WEB)), [WEB]],
  ["expectation: a list", authorizerFor([WEB, DB]), [WEB, DB]],
  ["expectation: a trust domain", authorizerFor({ trustDomain: "partner.example" }), [FAR]],
  ["expectation: an authorizer", authorizerFor(authorizeId(DB)), [DB]],
];

describe("authorizers", () => {
  for (const [name, authorizer, welcome] of CASES) {
    it(`${name} welcomes exactly who it names`, () => {
      for (const id of [WEB, DB, FAR]) {
        const verdict = authorizer(verified(id));
        assert.equal(verdict.ok, welcome.includes(id), id);
        if (!verdict.ok) assert.equal(verdict.reason, "peer.not-authorized");
        else assert.equal(verdict.value.uri, id);
      }
    });
  }

  it("names nobody: an error, never everybody", () => {
    for (const nobody of [undefined, null, [], {}, { trustDomain: 1 }, 5, true]) {
      assert.throws(
        () => authorizerFor(nobody as never),
        (error) => isSpiffeError(error, "ERR_SPIFFE_USAGE"),
      );
    }
    for (const bad of ["", "*", "spiffe://", "https://example.org/web", ["spiffe://example.org/web", "x"]]) {
      assert.throws(
        () => authorizerFor(bad),
        (error) => isSpiffeError(error, "ERR_SPIFFE_ID"),
      );
    }
    assert.throws(
      () => authorizeOneOf(),
      (error) => isSpiffeError(error, "ERR_SPIFFE_USAGE"),
    );
  });

  it("what is no SPIFFE ID is told with the option's name, its own reason, and what to write", () => {
    for (const [peer, reason] of [
      ["orders", "id.scheme"],
      ["spiffe://example.org/*", "id.path-character"],
      [[WEB, ""], "id.empty"],
    ] as const) {
      assert.throws(
        () => authorizerFor(peer),
        (error) =>
          isSpiffeError(error, "ERR_SPIFFE_ID") &&
          error.reason === reason &&
          error.message.startsWith('"peer" does not say who must answer: Expected ') &&
          /authorizeIdPrefix/.test(error.hint ?? ""),
      );
    }
    assert.equal(typeof authorizerFor([WEB]), "function");
  });
});

describe("what an authorizer expects, by value", () => {
  it("[S-6] is known of the very function alone, not of one that wraps it or looks like it", () => {
    const own = authorizeId("spiffe://example.org/web");
    assert.equal(typeof expectationOf(own), "string");
    assert.equal(expectationOf(own), expectationOf(authorizeId("spiffe://example.org/web")));
    const refusing = () => refuse("peer.not-authorized", "no");
    for (const other of [
      new Proxy(own, { apply: refusing }),
      Object.setPrototypeOf(() => refusing(), own),
      Object.defineProperties(() => refusing(), Object.getOwnPropertyDescriptors(own)),
      own.bind(undefined),
    ]) {
      assert.equal(expectationOf(other), undefined);
    }
  });
});
