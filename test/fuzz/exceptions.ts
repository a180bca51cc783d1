/**
 * Where others judge otherwise than this project, and why: closed lists. A difference that is not here is a finding.
 *
 * `where` names what a case must have for an entry to count: flaws and notes of chains.ts, chain-flaws.ts, token-flaws.ts.
 */

export type Oracle = "openssl" | "node" | "pkijs" | "jose";

/** Accepted here, refused by an oracle. */
export interface AcceptedHere {
  readonly oracle: Oracle;
  /** The oracle's words. */
  readonly says: RegExp;
  readonly where?: readonly string[];
  readonly why: string;
}

/** Refused here, accepted by oracles. */
export interface RefusedHere {
  /** The requirement or security rule that asks for the refusal. */
  readonly requirement: string;
  readonly reasons: readonly string[];
  readonly oracles: readonly Oracle[];
  readonly where?: readonly string[];
  readonly why: string;
}

/** Whether an entry speaks of a refusal in these words, of a case with these traits. */
export function isListed({ says, where = [] }: AcceptedHere, words: string, traits: readonly string[]): boolean {
  return says.test(words) && where.every((trait) => traits.includes(trait));
}

const HINT = "key identifiers are a hint (RFC 5280 §4.2.1.1), for the oracle a condition";
const NO_RETREAT = "the oracle takes the first issuer of a name and does not come back to try the other one";

export const ACCEPTED_HERE: readonly AcceptedHere[] = [
  { oracle: "openssl", says: /^20 /, where: ["wrong-key-identifier"], why: HINT },
  { oracle: "openssl", says: /^(?:7|20) /, where: ["same-name"], why: NO_RETREAT },
  {
    oracle: "openssl",
    says: /^10 /,
    where: ["to-the-moment"],
    why: "the last second belongs to the validity (RFC 5280 §4.1.2.5), not for openssl",
  },
  { oracle: "node", says: /^no links/, where: ["wrong-key-identifier"], why: HINT },
  {
    oracle: "node",
    says: /can not be read$|no CA$|URI names$/,
    where: ["unread-name"],
    why: "a value of another type in a name is kept unread, and constraints refuse it on doubt (S-16)",
  },
  { oracle: "pkijs", says: /^No valid certificate paths/, where: ["wrong-key-identifier"], why: HINT },
  { oracle: "pkijs", says: /^No valid certificate paths/, where: ["ed25519"], why: "pkijs knows no Ed25519" },
  {
    oracle: "pkijs",
    says: /^No valid certificate paths/,
    where: ["partial"],
    why: "pkijs goes on to the issuer of a trusted authority (X509-38)",
  },
  { oracle: "pkijs", says: /^No valid certificate paths|^Incorrect name/, where: ["same-name"], why: NO_RETREAT },
  {
    oracle: "pkijs",
    says: /^No valid certificate paths|^Incorrect name/,
    where: ["shared-key"],
    why: "pkijs takes an issuer by its key identifier alone, whatever its name",
  },
  { oracle: "pkijs", says: /expired$/, where: ["expired-twin"], why: NO_RETREAT },
  {
    oracle: "pkijs",
    says: /"excluded sub-trees"/,
    where: ["nameless-under-directory-constraint"],
    why: "an empty name is below no excluded one (RFC 5280 §4.2.1.10), for pkijs below every one",
  },
  {
    oracle: "jose",
    says: /^ERR_JWKS_MULTIPLE_MATCHING_KEYS/,
    why: "a token without kid is tried with each key that fits, at most 8 (JWT-05); jose leaves that to its caller",
  },
];

const X509_ORACLES = ["openssl", "node", "pkijs"] as const;

