/** The extensions of RFC 5280 §4.2 that a decision depends on; the others are only told apart by being critical. */
import { binaryString } from "../crypto/octets.ts";
import { contextTag, type DerReader, derFault, dottedOid, TAG } from "../encoding/der.ts";
import { type GeneralName, readGeneralName } from "./general-name.ts";

/** Bits of the key usage extension in the order of RFC 5280 §4.2.1.3. */
export const KEY_USAGES = [
  "digitalSignature",
  "contentCommitment",
  "keyEncipherment",
  "dataEncipherment",
  "keyAgreement",
  "keyCertSign",
  "cRLSign",
  "encipherOnly",
  "decipherOnly",
] as const;

/** What a key may be used for. */
export type KeyUsage = (typeof KEY_USAGES)[number];

/** Which names an authority may (`permitted`) and may not (`excluded`) certify (RFC 5280 §4.2.1.10). */
export interface NameConstraints {
  readonly permitted: readonly GeneralName[];
  readonly excluded: readonly GeneralName[];
}

export interface Extensions {
  /** Subject alternative names; `undefined` without the extension. */
  names: readonly GeneralName[] | undefined;
  namesCritical: boolean;
  keyUsage: ReadonlySet<KeyUsage> | undefined;
  keyUsageCritical: boolean;
  /** Dotted object identifiers of the purposes. */
  extKeyUsage: readonly string[] | undefined;
  ca: boolean;
  pathLength: number | undefined;
  nameConstraints: NameConstraints | undefined;
  authorityKeyId: Uint8Array | undefined;
  subjectKeyId: Uint8Array | undefined;
  /** The first critical extension that is not understood, as a dotted object identifier. */
  unknownCritical: string | undefined;
}

/** Extensions of a certificate that has none. */
export function noExtensions(): Extensions {
  return {
    names: undefined,
    namesCritical: false,
    keyUsage: undefined,
    keyUsageCritical: false,
    extKeyUsage: undefined,
    ca: false,
    pathLength: undefined,
    nameConstraints: undefined,
    authorityKeyId: undefined,
    subjectKeyId: undefined,
    unknownCritical: undefined,
  };
}

/** Reads the Extensions sequence; one that appears twice, or a malformed one of those understood, ends the decoding. */
export function readExtensions(sequence: DerReader): Extensions {
  const extensions = noExtensions();
  const seen = new Set<string>();
  let seenKnown = 0;
  if (sequence.atEnd) derFault("the list of extensions is empty");
  while (!sequence.atEnd) {
    const extension = sequence.sequence();
    const arc = extension.arcBelow(0x55, 0x1d);
    const understood = UNDERSTOOD.indexOf(arc);
    const other = understood === -1 ? extension.lastContent : undefined;
    const critical = extension.next === TAG.boolean ? extension.boolean() : false;
    if (other !== undefined) {
      const key = binaryString(other);
      if (seen.has(key)) derFault(`extension ${dottedOid(other)} appears twice`);
      seen.add(key);
      extension.octetString();
      if (critical) extensions.unknownCritical ??= dottedOid(other);
    } else {
      if ((seenKnown & (1 << understood)) !== 0) derFault(`extension 2.5.29.${arc} appears twice`);
      seenKnown |= 1 << understood;
      const value = extension.enter(TAG.octetString);
      const honoured = readUnderstood(arc, value, critical, extensions);
      value.end();
      if (!honoured && critical) extensions.unknownCritical ??= `2.5.29.${arc}`;
    }
    extension.end();
  }
  return extensions;
}

/** Last arcs of the extensions below 2.5.29 that are read. */
const UNDERSTOOD: readonly number[] = [15, 19, 17, 35, 14, 37, 30];

/** Reads an extension of {@link UNDERSTOOD} and says whether its meaning is honoured when it is critical. */
function readUnderstood(arc: number, value: DerReader, critical: boolean, into: Extensions): boolean {
  switch (arc) {
    case 14:
      into.subjectKeyId = value.octetString();
      return false; // must not be critical (§4.2.1.2)
    case 15:
      into.keyUsage = readKeyUsage(value);
      into.keyUsageCritical = critical;
      return true;
    case 17:
      into.names = readNames(value);
      into.namesCritical = critical;
      return true;
    case 19: {
      const constraints = value.sequence();
      into.ca = constraints.next === TAG.boolean ? constraints.boolean() : false;
      into.pathLength = constraints.next === TAG.integer ? constraints.smallInteger() : undefined;
      constraints.end();
      return true;
    }
    case 30:
      into.nameConstraints = readNameConstraints(value);
      return true;
    case 35:
      into.authorityKeyId = readAuthorityKeyId(value);
      return false; // must not be critical (§4.2.1.1)
    default:
      into.extKeyUsage = readPurposes(value);
      return true;
  }
}

function readPurposes(reader: DerReader): string[] {
  const purposes = reader.sequence();
  const oids: string[] = [];
  do oids.push(purposes.oid());
  while (!purposes.atEnd);
  return oids;
}

function readKeyUsage(reader: DerReader): ReadonlySet<KeyUsage> {
  const { bytes } = reader.bitString();
  const usages = new Set<KeyUsage>();
  for (let bit = 0; bit < KEY_USAGES.length && bit < bytes.length * 8; bit++) {
    if ((bytes[bit >> 3]! & (0x80 >> (bit & 7))) !== 0) usages.add(KEY_USAGES[bit]!);
  }
  return usages;
}

function readNames(reader: DerReader): GeneralName[] {
  const sequence = reader.sequence();
  const names: GeneralName[] = [];
  do {
    const name = readGeneralName(sequence);
    if (name.kind === "ip" && name.value.length !== 4 && name.value.length !== 16) {
      derFault("an IP address is neither 4 nor 16 bytes");
    }
    names.push(name);
  } while (!sequence.atEnd);
  return names;
}

function readAuthorityKeyId(reader: DerReader): Uint8Array | undefined {
  const sequence = reader.sequence();
  const keyId = sequence.next === contextTag(0, false) ? sequence.value(contextTag(0, false)) : undefined;
  if (sequence.next === contextTag(1, true)) sequence.element();
  if (sequence.next === contextTag(2, false)) sequence.integer(contextTag(2, false));
  sequence.end();
  return keyId;
}

function readNameConstraints(reader: DerReader): NameConstraints {
  const sequence = reader.sequence();
  const [permittedTag, excludedTag] = [contextTag(0, true), contextTag(1, true)];
  if (sequence.atEnd) derFault("name constraints are empty");
  const permitted = sequence.next === permittedTag ? readSubtrees(sequence.enter(permittedTag)) : [];
  const excluded = sequence.next === excludedTag ? readSubtrees(sequence.enter(excludedTag)) : [];
  sequence.end();
  return { permitted, excluded };
}

function readSubtrees(sequence: DerReader): GeneralName[] {
  const bases: GeneralName[] = [];
  do {
    const subtree = sequence.sequence();
    const base = readGeneralName(subtree);
    subtree.end(); // minimum and maximum are never used (§4.2.1.10)
    if (base.kind === "ip" && !isAddressWithMask(base.value)) {
      derFault("an IP constraint is not an address and a mask of leading ones");
    }
    bases.push(base);
  } while (!sequence.atEnd);
  return bases;
}

function isAddressWithMask(octets: Uint8Array): boolean {
  if (octets.length !== 8 && octets.length !== 32) return false;
  const bits = Array.from(octets.subarray(octets.length / 2), (octet) => octet.toString(2).padStart(8, "0")).join("");
  return /^1*0*$/.test(bits);
}
