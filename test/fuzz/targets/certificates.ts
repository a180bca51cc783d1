/** Mutated certificates, chains and keys. */
import { createPrivateKey, createPublicKey } from "node:crypto";
import { accept, type Clock, refuse, type Verdict } from "../../../src/base/index.ts";
import { PublicKey, privateKeyMatchesSync, webcryptoVerifier } from "../../../src/crypto/index.ts";
import { splitDer } from "../../../src/encoding/der.ts";
import {
  Certificate,
  safeVerifyX509Svid,
  safeVerifyX509SvidSync,
  spiffeIdOf,
  type VerifiedX509Svid,
  verifyX509SvidSync,
  X509Bundle,
  X509Svid,
} from "../../../src/x509/index.ts";
import { signTbs, writeTbs } from "../certificates.ts";
import { type ChainCase, draftChain, NOW, writeChain } from "../chains.ts";
import { chainCase } from "../differential.ts";
import { ACCEPTED_HERE, isListed } from "../exceptions.ts";
import { type FixedKey, KEYS } from "../keys.ts";
import { base64, call, equal, type Mutant, type Target, throwing } from "../mutants.ts";
import { mutateDer } from "../mutate-der.ts";
import { pathOpinion } from "../oracles/node-x509.ts";
import { Random } from "../random.ts";

/** The seed of the inputs that are mutated, whatever the seed of the mutations. */
const CORPUS = 4;

const clock: Clock = { now: () => NOW, monotonic: () => 0, sleep: () => Promise.resolve() };
const chains: readonly ChainCase[] = Array.from({ length: 60 }, (_, index) => chainCase(CORPUS, index));
const validChains = chains.filter(({ flaws }) => flaws.length === 0);
const certificates = chains.flatMap(({ leaf, others, anchors }) => [leaf, ...others, ...anchors]);

/** Asks for everything that a certificate can tell: nothing of it may throw. */
function readAll(certificate: Certificate): string | undefined {
  JSON.stringify(certificate);
  void [certificate.subject.comparable, certificate.issuer.comparable, certificate.dnsSans, certificate.toPem()];
  void [certificate.signatureAlgorithm, certificate.validityAt(NOW), certificate.isSelfIssued, certificate.keyUsage];
  const key = certificate.safePublicKey();
  if (key.ok) void [key.value.toJwk(), key.value.importSpki];
  return undefined;
}

const certificate: Target = {
  name: "certificate",
  share: 180,
  mutate(random) {
    const mutant = mutateDer(random.pick(certificates), random, random.pick(certificates));
    const named = () => {
      const parsed = Certificate.safeParse(mutant);
      return parsed.ok ? spiffeIdOf(parsed.value) : parsed;
    };
    return {
      input: [base64(mutant)],
      calls: [
        call(
          "Certificate.safeParse",
          () => Certificate.safeParse(mutant),
          (value) => {
            return equal(value.der, mutant) ? readAll(value) : "the certificate has other bytes than were given";
          },
        ),
        call("spiffeIdOf", named),
        call("X509Bundle.safeFromDer", () => X509Bundle.safeFromDer("example.org", mutant)),
        throwing("Certificate.parse", () => Certificate.parse(mutant)),
      ],
    };
  },
};

function sourceOf({ bundleDomain, anchors }: ChainCase) {
  const bundle = X509Bundle.fromDer(bundleDomain, new Uint8Array(Buffer.concat([...anchors])));
  return { x509BundleFor: () => bundle };
}

/** Whether every certificate of an accepted path says, in its signed part, what one of the originals says. */
function isUnchanged(path: readonly Certificate[], originals: ReadonlySet<string>): string | undefined {
  const changed = path.findIndex(({ tbs }) => !originals.has(base64(tbs)));
  return changed === -1 ? undefined : `ACCEPTED although the signed bytes of certificate ${changed} were changed`;
}

function signedParts({ leaf, others, anchors }: ChainCase): ReadonlySet<string> {
  const parsed = [leaf, ...others, ...anchors].map((der) => Certificate.safeParse(der));
  return new Set(parsed.flatMap((one) => (one.ok ? [base64(one.value.tbs)] : [])));
}

/** Every driver and backend on one chain, a few of them not each time. */
function verifications(
  random: Random,
  presented: readonly Uint8Array[],
  one: ChainCase,
  accepted: (value: VerifiedX509Svid) => string | undefined,
): Mutant {
  const source = sourceOf(one);
  const joined = new Uint8Array(Buffer.concat([...presented]));
  const fromJoined = (): Verdict<VerifiedX509Svid> => {
    const elements = splitDer(joined);
    return elements.ok ? safeVerifyX509SvidSync(elements.value, source, { clock }) : elements;
  };
  const web = { clock, verifier: webcryptoVerifier };
  return {
    input: [...presented.map(base64), "anchors", ...one.anchors.map(base64)],
    calls: [
      call("safeVerifyX509SvidSync", () => safeVerifyX509SvidSync(presented, source, { clock }), accepted),
      ...(random.chance(0.2) ? [call("splitDer and verification", fromJoined, accepted)] : []),
      ...(random.chance(0.1) ? [call("by WebCrypto", () => safeVerifyX509Svid(presented, source, web), accepted)] : []),
      ...(random.chance(0.1)
        ? [throwing("verifyX509SvidSync", () => verifyX509SvidSync(presented, source, { clock }))]
        : []),
    ],
  };
}

