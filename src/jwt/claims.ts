/** The claims of a JWT-SVID (JWT-SVID §3, RFC 7519 §4.1): shape only, neither signature nor time. */
import { accept, LIMITS, type Refusal, refuse, type Verdict } from "../base/index.ts";
import type { JsonObject, JsonValue } from "../encoding/strict-json.ts";
import { SpiffeId } from "../id/index.ts";
import { parseObject } from "./jws.ts";
import { knownId } from "./shared.ts";

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

/** Audiences by name, each with the frozen list that a token for it alone would have. */
export type Audiences = ReadonlyMap<string, readonly string[]>;

/** Makes a table of audiences. */
export function audiencesOf(names: Iterable<string>): Audiences {
  const lists = new Map<string, readonly string[]>();
  for (const name of names) lists.set(name, Object.freeze([name]));
  return lists;
}

/**
 * Reads the payload of a JWT-SVID.
 *
 * @param ours audiences whose lists are used in place of new ones: most tokens are for one of them, and a list costs some
 *   runtimes as much to freeze as a token to parse
 */
export function readClaims(payload: Uint8Array, ours?: Audiences): Verdict<JwtClaims> {
  const object = parseObject(accept(payload), LIMITS.token, "payload");
  if (!object.ok) return object;
  const { sub, aud, exp, nbf, iat, iss, jti } = object.value;
  const id = readSubject(sub);
  if (!id.ok) return id;
  const audience = readAudience(aud, ours);
  if (!audience.ok) return audience;
  if (Array.isArray(aud)) object.value.aud = audience.value as string[];
  if (exp === undefined) return refuse("jwt.expiry-missing", 'Expected an "exp" claim');
  const expiresAt = readDate("exp", exp);
  if (!expiresAt.ok) return expiresAt;
  const notBefore = readDate("nbf", nbf);
  if (!notBefore.ok) return notBefore;
  const issuedAt = readDate("iat", iat);
  if (!issuedAt.ok) return issuedAt;
  if (iss !== undefined && typeof iss !== "string") return badClaim("iss", "text");
  if (jti !== undefined && typeof jti !== "string") return badClaim("jti", "text");
  return accept({
    id: id.value,
    audience: audience.value,
    expiresAt: expiresAt.value!,
    notBefore: notBefore.value,
    issuedAt: issuedAt.value,
    all: freeze(object.value),
  });
}

function readSubject(sub: JsonValue | undefined): Verdict<SpiffeId> {
  if (typeof sub !== "string") return refuse("jwt.subject", 'Expected "sub" to be a SPIFFE ID');
  const known = knownId(sub);
  const id = known === undefined ? SpiffeId.safeParse(sub) : accept(known);
  if (!id.ok) return refuse("jwt.subject", `${id.message}, in "sub"`);
  // A trust domain's own ID is no workload's (ID-15).
  return id.value.path === "" ? refuse("jwt.subject", 'Expected "sub" to be a SPIFFE ID with a path') : id;
}

function readAudience(aud: JsonValue | undefined, ours: Audiences | undefined): Verdict<readonly string[]> {
  if (aud === undefined) return refuse("jwt.audience-missing", 'Expected an "aud" claim');
  const values = Array.isArray(aud) ? aud : [aud];
  if (values.length === 0) return refuse("jwt.audience-missing", 'Expected "aud" to have a value');
  if (values.length > MAX_AUDIENCES)
    return refuse("jwt.too-large", `Expected at most ${MAX_AUDIENCES} values in "aud"`);
  for (const value of values) {
    if (typeof value !== "string") return badClaim("aud", "text or a list of texts");
    if (value === "") return refuse("jwt.audience-missing", 'Expected no empty value in "aud"');
  }
  const known = values.length === 1 ? ours?.get(values[0] as string) : undefined;
  return accept(known ?? Object.freeze(values as string[]));
}

const NO_DATE: Verdict<undefined> = Object.freeze(accept(undefined));

function readDate(name: string, value: JsonValue | undefined): Verdict<number | undefined> {
  if (value === undefined) return NO_DATE;
  if (typeof value !== "number" || Math.abs(value * 1_000) > MAX_DATE_MS)
    return badClaim(name, "seconds since the epoch");
  return accept(value * 1_000);
}

function badClaim(name: string, expected: string): Refusal {
  return refuse("jwt.claim", `Expected "${name}" to be ${expected}`);
}

/** Freezes a document whole, so that everyone who holds the claims sees what was signed. */
function freeze<T extends JsonObject | JsonValue[]>(value: T): T {
  // of an object that inherits nothing, or of a list
  for (const name in value) {
    const inner = value[name] as JsonValue;
    if (typeof inner === "object" && inner !== null && !Object.isFrozen(inner)) freeze(inner);
  }
  return Object.freeze(value);
}
