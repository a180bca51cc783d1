/** Certificates and chains in words, and the verdict on them. */
import type { Verdict } from "../../base/index.ts";
import {
  type Certificate,
  safeVerifyX509Svid,
  type VerifiedX509Svid,
  type X509BundleSource,
} from "../../x509/index.ts";
import { duration } from "../format.ts";
import { printable } from "../printable.ts";

/** Purposes by their object identifiers (RFC 5280 §4.2.1.12). */
const PURPOSES: Readonly<Record<string, string>> = {
  "1.3.6.1.5.5.7.3.1": "serverAuth",
  "1.3.6.1.5.5.7.3.2": "clientAuth",
  "2.5.29.37.0": "any purpose",
};

/** When something ends, seen from now: `ends in 4 min`, `ended 3 s ago`, `begins in 1 h`. */
export function remaining(notBefore: Date | undefined, notAfter: Date, now: number): string {
  if (notBefore !== undefined && notBefore.getTime() > now) return `begins in ${duration(notBefore.getTime() - now)}`;
  const left = notAfter.getTime() - now;
  return left < 0 ? `ended ${duration(-left)} ago` : `ends in ${duration(left)}`;
}

/** Who a certificate is about: its SPIFFE ID, or else its subject. */
export function nameOf(certificate: Certificate): string {
  return certificate.uriSans[0] ?? (certificate.subject.toString() || "(no name)");
}

/** One certificate, a line per property. */
export function describeCertificate(certificate: Certificate, title: string, now: number): string[] {
  const { notBefore, notAfter, keyUsage, extensions } = certificate;
  const purposes = extensions.extKeyUsage?.map((oid) => PURPOSES[oid] ?? oid).join(", ");
  const rights = [[...(keyUsage ?? [])].join(", ") || "no key usage", purposes, certificate.isCa ? "a CA" : "not a CA"];
  const names = [
    ...certificate.uriSans.map((uri) => `URI ${uri}`),
    ...certificate.dnsSans.map((name) => `DNS ${name}`),
  ];
  const lines: [string, string][] = [
    ["subject", certificate.subject.toString() || "(empty)"],
    ["issuer", certificate.issuer.toString()],
    ["names", names.join(", ") || "none"],
    ["serial", certificate.serialNumber],
    ["valid", `${iso(notBefore)} to ${iso(notAfter)}, ${remaining(notBefore, notAfter, now)}`],
    ["key", `${keyInWords(certificate)}, signed with ${algorithmInWords(certificate)}`],
    ["usage", rights.filter((part) => part !== undefined).join("; ")],
  ];
  return [title, ...lines.map(([name, value]) => `  ${name.padEnd(9)} ${printable(value)}`)];
}

/** Verifies a chain; without bundles only its form can be judged. */
export function verifyChain(
  chain: readonly (Certificate | Uint8Array)[],
  bundles: X509BundleSource | undefined,
): Promise<Verdict<VerifiedX509Svid>> {
  return safeVerifyX509Svid(chain, bundles ?? { x509BundleFor: () => undefined });
}

/** A peer that was verified, a line for it, for each certificate it presented, and for the authority that vouches. */
export async function describePeer(chain: readonly Certificate[], bundles: X509BundleSource): Promise<string[]> {
  const verdict = await verifyChain(chain, bundles);
  const lines = chain.map((certificate, index) => {
    const what = `${printable(nameOf(certificate))}  serial ${certificate.serialNumber}  until ${iso(certificate.notAfter)}`;
    return `${(index === 0 ? "chain" : "").padEnd(10)} ${what}`;
  });
  if (!verdict.ok) return lines;
  const authority = verdict.value.chain.at(-1)!;
  return [
    `peer       ${verdict.value.id}`,
    ...lines,
    `trusted    ${printable(nameOf(authority))}  serial ${authority.serialNumber}  in the bundle of ${verdict.value.id.trustDomain}`,
  ];
}

function keyInWords(certificate: Certificate): string {
  const key = certificate.safePublicKey();
  if (!key.ok) return `unusable (${key.message})`;
  const { kind, curve, bits } = key.value;
  return [kind === "ed25519" ? "Ed25519" : kind.toUpperCase(), curve ?? bits]
    .filter((part) => part !== undefined)
    .join(" ");
}

function algorithmInWords({ signatureAlgorithm }: Certificate): string {
  if (signatureAlgorithm === undefined) return "an algorithm that is not accepted";
  const { family } = signatureAlgorithm;
  return "hash" in signatureAlgorithm ? `${family} ${signatureAlgorithm.hash}` : family;
}

/** A moment without the fraction that certificates do not have. */
export function iso(date: Date): string {
  return date.toISOString().replace(".000Z", "Z");
}