const chain: Target = {
  name: "chain",
  share: 200,
  mutate(random) {
    const one = random.pick(random.chance(0.8) ? validChains : chains);
    const presented = [one.leaf, ...one.others];
    const at = random.below(presented.length);
    presented[at] = mutateDer(presented[at]!, random, random.pick(certificates));
    const originals = signedParts(one);
    return verifications(random, presented, one, (value) => isUnchanged(value.chain, originals));
  },
};

/** What an acceptance needs, said once more by the runtime's own reader. */
function isGrounded({ chain: path }: VerifiedX509Svid): string | undefined {
  const { accepted, says } = pathOpinion(
    path.map(({ der }) => der),
    NOW,
  );
  const traits = path.some(hasUnread) ? ["unread-name"] : [];
  const listed = accepted || ACCEPTED_HERE.some((one) => one.oracle === "node" && isListed(one, says, traits));
  return listed ? undefined : `ACCEPTED, but the runtime's reader says: ${says}`;
}

/** Whether a certificate has a name, or a constraint on names, of a type that is kept and not read. */
function hasUnread({ subject, issuer, names, extensions: { nameConstraints } }: Certificate): boolean {
  const { permitted = [], excluded = [] } = nameConstraints ?? {};
  const general = [...names, ...permitted, ...excluded];
  const directories = [subject, issuer, ...general.flatMap(({ directory }) => directory ?? [])];
  const isUnread = (kind: string) => ["other", "x400", "edi", "registered-id"].includes(kind);
  const attributes = directories.flatMap(({ relativeNames }) => relativeNames.flat());
  return general.some(({ kind }) => isUnread(kind)) || attributes.some(({ text }) => text === undefined);
}

/** Certificates that say something strange, under a signature that is right. */
const signedAnew: Target = {
  name: "certificate-signed-anew",
  share: 80,
  mutate(random) {
    const number = random.below(40);
    const plain = new Random(CORPUS, "valid", number);
    const draft = draftChain(plain, `anew/${number}`);
    const one = writeChain(draft, [], plain);
    const target = random.pick(draft.path.slice(0, -1));
    const { key } = target.issuer ?? target;
    const tbs = mutateDer(writeTbs(target), random, random.pick(certificates));
    const changed = signTbs(tbs, key, target.signing, random);
    const above = one.others.filter((der) => !Buffer.from(der).includes(Buffer.from(writeTbs(target))));
    const presented = target === draft.path[0] ? [changed, ...one.others] : [one.leaf, changed, ...above];
    return verifications(random, presented, one, isGrounded);
  },
};

const spki: Target = {
  name: "public-key",
  share: 70,
  mutate(random) {
    const mutant = mutateDer(random.pick(KEYS).spki, random, random.pick(KEYS).spki);
    return {
      input: [base64(mutant)],
      calls: [
        call(
          "PublicKey.fromSpki",
          () => PublicKey.fromSpki(mutant),
          (key) => {
            const again = PublicKey.fromJwk({ ...key.toJwk() });
            if (!again.ok) return `its JWK is refused: ${again.reason}`;
            try {
              createPublicKey({ key: Buffer.from(key.importSpki), format: "der", type: "spki" });
            } catch (error) {
              return `ACCEPTED, but the runtime can not read it: ${error}`;
            }
            return undefined;
          },
        ),
      ],
    };
  },
};

const publicKeys: ReadonlyMap<FixedKey, PublicKey> = new Map(
  KEYS.flatMap((key) => {
    const parsed = PublicKey.fromSpki(key.spki);
    return parsed.ok ? [[key, parsed.value] as const] : [];
  }),
);
/** A leaf for each of some keys, to be taken for one's own. */
const ownLeaves = validChains.filter(({ leaf }) => Certificate.parse(leaf).publicKey.bits !== 4_096);
const keyOfLeaf = ({ leaf }: ChainCase): FixedKey =>
  KEYS.find(({ spki: one }) => equal(one, Certificate.parse(leaf).spki))!;

const pkcs8: Target = {
  name: "private-key",
  share: 40,
  mutate(random) {
    const own = random.pick(ownLeaves);
    const key = keyOfLeaf(own);
    const mutant = mutateDer(key.pkcs8, random, random.pick(KEYS).pkcs8);
    const isRight = () => {
      const object = createPrivateKey({ key: Buffer.from(mutant), format: "der", type: "pkcs8" });
      const made = createPublicKey(object).export({ format: "der", type: "spki" });
      return equal(made, key.spki) ? undefined : "ACCEPTED, but it is the key of another public one";
    };
    const matches = (): Verdict<true> =>
      privateKeyMatchesSync(mutant, publicKeys.get(key)!) ? accept(true) : refuse("key.mismatch", "not the key");
    return {
      input: [base64(mutant), "leaf", base64(own.leaf)],
      secrets: [base64(key.pkcs8).slice(0, 40)],
      calls: [
        call("privateKeyMatchesSync", matches, isRight),
        ...(random.chance(0.2)
          ? [call("X509Svid.safeParse", () => X509Svid.safeParse(own.leaf, mutant), isRight)]
          : []),
      ],
    };
  },
};

export const CERTIFICATE_TARGETS: readonly Target[] = [certificate, chain, signedAnew, spki, pkcs8];
