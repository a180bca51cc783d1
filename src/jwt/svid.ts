/** JWT-SVIDs as values: what the token says, and the token, kept where no log or JSON can find it. */
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { unwrap, type Verdict } from "../base/index.ts";
import type { SpiffeId, TokenIdentity } from "../id/index.ts";
import { inspectAs } from "../id/inspect.ts";
import { type JwtClaims, readClaims } from "./claims.ts";
import { type Jws, parseJws } from "./jws.ts";

/** What comes beside a token. */
export interface JwtSvidOptions {
  /** The operator's note from the Workload API that tells several SVIDs apart. */
  readonly hint?: string;
}

const KNOWN: OptionNames<JwtSvidOptions> = { hint: true };

/** The constructor, for this folder alone. */
export let makeJwtSvid: (token: string, jws: Jws, claims: JwtClaims, options?: JwtSvidOptions) => JwtSvid;

/**
 * A JWT-SVID: a short-lived bearer token that says which workload sent it, and to whom.
 *
 * `validateJwtSvid` gives one whose every rule was checked. The token itself is a secret: it is only in
 * {@link JwtSvid.token}, never in JSON or a log of the object.
 */
export class JwtSvid {
  readonly id: SpiffeId;
  /** For whom the token is; at least one value. */
  readonly audience: readonly string[];
  readonly expiresAt: Date;
  readonly issuedAt?: Date;
  /** The `kid` header parameter. */
  readonly keyId?: string;
  /** All claims. Objects have no prototype; integers beyond 2^53 - 1 are bigints. */
  readonly claims: Readonly<Record<string, unknown>>;
  readonly hint?: string;
  readonly #token: string;

  private constructor(token: string, jws: Jws, claims: JwtClaims, options: JwtSvidOptions = {}) {
    this.id = claims.id;
    this.audience = claims.audience;
    this.expiresAt = new Date(claims.expiresAt);
    if (claims.issuedAt !== undefined) this.issuedAt = new Date(claims.issuedAt);
    if (jws.keyId !== undefined) this.keyId = jws.keyId;
    if (options.hint !== undefined) this.hint = options.hint;
    this.claims = claims.all;
    this.#token = token;
  }

  static {
    makeJwtSvid = (token, jws, claims, options) => new JwtSvid(token, jws, claims, options);
    inspectAs(JwtSvid.prototype, (self) => `JwtSvid(${self.id} until ${self.expiresAt.toJSON()}, token redacted)`);
  }

  /**
   * Reads a token without checking its signature, audience or time: only for tokens that the workload's own agent gave.
   * To check somebody else's, use `validateJwtSvid`.
   *
   * @param token compact JWS of at most 16 KiB
   * @throws SpiffeError `ERR_SPIFFE_JWT_SVID`, `reason` names the rule (JWT-SVID §2, §3)
   *
   * @example
   * ```ts
   * import { isSpiffeError, JwtSvid } from "spiffe-edge";
   * try {
   *   JwtSvid.parseUnverified("e30.e30.AA");
   * } catch (error) {
   *   console.assert(isSpiffeError(error, "ERR_SPIFFE_JWT_SVID") && error.reason === "jwt.algorithm");
   * }
   * ```
   */
  static parseUnverified(token: string, options: JwtSvidOptions = {}): JwtSvid {
    onlyKnown("JwtSvid.parseUnverified", options, KNOWN);
    return unwrap(JwtSvid.safeParseUnverified(token, options), "ERR_SPIFFE_JWT_SVID");
  }

  /** Like {@link JwtSvid.parseUnverified}, but returns a verdict; throws `ERR_SPIFFE_USAGE` for an option it does not know. */
  static safeParseUnverified(token: string, options: JwtSvidOptions = {}): Verdict<JwtSvid> {
    onlyKnown("JwtSvid.safeParseUnverified", options, KNOWN);
    const jws = parseJws(token);
    if (!jws.ok) return jws;
    const claims = readClaims(jws.value.payload);
    return claims.ok ? { ok: true, value: makeJwtSvid(token, jws.value, claims.value, options) } : claims;
  }

  /** The token, to be sent as `Authorization: Bearer …` over a confidential link. Never log it. */
  get token(): string {
    return this.#token;
  }

  /** What the token proved, without the token. */
  get identity(): TokenIdentity {
    return { id: this.id, expiresAt: this.expiresAt, audience: this.audience, claims: this.claims };
  }

  /** Everything but the token and the claims. */
  toJSON(): Record<string, unknown> {
    const { id, audience, expiresAt, issuedAt, keyId, hint } = this;
    return { id, audience, expiresAt, issuedAt, keyId, hint };
  }

  toString(): string {
    return `JwtSvid(${this.id})`;
  }
}
