/** A chain, from a file or from a TLS handshake. */
import { accept, refuse, systemClock, type Verdict } from "../../base/index.ts";
import { privateKeyMatchesSync } from "../../crypto/index.ts";
import { decodePem, splitDer } from "../../encoding/index.ts";
import { Certificate } from "../../x509/index.ts";
import { printable } from "../printable.ts";
import { describeCertificate, iso, nameOf, verifyChain } from "./certificate.ts";
import { textOf } from "./input.ts";
import { notVerified, type Outcome, refused, verified } from "./outcome.ts";
import { type TrustOptions, x509Trust } from "./trust.ts";

/** Shows the certificates of a file. Those of CAs alone are a bundle, which nothing has to vouch for. */
export async function inspectCertificates(
  certificates: readonly Uint8Array[],
  options: TrustOptions,
): Promise<Outcome> {
  const parsed = certificates.map((der) => Certificate.safeParse(der));
  if (parsed.length === 0 || !parsed.every((certificate) => certificate.ok && certificate.value.isCa)) {
    return inspectChain(certificates, options);
  }
  const absent = "these are certificates of CAs; a bundle is trusted for where it came from";
  return notVerified(describe(certificates), { absent, failed: false });
}

/** Shows the certificates of a chain, leaf first, and verifies them. */
export async function inspectChain(chain: readonly Uint8Array[], options: TrustOptions): Promise<Outcome> {
  const lines = describe(chain);
  // Form comes first: it can be judged without a bundle.
  const form = await verifyChain(chain, undefined);
  if (!form.ok && form.reason !== "x509.no-bundle") return refused(lines, form);
  const trust = await x509Trust(options);
  if ("absent" in trust) return notVerified(lines, trust);
  const verdict = await verifyChain(chain, trust.source);
  if (!verdict.ok) return refused(lines, verdict);
  const { id, chain: path, expiresAt } = verdict.value;
  return verified(
    lines,
    `${id} by ${nameOf(path.at(-1)!)} in the bundle of ${id.trustDomain}, until ${iso(expiresAt)}`,
  );
}

function describe(chain: readonly Uint8Array[]): string[] {
  const now = systemClock.now();
  return chain.flatMap((der, index) => {
    const certificate = Certificate.safeParse(der);
    const title = `certificate ${index}`;
    if (certificate.ok) return describeCertificate(certificate.value, title, now);
    return [`${title}  can not be read (${certificate.reason}): ${printable(certificate.message)}`];
  });
}

/** Certificates of a PEM file, and what is to say about the private key beside them. */
export function readPem(bytes: Uint8Array): Verdict<{ chain: Uint8Array[]; notes: string[] }> {
  const blocks = decodePem(textOf(bytes));
  if (!blocks.ok) return blocks;
  const chain = blocks.value.filter(({ label }) => label === "CERTIFICATE").map(({ der }) => der);
  const leaf = chain[0] && Certificate.safeParse(chain[0]);
  const notes = blocks.value.flatMap(({ label, der }) => {
    if (label === "CERTIFICATE") return [];
    if (label !== "PRIVATE KEY" || leaf === undefined || !leaf.ok) return [`${label}  not shown`];
    const key = leaf.value.safePublicKey();
    const fits = key.ok && privateKeyMatchesSync(der, key.value);
    return [`private key  not shown; it is ${fits ? "" : "not "}that of certificate 0`];
  });
  return accept({ chain, notes });
}

/** Certificates of a DER file, one after the other. */
export function readDer(bytes: Uint8Array): Verdict<Uint8Array[]> {
  const elements = splitDer(bytes);
  return elements.ok && elements.value.length === 0 ? refuse("x509.chain-empty", "Expected a certificate") : elements;
}
