/** X.509 authorities: what intermediates and trusted ones must be, and whose authorities count. */
import {
  type Issued,
  type IssueOptions,
  issue,
  issueCa,
  issueLeaf,
  NOW,
  SERVER_AUTH,
} from "../../../src/x509/issue.testing.ts";
import {
  type About,
  anchor,
  below,
  between,
  chain,
  DOMAIN,
  ID,
  line,
  ONE,
  type Presented,
  root,
  type X509Recipe,
} from "./x509.ts";

const OTHER = "other.example";
const OTHER_ID = `spiffe://${OTHER}/web`;
const LATER = new Date(NOW + 1_000);
const EARLIER = new Date(NOW - 1_000);

const MALFORMED = { reason: "x509.malformed" } as const;

/** Name constraints of these octets. */
function constrained(...octets: readonly number[]): IssueOptions {
  return { extensions: [{ oid: "2.5.29.30", critical: true, value: Uint8Array.from(octets) }] };
}

const intermediates: readonly X509Recipe[] = [
  between("intermediate without cA", "X509-08 X509-37", { reason: "x509.not-ca" }, { ca: false }),
  between("intermediate without basic constraints", "X509-08 X509-37", { reason: "x509.not-ca" }, { ca: null }),
  between(
    "intermediate without keyCertSign",
    "X509-08 X509-37",
    { reason: "x509.key-usage" },
    { keyUsage: ["cRLSign"] },
  ),
  between("intermediate without key usage", "X509-08 X509-17", { reason: "x509.key-usage" }, { keyUsage: null }),
  between("intermediate with keyCertSign alone", "X509-08 X509-21", {}, { keyUsage: ["keyCertSign"] }),
  between("intermediate expired", "X509-37", { reason: "x509.expired" }, { notAfter: EARLIER }),
  between("intermediate not yet valid", "X509-37", { reason: "x509.not-yet-valid" }, { notBefore: LATER }),
  between(
    "intermediate with an unknown extension",
    "X509-37",
    {},
    {
      extensions: [{ oid: "1.2.3.4", value: Uint8Array.of(5, 0) }],
    },
  ),
  between(
    "intermediate with an unknown critical extension",
    "X509-37",
    { reason: "x509.critical-extension", twin: "chain: intermediate with an unknown extension" },
    { extensions: [{ oid: "1.2.3.4", critical: true, value: Uint8Array.of(5, 0) }] },
  ),
  between("intermediate with a purpose", "X509-24", {}, { extKeyUsage: [SERVER_AUTH] }),
  between("intermediate without an ID", "X509-09", {}, { names: [] }),
  between("intermediate with the trust domain's ID", "X509-09 X509-10", {}, { names: [{ uri: `spiffe://${DOMAIN}` }] }),
  between("intermediate with a key of RSA, 2048 bits", "S-15", {}, { keyType: "RSA-2048" }),
  between(
    "intermediate with a key of RSA, 1024 bits",
    "S-15",
    {
      reason: "key.weak",
      twin: "chain: intermediate with a key of RSA, 2048 bits",
      choice: "RSA keys have 2048 to 8192 bits",
    },
    { keyType: "RSA-1024" },
  ),
  between(
    "intermediate signed with SHA-1",
    "X509-37 S-15",
    { reason: "x509.algorithm", choice: "signatures with SHA-1 or MD5 are refused on every link" },
    { hash: "SHA-1" },
  ),
  between(
    "intermediate with a spoilt signature",
    "X509-37",
    { reason: "x509.signature" },
    {
      tamper: (certificate) => (certificate[certificate.length - 1]! ^= 1),
    },
  ),
  between("intermediate with name constraints that say nothing", "X509-37 S-16", MALFORMED, constrained(0x30, 0)),
  between(
    "intermediate with an IP constraint of five bytes",
    "X509-37 S-16",
    MALFORMED,
    constrained(0x30, 11, 0xa0, 9, 0x30, 7, 0x87, 5, 10, 0, 0, 0, 255),
  ),
  between(
    "intermediate with an IP constraint whose mask has a hole",
    "X509-37 S-16",
    { ...MALFORMED, choice: "a mask is one run of ones, as in RFC 4632" },
    constrained(0x30, 14, 0xa0, 12, 0x30, 10, 0x87, 8, 10, 0, 0, 0, 255, 0, 255, 0),
  ),
  chain("an intermediate with an empty name", "X509-37", { reason: "x509.malformed", twin: ONE }, async () => {
    const nameless = await below(await root(), "", { subject: Uint8Array.of(0x30, 0) });
    return { chain: [await issueLeaf(nameless), nameless], trusted: [await root()] };
  }),
  chain("a byte after the intermediate", "X509-37", { reason: "x509.malformed", twin: ONE }, async () => {
    const { first } = await line();
    return { chain: [await issueLeaf(first), Uint8Array.of(...first.der, 0)], trusted: [await root()] };
  }),
  chain("a leaf signed by another leaf", "X509-05 X509-37", { reason: "x509.not-ca", twin: ONE }, async () => {
    const other = await issueLeaf(await root(), { subject: "other leaf" });
    return { chain: [await issueLeaf(other), other], trusted: [await root()] };
  }),
  chain(
    "a leaf signed by a leaf that has keyCertSign",
    "X509-05 X509-37",
    { reason: "x509.not-ca", twin: ONE },
    async () => {
      const other = await issueLeaf(await root(), {
        subject: "other leaf",
        keyUsage: ["digitalSignature", "keyCertSign"],
      });
      return { chain: [await issueLeaf(other), other], trusted: [await root()] };
    },
  ),
];

