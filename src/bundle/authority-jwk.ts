/** X.509 authorities as elements of a SPIFFE bundle (X509-SVID §6). */
import { accept, refuse, type Verdict } from "../base/index.ts";
import type { PublicJwk } from "../crypto/index.ts";
import { decodeBase64, encodeBase64 } from "../encoding/base64.ts";
import type { JsonObject } from "../encoding/strict-json.ts";
import { Certificate } from "../x509/index.ts";

/** An authority's JWK: the certificate, and its key once more. */
export type AuthorityJwk = PublicJwk & { use: "x509-svid"; x5c: [string] };

const KEY_TYPES: ReadonlySet<unknown> = new Set(["EC", "RSA", "OKP"]);
const PRIVATE_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/**
 * Takes the CA certificate out of an element. The certificate counts; a key beside it that differs is only worth a
 * warning (X509-57).
 */
export function readAuthority(element: JsonObject, warn: (message: string) => void): Verdict<Certificate> {
  const { kty, x5c } = element;
  if (!KEY_TYPES.has(kty)) return refuse("bundle.malformed", 'Expected "kty" to be EC, RSA or OKP');
  if (PRIVATE_MEMBERS.some((name) => Object.hasOwn(element, name))) {
    return refuse("key.invalid", "Expected a public JWK, but it holds private parameters");
  }
  const first = Array.isArray(x5c) ? x5c[0] : undefined;
  if (typeof first !== "string") return refuse("bundle.malformed", 'Expected "x5c" to hold a certificate');
  const der = decodeBase64(first);
  if (!der.ok) return der;
  const certificate = Certificate.safeParse(der.value);
  if (!certificate.ok) return certificate;
  if (!certificate.value.isCa) return refuse("x509.not-ca", 'Expected "x5c" to hold a CA certificate');
  const key = certificate.value.safePublicKey();
  if (!key.ok) return key;
  if ((x5c as unknown[]).length > 1) warn('Expected "x5c" to hold one certificate, took the first');
  // base64url has one text per octets, so the key beside it need not be decoded, which for thousands takes long
  if (Object.entries(key.value.toJwk()).some(([name, value]) => element[name] !== value)) {
    warn("Expected the JWK's key to be the certificate's, took the certificate");
  }
  return accept(certificate.value);
}

/**
 * Writes an authority as a JWK.
 *
 * @throws SpiffeError `ERR_SPIFFE_KEY` when the certificate's key is of a kind that no JWK can say
 */
export function authorityJwk(certificate: Certificate): AuthorityJwk {
  return { ...certificate.publicKey.toJwk(), use: "x509-svid", x5c: [encodeBase64(certificate.der)] };
}
