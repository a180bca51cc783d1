/** Random certificate chains that are valid by construction, and the cases that are made of them. */
import { createHash } from "node:crypto";
import * as asn1 from "../../src/authority/asn1.ts";
import {
  authorityKeyIdentifier,
  type Extension,
  type GeneralNames,
  type NameAttributes,
  name,
  subjectKeyIdentifier,
} from "../../src/authority/certificate.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { type Draft, writeCertificate } from "./certificates.ts";
import { type FixedKey, type KeyType, keysOf, schemesOf } from "./keys.ts";
import type { Random } from "./random.ts";

/** The moment at which every chain is judged. */
export const NOW: number = Date.UTC(2030, 5, 1);
const DAY = 86_400_000;

export const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
export const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";

/** A chain before it is written; flaws change it. */
export interface ChainDraft {
  /** Makes the names of this chain different from those of every other. */
  readonly label: string;
  readonly trustDomain: string;
  /** Leaf first, then each issuer; the last one is trusted. */
  readonly path: [Draft, Draft, ...Draft[]];
  /** What is trusted. */
  anchors: Draft[];
  /** The trust domain for which it is trusted. */
  bundleDomain: string;
  /** Presented beside the path, or in its place. */
  extras: Draft[];
  /** Intermediates that are not presented. */
  readonly missing: Set<Draft>;
  /** What is legal about the chain and makes one of the oracles differ. */
  readonly notes: Set<string>;
}

/** A chain as a verifier gets it. */
export interface ChainCase {
  readonly label: string;
  /** Names of what was made wrong; empty for a chain that must be accepted. */
  readonly flaws: readonly string[];
  readonly notes: ReadonlySet<string>;
  readonly leaf: Uint8Array;
  readonly others: readonly Uint8Array[];
  readonly anchors: readonly Uint8Array[];
  readonly bundleDomain: string;
}

const COMMON: readonly KeyType[] = ["P-256", "P-256", "P-256", "P-256", "P-384", "P-521", "Ed25519", "RSA-2048"];
const RARE: readonly KeyType[] = ["RSA-3072", "RSA-4096"];

export function randomKey(random: Random, not?: FixedKey): FixedKey {
  const key = random.pick(keysOf(random.chance(0.04) ? random.pick(RARE) : random.pick(COMMON)));
  return key === not ? randomKey(random, not) : key;
}

/** A name within the organisation of the chain, so that directory constraints can speak of it. */
export function nameIn(label: string, attributes: NameAttributes): Uint8Array {
  return name({ O: `org ${label}`, ...attributes });
}

export function keyId(key: FixedKey): Uint8Array {
  return new Uint8Array(createHash("sha1").update(key.spki).digest());
}

function serial(random: Random): Uint8Array {
  const octets = random.bytes(random.between(1, 20));
  octets[0] = (octets[0]! & 0x7f) | 1;
  return octets;
}

/** A certificate authority; without issuer self-signed. */
export function draftCa(random: Random, label: string, trustDomain: string, title: string, issuer?: Draft): Draft {
  const key = randomKey(random, issuer?.key);
  const identifiers: Extension[] = random.chance(0.5) ? [subjectKeyIdentifier(keyId(key))] : [];
  if (issuer !== undefined && random.chance(0.5)) identifiers.push(authorityKeyIdentifier(keyId(issuer.key)));
  return {
    subject: nameIn(label, { CN: `${title} ${label}` }),
    ...(issuer !== undefined && { issuer }),
    key,
    signing: random.pick(schemesOf((issuer?.key ?? key).type)),
    serial: serial(random),
    notBefore: NOW - random.between(0, 900) * DAY,
    notAfter: random.chance(0.05) ? Date.UTC(9999, 11, 31, 23, 59, 59) : NOW + random.between(0, 900) * DAY,
    version: 3,
    ca: true,
    keyUsage: random.chance(0.5) ? ["keyCertSign", "cRLSign"] : ["keyCertSign"],
    keyUsageCritical: random.chance(0.9),
    extKeyUsage: random.chance(0.1) ? [SERVER_AUTH, CLIENT_AUTH] : null,
    names: random.chance(0.5) ? { uri: [`spiffe://${trustDomain}`] } : null,
    namesCritical: false,
    extensions: identifiers,
  };
}