const anchors: readonly X509Recipe[] = [
  anchor("authority without an ID", "X509-09 X509-38", {}, {}),
  anchor("authority without key usage", "X509-37 X509-38", {}, { keyUsage: null }),
  anchor(
    "authority with a path length and an ID",
    "X509-14",
    {},
    {
      pathLength: 3,
      names: [{ uri: `spiffe://${DOMAIN}` }],
    },
  ),
  anchor(
    "authority expired",
    "X509-37",
    { reason: "x509.expired", twin: "chain: authority without an ID" },
    {
      notAfter: EARLIER,
    },
  ),
  anchor(
    "authority not yet valid",
    "X509-37",
    { reason: "x509.not-yet-valid", twin: "chain: authority without an ID" },
    {
      notBefore: LATER,
    },
  ),
  anchor(
    "authority without cA",
    "X509-08 X509-37",
    { reason: "x509.not-ca", twin: "chain: authority without an ID" },
    {
      ca: false,
    },
  ),
  anchor(
    "authority without keyCertSign",
    "X509-08 X509-37",
    { reason: "x509.key-usage", twin: "chain: authority without an ID" },
    { keyUsage: ["cRLSign"] },
  ),
  anchor(
    "authority with an unknown critical extension",
    "X509-37",
    { reason: "x509.critical-extension", twin: "chain: authority without an ID" },
    { extensions: [{ oid: "1.2.3.4", critical: true, value: Uint8Array.of(5, 0) }] },
  ),
  anchor(
    "authority with a key of RSA, 1024 bits",
    "S-15",
    { reason: "key.weak", twin: "leaf: RSA signature with SHA-256", choice: "RSA keys have 2048 to 8192 bits" },
    { keyType: "RSA-1024" },
  ),
  anchor("authority whose own signature is with SHA-1", "X509-38 S-15", {}, { hash: "SHA-1" }),
  anchor(
    "authority whose own signature is spoilt",
    "X509-38",
    {},
    {
      tamper: (certificate) => (certificate[certificate.length - 1]! ^= 1),
    },
  ),
  chain("an intermediate is the trusted authority", "X509-38", {}, async () => {
    const { first } = await line();
    return { chain: [await issueLeaf(first)], trusted: [first] };
  }),
  chain("a trusted authority in the middle of the chain", "X509-38", {}, async () => {
    const { first, second } = await line();
    return { chain: [await issueLeaf(second), second, first], trusted: [first] };
  }),
  chain(
    "the authority itself as leaf",
    "X509-05 X509-13",
    { reason: "x509.leaf-root-path", twin: "chain: leaf and authority" },
    async () => ({
      chain: [await root()],
      trusted: [await root()],
    }),
  ),
  chain(
    "an authority with a workload's ID as leaf",
    "X509-05 X509-10 X509-13",
    { reason: "x509.leaf-is-ca", twin: "chain: leaf and authority" },
    async () => ({ chain: [await below(await root(), "ca", { names: [{ uri: ID }] })], trusted: [await root()] }),
  ),
  chain(
    "a leaf in the bundle",
    "X509-05 X509-37",
    { reason: "x509.no-path", twin: "chain: leaf and authority" },
    async () => {
      const leaf = await issueLeaf(await root());
      return { chain: [leaf], trusted: [leaf] };
    },
  ),
  chain(
    "a leaf that signed itself, in the bundle",
    "X509-05 X509-37",
    { reason: "x509.not-ca", twin: "chain: leaf and authority" },
    async () => {
      const self = await issue({ names: [{ uri: ID }], ca: false, keyUsage: ["digitalSignature"] });
      return { chain: [self], trusted: [self] };
    },
  ),
  chain(
    "a leaf that signed itself, not in the bundle",
    "X509-30",
    { reason: "x509.no-path", twin: "chain: leaf and authority" },
    async () => {
      const self = await issue({ names: [{ uri: ID }], ca: false, keyUsage: ["digitalSignature"] });
      return { chain: [self], trusted: [await root()] };
    },
  ),
  chain(
    "a foreign authority of the trusted one's name",
    "X509-37 A-7",
    { reason: "x509.signature", twin: "chain: leaf and authority" },
    async () => {
      const foreign = await issueCa({ subject: "root", names: [{ uri: `spiffe://${DOMAIN}` }] });
      return { chain: [await issueLeaf(foreign), foreign], trusted: [await root()] };
    },
  ),
  chain(
    "a foreign authority of another name",
    "X509-30",
    { reason: "x509.no-path", twin: "chain: leaf and authority" },
    async () => {
      const foreign = await issueCa({ subject: "foreign" });
      return { chain: [await issueLeaf(foreign), foreign], trusted: [await root()] };
    },
  ),
];

