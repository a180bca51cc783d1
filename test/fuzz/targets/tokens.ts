/** Mutated tokens. */
import type { Clock } from "../../../src/base/index.ts";
import { webcryptoVerifier } from "../../../src/crypto/index.ts";
import { encodeBase64Url } from "../../../src/encoding/base64.ts";
import {
  JwtBundle,
  JwtSvid,
  safeValidateJwtSvid,
  safeValidateJwtSvidSync,
  validateJwtSvidSync,
} from "../../../src/jwt/index.ts";
import { NOW } from "../chains.ts";
import { tokenCase } from "../differential.ts";
import { call, type Mutant, type Target, throwing } from "../mutants.ts";
import { mutateJson } from "../mutate-json.ts";
import { mutateText } from "../mutate-text.ts";
import { joseOpinion } from "../oracles/jose.ts";
import type { Random } from "../random.ts";
import { AUDIENCE, draftToken, type TokenCase, writeToken } from "../tokens.ts";

const CORPUS = 4;
const clock: Clock = { now: () => NOW, monotonic: () => 0, sleep: () => Promise.resolve() };
const options = { audience: AUDIENCE, clock };

const tokens: readonly TokenCase[] = Array.from({ length: 80 }, (_, index) => tokenCase(CORPUS, index));
const validTokens = tokens.filter(({ flaw }) => flaw === undefined);

const bundles = new WeakMap<TokenCase, JwtBundle>();

function bundleOf(one: TokenCase): JwtBundle {
  let bundle = bundles.get(one);
  if (bundle === undefined) {
    bundle = JwtBundle.fromJwks(one.bundleDomain, JSON.stringify({ keys: one.jwks }), "workload-api");
    bundles.set(one, bundle);
  }
  return bundle;
}

function validations(
  random: Random,
  token: string,
  one: TokenCase,
  accepted: (value: JwtSvid) => string | undefined | Promise<string | undefined>,
): Mutant {
  const source = { jwtBundleFor: () => bundleOf(one) };
  const web = { ...options, verifier: webcryptoVerifier };
  const parts = token.split(".");
  return {
    input: [token, JSON.stringify({ keys: one.jwks })],
    secrets: [parts[1]?.slice(0, 40) ?? "", parts.at(-1)?.slice(0, 40) ?? ""],
    calls: [
      call("safeValidateJwtSvidSync", () => safeValidateJwtSvidSync(token, source, options), accepted),
      call("JwtSvid.safeParseUnverified", () => JwtSvid.safeParseUnverified(token)),
      ...(random.chance(0.1) ? [call("by WebCrypto", () => safeValidateJwtSvid(token, source, web), accepted)] : []),
      ...(random.chance(0.1)
        ? [throwing("validateJwtSvidSync", () => validateJwtSvidSync(token, source, options))]
        : []),
    ],
  };
}

const decoded = (part: string) => Buffer.from(part, "base64url").toString("utf8");

/** A token one part of which was changed, and its signature left as it was. */
function mutateToken(token: string, random: Random): string {
  const parts = token.split(".");
  if (parts.length !== 3 || random.chance(0.4)) return mutateText(token, random);
  const at = random.below(3);
  if (at === 2) {
    const signature = Buffer.from(parts[2]!, "base64url");
    const change = random.pick([
      () => signature.fill(0, random.below(signature.length)),
      () => void (signature[random.below(signature.length)]! ^= 1 << random.below(8)),
      () => signature.reverse(),
    ]);
    change();
    parts[2] = encodeBase64Url(random.chance(0.8) ? signature : signature.subarray(random.below(signature.length)));
  } else {
    try {
      parts[at] = encodeBase64Url(mutateJson(decoded(parts[at]!), random));
    } catch {
      return mutateText(token, random);
    }
  }
  return parts.join(".");
}

const token: Target = {
  name: "token",
  share: 160,
  mutate(random) {
    const one = random.pick(random.chance(0.8) ? validTokens : tokens);
    const mutant = mutateToken(one.token, random);
    const signed = (text: string) => text.slice(0, text.lastIndexOf("."));
    return validations(random, mutant, one, () =>
      signed(mutant) === signed(one.token) ? undefined : "ACCEPTED although the signed bytes were changed",
    );
  },
};

/** Tokens that say something strange, under a signature that is right. */
const signedAnew: Target = {
  name: "token-signed-anew",
  share: 60,
  mutate(random) {
    const draft = draftToken(random);
    const both = random.pick([
      [true, false],
      [false, true],
      [true, true],
    ]);
    draft.rewrite = (header, payload) => [
      both[0] ? mutateJson(header, random) : header,
      both[1] ? mutateJson(payload, random) : payload,
    ];
    const one = writeToken(draft, "anew", undefined, random);
    return validations(random, one.token, one, async (svid) => {
      const { accepted, says } = await joseOpinion(one);
      if (!accepted && !says.startsWith("ERR_JWKS_MULTIPLE_MATCHING_KEYS")) return `ACCEPTED, but jose says: ${says}`;
      return svid.audience.includes(AUDIENCE) ? undefined : "ACCEPTED for another audience";
    });
  },
};

export const TOKEN_TARGETS: readonly Target[] = [token, signedAnew];
