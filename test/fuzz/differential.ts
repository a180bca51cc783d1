/** Random chains and tokens, judged here and by others, who must agree or differ for a listed reason (G-4). */
import type { Clock, Verdict } from "../../src/base/index.ts";
import { chooseSyncVerifier, type SignatureVerifier, webcryptoVerifier } from "../../src/crypto/index.ts";
import { JwtBundle, safeValidateJwtSvid, safeValidateJwtSvidSync } from "../../src/jwt/index.ts";
import { type Certificate, safeVerifyX509Svid, safeVerifyX509SvidSync, X509Bundle } from "../../src/x509/index.ts";
import { FATAL, spoil } from "./chain-flaws.ts";
import { type ChainCase, draftChain, NOW, writeChain } from "./chains.ts";
import { ACCEPTED_HERE, isListed, type Oracle, REFUSED_HERE } from "./exceptions.ts";
import { joseOpinion } from "./oracles/jose.ts";
import { nodeOpinion, pathOpinion } from "./oracles/node-x509.ts";
import { opensslMissing, opensslOpinions } from "./oracles/openssl.ts";
import type { Opinion } from "./oracles/oracle.ts";
import { peculiarMissing, peculiarVerifier } from "./oracles/peculiar.ts";
import { pkijsOpinion } from "./oracles/pkijs.ts";
import { Random } from "./random.ts";
import { HARMLESS, spoilToken } from "./token-flaws.ts";
import { AUDIENCE, draftToken, type TokenCase, writeToken } from "./tokens.ts";

/** The share of cases that are valid by construction, and must be accepted. */
const VALID_SHARE = 0.3;
/** Cases that openssl judges in one run. */
const BATCH = 200;

const clock: Clock = { now: () => NOW, monotonic: () => 0, sleep: () => Promise.resolve() };

/** A case on which something is wrong, with all that is needed to see it again. */
export interface Finding {
  /** Label of the case, as `--case` takes it. */
  readonly label: string;
  readonly message: string;
  /** The input, in base64 or as text. */
  readonly input: readonly string[];
}

export interface DifferentialResult {
  readonly cases: number;
  /** Cases that were valid by construction. */
  readonly valid: number;
  readonly accepted: number;
  readonly findings: readonly Finding[];
  /** How often each listed difference was met, by its place in the lists. */
  readonly listed: ReadonlyMap<object, number>;
  /** Oracles that are missing here, with the reason. */
  readonly missing: readonly string[];
}

/** What is judged, whichever its kind. */
export interface Judged {
  readonly label: string;
  /** What has to come out, by the way the case was made. */
  readonly expected?: "accepted" | "refused" | undefined;
  /** What exceptions may ask for. */
  readonly traits: readonly string[];
  readonly ours: string;
  /** An oracle that came to no end has no opinion. */
  readonly opinions: readonly (readonly [Oracle, Opinion | undefined])[];
  readonly input: readonly string[];
}

/** Every verdict in one word, which has to be the same for all backends. */
function agreed(verdicts: readonly Verdict<unknown>[]): string {
  const words = new Set(verdicts.map((verdict) => (verdict.ok ? "accepted" : verdict.reason)));
  return [...words].join(" or ");
}

/** A verdict in one word, with the path where there is one. */
interface Ours {
  readonly word: string;
  readonly path?: readonly Certificate[];
}

/** What is wrong with the verdicts on a case; a difference that is listed is counted instead. */
export function compare(judged: Judged, listed: Map<object, number>): string[] {
  const { ours, traits, expected } = judged;
  if (ours.includes(" or ")) return [`backends differ: ${ours}`];
  const messages: string[] = [];
  if (expected === "accepted" && ours !== "accepted") messages.push(`valid, but refused: ${ours}`);
  if (expected === "refused" && ours === "accepted") messages.push("accepted, but a flaw in it must refuse");
  const use = (entry: object | undefined) => entry !== undefined && listed.set(entry, (listed.get(entry) ?? 0) + 1);
  for (const [oracle, opinion] of judged.opinions) {
    if (opinion === undefined) continue;
    const { accepted, says } = opinion;
    if (ours === "accepted" && !accepted) {
      const known = ACCEPTED_HERE.find((one) => one.oracle === oracle && isListed(one, says, traits));
      if (!use(known)) messages.push(`accepted, but ${oracle} says: ${says}`);
    } else if (ours !== "accepted" && accepted) {
      const known = REFUSED_HERE.find(
        ({ reasons, oracles, where = [] }) =>
          reasons.includes(ours) && oracles.includes(oracle) && where.every((trait) => traits.includes(trait)),
      );
      if (!use(known)) messages.push(`refused with ${ours}, but ${oracle} accepts`);
    }
  }
  return messages;
}

async function summarise(cases: readonly Judged[], valid: number, missing: string[]): Promise<DifferentialResult> {
  const listed = new Map<object, number>();
  const findings = cases.flatMap((judged) =>
    compare(judged, listed).map((message) => ({
      label: judged.label,
      message: `${message} [${judged.traits.join(", ")}]`,
      input: judged.input,
    })),
  );
  const accepted = cases.filter(({ ours }) => ours === "accepted").length;
  return { cases: cases.length, valid, accepted, findings, listed, missing };
}

