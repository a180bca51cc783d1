/** Validation of JWT-SVIDs: every rule in one generator, run by an asynchronous and a synchronous driver. */
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import {
  accept,
  type Clock,
  type Refusal,
  refuse,
  SpiffeError,
  systemClock,
  timeOf,
  unwrap,
  type Verdict,
} from "../base/index.ts";
import {
  type Backend,
  type Checks,
  chooseSyncVerifier,
  chooseVerifier,
  runChecks,
  runChecksSync,
  type SignatureVerifier,
  type SyncSignatureVerifier,
} from "../crypto/index.ts";
import type { JwtBundle, JwtBundleSource } from "./bundle.ts";
import { type Audiences, audiencesOf, type JwtClaims, readClaims } from "./claims.ts";
import type { JwtKey } from "./jwk-set.ts";
import { type Jws, parseJws } from "./jws.ts";
import { findBundle, findSigner } from "./signer.ts";
import { type JwtSvid, makeJwtSvid } from "./svid.ts";

/** How a token is judged. */
export interface JwtValidateOptions {
  /** Whom the validator is: the token must be for at least one of these, compared byte for byte. Never empty. */
  readonly audience: string | readonly string[];
  /** Decides validity by `now()`; the machine's clock unless given. One that throws or gives no number refuses everything. */
  readonly clock?: Clock;
  /** How far the sender's clock may be off, in milliseconds: 10,000 unless given, at most 120,000. */
  readonly leewayMs?: number;
  /** Refuses tokens without `kid`; otherwise up to 8 keys that fit are tried. */
  readonly requireKeyId?: true;
  /** Lets unknown header parameters pass; those that bring keys or are critical stay refused. */
  readonly lenientHeader?: true;
  /** The backend; the fastest one of this runtime unless given. */
  readonly verifier?: SignatureVerifier;
  /** Names a backend instead: WebAssembly, `node:crypto` or WebCrypto. */
  readonly backend?: Backend;
}

/** How a token is judged at once, by a synchronous backend. */
export interface JwtValidateSyncOptions extends Omit<JwtValidateOptions, "verifier"> {
  readonly verifier?: SyncSignatureVerifier;
}

const KNOWN: OptionNames<JwtValidateOptions> = {
  audience: true,
  clock: true,
  leewayMs: true,
  requireKeyId: true,
  lenientHeader: true,
  verifier: true,
  backend: true,
};

const DEFAULT_LEEWAY_MS = 10_000;
const MAX_LEEWAY_MS = 120_000;

/**
 * Validates a JWT-SVID: shape, algorithm, subject, time, audience, and the signature under a key of the subject's own
 * trust domain (JWT-SVID §2 to §6).
 *
 * @param token compact JWS of at most 16 KiB
 * @param bundles where the JWT bundle of the subject's trust domain is looked up; none means refused
 * @returns the SVID, all of whose rules hold
 * @throws SpiffeError `ERR_SPIFFE_JWT_VERIFY`, `reason` names the rule; `ERR_SPIFFE_USAGE` when `audience` is empty or
 *   `leewayMs` out of range, and for an option it does not know
 *
 * @example
 * ```ts
 * import { isSpiffeError, JwtBundle, validateJwtSvid } from "spiffe-edge";
 * const bundle = JwtBundle.fromJwks("example.org", '{"keys":[]}', "workload-api");
 * try {
 *   await validateJwtSvid("e30.e30.AA", bundle, { audience: "spiffe://example.org/orders" });
 * } catch (error) {
 *   console.assert(isSpiffeError(error, "ERR_SPIFFE_JWT_VERIFY") && error.reason === "jwt.algorithm");
 * }
 * ```
 */
export async function validateJwtSvid(
  token: string,
  bundles: JwtBundleSource,
  options: JwtValidateOptions,
): Promise<JwtSvid> {
  onlyKnown("validateJwtSvid", options, KNOWN);
  return unwrap(await validate(token, bundles, options), "ERR_SPIFFE_JWT_VERIFY");
}

/**
 * Like {@link validateJwtSvid}, but returns a verdict and does not throw for any token.
 *
 * @throws SpiffeError `ERR_SPIFFE_USAGE` for wrong options
 */
export async function safeValidateJwtSvid(
  token: string,
  bundles: JwtBundleSource,
  options: JwtValidateOptions,
): Promise<Verdict<JwtSvid>> {
  onlyKnown("safeValidateJwtSvid", options, KNOWN);
  return validate(token, bundles, options);
}

async function validate(
  token: string,
  bundles: JwtBundleSource,
  options: JwtValidateOptions,
): Promise<Verdict<JwtSvid>> {
  const verifier = options.verifier ?? chooseVerifier(options.backend);
  return svidOf(token, await runChecks(validation(token, bundles, settingsOf(options)), verifier));
}

/**
 * Like {@link validateJwtSvid}, at once, with a synchronous backend.
 *
 * @throws SpiffeError `ERR_SPIFFE_JWT_VERIFY`, `ERR_SPIFFE_USAGE`, and `ERR_SPIFFE_BACKEND` where there is no such backend
 */
export function validateJwtSvidSync(token: string, bundles: JwtBundleSource, options: JwtValidateSyncOptions): JwtSvid {
  onlyKnown("validateJwtSvidSync", options, KNOWN);
  return unwrap(validateSync(token, bundles, options), "ERR_SPIFFE_JWT_VERIFY");
}

