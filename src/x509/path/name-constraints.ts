/**
 * Name constraints (RFC 5280 §4.2.1.10, S-16), closed on doubt: a name that can not be judged is refused, a constraint
 * that can not be read permits nothing and excludes everything.
 */
import { type Refusal, refuse } from "../../base/index.ts";
import { binaryString } from "../../crypto/octets.ts";
import { type Certificate, fieldsOf } from "../certificate.ts";
import type { NameConstraints } from "../extensions.ts";
import type { GeneralName, GeneralNameKind } from "../general-name.ts";
import type { DistinguishedName } from "../name.ts";

/** Comparisons of a name with a constraint that a search may still make. */
export interface ConstraintBudget {
  left: number;
}

/** A name in the form it is compared in; `undefined` stands for one that can not be judged, see {@link matches}. */
type Form =
  | { readonly kind: "host"; readonly host: string }
  | { readonly kind: "mailbox"; readonly local: string; readonly host: string }
  | { readonly kind: "octets"; readonly octets: Uint8Array }
  | { readonly kind: "directory"; readonly name: DistinguishedName }
  | undefined;

interface Subject {
  readonly kind: GeneralNameKind;
  readonly form: Form;
}

const EMAIL_ADDRESS = "1.2.840.113549.1.9.1";
const LABEL = "[a-z0-9_-]{1,63}";
const HOST = new RegExp(`^${LABEL}(\\.${LABEL})*$`);
const DNS_NAME = new RegExp(`^(\\*\\.)?${LABEL}(\\.${LABEL})*$`);
/** At least two labels, the last one not a number: neither a single label nor an IPv4 address. */
const QUALIFIED = new RegExp(`^(${LABEL}\\.)+(?![0-9]+$)${LABEL}$`);
/** Scheme and authority of RFC 3986 in lower case; a user part of other characters is what parsers disagree about. */
const AUTHORITY = /^[a-z][a-z0-9+.-]*:\/\/(?:[a-z0-9._~!$&'()*+,;=:%-]*@)?([^/?#@:[\]]*)(?::[0-9]*)?(?:[/?#]|$)/;
const LOCAL_PART = /^[!#-'*+\-./0-9=?A-Z^_`a-z{|}~]+$/;

/**
 * Checks the names of one certificate against the constraints of the authorities above it.
 *
 * @param certificate the certificate; its alternative names, subject and e-mail addresses in the subject count
 * @param constraints those of every authority above
 * @param budget reduced by names × constraints
 */
export function checkNameConstraints(
  certificate: Certificate,
  constraints: readonly NameConstraints[],
  budget: ConstraintBudget,
): Refusal | undefined {
  if (constraints.length === 0) return undefined;
  let bases = 0;
  for (const { permitted, excluded } of constraints) bases += permitted.length + excluded.length;
  const names = fieldsOf(certificate).extensions.names ?? [];
  budget.left -= (names.length + 1) * bases;
  if (budget.left < 0) return WORK;
  const subjects = subjectsOf(certificate, names);
  // e-mail addresses of the subject are known only now
  budget.left -= Math.max(0, subjects.length - names.length - 1) * bases;
  if (budget.left < 0) return WORK;
  for (const { permitted, excluded } of constraints) {
    const refusal = checkSubtrees(subjects, permitted, "permitted") ?? checkSubtrees(subjects, excluded, "excluded");
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

const WORK = refuse("x509.work-limit", "Expected fewer names under fewer name constraints (S-16)");

function checkSubtrees(
  subjects: readonly Subject[],
  subtrees: readonly GeneralName[],
  list: "permitted" | "excluded",
): Refusal | undefined {
  if (subtrees.length === 0) return undefined;
  const bases = subtrees.map((base) => ({ kind: base.kind, form: baseForm(base) }));
  for (const { kind, form } of subjects) {
    const relevant = bases.filter((base) => base.kind === kind);
    const matched = relevant.some((base) => matches(base.form, form, kind, list));
    if (relevant.length > 0 && matched === (list === "excluded")) {
      const what = matched ? "is excluded" : "is not permitted";
      return refuse("x509.name-constraints", `A ${kind} name ${what} by an authority's name constraints`);
    }
  }
  return undefined;
}

/** Every name that constraints apply to. */
function subjectsOf(certificate: Certificate, names: readonly GeneralName[]): Subject[] {
  const subjects = names.map((name): Subject => ({ kind: name.kind, form: nameForm(name) }));
  const { subject } = certificate;
  if (subject.isEmpty) return subjects;
  subjects.push({ kind: "directory", form: { kind: "directory", name: subject } });
  for (const attributes of subject.relativeNames) {
    for (const { type, text } of attributes) {
      if (type === EMAIL_ADDRESS)
        subjects.push({ kind: "email", form: text === undefined ? undefined : mailbox(text) });
    }
  }
  return subjects;
}

function nameForm(name: GeneralName): Form {
  switch (name.kind) {
    case "uri": {
      const host = AUTHORITY.exec(lower(name.value))?.[1];
      return host !== undefined && QUALIFIED.test(host) ? { kind: "host", host } : undefined;
    }
    case "dns": {
      const host = lower(name.value);
      return DNS_NAME.test(host) ? { kind: "host", host } : undefined;
    }
    case "email":
      return mailbox(binaryString(name.value));
    case "ip":
      return { kind: "octets", octets: name.value };
    case "directory":
      return { kind: "directory", name: name.directory! };
    default:
      return undefined;
  }
}

function baseForm(base: GeneralName): Form {
  switch (base.kind) {
    case "uri":
    case "dns": {
      const host = lower(base.value);
      const allNames = base.kind === "dns" && host === "";
      return allNames || HOST.test(withoutDot(host)) ? { kind: "host", host } : undefined;
    }
    case "email": {
      const text = binaryString(base.value);
      if (text.includes("@")) return mailbox(text);
      const host = text.toLowerCase();
      return HOST.test(withoutDot(host)) ? { kind: "host", host } : undefined;
    }
    case "ip":
      return { kind: "octets", octets: base.value };
    case "directory":
      return { kind: "directory", name: base.directory! };
    default:
      return undefined;
  }
}

/** Whether a constraint covers a name; where that is in doubt, an excluding one does and a permitting one does not. */
function matches(base: Form, name: Form, kind: GeneralNameKind, list: "permitted" | "excluded"): boolean {
  const doubtful = list === "excluded";
  if (base === undefined || name === undefined) return doubtful;
  if (base.kind === "mailbox" && name.kind === "mailbox") {
    if (base.host !== name.host) return false;
    return base.local === name.local || (doubtful && base.local.toLowerCase() === name.local.toLowerCase());
  }
  if (base.kind === "host" && name.kind === "mailbox") return hostMatches(base.host, name.host);
  if (base.kind === "host" && name.kind === "host") {
    if (kind === "uri") return hostMatches(base.host, name.host);
    return dnsMatches(base.host, name.host, doubtful);
  }
  if (base.kind === "octets" && name.kind === "octets") return addressMatches(base.octets, name.octets);
  if (base.kind === "directory" && name.kind === "directory") return directoryMatches(base.name, name.name, doubtful);
  return doubtful;
}

/** A constraint with a leading dot takes hosts below it, one without takes that host. */
function hostMatches(base: string, host: string): boolean {
  return base.startsWith(".") ? host.endsWith(base) : host === base;
}

/** A DNS constraint takes its own name and those below; a leading dot, which is not in the RFC, takes those below. */
function dnsMatches(base: string, name: string, doubtful: boolean): boolean {
  if (base === "") return true;
  const suffix = base.startsWith(".") ? base : `.${base}`;
  if (name === suffix.slice(1)) return doubtful || !base.startsWith(".");
  if (name.endsWith(suffix)) return true;
  // a wildcard covers an excluded name that is one label longer than what follows its asterisk
  return doubtful && name.startsWith("*.") && suffix.endsWith(name.slice(1));
}

function addressMatches(base: Uint8Array, address: Uint8Array): boolean {
  const { length } = address;
  if (base.length !== 2 * length) return false;
  for (let i = 0; i < length; i++) {
    const mask = base[length + i]!;
    if ((base[i]! & mask) !== (address[i]! & mask)) return false;
  }
  return true;
}

/** A directory constraint takes the names that begin with its relative names. */
function directoryMatches(base: DistinguishedName, name: DistinguishedName, doubtful: boolean): boolean {
  const [wanted, given] = [base.comparable, name.comparable];
  if (wanted.length > given.length) return false;
  for (let i = 0; i < wanted.length; i++) {
    const unknown = wanted[i] === undefined || given[i] === undefined;
    if (unknown ? !doubtful : wanted[i] !== given[i]) return false;
  }
  return true;
}

function mailbox(text: string): Form {
  const at = text.lastIndexOf("@");
  const local = text.slice(0, Math.max(at, 0));
  const host = text.slice(at + 1).replace(/[A-Z]/g, (letter) => letter.toLowerCase()); // no Unicode folding
  return LOCAL_PART.test(local) && HOST.test(host) ? { kind: "mailbox", local, host } : undefined;
}

function withoutDot(host: string): string {
  return host.startsWith(".") ? host.slice(1) : host;
}

function lower(octets: Uint8Array): string {
  return binaryString(octets).toLowerCase();
}