const base64 = (der: Uint8Array) => Buffer.from(der).toString("base64");

/** Makes the chain of a seed and number. */
export function chainCase(seed: number, index: number): ChainCase {
  const random = new Random(seed, "chain", index);
  const draft = draftChain(random, `chains/${index}`);
  const flaws = random.chance(VALID_SHARE) ? [] : spoil(draft, random);
  return writeChain(draft, flaws, random);
}

/** Judges chains from `first` on. */
export async function differChains(seed: number, count: number, first = 0): Promise<DifferentialResult> {
  const cases = Array.from({ length: count }, (_, i) => chainCase(seed, first + i));
  const peculiar = await peculiarVerifier();
  const withoutOpenssl = opensslMissing();
  const openssl = new Map<ChainCase, Opinion>();
  for (let i = 0; i < count && withoutOpenssl === undefined; i += BATCH) {
    for (const [one, opinion] of opensslOpinions(cases.slice(i, i + BATCH))) openssl.set(one, opinion);
  }
  const judged: Judged[] = [];
  for (const one of cases) {
    const { word, path } = await judgeChain(one, peculiar);
    judged.push({
      label: one.label,
      expected: one.flaws.length === 0 ? "accepted" : one.flaws.some((flaw) => FATAL.has(flaw)) ? "refused" : undefined,
      traits: [...one.flaws, ...one.notes],
      ours: word,
      opinions: [
        ["openssl", openssl.get(one)],
        ["node", nodeOpinion(one)],
        [
          "node",
          path &&
            pathOpinion(
              path.map(({ der }) => der),
              NOW,
            ),
        ],
        ["pkijs", await pkijsOpinion(one)],
      ],
      input: ["leaf", base64(one.leaf), "others", ...one.others.map(base64), "anchors", ...one.anchors.map(base64)],
    });
  }
  const missing = [withoutOpenssl, peculiarMissing].filter((reason) => reason !== undefined);
  return summarise(judged, cases.filter(({ flaws }) => flaws.length === 0).length, missing);
}

async function judgeChain(one: ChainCase, peculiar: SignatureVerifier | undefined): Promise<Ours> {
  const bundle = X509Bundle.safeFromDer(one.bundleDomain, new Uint8Array(Buffer.concat([...one.anchors])));
  if (!bundle.ok) return { word: bundle.reason };
  const source = { x509BundleFor: () => bundle.value };
  const presented = [one.leaf, ...one.others];
  const verdict = safeVerifyX509SvidSync(presented, source, { clock, verifier: chooseSyncVerifier() });
  const word = agreed([
    verdict,
    await safeVerifyX509Svid(presented, source, { clock, verifier: webcryptoVerifier }),
    ...(peculiar === undefined ? [] : [await safeVerifyX509Svid(presented, source, { clock, verifier: peculiar })]),
  ]);
  return { word, ...(verdict.ok && { path: verdict.value.chain }) };
}

/** Makes the token of a seed and number. */
export function tokenCase(seed: number, index: number): TokenCase {
  const random = new Random(seed, "token", index);
  const draft = draftToken(random);
  const flaw = random.chance(VALID_SHARE) ? undefined : spoilToken(draft, random);
  return writeToken(draft, `tokens/${index}`, flaw, random);
}

/** Judges tokens from `first` on. */
export async function differTokens(seed: number, count: number, first = 0): Promise<DifferentialResult> {
  const cases = Array.from({ length: count }, (_, i) => tokenCase(seed, first + i));
  const peculiar = await peculiarVerifier();
  const judged: Judged[] = [];
  for (const one of cases) {
    judged.push({
      label: one.label,
      expected: one.flaw === undefined ? "accepted" : HARMLESS.has(one.flaw) ? undefined : "refused",
      traits: one.flaw === undefined ? [] : [one.flaw],
      ours: await judgeToken(one, peculiar),
      opinions: [["jose", await joseOpinion(one)]],
      input: [one.token, JSON.stringify({ keys: one.jwks })],
    });
  }
  const missing = peculiarMissing === undefined ? [] : [peculiarMissing];
  return summarise(judged, cases.filter(({ flaw }) => flaw === undefined).length, missing);
}

async function judgeToken(one: TokenCase, peculiar: SignatureVerifier | undefined): Promise<string> {
  const jwks = JSON.stringify({ keys: one.jwks });
  const bundle = JwtBundle.safeFromJwks(one.bundleDomain, jwks, "workload-api");
  if (!bundle.ok) return bundle.reason;
  const source = { jwtBundleFor: () => bundle.value };
  const options = { audience: AUDIENCE, clock };
  return agreed([
    safeValidateJwtSvidSync(one.token, source, options),
    await safeValidateJwtSvid(one.token, source, { ...options, verifier: webcryptoVerifier }),
    ...(peculiar === undefined
      ? []
      : [await safeValidateJwtSvid(one.token, source, { ...options, verifier: peculiar })]),
  ]);
}
