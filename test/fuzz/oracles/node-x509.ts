/** The runtime's own `X509Certificate`: it knows links between two certificates, so whole paths are put together here. */
import { X509Certificate } from "node:crypto";
import type { ChainCase } from "../chains.ts";
import { ACCEPTED, type Opinion, refused } from "./oracle.ts";

function parse(der: Uint8Array): X509Certificate | undefined {
  try {
    return new X509Certificate(der);
  } catch {
    return undefined;
  }
}

/** Deno's `verify` knows neither P-521 nor RSA-PSS, its `checkIssued` wants key identifiers of both where one has them. */
const knowsLess = process.versions.deno !== undefined;

/** Whether one certificate names the other as its issuer and carries a signature of its key. */
function isLinked(below: X509Certificate, above: X509Certificate): boolean {
  try {
    const issued = knowsLess ? below.issuer === above.subject : below.checkIssued(above);
    return issued && below.verify(above.publicKey);
  } catch {
    return false;
  }
}

/**
 * Whether links lead from the leaf to an authority; dates, constraints and usages play no part. No opinion where the
 * runtime can not check the signatures.
 */
export function nodeOpinion({ leaf, others, anchors, notes }: ChainCase): Opinion | undefined {
  if (knowsLess && (notes.has("p-521") || notes.has("rsa-pss"))) return undefined;
  const first = parse(leaf);
  if (first === undefined) return refused("the leaf can not be read");
  const trusted = anchors.map(parse).filter((one) => one !== undefined);
  const waiting = others.map(parse).filter((one) => one !== undefined);
  const reached = [first];
  for (const below of reached) {
    if (trusted.some((anchor) => isLinked(below, anchor))) return ACCEPTED;
    for (let i = waiting.length - 1; i >= 0; i--)
      if (isLinked(below, waiting[i]!)) reached.push(...waiting.splice(i, 1));
  }
  return refused(`no links to an authority from ${reached.length} certificates`);
}

/**
 * What speaks against a path that was accepted, leaf first and authority last, as far as the runtime can read it.
 *
 * @param now milliseconds since the epoch
 */
export function pathOpinion(path: readonly Uint8Array[], now: number): Opinion {
  const read: X509Certificate[] = [];
  for (const [index, der] of path.entries()) {
    const one = parse(der);
    if (one === undefined) return refused(`certificate ${index} can not be read`);
    read.push(one);
  }
  for (const [index, one] of read.entries()) {
    const above = read[index + 1];
    if (above !== undefined && one.issuer !== above.subject)
      return refused(`certificate ${index} names another issuer`);
    if (above !== undefined && isUnsigned(one, above)) return refused(`certificate ${index} has no valid signature`);
    if (Date.parse(one.validFrom) > now || Date.parse(one.validTo) < now)
      return refused(`certificate ${index} is not valid`);
    if (one.ca !== index > 0) return refused(`certificate ${index} is ${one.ca ? "a" : "no"} CA`);
  }
  const misuse = leafMisuse(read[0]?.keyUsage as unknown as string[] | undefined);
  if (misuse !== undefined) return refused(misuse);
  const uris = read[0]?.subjectAltName?.match(/(?:^|, )URI:/g)?.length ?? 0;
  return uris === 1 ? ACCEPTED : refused(`the leaf has ${uris} URI names`);
}

/** What Node and Bun call `keyUsage` are the purposes of extended key usage; in Deno it is what the name says. */
function leafMisuse(keyUsage: readonly string[] | undefined): string | undefined {
  if (process.versions.deno === undefined) {
    const purposes = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"];
    return keyUsage === undefined || purposes.every((one) => keyUsage.includes(one))
      ? undefined
      : "the leaf lacks a purpose";
  }
  if (keyUsage?.includes("DigitalSignature") !== true) return "the leaf may not sign";
  return keyUsage.some((one) => /^(?:KeyCert|CRL)Sign$/i.test(one)) ? "the leaf signs as an authority does" : undefined;
}

const PSS_OID = "1.2.840.113549.1.1.10";

function isUnsigned(below: X509Certificate, above: X509Certificate): boolean {
  const { namedCurve } = above.publicKey.asymmetricKeyDetails ?? {};
  if (knowsLess && (below.signatureAlgorithmOid === PSS_OID || /521/.test(namedCurve ?? ""))) return false;
  return !below.verify(above.publicKey);
}