/**
 * Like {@link validateJwtSvidSync}, but returns a verdict and does not throw for any token.
 *
 * @throws SpiffeError `ERR_SPIFFE_USAGE` for wrong options, `ERR_SPIFFE_BACKEND`
 */
export function safeValidateJwtSvidSync(
  token: string,
  bundles: JwtBundleSource,
  options: JwtValidateSyncOptions,
): Verdict<JwtSvid> {
  onlyKnown("safeValidateJwtSvidSync", options, KNOWN);
  return validateSync(token, bundles, options);
}

function validateSync(token: string, bundles: JwtBundleSource, options: JwtValidateSyncOptions): Verdict<JwtSvid> {
  const verifier = options.verifier ?? chooseSyncVerifier(options.backend);
  return svidOf(token, runChecksSync(validation(token, bundles, settingsOf(options)), verifier));
}

/** What a token is judged by. */
export interface Settings {
  readonly audience: Audiences;
  readonly clock: Clock;
  readonly leewayMs: number;
  readonly requireKeyId: boolean;
  readonly lenientHeader: boolean;
}

/** Judges the options. An empty audience would mean "any", so it is an error (JWT-22). */
export function settingsOf(options: JwtValidateOptions | JwtValidateSyncOptions): Settings {
  const { audience, clock = systemClock, leewayMs = DEFAULT_LEEWAY_MS } = options;
  const values = typeof audience === "string" ? [audience] : audience;
  if (!Array.isArray(values) || values.length === 0 || values.some((value) => typeof value !== "string" || !value)) {
    throw new SpiffeError("ERR_SPIFFE_USAGE", "Expected at least one audience, and none of them empty", {
      hint: "Name the audience this service accepts, usually its own SPIFFE ID.",
    });
  }
  if (!(Number.isFinite(leewayMs) && leewayMs >= 0 && leewayMs <= MAX_LEEWAY_MS)) {
    throw new SpiffeError("ERR_SPIFFE_USAGE", `Expected leewayMs from 0 to ${MAX_LEEWAY_MS}`);
  }
  return {
    audience: audiencesOf(values),
    clock,
    leewayMs,
    // what makes stricter holds whatever says yes, what relaxes only by true itself
    requireKeyId: Boolean(options.requireKeyId),
    lenientHeader: options.lenientHeader === true,
  };
}

/** What a validation that found no fault has read, and under what the signature verified. */
export interface Validated {
  readonly jws: Jws;
  readonly claims: JwtClaims;
  readonly bundle: JwtBundle;
  readonly signer: JwtKey;
}

function svidOf(token: string, verdict: Verdict<Validated>): Verdict<JwtSvid> {
  return verdict.ok ? accept(makeJwtSvid(token, verdict.value.jws, verdict.value.claims)) : verdict;
}

/** The whole validation. Cheap rules come first: a token nobody meant for us costs no signature check. */
export function* validation(token: string, bundles: JwtBundleSource, settings: Settings): Checks<Verdict<Validated>> {
  const jws = parseJws(token, settings.lenientHeader);
  if (!jws.ok) return jws;
  const claims = readClaims(jws.value.payload, settings.audience);
  if (!claims.ok) return claims;
  const refused = judge(jws.value.keyId, claims.value, settings);
  if (refused !== undefined) return refused;
  const bundle = findBundle(claims.value.id.trustDomain, bundles);
  if (!bundle.ok) return bundle;
  const signer = yield* findSigner(jws.value, bundle.value);
  if (!signer.ok) return signer;
  return accept({ jws: jws.value, claims: claims.value, bundle: bundle.value, signer: signer.value });
}

/** The rules that need neither key nor bundle. Comparisons are written so that a clock without a number refuses. */
export function judge(
  keyId: string | undefined,
  claims: Pick<JwtClaims, "expiresAt" | "notBefore" | "audience">,
  settings: Settings,
): Refusal | undefined {
  const { leewayMs } = settings;
  const now = timeOf(settings.clock);
  if (settings.requireKeyId && keyId === undefined) return refuse("jwt.header", 'Expected a "kid" header parameter');
  if (Number.isNaN(now)) {
    return refuse("jwt.expired", "Expected a clock that tells the time; without it nothing counts as valid");
  }
  if (!(now < claims.expiresAt + leewayMs)) {
    return refuse("jwt.expired", `Expected a token that is still valid, got one that ended ${date(claims.expiresAt)}`);
  }
  if (claims.notBefore !== undefined && !(now + leewayMs >= claims.notBefore)) {
    return refuse(
      "jwt.not-yet-valid",
      `Expected a token that is valid by now, got one from ${date(claims.notBefore)} on`,
    );
  }
  if (!meets(claims.audience, settings.audience)) {
    return refuse(
      "jwt.audience",
      `Expected a token for ${[...settings.audience.keys()].join(" or ")}, got one for somebody else`,
    );
  }
  return undefined;
}

function meets(theirs: readonly string[], ours: Audiences): boolean {
  for (const value of theirs) if (ours.has(value)) return true;
  return false;
}

function date(ms: number): string {
  return new Date(ms).toISOString();
}
