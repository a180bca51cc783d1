/** The content of a SPIFFE bundle document (SPIFFE Trust Domain and Bundle §4): tolerant of elements, closed as a whole. */
import { accept, refuse, type Verdict } from "../base/index.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../encoding/strict-json.ts";
import type { TrustDomain } from "../id/index.ts";
import { type BundleWarning, JwtBundle, type JwtKey } from "../jwt/index.ts";
import { jwkSetOf, readJwtKey } from "../jwt/jwk-set.ts";
import { type Certificate, X509Bundle } from "../x509/index.ts";
import { readAuthority } from "./authority-jwk.ts";
import { readWitKey, type WitKey } from "./wit-key.ts";

/** What a bundle is made of. */
export interface SpiffeBundleParts {
  readonly x509?: X509Bundle;
  readonly jwt?: JwtBundle;
  readonly witKeys?: readonly WitKey[];
  readonly sequence?: bigint | undefined;
  readonly refreshHintMs?: number | undefined;
  readonly warnings?: readonly BundleWarning[];
}

export const MAX_SEQUENCE: bigint = 2n ** 64n - 1n;

/** Reads a bundle from JSON that has been read. */
export function readBundle(trustDomain: TrustDomain, json: JsonValue): Verdict<SpiffeBundleParts> {
  const set = jwkSetOf(json);
  if (!set.ok) return set;
  const { document, elements } = set.value;
  const sequence = readSequence(document);
  if (!sequence.ok) return sequence;
  const refreshHintMs = readRefreshHint(document);
  if (!refreshHintMs.ok) return refreshHintMs;
  const { authorities, jwtKeys, witKeys, warnings } = readElements(elements);
  return accept({
    x509: new X509Bundle(trustDomain, authorities),
    jwt: JwtBundle.fromKeys(trustDomain, jwtKeys),
    witKeys,
    sequence: sequence.value,
    refreshHintMs: refreshHintMs.value,
    warnings,
  });
}

interface Elements {
  readonly authorities: Certificate[];
  readonly jwtKeys: JwtKey[];
  readonly witKeys: WitKey[];
  readonly warnings: BundleWarning[];
}

/** Sorts the elements by `use`, which is compared byte for byte (BND-13); each serves its own use and no other. */
function readElements(elements: readonly JsonValue[]): Elements {
  const read: Elements = { authorities: [], jwtKeys: [], witKeys: [], warnings: [] };
  for (const [index, element] of elements.entries()) {
    const warn = (ignored: boolean, message: string) => read.warnings.push({ index, ignored, message });
    const take = <T>(key: Verdict<T>, list: T[]) => void (key.ok ? list.push(key.value) : warn(true, key.message));
    if (!isJsonObject(element)) warn(true, "Expected a JWK to be an object");
    else if (element.use === "x509-svid") {
      const authority = readAuthority(element, (message) => warn(false, message));
      take(authority, read.authorities);
    } else if (element.use === "jwt-svid") take(readJwtKey(element, "spiffe-bundle"), read.jwtKeys);
    else if (element.use === "wit-svid") take(readWitKey(element), read.witKeys);
    else warn(true, 'Expected "use" to be x509-svid, jwt-svid or wit-svid');
  }
  return read;
}

function readSequence({ spiffe_sequence: value }: JsonObject): Verdict<bigint | undefined> {
  if (value === undefined) return accept(undefined);
  const sequence = wholeNumber(value);
  if (sequence !== undefined && sequence <= MAX_SEQUENCE) return accept(sequence);
  return refuse("bundle.malformed", 'Expected "spiffe_sequence" to be an integer of 64 bits without sign');
}

function readRefreshHint({ spiffe_refresh_hint: value }: JsonObject): Verdict<number | undefined> {
  if (value === undefined) return accept(undefined);
  const seconds = wholeNumber(value);
  if (seconds === undefined) return refuse("bundle.malformed", 'Expected "spiffe_refresh_hint" to be whole seconds');
  return accept(Math.min(Number(seconds) * 1_000, Number.MAX_SAFE_INTEGER));
}

function wholeNumber(value: JsonValue): bigint | undefined {
  const whole = typeof value === "bigint" ? value : Number.isSafeInteger(value) ? BigInt(value as number) : undefined;
  return whole !== undefined && whole >= 0n ? whole : undefined;
}
