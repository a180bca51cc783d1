/** The claims of a JWT-SVID (JWT-SVID §3, RFC 7519 §4.1): shape only, neither signature nor time. */
import { accept, LIMITS, type Refusal, refuse, type Verdict } from "../base/index.ts";
import type { JsonObject, JsonValue } from "../encoding/strict-json.ts";
import { SpiffeId } from "../id/index.ts";
import { parseObject } from "./jws.ts";

/** Values of an audience; a token that lists more addresses nobody. */
const MAX_AUDIENCES = 100;
/** The largest date that exists, in milliseconds (ECMA-262 §21.4.1.1). */
const MAX_DATE_MS = 8.64e15;

/** The claims that rules apply to, and all claims as they came. Times in milliseconds since the epoch. */
export interface JwtClaims {
  readonly id: SpiffeId;
  readonly audience: readonly string[];
  readonly expiresAt: number;
  readonly notBefore: number | undefined;
  readonly issuedAt: number | undefined;
  readonly all: Readonly<Record<string, unknown>>;
}

/** Reads the payload of a JWT-SVID. */
export function readClaims(payload: Uint8Array): Verdict<JwtClaims> {
  const object = parseObject(accept(payload), LIMITS.token, "payload");
  if (!object.ok) return object;
  const { sub, aud, exp, nbf, iat, iss, jti } = object.value;
  const id = readSubject(sub);
  if (!id.ok) return id;
  const audience = readAudience(aud);
  if (!audience.ok) return audience;
  if (exp === undefined) return refuse("jwt.expiry-missing", 'Expected an "exp" claim');
  const times = [readDate("exp", exp), readDate("nbf", nbf), readDate("iat", iat)] as const;
  for (const time of times) if (!time.ok) return time;
  const [expiresAt, notBefore, issuedAt] = times.map((time) => (time as { value?: number }).value);
  for (const [name, value] of [
    ["iss", iss],
    ["jti", jti],
  ] as const) {
    if (value !== undefined && typeof value !== "string") return badClaim(name, "text");
  }
  return accept({
    id: id.value,
    audience: audience.value,
    expiresAt: expiresAt!,
    notBefore,
    issuedAt,
    all: freeze(object.value),
  });
}

function readSubject(sub: JsonValue | undefined): Verdict<SpiffeId> {
  if (typeof sub !== "string") return refuse("jwt.subject", 'Expected "sub" to be a SPIFFE ID');
  const id = SpiffeId.safeParse(sub);
  if (!id.ok) return refuse("jwt.subject", `${id.message}, in "sub"`);
  // A trust domain's own ID is no workload's (ID-15).
  return id.value.path === "" ? refuse("jwt.subject", 'Expected "sub" to be a SPIFFE ID with a path') : id;
}

function readAudience(aud: JsonValue | undefined): Verdict<readonly string[]> {
  if (aud === undefined) return refuse("jwt.audience-missing", 'Expected an "aud" claim');
  const values = Array.isArray(aud) ? aud : [aud];
  if (values.length === 0) return refuse("jwt.audience-missing", 'Expected "aud" to have a value');
  if (values.length > MAX_AUDIENCES)
    return refuse("jwt.too-large", `Expected at most ${MAX_AUDIENCES} values in "aud"`);
  for (const value of values) {
    if (typeof value !== "string") return badClaim("aud", "text or a list of texts");
    if (value === "") return refuse("jwt.audience-missing", 'Expected no empty value in "aud"');
  }
  return accept(Object.freeze(values as string[]));
}

function readDate(name: string, value: JsonValue | undefined): Verdict<number | undefined> {
  if (value === undefined) return accept(undefined);
  if (typeof value !== "number" || Math.abs(value * 1_000) > MAX_DATE_MS)
    return badClaim(name, "seconds since the epoch");
  return accept(value * 1_000);
}

function badClaim(name: string, expected: string): Refusal {
  return refuse("jwt.claim", `Expected "${name}" to be ${expected}`);
}

/** Freezes a document whole, so that everyone who holds the claims sees what was signed. */
function freeze<T extends JsonObject | JsonValue[]>(value: T): T {
  for (const inner of Object.values(value)) if (typeof inner === "object" && inner !== null) freeze(inner);
  return Object.freeze(value);
}
