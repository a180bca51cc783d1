/** What can be wrong with a chain, as a table: each flaw changes a valid draft in one thing. */
import * as asn1 from "../../src/authority/asn1.ts";
import { type GeneralNames, type KeyUsage, name } from "../../src/authority/certificate.ts";
import { algorithmIdentifier, type Draft } from "./certificates.ts";
import { type ChainDraft, CLIENT_AUTH, draftCa, NOW, nameIn, randomKey, SERVER_AUTH } from "./chains.ts";
import { keysOf, schemesOf } from "./keys.ts";
import type { Random } from "./random.ts";

interface Flaw {
  readonly name: string;
  /** Whether a chain with it is refused whatever else it has; others may be made good by company or by a later flaw. */
  readonly fatal: boolean;
  /** Changes the chain; `false` where it has no place for this flaw. */
  apply(chain: ChainDraft, random: Random): boolean | void;
}

function flaw(name: string, apply: Flaw["apply"]): Flaw {
  return { name, apply, fatal: false };
}

function fatal(one: Flaw): Flaw {
  return { ...one, fatal: true };
}

/** A flaw of the leaf alone, which nothing makes good. */
function leaf(name: string, change: (draft: Draft, random: Random, chain: ChainDraft) => void): Flaw {
  return fatal(flaw(name, (chain, random) => change(chain.path[0], random, chain)));
}

/** A flaw of some certificate that is presented: the leaf or an intermediate. */
function presented(name: string, change: (draft: Draft, random: Random) => void): Flaw {
  return flaw(name, ({ path }, random) => change(random.pick(path.slice(0, -1)), random));
}

/** A flaw of some authority above the leaf, trusted or not. */
function authority(name: string, change: (draft: Draft, random: Random, chain: ChainDraft) => void): Flaw {
  return flaw(name, (chain, random) => change(random.pick(chain.path.slice(1)), random, chain));
}

/** A flaw of an intermediate, where there is one. */
function intermediate(name: string, change: (draft: Draft, random: Random, chain: ChainDraft) => void): Flaw {
  return flaw(name, (chain, random) => {
    const at = random.pick(chain.path.slice(1, -1));
    if (at === undefined) return false;
    change(at, random, chain);
  });
}

/** Constraints of some authority that a name of the leaf breaks. */
function constraint(kind: keyof GeneralNames, held: unknown, permitted: unknown, excluded: unknown): Flaw {
  return authority(`constraint-${kind}`, (ca, random, { path: [target] }) => {
    if (held !== undefined) target.names = { ...target.names, [kind]: [held] };
    const other = random.chance(0.5);
    ca.constraints = { permitted: other ? { [kind]: [permitted] } : {}, excluded: other ? {} : { [kind]: [excluded] } };
  });
}

function flipBit(der: Uint8Array, random: Random, from: number): Uint8Array {
  const changed = new Uint8Array(der);
  changed[from + random.below(der.length - from)]! ^= 1 << random.below(8);
  return changed;
}

/** A point of the whole certificate that lies in its signed part, whatever its length: the serial number. */
function changeSigned(der: Uint8Array, { serial }: Draft): Uint8Array {
  const changed = Buffer.from(der);
  const at = changed.indexOf(serial, 4);
  changed[at + serial.length - 1]! ^= 1;
  return new Uint8Array(changed);
}

const without = (usages: readonly KeyUsage[] | null, usage: KeyUsage) => (usages ?? []).filter((one) => one !== usage);

