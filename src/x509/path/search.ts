/**
 * Certification paths (RFC 5280 §6): found from the authorities downwards, so that no key is used before a key that is
 * already trusted has signed it (S-13), and within fixed bounds of work (S-16). What a check is told may follow it is judged
 * when it is asked for, and not before.
 */
import { accept, LIMITS, type Refusal, refuse, type Verdict } from "../../base/index.ts";
import { equalOctets } from "../../crypto/octets.ts";
import type { PublicKey } from "../../crypto/public-key.ts";
import type { Checks, SignatureCheck } from "../../crypto/verifier.ts";
import { type Certificate, decodedKeyOf, fieldsOf } from "../certificate.ts";
import type { NameConstraints } from "../extensions.ts";
import type { DistinguishedName } from "../name.ts";
import { checkAnchor, checkPresented } from "./certificate-rules.ts";
import type { IssuerMemo } from "./issuer-memo.ts";
import { type ConstraintBudget, checkNameConstraints } from "./name-constraints.ts";

/** What a path is searched for and in. */
export interface PathRequest {
  /** The presented certificates, leaf first, the others in any order. */
  readonly presented: readonly Certificate[];
  /** The trusted authorities with this subject. */
  readonly anchorsNamed: (subject: DistinguishedName) => readonly Certificate[];
  /** Wall time in ms since the epoch. */
  readonly now: number;
  /** Signatures of authorities that need no second check; without it all are checked. */
  readonly memo?: IssuerMemo;
}

/** A presented certificate that may stand in a path, with its place in the chain and among those that may. */
interface Candidate {
  readonly certificate: Certificate;
  readonly index: number;
  readonly position: number;
}

/** What the authorities above allow to the next certificate. */
interface Allowance {
  /** The path so far, anchor first. */
  readonly path: readonly Certificate[];
  /** How many more CAs that are not self-issued may follow. */
  readonly pathLength: number;
  readonly constraints: readonly NameConstraints[];
}

/**
 * Searches a valid path from an authority to the leaf and yields the signatures it wants checked.
 *
 * @returns the path, leaf first and anchor last, or the refusal that came closest to the leaf
 */
export function* findPath(request: PathRequest): Checks<Verdict<readonly Certificate[]>> {
  const { presented, now } = request;
  if (presented[0] === undefined) return refuse("x509.chain-empty", "Expected a certificate");
  const fault = checkPresented(presented[0], 0, now);
  if (fault !== undefined) return fault;
  return yield* new Search(request).run();
}

class Search {
  readonly #now: number;
  readonly #memo: IssuerMemo | undefined;
  readonly #candidates: readonly Candidate[];
  readonly #anchors: ReadonlySet<Certificate>;
  /** Whether checks are told what may follow them: where all that could be made, asked for or not, keep within the bound. */
  readonly #foresees: boolean;
  readonly #signatures = new Map<Certificate, Map<Certificate, boolean>>();
  readonly #budget: ConstraintBudget = { left: LIMITS.nameConstraintWork };
  #stepsLeft: number = LIMITS.pathSteps;
  #signaturesLeft: number = LIMITS.pathSignatures;
  #closest: Refusal = refuse("x509.no-path", "Expected a chain to an authority of the leaf's trust domain");
  #closeness = 0;
  #exhausted: Refusal | undefined;