export const REFUSED_HERE: readonly RefusedHere[] = [
  // what X509-SVID asks beyond RFC 5280
  { requirement: "X509-01", reasons: ["x509.no-uri-san"], oracles: X509_ORACLES, why: "an SVID has a URI name" },
  { requirement: "X509-02", reasons: ["x509.several-uri-sans"], oracles: X509_ORACLES, why: "and only one" },
  { requirement: "X509-33", reasons: ["x509.id"], oracles: X509_ORACLES, why: "which is a SPIFFE ID" },
  { requirement: "X509-34", reasons: ["x509.leaf-root-path"], oracles: X509_ORACLES, why: "with a path" },
  { requirement: "X509-13", reasons: ["x509.leaf-is-ca"], oracles: X509_ORACLES, why: "an authority is no workload" },
  {
    requirement: "X509-17",
    reasons: ["x509.leaf-key-usage"],
    oracles: X509_ORACLES,
    why: "a leaf has critical key usage with digitalSignature, without keyCertSign and cRLSign (S-12)",
  },
  {
    requirement: "X509-23",
    reasons: ["x509.leaf-ext-key-usage"],
    oracles: X509_ORACLES,
    why: "a leaf with purposes has both (S-12)",
  },
  { requirement: "X509-36", reasons: ["x509.no-bundle"], oracles: X509_ORACLES, why: "oracles know no trust domains" },
  // what is wanted of RFC 5280 and goes unchecked there
  {
    requirement: "X509-07",
    reasons: ["x509.subject-empty-san-not-critical"],
    oracles: X509_ORACLES,
    why: "names beside an empty subject are critical (RFC 5280 §4.2.1.6)",
  },
  {
    requirement: "X509-33",
    reasons: ["x509.malformed"],
    oracles: X509_ORACLES,
    where: ["no-spiffe-id"],
    why: "a URI name is IA5String: no byte above 7F",
  },
  {
    requirement: "X509-37",
    reasons: ["x509.malformed"],
    oracles: X509_ORACLES,
    where: ["names-without-a-name"],
    why: "an alternative names extension holds a name (RFC 5280 §4.2.1.6)",
  },
  ...["unknown-critical-extension", "authority-with-unknown-critical-extension"].map(
    (flaw): RefusedHere => ({
      requirement: "X509-37",
      reasons: ["x509.malformed"],
      oracles: X509_ORACLES,
      where: [flaw],
      why: "no extension comes twice (RFC 5280 §4.2), as it does when this flaw is chosen twice",
    }),
  ),
  {
    requirement: "X509-37",
    reasons: ["x509.malformed"],
    oracles: X509_ORACLES,
    where: ["other-issuer-name"],
    why: "an issuer's name is not empty (RFC 5280 §4.1.2.4), also of a certificate that the path does not need",
  },
  {
    requirement: "X509-37",
    reasons: ["x509.malformed"],
    oracles: X509_ORACLES,
    where: ["long-serial"],
    why: "a serial number has at most 20 octets (RFC 5280 §4.1.2.2)",
  },
  {
    requirement: "X509-37",
    reasons: ["x509.malformed"],
    oracles: X509_ORACLES,
    where: ["negative-serial"],
    why: "a serial number is positive (RFC 5280 §4.1.2.2)",
  },
  {
    requirement: "X509-08",
    reasons: ["x509.key-usage"],
    oracles: X509_ORACLES,
    where: ["intermediate-signs-nothing"],
    why: "an intermediate has key usage with keyCertSign (X509-17)",
  },
  {
    requirement: "X509-08",
    reasons: ["x509.not-ca"],
    oracles: X509_ORACLES,
    where: ["trusted-authority-is-no-ca"],
    why: "a trusted authority is a CA; oracles take it for being trusted",
  },
  {
    requirement: "X509-37",
    reasons: ["x509.malformed"],
    oracles: X509_ORACLES,
    where: ["flipped-bit"],
    why: "a presented certificate that is not DER refuses the chain, even where it would not be needed",
  },
  // what this project refuses for safety
  { requirement: "S-7", reasons: ["x509.chain-too-large"], oracles: X509_ORACLES, why: "at most ten certificates" },
  { requirement: "S-15", reasons: ["key.weak"], oracles: X509_ORACLES, why: "RSA has at least 2,048 bits" },
  { requirement: "S-15", reasons: ["x509.algorithm"], oracles: X509_ORACLES, why: "no SHA-1, no odd salt" },
  ...["weak-key", "sha-1", "trusted-authority-is-no-ca", "intermediate-signs-nothing"].flatMap((flaw) =>
    [
      ["x509.signature", "same-name"],
      ["x509.expired", "expired-twin"],
    ].map(
      ([reason, twin]): RefusedHere => ({
        requirement: flaw === "weak-key" || flaw === "sha-1" ? "S-15" : "X509-08",
        reasons: [reason!],
        oracles: ["openssl", "pkijs"],
        where: [flaw, twin!],
        why: "the certificate that fits is refused for this flaw, and the verdict is about the other one of its name",
      }),
    ),
  ),
  {
    requirement: "S-16",
    reasons: ["x509.name-constraints"],
    oracles: ["openssl"],
    where: ["constraint-uri"],
    why: "a URI whose host no constraint can judge is refused below every one",
  },
  // what a link between two certificates does not show
  {
    requirement: "X509-37",
    reasons: [
      "x509.expired",
      "x509.not-yet-valid",
      "x509.critical-extension",
      "x509.not-ca",
      "x509.key-usage",
      "x509.path-length",
      "x509.name-constraints",
      "x509.algorithm-mismatch",
    ],
    oracles: ["node"],
    why: "checkIssued and verify look at names, usages and signatures of two certificates alone",
  },
  {
    requirement: "X509-37",
    reasons: ["x509.signature"],
    oracles: ["node", "pkijs"],
    where: ["same-name"],
    why: "the authority that signed is unfit in what these oracles do not look at, and the verdict is about the other one",
  },
  // what pkijs leaves out
  {
    requirement: "X509-37",
    reasons: ["x509.critical-extension"],
    oracles: ["pkijs"],
    why: "pkijs looks at critical extensions of authorities alone",
  },
  {
    requirement: "X509-16",
    reasons: ["x509.name-constraints"],
    oracles: ["pkijs"],
    why: "pkijs leaves the constraints of a trusted authority out, and compares some names otherwise",
  },
  { requirement: "X509-14", reasons: ["x509.path-length"], oracles: ["pkijs"], why: "pkijs counts no path lengths" },
  {
    requirement: "S-15",
    reasons: ["x509.algorithm-mismatch"],
    oracles: ["pkijs"],
    why: "pkijs does not compare the two algorithms of a certificate",
  },
  // tokens: what JWT-SVID and RFC 7519 ask beyond jose
  { requirement: "JWT-02", reasons: ["jwt.header"], oracles: ["jose"], why: "alg, kid and typ are all there may be" },
  { requirement: "JWT-06", reasons: ["jwt.type"], oracles: ["jose"], why: "typ is JWT, JOSE or absent" },
  { requirement: "JWT-14", reasons: ["jwt.critical"], oracles: ["jose"], why: "no critical header is understood" },
  { requirement: "JWT-07", reasons: ["jwt.subject"], oracles: ["jose"], why: "sub is a workload's SPIFFE ID" },
  { requirement: "JWT-20", reasons: ["jwt.no-bundle"], oracles: ["jose"], why: "jose knows no trust domains" },
  {
    requirement: "JWT-32",
    reasons: ["jwt.key-not-found"],
    oracles: ["jose"],
    where: ["key-of-another-use"],
    why: "a key for another use signs no token; jose is given keys without use",
  },
  { requirement: "JWT-14", reasons: ["jwt.claim"], oracles: ["jose"], why: "registered claims have their type" },
  { requirement: "JWT-14", reasons: ["jwt.too-large"], oracles: ["jose"], why: "16 KiB, 100 audiences" },
  ...[
    ["header-member-twice", "members are not repeated"],
    ["payload-member-twice", "members are not repeated"],
    ["payload-no-utf8", "payload is UTF-8 without byte order mark and lone surrogates"],
    ["payload-too-deep", "JSON is at most 32 deep"],
    ["expiry-no-number", "1e999 is no number"],
    ["padding", "base64url has no padding (RFC 7515 §2)"],
    ["white-space", "base64url has no white space"],
  ].map(
    ([where, why]): RefusedHere => ({
      requirement: "JWT-14",
      reasons: ["jwt.malformed"],
      oracles: ["jose"],
      where: [where!],
      why: why!,
    }),
  ),
];