/** Another authority with the same name and another key. */
function draftTwin(random: Random, label: string, trustDomain: string, original: Draft, issuer?: Draft): Draft {
  const twin = draftCa(random, label, trustDomain, "twin", issuer);
  twin.subject = original.subject;
  return twin.key === original.key ? draftTwin(random, label, trustDomain, original, issuer) : twin;
}

function draftLeaf(random: Random, label: string, trustDomain: string, issuer: Draft): Draft {
  const anonymous = random.chance(0.3);
  const names: { -readonly [kind in keyof GeneralNames]: GeneralNames[kind] } = {
    uri: [`spiffe://${trustDomain}/${random.pick(["web", "ns/shop/sa/web", "A.b_c-d", "..."])}`],
  };
  if (random.chance(0.3)) names.dns = random.some(["web.example.org", "example.org", "*.example.org", "other.test"]);
  if (random.chance(0.15)) names.ip = [Uint8Array.of(10, 1, 2, 3)];
  if (random.chance(0.15)) names.email = ["ops@example.org"];
  return {
    ...draftCa(random, label, trustDomain, "leaf", issuer),
    ...(anonymous && { subject: name({}) }),
    ca: random.chance(0.7) ? false : null,
    keyUsage: ["digitalSignature", ...random.some(["keyEncipherment", "keyAgreement", "contentCommitment"] as const)],
    keyUsageCritical: true,
    extKeyUsage: random.chance(0.8) ? [SERVER_AUTH, CLIENT_AUTH, ...random.some(["1.3.6.1.5.5.7.3.3"], 0.2)] : null,
    names,
    namesCritical: anonymous || random.chance(0.2),
  };
}

/** Constraints that the names below satisfy; `undefined` where the trust domain can not be judged by any. */
function fittingConstraints(random: Random, label: string, trustDomain: string): Draft["constraints"] {
  const permitted: { -readonly [kind in keyof GeneralNames]: GeneralNames[kind] } = {};
  const excluded: { -readonly [kind in keyof GeneralNames]: GeneralNames[kind] } = {};
  const qualified = /\..*[a-z]$/.test(trustDomain);
  if (qualified && random.chance(0.6)) permitted.uri = [trustDomain, "other.test"];
  if (qualified && random.chance(0.3)) excluded.uri = ["evil.test", ".evil.test"];
  if (random.chance(0.3)) permitted.dns = ["example.org", "other.test"];
  if (random.chance(0.3)) excluded.dns = ["evil.test"];
  if (random.chance(0.3)) permitted.email = ["example.org"];
  if (random.chance(0.3)) permitted.ip = [Uint8Array.of(10, 0, 0, 0, 255, 0, 0, 0)];
  if (random.chance(0.2)) permitted.directory = [nameIn(label, {})];
  if (random.chance(0.2)) excluded.directory = [name({ O: "evil" })];
  return Object.keys({ ...permitted, ...excluded }).length === 0 ? undefined : { permitted, excluded };
}

/** Makes a valid chain. */
export function draftChain(random: Random, label: string): ChainDraft {
  const trustDomain = random.pick(["example.org", "example.org", "td", "a.b-c_d.example.org", "192.0.2.1"]);
  const authority = (title: string, issuer?: Draft) => draftCa(random, label, trustDomain, title, issuer);
  const depth = random.pick([0, 0, 1, 1, 1, 2, 2, 3, 4]);
  let above = authority("root");
  // an authority that somebody else has signed is trusted for being in the bundle all the same
  const partial = random.chance(0.15);
  if (partial) above = authority("sub root", above);
  const authorities = [above];
  for (let i = 1; i <= depth; i++) authorities.unshift((above = authority(`intermediate ${i}`, above)));
  for (const [below, ca] of authorities.entries()) {
    if (random.chance(0.25)) ca.pathLength = below + random.pick([0, 0, 1, 5]);
    if (random.chance(0.15)) {
      const constraints = fittingConstraints(random, label, trustDomain);
      if (constraints !== undefined) ca.constraints = constraints;
    }
  }
  const chain: ChainDraft = {
    label,
    trustDomain,
    path: [draftLeaf(random, label, trustDomain, authorities[0]!), ...(authorities as [Draft])],
    anchors: [authorities.at(-1)!],
    bundleDomain: trustDomain,
    extras: [],
    missing: new Set(),
    notes: new Set(partial ? ["partial"] : []),
  };
  for (const { share, add } of SURROUNDINGS) if (random.chance(share)) add(chain, random);
  // ten certificates are the most that may be presented (S-7)
  chain.extras.splice(LIMITS.chainLength - depth - 1);
  return chain;
}

