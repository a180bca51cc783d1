/** What a leaf certificate must be to name a workload (X509-SVID §2 to §5, S-12). */
import { type Refusal, refuse, type Verdict } from "../base/index.ts";
import { SpiffeId } from "../id/index.ts";
import { type Certificate, fieldsOf } from "./certificate.ts";

/** What of a peer's leaf may be missing; each relaxes one of the strict defaults of S-12. */
export interface LeafLeniency {
  /** Takes a leaf without critical key usage or without `digitalSignature` (X509-17, X509-18). */
  readonly lenientPeerKeyUsage?: true | undefined;
  /** Takes a leaf whose extended key usage lacks `serverAuth` or `clientAuth` (X509-23). */
  readonly lenientPeerExtKeyUsage?: true | undefined;
}

const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";

/**
 * The SPIFFE ID of a certificate: its one URI name.
 *
 * Says nothing about trust, nor whether the certificate is a leaf.
 *
 * @returns the ID, or a refusal: `x509.no-uri-san`, `x509.several-uri-sans`, `x509.id`
 * @example
 * ```ts
 * import { type Certificate, spiffeIdOf } from "spiffe-edge";
 * function show(certificate: Certificate): string {
 *   const id = spiffeIdOf(certificate);
 *   return id.ok ? id.value.uri : `no SPIFFE ID: ${id.message}`;
 * }
 * console.assert(typeof show === "function");
 * ```
 */
export function spiffeIdOf(certificate: Certificate): Verdict<SpiffeId> {
  let uri: Uint8Array | undefined;
  for (const name of fieldsOf(certificate).extensions.names ?? []) {
    if (name.kind !== "uri") continue;
    if (uri !== undefined)
      return refuse("x509.several-uri-sans", "Expected one URI name, but there are several (X509-02)");
    uri = name.value;
  }
  if (uri === undefined) return refuse("x509.no-uri-san", "Expected a URI name with the SPIFFE ID, but there is none");
  const id = SpiffeId.safeParse(uri);
  return id.ok ? id : refuse("x509.id", `Expected the URI name to be a SPIFFE ID. ${id.message}`);
}

/**
 * Checks a certificate against the rules for leaves and returns its SPIFFE ID; the key is not looked at.
 *
 * @param leaf the certificate that speaks for the workload
 * @param leniency nothing for own certificates; a verifier's choice for those of peers
 */
export function checkLeaf(leaf: Certificate, leniency: LeafLeniency = {}): Verdict<SpiffeId> {
  const id = spiffeIdOf(leaf);
  if (!id.ok) return id;
  if (id.value.path === "") {
    return refuse(
      "x509.leaf-root-path",
      "Expected an ID with a path; a trust domain's own ID names no workload (X509-34)",
    );
  }
  const refusal = checkEndEntity(leaf, leniency);
  return refusal ?? id;
}

/** The rules for leaves that are not about the ID; a refusal, or `undefined`. */
export function checkEndEntity(leaf: Certificate, leniency: LeafLeniency): Refusal | undefined {
  const { extensions } = fieldsOf(leaf);
  if (extensions.ca) return refuse("x509.leaf-is-ca", "Expected a leaf, but the certificate is a CA's (X509-13)");
  if (extensions.nameConstraints !== undefined) {
    return refuse("x509.leaf-is-ca", "Expected a leaf, but the certificate has name constraints as only a CA's may");
  }
  const usage = extensions.keyUsage;
  if (usage?.has("keyCertSign") || usage?.has("cRLSign")) {
    return refuse("x509.leaf-key-usage", "Expected a leaf without keyCertSign and cRLSign (X509-32)");
  }
  if (leniency.lenientPeerKeyUsage !== true && !(usage?.has("digitalSignature") && extensions.keyUsageCritical)) {
    return refuse("x509.leaf-key-usage", "Expected a critical key usage with digitalSignature (X509-17, X509-18)");
  }
  const purposes = extensions.extKeyUsage;
  const both = purposes === undefined || (purposes.includes(SERVER_AUTH) && purposes.includes(CLIENT_AUTH));
  if (leniency.lenientPeerExtKeyUsage !== true && !both) {
    return refuse("x509.leaf-ext-key-usage", "Expected serverAuth and clientAuth in the extended key usage (X509-23)");
  }
  if (leaf.subject.isEmpty && !extensions.namesCritical) {
    const message = "Expected critical alternative names beside an empty subject (X509-07)";
    return refuse("x509.subject-empty-san-not-critical", message);
  }
  return undefined;
}
