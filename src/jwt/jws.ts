/** The one form of JWS a JWT-SVID may have: compact, nine algorithms, three header parameters (JWT-SVID §2, RFC 7515). */
import { accept, LIMITS, refuse, type Verdict } from "../base/index.ts";
import { JWS_ALGORITHMS, type JwsAlgorithm } from "../crypto/index.ts";
import { decodeBase64Url } from "../encoding/base64.ts";
import { slabOctets } from "../encoding/slab.ts";
import { isJsonObject, type JsonObject, parseJson } from "../encoding/strict-json.ts";
import { ownText } from "./shared.ts";

/** A JWS that has the right shape. Nothing in it has been verified. */
export interface Jws {
  readonly algorithm: JwsAlgorithm;
  readonly keyId: string | undefined;
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
  /** The bytes that were signed: header and payload as they came, with the dot. */
  readonly signingInput: Uint8Array;
}

const encoder = new TextEncoder();

/** Header parameters that bring keys or change what is signed; refused even where others are let through. */
const DANGEROUS: ReadonlySet<string> = new Set(["jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "b64"]);
const KNOWN: ReadonlySet<string> = new Set(["alg", "kid", "typ"]);

/**
 * Takes a compact JWS apart. The algorithm is judged before everything else that the header says (JWT-04).
 *
 * @param token at most 16 KiB, header at most 4 KiB
 * @param lenientHeader lets header parameters pass that have no meaning here
 */
export function parseJws(token: string, lenientHeader = false): Verdict<Jws> {
  if (typeof token !== "string") return refuse("jwt.malformed", "Expected a token as text");
  if (token.length > LIMITS.token) return refuse("jwt.too-large", `Expected a token of at most ${LIMITS.token} bytes`);
  const first = token.indexOf(".");
  const second = token.indexOf(".", first + 1);
  if (first < 0 || second < 0 || token.indexOf(".", second + 1) >= 0) {
    return refuse("jwt.malformed", "Expected a compact JWS of three parts");
  }
  const header = headerOf(token.slice(0, first), lenientHeader);
  if (!header.ok) return header;
  const payload = decodeBase64Url(token.slice(first + 1, second));
  if (!payload.ok) return refuse("jwt.malformed", `${payload.message}, in the payload`);
  const signature = decodeBase64Url(token.slice(second + 1), slabOctets);
  if (!signature.ok) return refuse("jwt.malformed", `${signature.message}, in the signature`);
  if (signature.value.length === 0) return refuse("jwt.signature", "Expected a signature, got none");
  return accept({
    ...header.value,
    payload: payload.value,
    signature: signature.value,
    signingInput: asciiOctets(token.slice(0, second)),
  });
}

/** What of a header counts. */
type Header = Pick<Jws, "algorithm" | "keyId">;

/** Headers by their text, as all tokens of one key have the same: what they say depends on the text alone. */
const HEADERS = new Map<string, Header>();
const MAX_HEADERS = 32;
/** Characters of the longest header that is kept. */
const MAX_KEPT = 256;

function headerOf(text: string, lenient: boolean): Verdict<Header> {
  const known = lenient ? undefined : HEADERS.get(text);
  if (known !== undefined) return accept(known);
  const header = parseObject(decodeBase64Url(text), LIMITS.joseHeader, "header");
  if (!header.ok) return header;
  const algorithm = JWS_ALGORITHMS.get(header.value.alg as string);
  if (algorithm === undefined) {
    return refuse("jwt.algorithm", `Expected "alg" to be one of ${[...JWS_ALGORITHMS.keys()].join(", ")}`);
  }
  const keyId = readHeader(header.value, lenient);
  if (!keyId.ok) return keyId;
  const read = Object.freeze({ algorithm, keyId: keyId.value });
  if (!lenient && text.length <= MAX_KEPT) {
    if (HEADERS.size >= MAX_HEADERS) HEADERS.delete(HEADERS.keys().next().value!);
    HEADERS.set(ownText(text), read);
  }
  return accept(read);
}

/** Reads a JSON object out of bytes, with every fault as `jwt.malformed` or `jwt.too-large`. */
export function parseObject(bytes: Verdict<Uint8Array>, maxBytes: number, part: string): Verdict<JsonObject> {
  const json = bytes.ok ? parseJson(bytes.value, { maxBytes }) : bytes;
  if (!json.ok) {
    const reason = json.reason === "encoding.too-large" ? "jwt.too-large" : "jwt.malformed";
    return refuse(reason, `${json.message}, in the ${part}`);
  }
  return isJsonObject(json.value)
    ? accept(json.value)
    : refuse("jwt.malformed", `Expected the ${part} to be an object`);
}

/** Judges everything in the header beside `alg`; gives the key ID. */
function readHeader(header: JsonObject, lenient: boolean): Verdict<string | undefined> {
  if (header.crit !== undefined) return refuse("jwt.critical", 'Expected no "crit" header parameter');
  for (const name of Object.keys(header)) {
    if (DANGEROUS.has(name)) return refuse("jwt.header", `Expected no "${name}" header parameter`);
    if (!lenient && !KNOWN.has(name))
      return refuse("jwt.header", "Expected only the header parameters alg, kid and typ");
  }
  const { typ, kid } = header;
  if (typ !== undefined && typ !== "JWT" && typ !== "JOSE") {
    return refuse("jwt.type", 'Expected "typ" to be absent, JWT or JOSE');
  }
  if (kid !== undefined && (typeof kid !== "string" || kid === "")) {
    return refuse("jwt.header", 'Expected "kid" to be absent or a text that is not empty');
  }
  return accept(kid);
}

/** The octets of a text whose characters have all been found to be ASCII, one for each. */
function asciiOctets(text: string): Uint8Array<ArrayBuffer> {
  const octets = slabOctets(text.length);
  encoder.encodeInto(text, octets);
  return octets;
}