export const FLAWS: readonly Flaw[] = [
  leaf("no-names", (it) => void (it.names = null)),
  leaf("names-without-a-name", (it) => void (it.names = {})),
  leaf("no-uri", (it) => void (it.names = { dns: ["web.example.org"] })),
  leaf("two-uris", (it, random, { trustDomain: td }) => {
    it.names = {
      ...it.names,
      uri: [`spiffe://${td}/web`, random.pick(["https://example.org/", `spiffe://${td}/web`])],
    };
  }),
  leaf("no-spiffe-id", (it, random, { trustDomain: td }) => {
    const rest = ["/a/../b", "/a/", "//a", "/a?b", "/a#b", "/a%41", "/ä", ":443/a", "/a b"];
    const uris = ["https://example.org/web", `SPIFFE://${td}/a`, `spiffe://u@${td}/a`];
    it.names = { ...it.names, uri: [random.pick([...uris, ...rest.map((end) => `spiffe://${td}${end}`)])] };
  }),
  leaf("root-path", (it, _, { trustDomain }) => void (it.names = { ...it.names, uri: [`spiffe://${trustDomain}`] })),
  leaf("leaf-is-ca", (it) => void (it.ca = true)),
  leaf("leaf-signs-certificates", (it, random) => {
    it.keyUsage = [...(it.keyUsage ?? []), random.pick(["keyCertSign", "cRLSign"])];
  }),
  leaf("leaf-without-key-usage", (it) => void (it.keyUsage = null)),
  leaf("leaf-key-usage-not-critical", (it) => void (it.keyUsageCritical = false)),
  leaf(
    "leaf-signs-nothing",
    (it) => void (it.keyUsage = ["keyAgreement", ...without(it.keyUsage, "digitalSignature")]),
  ),
  leaf("leaf-one-purpose", (it, random) => void (it.extKeyUsage = [random.pick([SERVER_AUTH, CLIENT_AUTH])])),
  leaf("leaf-any-purpose", (it) => void (it.extKeyUsage = ["2.5.29.37.0"])),
  leaf("empty-subject-names-not-critical", (it) => {
    it.subject = name({});
    it.namesCritical = false;
  }),
  leaf("leaf-with-constraints", (it) => void (it.constraints = { permitted: { dns: ["example.org"] }, excluded: {} })),
  presented("expired", (it, random) => void (it.notAfter = NOW - 1_000 * random.pick([1, 60, 1e6]))),
  presented("not-yet-valid", (it, random) => void (it.notBefore = NOW + 1_000 * random.pick([1, 60, 1e6]))),
  authority("authority-expired", (it) => void (it.notAfter = NOW - 1_000)),
  presented("unknown-critical-extension", (it) => {
    const extension = { oid: "1.3.6.1.4.1.99999.2", critical: true, value: asn1.nullValue() };
    it.extensions = [...it.extensions, extension];
  }),
  authority("authority-with-unknown-critical-extension", (it) => {
    const extension = { oid: "1.3.6.1.4.1.99999.2", critical: true, value: asn1.nullValue() };
    it.extensions = [...it.extensions, extension];
  }),
  presented("other-inner-algorithm", (it) => {
    const other =
      it.signing.family === "ecdsa"
        ? ({ family: "ed25519" } as const)
        : ({ family: "ecdsa", hash: "SHA-256" } as const);
    it.innerAlgorithm = algorithmIdentifier(other);
  }),
  presented("sha-1", (it) => {
    if (it.signing.family !== "ed25519") it.signing = { family: it.signing.family, hash: "SHA-1" };
  }),
  presented("salt-of-other-length", (it) => {
    if (it.signing.family === "rsa-pss") it.signing = { ...it.signing, saltLength: 20 };
  }),
  authority("weak-key", (it, random, { path, extras }) => {
    it.key = keysOf("RSA-1024")[0]!;
    const below = [...path, ...extras].filter((one) => (one.issuer ?? one) === it);
    for (const one of below) one.signing = random.pick(schemesOf("RSA-1024"));
  }),
  leaf("weak-leaf-key", (it) => void (it.key = keysOf("RSA-1024")[0]!)),
  presented("foreign-signature", (it, random) => {
    it.signer = randomKey(random, it.issuer?.key);
    it.signing = random.pick(schemesOf(it.signer.type));
  }),
  presented("spoilt-signature", (it, random) => void (it.tamper = (der) => flipBit(der, random, der.length - 20))),
  presented("changed-after-signing", (it) => void (it.tamper = (der) => changeSigned(der, it))),
  presented("flipped-bit", (it, random) => void (it.tamper = (der) => flipBit(der, random, 8))),
  presented("other-issuer-name", (it, random) => {
    it.issuerName = random.pick([name({}), nameIn("nobody", { CN: "nobody" })]);
  }),
  presented("long-serial", (it, random) => void (it.serial = Uint8Array.of(1, ...random.bytes(20)))),
  presented("negative-serial", (it) => void (it.serial = Uint8Array.of(0x80, 1))),
  presented("version-1", (it) => void (it.version = 1)),
  intermediate("intermediate-missing", (it, _, { missing }) => void missing.add(it)),
  intermediate("intermediate-is-no-ca", (it, random) => void (it.ca = random.pick([false, null]))),
  intermediate("intermediate-signs-nothing", (it, random) => {
    it.keyUsage = random.pick([null, ["digitalSignature"], ["cRLSign"]] as const);
  }),
  authority("path-too-long", (it, random, { path }) => {
    const below = path.indexOf(it) - 1;
    it.pathLength = Math.max(0, below - 1 - random.below(2));
  }),
  constraint("uri", undefined, "other.test", "example.org"),
  constraint("dns", "web.example.org", "other.test", "example.org"),
  constraint("email", "ops@example.org", "other.test", "example.org"),
  constraint(
    "ip",
    Uint8Array.of(10, 9, 9, 9),
    Uint8Array.of(192, 168, 0, 0, 255, 255, 0, 0),
    Uint8Array.of(10, 0, 0, 0, 255, 0, 0, 0),
  ),
  authority("constraint-directory", (ca, random, { path: [target], label }) => {
    target.subject = nameIn(label, { CN: "leaf" });
    const other = random.chance(0.5);
    ca.constraints = {
      permitted: other ? { directory: [name({ O: "somebody else" })] } : {},
      excluded: other ? {} : { directory: [nameIn(label, { CN: "leaf" })] },
    };
  }),
  fatal(flaw("nothing-trusted", (chain) => void (chain.anchors = []))),
  flaw("somebody-else-trusted", (chain, random) => {
    const other = draftCa(random, chain.label, chain.trustDomain, "root");
    other.subject = chain.path.at(-1)!.subject;
    chain.anchors = [other];
  }),
  fatal(flaw("bundle-of-another-trust-domain", (chain) => void (chain.bundleDomain = "other.test"))),
  flaw("trusted-authority-is-no-ca", ({ path }, random) => void (path.at(-1)!.ca = random.pick([false, null]))),
  flaw("trusted-authority-signs-nothing", ({ path }) => void (path.at(-1)!.keyUsage = ["digitalSignature"])),
  flaw("leaf-issued-by-leaf", (chain) => {
    const below = chain.path[0];
    const above = { ...below, subject: nameIn(chain.label, { CN: "upper leaf" }), namesCritical: true };
    below.issuer = above;
    below.signing = schemesOf(above.key.type)[0]!;
    below.key = keysOf("P-256").find((key) => key !== above.key)!;
    chain.extras.unshift(above);
  }),
  flaw("too-many-certificates", (chain, random) => {
    const { extras, label, trustDomain, path } = chain;
    while (extras.length < 12) extras.push(draftCa(random, label, trustDomain, `more ${extras.length}`, path.at(-1)));
  }),
];

/** The flaws that nothing makes good. */
export const FATAL: ReadonlySet<string> = new Set(FLAWS.filter((one) => one.fatal).map(({ name }) => name));

/** Makes one to three things wrong; gives their names. */
export function spoil(chain: ChainDraft, random: Random): string[] {
  const names: string[] = [];
  const wanted = random.pick([1, 1, 1, 2, 3]);
  while (names.length < wanted) {
    const one = random.pick(FLAWS);
    if (one.apply(chain, random) !== false) names.push(one.name);
  }
  return names;
}
