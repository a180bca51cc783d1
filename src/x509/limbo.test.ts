import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { skipMissing } from "../../test/support/skip.ts";
import type { Verdict } from "../base/index.ts";
import { type Checks, runChecksSync } from "../crypto/index.ts";
import { readVectors, vectorsMissing } from "../crypto/vectors.testing.ts";
import { decodePem } from "../encoding/pem.ts";
import { TrustDomain } from "../id/index.ts";
import { X509Bundle } from "./bundle.ts";
import type { Certificate } from "./certificate.ts";
import { summary } from "./judge.testing.ts";
import { checkEndEntity } from "./leaf.ts";
import { findPath } from "./path/search.ts";
import { parseChain } from "./svid.ts";

interface Case {
  readonly id: string;
  readonly trusted_certs: readonly string[];
  readonly untrusted_intermediates: readonly string[];
  readonly peer_certificate: string;
  readonly validation_time: string | null;
  readonly expected_result: "SUCCESS" | "FAILURE";
}

/** The set's own date, for cases that name no time. */
const DATE = Date.UTC(2023, 11, 2);

/** Cases that are refused in the set and accepted here, by reason. */
const ACCEPTED_HERE: Readonly<Record<string, readonly string[]>> = {
  "host names: a SPIFFE ID takes their place (X509-39)": [
    "webpki::san::mismatch-domain-san",
    "webpki::san::mismatch-subdomain-san",
    "webpki::san::mismatch-subdomain-apex-san",
    "webpki::san::mismatch-apex-subdomain-san",
    "webpki::san::public-suffix-wildcard-san",
    "webpki::san::wildcard-embedded-leftmost-san",
    "webpki::san::wildcard-not-in-leftmost-san",
    "webpki::san::wildcard-match-across-labels-san",
    "webpki::san::wildcard-embedded-ulabel-san",
    "webpki::san::no-san",
    "webpki::san::san-critical-with-nonempty-subject",
  ],
  "purposes: a leaf's are judged by the rules for leaves (X509-23), a CA's are not (X509-24)": [
    "rfc5280::eku::ee-wrong-eku",
    "webpki::eku::ee-anyeku",
    "webpki::eku::ee-critical-eku",
    "webpki::eku::ee-without-eku",
    "webpki::eku::root-has-eku",
  ],
  "key identifiers are a hint, whether there or not": [
    "rfc5280::aki::leaf-missing-aki",
    "rfc5280::aki::intermediate-missing-aki",
    "rfc5280::aki::cross-signed-root-missing-aki",
    "rfc5280::ski::root-missing-ski",
    "rfc5280::ski::intermediate-missing-ski",
    "webpki::aki::root-with-aki-missing-keyidentifier",
    "webpki::aki::root-with-aki-authoritycertissuer",
    "webpki::aki::root-with-aki-authoritycertserialnumber",
    "webpki::aki::root-with-aki-all-fields",
    "webpki::aki::root-with-aki-ski-mismatch",
  ],
  "an option for the longest chain, which there is none": [
    "pathlen::max-chain-depth-0-exhausted",
    "pathlen::max-chain-depth-1-exhausted",
  ],
  "the anchor's issuer is empty; an anchor's own signature and issuer are not looked at (X509-38)": [
    "rfc5280::ee-empty-issuer",
  ],
  "rules for issuers that change no decision: what is not critical is honoured all the same, a serial number may be zero":
    [
      "rfc5280::nc::permitted-dns-match-noncritical",
      "rfc5280::root-non-critical-basic-constraints",
      "rfc5280::serial::zero",
    ],
  "web PKI rules about what is not read: version 2 without extensions, authority information access": [
    "webpki::v1-cert",
    "webpki::malformed-aia",
  ],
};

/** Cases that are accepted in the set and refused here, by requirement. */
const REFUSED_HERE: Readonly<Record<string, readonly string[]>> = {
  "X509-13: the leaf is a CA certificate": ["pathlen::validation-ignores-pathlen-in-leaf"],
};

/** The most cases that may be judged otherwise than by the set. */
const CEILING = 35;

function* judgement(
  presented: readonly Certificate[],
  anchors: readonly Certificate[],
  now: number,
): Checks<Verdict<unknown>> {
  const bundle = new X509Bundle(TrustDomain.parse("example.org"), anchors);
  const lenient = { lenientPeerKeyUsage: true, lenientPeerExtKeyUsage: true } as const;
  const refusal = checkEndEntity(presented[0]!, lenient);
  return refusal ?? (yield* findPath({ presented, anchorsNamed: (name) => bundle.authoritiesNamed(name), now }));
}

function judge(one: Case): string {
  const der = (pem: string) => {
    const blocks = decodePem(pem);
    assert.ok(blocks.ok && blocks.value.length === 1);
    return blocks.value[0]!.der;
  };
  const presented = parseChain([one.peer_certificate, ...one.untrusted_intermediates].map(der));
  if (!presented.ok) return summary(presented);
  const anchors = parseChain(one.trusted_certs.map(der));
  if (!anchors.ok) return summary(anchors);
  const now = one.validation_time === null ? DATE : Date.parse(one.validation_time);
  return summary(runChecksSync(judgement(presented.value, anchors.value, now)));
}

describe("x509-limbo", () => {
  const title = "[X509-30] [X509-37] every case has the set's verdict, or is listed with a reason";
  it(title, skipMissing(title, vectorsMissing), () => {
    const { testcases } = readVectors<{ testcases: Case[] }>("x509-limbo/limbo.json");
    const listed = new Set([...Object.values(ACCEPTED_HERE), ...Object.values(REFUSED_HERE)].flat());
    const refusedHere = new Set(Object.values(REFUSED_HERE).flat());
    const counts = { accepted: 0, refused: 0, listed: 0 };
    for (const one of testcases) {
      const verdict = judge(one);
      const expected = one.expected_result === "SUCCESS" ? "accepted" : "refused";
      const given = verdict === "accepted" ? "accepted" : "refused";
      if (!listed.has(one.id)) {
        assert.equal(given, expected, `${one.id}: ${verdict}`);
        counts[given]++;
        continue;
      }
      assert.notEqual(given, expected, `${one.id} is listed as judged otherwise, but is not`);
      assert.equal(given, refusedHere.has(one.id) ? "refused" : "accepted", one.id);
      counts.listed++;
    }
    console.log(`x509-limbo: ${testcases.length} cases, ${JSON.stringify(counts)}`);
    assert.equal(counts.listed, listed.size);
    assert.ok(counts.listed <= CEILING);
  });
});
