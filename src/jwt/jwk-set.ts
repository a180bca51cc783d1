/** JWK sets (RFC 7517 §5), tolerant for each element and closed as a whole. */
import { accept, LIMITS, refuse, type Verdict } from "../base/index.ts";
import { JWS_ALGORITHMS, type JwsAlgorithm, PublicKey } from "../crypto/index.ts";
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from "../encoding/strict-json.ts";

/**
 * Where a JWK set came from: a plain one from the Workload API, whose elements may have no `use` and no `kid`, or a SPIFFE
 * bundle, whose elements must have both.
 */
export type JwkSetProfile = "workload-api" | "spiffe-bundle";

/** A key that signs the JWT-SVIDs of a trust domain. */
export interface JwtKey {
  /** The `kid`; a token that names one is checked with keys of that name only. */
  readonly keyId?: string;
  readonly key: PublicKey;
  /** The one `alg` the key is for, where its JWK says so. */
  readonly algorithm?: string;
}

/** An element of a document that was left out, or that is odd in itself. */
export interface BundleWarning {
  /** Its place in `keys`, from 0. */
  readonly index: number;
  /** Whether the element was left out. */
  readonly ignored: boolean;
  readonly message: string;
}

/** A document with a list of keys, and the list, whose elements have not been looked at. */
export interface JwkSet {
  readonly document: JsonObject;
  readonly elements: readonly JsonValue[];
}

/** Reads the document around the keys. At most 4 MiB and 10,000 elements. */
export function parseJwkSet(input: Uint8Array | string): Verdict<JwkSet> {
  const document = parseBundleJson(input, "a JWK set");
  return document.ok ? jwkSetOf(document.value) : document;
}

/** Reads a JSON document of bundles, at most 4 MiB; `what` names it in refusals. */
export function parseBundleJson(input: Uint8Array | string, what: string): Verdict<JsonValue> {
  const json = parseJson(input, { maxBytes: LIMITS.bundle });
  if (json.ok) return json;
  const reason = json.reason === "encoding.too-large" ? "bundle.too-large" : "bundle.malformed";
  return refuse(reason, `${json.message}, in ${what}`);
}

/** Takes a JWK set from JSON that has been read. */
export function jwkSetOf(document: JsonValue): Verdict<JwkSet> {
  if (!isJsonObject(document)) return refuse("bundle.malformed", "Expected a JWK set to be an object");
  const elements = document.keys;
  if (!Array.isArray(elements)) return refuse("bundle.malformed", 'Expected a JWK set to have a list "keys"');
  if (elements.length > LIMITS.bundleKeys) {
    return refuse("bundle.too-large", `Expected at most ${LIMITS.bundleKeys} keys, got ${elements.length}`);
  }
  return accept({ document, elements });
}

/** Uses of a SPIFFE bundle's elements that are not for JWT-SVIDs, and no reason to warn. */
const OTHER_USES: ReadonlySet<unknown> = new Set(["x509-svid", "wit-svid"]);

/** Takes the JWT keys out of a list of JWKs; what is not one is left out with a warning (BND-10, JWT-32). */
export function readJwtKeys(
  elements: readonly JsonValue[],
  profile: JwkSetProfile,
): { keys: JwtKey[]; warnings: BundleWarning[] } {
  const keys: JwtKey[] = [];
  const warnings: BundleWarning[] = [];
  for (const [index, element] of elements.entries()) {
    if (profile === "spiffe-bundle" && isJsonObject(element) && OTHER_USES.has(element.use)) continue;
    const key = readJwtKey(element, profile);
    if (key.ok) keys.push(key.value);
    else warnings.push({ index, ignored: true, message: key.message });
  }
  return { keys, warnings };
}

/** Takes one JWT key. */
export function readJwtKey(element: JsonValue, profile: JwkSetProfile): Verdict<JwtKey> {
  if (!isJsonObject(element)) return refuse("bundle.malformed", "Expected a JWK to be an object");
  const { use, kid } = element;
  if (use !== "jwt-svid" && !(use === undefined && profile === "workload-api")) {
    return refuse("bundle.malformed", 'Expected "use" to be jwt-svid');
  }
  if (kid === undefined && profile === "spiffe-bundle") return refuse("bundle.malformed", 'Expected a "kid"');
  return readTokenKey(element);
}

/** Takes the key of an element that signs tokens, whatever its `use` and whether or not it needs a `kid`. */
export function readTokenKey(element: JsonObject): Verdict<JwtKey> {
  const { kid, alg, key_ops: keyOps } = element;
  if (kid !== undefined && (typeof kid !== "string" || kid === "")) {
    return refuse("bundle.malformed", 'Expected "kid" to be a text that is not empty');
  }
  if (alg !== undefined && !(typeof alg === "string" && JWS_ALGORITHMS.has(alg))) {
    return refuse("key.unsupported", 'Expected "alg" to be absent or one of the nine algorithms');
  }
  if (keyOps !== undefined && !(Array.isArray(keyOps) && keyOps.includes("verify"))) {
    return refuse("key.unsupported", 'Expected "key_ops" to be absent or to hold "verify"');
  }
  // before the key is decoded: none of the nine algorithms uses such a one, and its check is the dearest
  if (element.kty === "OKP") return refuse("key.unsupported", "Expected a key that one of the nine algorithms can use");
  const key = PublicKey.fromJwk(element);
  if (!key.ok) return key;
  const read: JwtKey = {
    ...(kid !== undefined && { keyId: kid }),
    key: key.value,
    ...(alg !== undefined && { algorithm: alg as string }),
  };
  const usable = [...JWS_ALGORITHMS.values()].some((algorithm) => fits(read, algorithm));
  return usable ? accept(read) : refuse("key.unsupported", "Expected a key that one of the nine algorithms can use");
}

/** Whether a signature of this algorithm can be this key's: type, curve, and what its JWK reserves it for (JWT-21). */
export function fits({ key, algorithm: only }: JwtKey, { name, algorithm, kind, curve }: JwsAlgorithm): boolean {
  if (only !== undefined && only !== name) return false;
  return key.kind === kind && (curve === undefined || key.curve === curve) && key.fits(algorithm);
}
