/** From what a request carries to a verified caller, or to the answer it gets instead (S-18). */
import type { Clock, Reason, Verdict } from "../../base/index.ts";
import type { Peer, TokenIdentity, X509Peer } from "../../id/index.ts";
import { type JwtBundleSource, JwtSvid, type TokenJudge } from "../../jwt/index.ts";

/** The second door: callers that show a JWT-SVID. */
export interface JwtDoor {
  /** Judges tokens for the audiences of this door, with a memory of those that verified (S-19). */
  readonly judge: TokenJudge;
  readonly bundles: JwtBundleSource;
}

/** What a request carries. */
export interface Credentials {
  /** The connection's verified certificate identity. */
  readonly x509: X509Peer | undefined;
  /** The values of every `Authorization` field. */
  readonly authorization: readonly string[];
}

/** The verified caller, or why there is none. */
export type Authentication =
  | { readonly ok: true; readonly peer: Peer }
  | {
      readonly ok: false;
      readonly status: 400 | 401;
      readonly reason: Reason;
      /** A sentence without the credential. */
      readonly message: string;
      /** Value of `WWW-Authenticate` (RFC 6750 §3). */
      readonly challenge?: string;
    };

const SCHEME = /^[ \t]*bearer(?![!#$%&'*+.^_`|~0-9a-z-])/i;
/** The characters of RFC 6750 §2.1. */
const TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/;
const PADDED_TOKEN = /^ +([A-Za-z0-9\-._~+/]+=*) *$/;

/** The bearer token of an `Authorization` value: none for another scheme, `malformed` for one that is not one token. */
export function bearerToken(value: string): { token?: string; malformed?: true } {
  // as nearly all callers write it
  if (value.startsWith("Bearer ")) {
    const token = value.slice(7);
    if (TOKEN.test(token)) return { token };
  }
  const scheme = SCHEME.exec(value);
  if (scheme === null) return {};
  const token = PADDED_TOKEN.exec(value.slice(scheme[0].length));
  return token?.[1] === undefined ? { malformed: true } : { token: token[1] };
}

/** What stands in no JWS in compact form. */
const NO_JWS = /[^A-Za-z0-9._-]+/;

/**
 * Whether an `Authorization` value carries a JWT-SVID, of whatever audience: it proves its bearer, so it goes no further. What
 * stands around it plays no part, as an upstream may read more leniently.
 */
export function carriesSvid(authorization: string | undefined): boolean {
  return authorization?.split(NO_JWS).some((part) => JwtSvid.safeParseUnverified(part).ok) === true;
}

/** A `WWW-Authenticate` value that names a reason, quotes escaped. */
export function challenge(error: "invalid_token" | "invalid_request", description: string): string {
  const text = description.replace(/[^\x20-\x7e]/g, "?").replace(/["\\]/g, "\\$&");
  return `Bearer error="${error}", error_description="${text}"`;
}

/**
 * Judges a request's credentials. Closed on doubt: a token that does not verify refuses the request even over a good
 * certificate, and both are verified apart. Without a `jwt` door, `Authorization` is nobody's business here.
 */
export function authenticate(
  { x509, authorization }: Credentials,
  jwt: JwtDoor | undefined,
  clock: Clock,
): Authentication | Promise<Authentication> {
  if (authorization.length > 1) {
    const message = "The request has more than one Authorization field";
    return {
      ok: false,
      status: 400,
      reason: "request.authorization",
      message,
      challenge: challenge("invalid_request", message),
    };
  }
  if (x509 !== undefined && !(x509.expiresAt.getTime() > clock.now())) {
    return {
      ok: false,
      status: 401,
      reason: "x509.expired",
      message: "The certificate of this connection has expired",
    };
  }
  const { token, malformed } =
    jwt === undefined || authorization[0] === undefined
      ? ({} as ReturnType<typeof bearerToken>)
      : bearerToken(authorization[0]);
  if (malformed) {
    const message = "The Authorization field does not hold one bearer token";
    return {
      ok: false,
      status: 400,
      reason: "request.authorization",
      message,
      challenge: challenge("invalid_request", message),
    };
  }
  if (jwt !== undefined && token !== undefined) {
    const verdict = jwt.judge(token, jwt.bundles);
    return verdict instanceof Promise ? verdict.then((late) => withToken(x509, late)) : withToken(x509, verdict);
  }
  if (x509 !== undefined) return { ok: true, peer: x509 };
  return {
    ok: false,
    status: 401,
    reason: "request.no-credentials",
    message: jwt === undefined ? "A client certificate is needed" : "A client certificate or a JWT-SVID is needed",
    ...(jwt === undefined ? {} : { challenge: 'Bearer realm="spiffe"' }),
  };
}

/** The caller of a request whose token has been judged. */
function withToken(x509: X509Peer | undefined, verdict: Verdict<TokenIdentity>): Authentication {
  if (!verdict.ok) {
    const { reason } = verdict;
    const message = "The token was not accepted";
    return { ok: false, status: 401, reason, message, challenge: challenge("invalid_token", reason) };
  }
  const token = verdict.value;
  const peer: Peer =
    x509 === undefined
      ? { via: "jwt", id: token.id, expiresAt: token.expiresAt, token }
      : { via: "x509", id: x509.id, expiresAt: x509.expiresAt, token };
  return { ok: true, peer: Object.freeze(peer) };
}
