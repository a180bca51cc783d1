/**
 * Every stable error code and every verdict reason of the project, in one place.
 *
 * Codes are what a program switches on; reasons say which rule a refused input broke. Both are part of the public
 * surface: an entry is added, never renamed.
 */

/** Stable error codes, by area. */
export const ERROR_CODES = [
  // configuration and usage
  "ERR_SPIFFE_CONFIG",
  "ERR_SPIFFE_USAGE",
  "ERR_SPIFFE_PERMISSION",
  "ERR_SPIFFE_PORT_IN_USE",
  // parsing
  "ERR_SPIFFE_ID",
  "ERR_SPIFFE_ENCODING",
  "ERR_SPIFFE_X509_SVID",
  "ERR_SPIFFE_JWT_SVID",
  "ERR_SPIFFE_BUNDLE",
  "ERR_SPIFFE_KEY",
  // verification
  "ERR_SPIFFE_X509_VERIFY",
  "ERR_SPIFFE_JWT_VERIFY",
  "ERR_SPIFFE_BACKEND",
  // Workload API
  "ERR_SPIFFE_ENDPOINT",
  "ERR_SPIFFE_WORKLOAD_API",
  "ERR_SPIFFE_NO_IDENTITY",
  "ERR_SPIFFE_NOT_READY",
  "ERR_SPIFFE_EXPIRED",
  "ERR_SPIFFE_REVOKED",
  "ERR_SPIFFE_CLOSED",
  "ERR_SPIFFE_TIMEOUT",
  "ERR_SPIFFE_ABORTED",
  // TLS, policy and gateway
  "ERR_SPIFFE_TLS",
  "ERR_SPIFFE_PEER_REFUSED",
  "ERR_SPIFFE_NO_PEER",
  "ERR_SPIFFE_DENIED",
  "ERR_SPIFFE_NO_LISTENER",
  "ERR_SPIFFE_REQUEST",
  "ERR_SPIFFE_UPSTREAM",
  // embedded authority
  "ERR_SPIFFE_AUTHORITY",
  "ERR_SPIFFE_INTERNAL",
] as const;

/** A stable error code, such as `ERR_SPIFFE_ID`. */
export type ErrorCode = (typeof ERROR_CODES)[number];

/** Why an input was refused, dotted lower case; a closed list. */
export const REASONS = [
  // SPIFFE ID (SPIFFE-ID §2)
  "id.empty",
  "id.too-long",
  "id.scheme",
  "id.trust-domain-missing",
  "id.trust-domain-too-long",
  "id.trust-domain-character",
  "id.path-character",
  "id.path-empty-segment",
  "id.path-dot-segment",
  "id.path-trailing-slash",
  "id.not-member",
  "id.not-allowed",
  // encodings
  "encoding.too-large",
  "encoding.too-deep",
  "encoding.der",
  "encoding.base64",
  "encoding.pem",
  "encoding.utf8",
  "encoding.json",
  "encoding.json-duplicate",
  // keys and signatures
  "key.unsupported",
  "key.invalid",
  "key.weak",
  "key.not-on-curve",
  "key.mismatch",
  // certificates (X509-SVID, RFC 5280)
  "x509.malformed",
  "x509.too-large",
  "x509.chain-empty",
  "x509.chain-too-large",
  "x509.no-uri-san",
  "x509.several-uri-sans",
  "x509.id",
  "x509.leaf-root-path",
  "x509.leaf-is-ca",
  "x509.leaf-key-usage",
  "x509.leaf-ext-key-usage",
  "x509.subject-empty-san-not-critical",
  "x509.no-bundle",
  "x509.no-path",
  "x509.signature",
  "x509.algorithm",
  "x509.algorithm-mismatch",
  "x509.expired",
  "x509.not-yet-valid",
  "x509.not-ca",
  "x509.key-usage",
  "x509.path-length",
  "x509.name-constraints",
  "x509.critical-extension",
  "x509.work-limit",
  "x509.signer-id",
  "x509.key-mismatch",
  "x509.id-mismatch",
  // tokens (JWT-SVID, RFC 7515, RFC 7519)
  "jwt.malformed",
  "jwt.too-large",
  "jwt.algorithm",
  "jwt.header",
  "jwt.type",
  "jwt.critical",
  "jwt.subject",
  "jwt.audience",
  "jwt.audience-missing",
  "jwt.expiry-missing",
  "jwt.expired",
  "jwt.not-yet-valid",
  "jwt.claim",
  "jwt.no-bundle",
  "jwt.key-not-found",
  "jwt.key-type",
  "jwt.signature",
  // bundles
  "bundle.malformed",
  "bundle.too-large",
  "bundle.trust-domain",
  "bundle.no-keys",
  "bundle.sequence",
  // Workload API answers
  "workload.field-missing",
  "workload.no-svid",
  "workload.revoked",
  "workload.unavailable",
  "workload.too-large",
  // peers and connections
  "peer.no-certificate",
  "peer.not-authorized",
  "peer.own-identity-lost",
  "peer.own-expired",
  "peer.max-age",
  "peer.stream-resets",
  "peer.throttled",
  "peer.too-many-connections",
  "peer.session-reused",
  "peer.internal",
  // requests
  "request.target",
  "request.method",
  "request.framing",
  "request.authority",
  "request.authorization",
  "request.no-credentials",
  "request.too-large",
  "request.no-route",
  "request.misdirected",
  "request.rate-limited",
  "request.client-cert",
  "request.upgrade",
  "request.grpc-timeout",
  "request.proxy-header",
  // upstreams of the gateway
  "upstream.unreachable",
  "upstream.identity",
  "upstream.timeout",
  "upstream.aborted",
  "upstream.breaker-open",
  "upstream.unhealthy",
  // policy
  "policy.allowed",
  "policy.denied",
  "policy.default-deny",
  "policy.authorizer-denied",
  "policy.authorizer-timeout",
  "policy.authorizer-unreachable",
  "policy.authorizer-status",
  "policy.authorizer-redirect",
  "policy.authorizer-answer",
  "policy.no-rules",
  "policy.truncated",
] as const;

/** A verdict reason, such as `x509.expired`. */
export type Reason = (typeof REASONS)[number];