  constructor({ presented, anchorsNamed, now, memo }: PathRequest) {
    this.#now = now;
    this.#memo = memo;
    this.#candidates = connectedTo(presented);
    this.#anchors = new Set(
      this.#candidates.flatMap(({ certificate }) => likelyFirst(anchorsNamed(certificate.issuer), certificate)),
    );
    const { length } = this.#candidates;
    // of every issuer on every certificate, each counted as one by a large key
    this.#foresees = 2 * (this.#anchors.size + length - 1) * length <= LIMITS.pathSignatures;
  }

  *run(): Checks<Verdict<readonly Certificate[]>> {
    for (const anchor of this.#anchors) {
      if (this.#stepsLeft-- === 0) return STEPS;
      const fault = checkAnchor(anchor, this.#now);
      if (fault !== undefined) {
        this.#note(fault, 1);
        continue;
      }
      const pathLength = anchor.pathLength ?? Number.POSITIVE_INFINITY;
      const path = yield* this.#descend(anchor, { path: [anchor], pathLength, constraints: constraintsOf(anchor) });
      if (path !== undefined) return accept(path);
      if (this.#exhausted !== undefined) return this.#exhausted;
    }
    return this.#closest;
  }

  /** Tries every certificate that may come below an issuer that is trusted by now. */
  *#descend(issuer: Certificate, above: Allowance): Checks<readonly Certificate[] | undefined> {
    for (const candidate of this.#candidates) {
      const { certificate, index } = candidate;
      if (!certificate.issuer.equals(issuer.subject) || isIn(above.path, certificate)) continue;
      if (this.#stepsLeft-- === 0) return this.#exhaust(STEPS);
      const final = index === 0;
      const counted = !final && !certificate.isSelfIssued;
      const fault =
        (final ? undefined : checkPresented(certificate, index, this.#now)) ??
        (counted && above.pathLength === 0 ? PATH_LENGTH : undefined);
      if (fault !== undefined) {
        this.#note({ ...fault, index }, 2 * above.path.length + 1);
        continue;
      }
      const valid = yield* this.#signatureValid(issuer, candidate);
      if (this.#exhausted !== undefined) return undefined;
      if (!valid) {
        // one that names another key was never this issuer's: that is no path, not a spoilt signature
        if (keyHint(issuer, certificate) !== "other") this.#note({ ...SIGNATURE, index }, 2 * above.path.length);
        continue;
      }
      // nothing below is worth its cost before the signature: decoding the key, comparing names
      const key = certificate.safePublicKey();
      // self-issued authorities are exempt, as they carry on with a new key of the same one (§6.1.4 b)
      const named = final || counted;
      const late =
        (key.ok ? undefined : key) ??
        (named ? checkNameConstraints(certificate, above.constraints, this.#budget) : undefined);
      if (late?.reason === "x509.work-limit") return this.#exhaust(late);
      if (late !== undefined) {
        this.#note({ ...late, index }, 2 * above.path.length + 1);
        continue;
      }
      const path = [...above.path, certificate];
      if (final) return path.reverse();
      const left = counted ? above.pathLength - 1 : above.pathLength;
      const found = yield* this.#descend(certificate, {
        path,
        pathLength: Math.min(left, certificate.pathLength ?? Number.POSITIVE_INFINITY),
        constraints: [...above.constraints, ...constraintsOf(certificate)],
      });
      if (found !== undefined || this.#exhausted !== undefined) return found;
    }
    return undefined;
  }

  /** Whether the issuer's key made the certificate's signature; asked once per pair. */
  *#signatureValid(issuer: Certificate, candidate: Candidate): Checks<boolean> {
    const { certificate, index } = candidate;
    const final = index === 0;
    let known = this.#signatures.get(issuer);
    if (known === undefined) this.#signatures.set(issuer, (known = new Map()));
    let valid = known.get(certificate);
    if (valid !== undefined) return valid;
    const alg = certificate.signatureAlgorithm;
    const { signature, tbs: data } = fieldsOf(certificate);
    const key = issuer.safePublicKey();
    if (alg === undefined || !key.ok || !key.value.fits(alg)) {
      valid = false;
    } else if (!final && this.#memo?.has(key.value, certificate)) {
      valid = true;
    } else if ((this.#signaturesLeft -= costOf(key.value)) < 0) {
      this.#exhaust(SIGNATURES);
      return false;
    } else {
      // the issuer is an authority, or its own signature has been found valid on the way down
      const next = this.#foresees ? this.#following(candidate) : undefined;
      valid = yield { alg, key: key.value, signature, data, trusted: true, next };
      if (valid && !final) this.#memo?.add(key.value, certificate);
    }
    known.set(certificate, valid);
    return valid;
  }

  /**
   * What will be wanted if a certificate turns out to be its issuer's: the signature of the nearest one below. Only by a key that
   * is decoded already, so that a certificate that nobody has verified costs no more than its look (S-13).
   */
  #following({ certificate: issuer, position }: Candidate): SignatureCheck | undefined {
    let at = position - 1;
    while (at >= 0 && !this.#candidates[at]!.certificate.issuer.equals(issuer.subject)) at--;
    const below = this.#candidates[at];
    const key = below && decodedKeyOf(issuer);
    if (below === undefined || key === undefined) return undefined;
    const { certificate, index } = below;
    const alg = certificate.signatureAlgorithm;
    if (alg === undefined || !key.fits(alg) || this.#signatures.get(issuer)?.has(certificate)) return undefined;
    const { signature, tbs: data } = fieldsOf(certificate);
    if (index === 0) return { alg, key, signature, data };
    if (checkPresented(certificate, index, this.#now) !== undefined) return undefined;
    const next = this.#following(below);
    return this.#memo?.has(key, certificate) ? next : { alg, key, signature, data, next };
  }

  /** Remembers the refusal of the attempt that came closest to the leaf. */
  #note(refusal: Refusal, closeness: number): void {
    if (closeness <= this.#closeness) return;
    this.#closest = refusal;
    this.#closeness = closeness;
  }

  #exhaust(refusal: Refusal): undefined {
    this.#exhausted ??= refusal;
  }
}

/** What a check counts: with the slowest backend of all runtimes the whole budget is spent in 30 ms whatever the keys. */
function costOf({ kind, curve, bits = 0 }: PublicKey): number {
  if (kind === "rsa") return bits > 4_096 ? 4 : 1;
  return curve === "P-384" || curve === "P-521" ? 2 : 1;
}

const STEPS = refuse("x509.work-limit", `Expected a chain that is judged in ${LIMITS.pathSteps} steps (S-16)`);
const SIGNATURES = refuse(
  "x509.work-limit",
  `Expected a chain that needs ${LIMITS.pathSignatures} signature checks, or half as many by large keys (S-16)`,
);
const PATH_LENGTH = refuse("x509.path-length", "Expected fewer authorities below a path length constraint (X509-14)");
const SIGNATURE = refuse("x509.signature", "Expected a signature by the issuer's key");

function constraintsOf(certificate: Certificate): readonly NameConstraints[] {
  const { nameConstraints } = fieldsOf(certificate).extensions;
  return nameConstraints === undefined ? [] : [nameConstraints];
}

/** Whether a path has this certificate, or another one for the same subject and key, which would be a loop. */
function isIn(path: readonly Certificate[], certificate: Certificate): boolean {
  const { subject, spki } = fieldsOf(certificate);
  return path.some((other) => other.subject.equals(subject) && equalOctets(fieldsOf(other).spki, spki));
}

/** The leaf and the presented certificates that may stand above it by their names, without duplicates. */
function connectedTo(presented: readonly Certificate[]): Candidate[] {
  const connected: Candidate[] = [{ certificate: presented[0]!, index: 0, position: 0 }];
  // the list grows while it is walked
  for (const { certificate: below } of connected) {
    presented.forEach((certificate, index) => {
      if (!certificate.subject.equals(below.issuer)) return;
      if (connected.some((known) => known.certificate.equals(certificate))) return;
      connected.push({ certificate, index, position: connected.length });
    });
  }
  return connected;
}

/** What the key identifiers say about an issuer: only a hint, for order and wording (RFC 5280 §4.2.1.1). */
function keyHint(issuer: Certificate, certificate: Certificate): "same" | "other" | "none" {
  const held = fieldsOf(issuer).extensions.subjectKeyId;
  const wanted = fieldsOf(certificate).extensions.authorityKeyId;
  if (held === undefined || wanted === undefined) return "none";
  return equalOctets(held, wanted) ? "same" : "other";
}

/** Puts the authorities whose key the certificate names first. */
function likelyFirst(anchors: readonly Certificate[], certificate: Certificate): readonly Certificate[] {
  if (anchors.length < 2) return anchors;
  const isLikely = (anchor: Certificate) => keyHint(anchor, certificate) === "same";
  return [...anchors.filter(isLikely), ...anchors.filter((anchor) => !isLikely(anchor))];
}