const THEIRS = "chain: leaf of another trust domain by that domain's authority";

/** A leaf of the other trust domain, by one authority, with these bundles. */
function foreign(
  name: string,
  about: About,
  trusted: (ours: Issued, theirs: Issued) => Record<string, readonly Issued[]>,
  signer: "ours" | "theirs" = "ours",
): X509Recipe {
  return chain(name, "X509-36 ID-25 A-7", about, async () => {
    const authorities = { ours: await root(), theirs: await issueCa({ subject: "theirs" }) };
    const leaf = await issueLeaf(authorities[signer], { id: OTHER_ID });
    return { chain: [leaf], trusted: trusted(authorities.ours, authorities.theirs), id: OTHER_ID };
  });
}

const domains: readonly X509Recipe[] = [
  foreign(
    "leaf of another trust domain by that domain's authority",
    {},
    (ours, theirs) => ({ [DOMAIN]: [ours], [OTHER]: [theirs] }),
    "theirs",
  ),
  foreign(
    "leaf of another trust domain by our authority, no bundle of that domain",
    { reason: "x509.no-bundle", twin: THEIRS },
    (ours) => ({ [DOMAIN]: [ours] }),
  ),
  foreign(
    "leaf of another trust domain by our authority, that domain has another one",
    { reason: "x509.no-path", twin: THEIRS },
    (ours, theirs) => ({ [DOMAIN]: [ours], [OTHER]: [theirs] }),
  ),
  foreign(
    "leaf of another trust domain by our authority, that domain's bundle is empty",
    { reason: "x509.no-path", twin: THEIRS },
    (ours) => ({ [DOMAIN]: [ours], [OTHER]: [] }),
  ),
  foreign("leaf of another trust domain by our authority, which is in that domain's bundle too", {}, (ours) => ({
    [DOMAIN]: [ours],
    [OTHER]: [ours],
  })),
  chain(
    "authorities of two trust domains with one name, the wrong one signed",
    "X509-36 A-7",
    { reason: "x509.signature", twin: "chain: authorities of two trust domains with one name" },
    () => sameName(false),
  ),
  chain("authorities of two trust domains with one name", "X509-36 A-7", {}, () => sameName(true)),
  chain("an intermediate cross-signed in two trust domains, our leaf", "X509-36 A-7", {}, () =>
    crossedDomains(ID, true),
  ),
  chain(
    "an intermediate cross-signed in two trust domains, their leaf without their bundle",
    "X509-36 A-7",
    {
      reason: "x509.no-bundle",
      twin: "chain: an intermediate cross-signed in two trust domains, their leaf",
    },
    () => crossedDomains(OTHER_ID, false),
  ),
  chain("an intermediate cross-signed in two trust domains, their leaf", "X509-36 A-7", {}, () =>
    crossedDomains(OTHER_ID, true),
  ),
  chain("an empty bundle", "X509-36 BND-11", { reason: "x509.no-path", twin: ONE }, async () => {
    const { first } = await line();
    return { chain: [await issueLeaf(first), first, await root()], trusted: [] };
  }),
  chain("no bundle at all", "X509-36", { reason: "x509.no-bundle", twin: ONE }, async () => {
    const { first } = await line();
    return { chain: [await issueLeaf(first), first, await root()], trusted: {} };
  }),
  chain("a bundle of old and new authority, leaf of the old one", "X509-36", {}, () => rotated("old", ["old", "new"])),
  chain("a bundle of old and new authority, leaf of the new one", "X509-36", {}, () => rotated("new", ["old", "new"])),
  chain(
    "the old authority has left the bundle",
    "X509-36",
    { reason: "x509.no-path", twin: "chain: a bundle of old and new authority, leaf of the old one" },
    () => rotated("old", ["new"]),
  ),
];

async function sameName(right: boolean): Promise<Presented> {
  const [ours, theirs] = [await issueCa({ subject: "same name" }), await issueCa({ subject: "same name" })];
  const leaf = await issueLeaf(right ? ours : theirs);
  return { chain: [leaf], trusted: { [DOMAIN]: [ours], [OTHER]: [theirs] } };
}

async function crossedDomains(id: string, both: boolean): Promise<Presented> {
  const [ours, theirs] = [await issueCa({ subject: "ours" }), await issueCa({ subject: "theirs" })];
  const byOurs = await below(ours, "between");
  const byTheirs = await below(theirs, "between", { keyOf: byOurs });
  const leaf = await issueLeaf(byOurs, { id });
  return { chain: [leaf, byOurs, byTheirs], trusted: { [DOMAIN]: [ours], ...(both && { [OTHER]: [theirs] }) }, id };
}

async function rotated(signer: string, trusted: readonly string[]): Promise<Presented> {
  const authorities: Record<string, Issued> = {
    old: await issueCa({ subject: "old" }),
    new: await issueCa({ subject: "new" }),
  };
  return { chain: [await issueLeaf(authorities[signer]!)], trusted: trusted.map((name) => authorities[name]!) };
}

export const AUTHORITIES: readonly X509Recipe[] = [...intermediates, ...anchors, ...domains];
