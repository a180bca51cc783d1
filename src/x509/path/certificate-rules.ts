/** What every certificate of a path must be on its own, whatever stands above it (RFC 5280 §6.1.3, §6.1.4). */
import { type Refusal, refuse } from "../../base/index.ts";
import { type Certificate, fieldsOf } from "../certificate.ts";

/** Checks a trust anchor; its own signature says nothing and is not looked at (X509-38, S-15). */
export function checkAnchor(anchor: Certificate, now: number): Refusal | undefined {
  const usage = fieldsOf(anchor).extensions.keyUsage;
  if (!anchor.isCa) return refuse("x509.not-ca", "Expected the trusted authority to be a CA certificate (X509-08)");
  if (usage !== undefined && !usage.has("keyCertSign")) {
    return refuse("x509.key-usage", "Expected keyCertSign in the trusted authority's key usage (X509-08)");
  }
  const fault = checkCritical(anchor) ?? checkTime(anchor, now);
  if (fault !== undefined) return fault;
  // last, as decoding it costs most
  const key = anchor.safePublicKey();
  return key.ok ? undefined : key;
}

/**
 * Checks a presented certificate, as far as it costs nothing; its key is looked at when its signature has verified.
 *
 * @param index its place in the chain; 0 is the leaf, every other one has to be an authority
 */
export function checkPresented(certificate: Certificate, index: number, now: number): Refusal | undefined {
  const fault =
    checkTime(certificate, now) ??
    checkCritical(certificate) ??
    (index === 0 ? undefined : checkAuthority(certificate)) ??
    checkSigned(certificate);
  return fault && { ...fault, index };
}

function checkTime(certificate: Certificate, now: number): Refusal | undefined {
  switch (certificate.validityAt(now)) {
    case "within":
      return undefined;
    case "before":
      return refuse(
        "x509.not-yet-valid",
        `Expected a valid certificate, but it begins at ${certificate.notBefore.toISOString()}`,
      );
    case "after":
      return refuse(
        "x509.expired",
        `Expected a valid certificate, but it ended at ${certificate.notAfter.toISOString()}`,
      );
  }
}

function checkCritical(certificate: Certificate): Refusal | undefined {
  const { unknownCritical } = fieldsOf(certificate).extensions;
  if (unknownCritical === undefined) return undefined;
  return refuse(
    "x509.critical-extension",
    `Expected no critical extension ${unknownCritical}, which is not understood`,
  );
}

function checkAuthority(certificate: Certificate): Refusal | undefined {
  if (!certificate.isCa) return refuse("x509.not-ca", "Expected an intermediate to be a CA certificate (X509-08)");
  if (!fieldsOf(certificate).extensions.keyUsage?.has("keyCertSign")) {
    return refuse("x509.key-usage", "Expected keyCertSign in an intermediate's key usage (X509-08)");
  }
  return undefined;
}

function checkSigned(certificate: Certificate): Refusal | undefined {
  if (certificate.issuer.isEmpty) return refuse("x509.malformed", "Expected an issuer name that is not empty");
  if (certificate.signatureAlgorithm !== undefined) return undefined;
  return refuse("x509.algorithm", "Expected a signature by ECDSA, RSA or Ed25519 with SHA-2 (S-15)");
}
