/**
 * x509-limbo: certification paths.
 *
 * The leaves of x509-limbo have host names and no SPIFFE ID, so they go to what verifies X.509-SVIDs after the ID was read:
 * the rules for leaves and the path search.
 */
import type { Verdict } from "../../src/base/index.ts";
import type { Checks } from "../../src/crypto/index.ts";
import { decodePem } from "../../src/encoding/index.ts";
import { TrustDomain } from "../../src/id/index.ts";
import { type Certificate, X509Bundle } from "../../src/x509/index.ts";
import { checkEndEntity } from "../../src/x509/leaf.ts";
import { findPath } from "../../src/x509/path/search.ts";
import { parseChain } from "../../src/x509/svid.ts";
import { drive, type VectorCase } from "./set.ts";

interface LimboFile {
  readonly testcases: readonly {
    readonly id: string;
    readonly trusted_certs: readonly string[];
    readonly untrusted_intermediates: readonly string[];
    readonly peer_certificate: string;
    readonly validation_time: string | null;
    readonly expected_result: string;
  }[];
}

/** The set's own date, for cases that name no time. */
const DATE = Date.UTC(2023, 11, 2);

/** Purposes and key usage of web servers are not those of SVIDs. */
const LENIENT = { lenientPeerKeyUsage: true, lenientPeerExtKeyUsage: true } as const;

const VERDICTS: Readonly<Record<string, string>> = { SUCCESS: "accept", FAILURE: "refuse" };

export function limboCases(file: string, data: unknown): VectorCase[] {
  return (data as LimboFile).testcases.map((one) => ({
    id: `${file}#${one.id}`,
    expected: VERDICTS[one.expected_result] ?? one.expected_result,
    async judge(verifier) {
      const verdict = await drive(pathVerdict(one), verifier);
      return verdict.ok ? { accepted: true, text: "accepted" } : { accepted: false, text: verdict.reason };
    },
  }));
}

function* pathVerdict(one: LimboFile["testcases"][number]): Checks<Verdict<readonly Certificate[]>> {
  const presented = parseChain([one.peer_certificate, ...one.untrusted_intermediates].map(derOf));
  if (!presented.ok) return presented;
  const anchors = parseChain(one.trusted_certs.map(derOf));
  if (!anchors.ok) return anchors;
  const bundle = new X509Bundle(TrustDomain.parse("example.org"), anchors.value);
  const anchorsNamed = bundle.authoritiesNamed.bind(bundle);
  const now = one.validation_time === null ? DATE : Date.parse(one.validation_time);
  return (
    checkEndEntity(presented.value[0]!, LENIENT) ?? (yield* findPath({ presented: presented.value, anchorsNamed, now }))
  );
}

function derOf(pem: string): Uint8Array {
  const blocks = decodePem(pem);
  if (!blocks.ok || blocks.value.length !== 1) throw new Error("Expected one PEM block");
  return blocks.value[0]!.der;
}