/** Legal company for a path: what has to be passed by, and the other ways there are. */
const SURROUNDINGS: readonly { share: number; add(chain: ChainDraft, random: Random): void }[] = [
  { share: 0.15, add: ({ extras, path }, random) => extras.push(random.pick(path)) },
  { share: 0.1, add: ({ extras, anchors }) => extras.push(anchors[0]!) },
  {
    share: 0.1,
    add: ({ extras, label, trustDomain }, random) =>
      extras.push(draftCa(random, label, trustDomain, "stranger", draftCa(random, label, trustDomain, "far root"))),
  },
  {
    // a key rollover: one name, two keys
    share: 0.15,
    add({ anchors, label, trustDomain, notes }, random) {
      anchors.splice(random.below(2), 0, draftTwin(random, label, trustDomain, anchors[0]!));
      notes.add("same-name");
    },
  },
  {
    share: 0.1,
    add({ extras, path, label, trustDomain, notes }, random) {
      const original = random.pick(path.slice(1, -1));
      if (original === undefined) return;
      extras.push(draftTwin(random, label, trustDomain, original, original.issuer));
      notes.add("same-name");
    },
  },
  {
    share: 0.1,
    add({ extras, path, notes }, random) {
      const original = random.pick(path.slice(1, -1));
      if (original === undefined) return;
      extras.push({ ...original, serial: serial(random), notBefore: NOW - 9 * DAY, notAfter: NOW - 8 * DAY });
      notes.add("expired-twin");
    },
  },
  {
    // the authority's own name and key, certified by one below it: a loop
    share: 0.1,
    add({ extras, path, notes }, random) {
      const [top, below] = [path.at(-1)!, random.pick(path.slice(1, -1))];
      if (below === undefined) return;
      extras.push({ ...top, issuer: below, serial: serial(random), signing: random.pick(schemesOf(below.key.type)) });
      notes.add("loop");
    },
  },
  {
    // key identifiers that mislead are a hint and no more
    share: 0.05,
    add({ path, notes }, random) {
      const at = random.pick(path.slice(0, -1));
      at.extensions = [authorityKeyIdentifier(random.bytes(20))];
      notes.add("wrong-key-identifier");
    },
  },
  {
    share: 0.1,
    add({ path }, random) {
      const at = random.pick(path);
      at.extensions = [...at.extensions, { oid: "1.3.6.1.4.1.99999.1", value: asn1.octetString(random.bytes(9)) }];
    },
  },
];

/** Traits that come out of a chain as a whole, and that one oracle or another stumbles over. */
function addTraits({ path, extras, anchors, notes }: ChainDraft): void {
  const all = [...new Set([...path, ...extras, ...anchors])];
  if (all.some(({ signing }) => signing.family === "ed25519")) notes.add("ed25519");
  if (all.some(({ signing }) => signing.family === "rsa-pss")) notes.add("rsa-pss");
  if (all.some(({ key }) => key.type === "P-521")) notes.add("p-521");
  if (new Set(all.map(({ key }) => key)).size < all.length) notes.add("shared-key");
  if (all.some(({ notAfter }) => notAfter === NOW)) notes.add("to-the-moment");
  const isEmpty = (subject: Uint8Array) => subject.length === 2;
  if (isEmpty(path[0].subject) && all.some(({ constraints }) => constraints?.excluded.directory !== undefined)) {
    notes.add("nameless-under-directory-constraint");
  }
}

/** Writes a chain. Certificates that several places name are written once. */
export function writeChain(chain: ChainDraft, flaws: readonly string[], random: Random): ChainCase {
  const written = new Map<Draft, Uint8Array>();
  const write = (draft: Draft) => {
    let der = written.get(draft);
    if (der === undefined) written.set(draft, (der = writeCertificate(draft, random)));
    return der;
  };
  addTraits(chain);
  const { label, path, anchors, extras, missing, notes, bundleDomain } = chain;
  const above = path.slice(1, -1).filter((draft) => !missing.has(draft));
  return {
    label,
    flaws,
    notes,
    leaf: write(path[0]),
    others: random.shuffled([...above, ...extras]).map(write),
    anchors: anchors.map(write),
    bundleDomain,
  };
}
