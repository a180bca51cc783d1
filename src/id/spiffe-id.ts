/** SPIFFE IDs and trust domains (SPIFFE-ID §2): immutable values that exist only in valid, canonical form. */

import { LIMITS } from "../base/limits.ts";
import type { Refusal, Verdict } from "../base/verdict.ts";
import { accept, refuse, unwrap } from "../base/verdict.ts";
import { inspectAs } from "./inspect.ts";
import { SCHEME, scanId, scanTrustDomain } from "./scan.ts";

/** The text of a SPIFFE ID. */
export type SpiffeUri = `spiffe://${string}`;

let newTrustDomain: (name: string) => TrustDomain;

/**
 * A trust domain: the part of a SPIFFE ID that names who vouches for it.
 *
 * @example
 * ```ts
 * import { TrustDomain } from "spiffe-edge";
 * const domain = TrustDomain.parse("example.org");
 * console.assert(domain.id.uri === "spiffe://example.org");
 * console.assert(TrustDomain.parse("spiffe://example.org/web").equals(domain));
 * ```
 */
export class TrustDomain {
  /** The name, for example `example.org`: 1 to 255 bytes of `a-z 0-9 . - _`. */
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
    Object.freeze(this);
  }

  static {
    newTrustDomain = (name) => new TrustDomain(name);
    inspectAs(TrustDomain.prototype, (self) => `TrustDomain(${self.name})`);
  }

  /**
   * Reads a trust domain name, or takes the trust domain of a whole SPIFFE ID. Strict: no character is folded.
   *
   * @param input `example.org`, `spiffe://example.org` or `spiffe://example.org/web`
   * @throws SpiffeError `ERR_SPIFFE_ID` with the rule that was broken (SPIFFE-ID §2.1, ID-02 to ID-10, ID-18)
   */
  static parse(input: string): TrustDomain {
    return unwrap(TrustDomain.safeParse(input), "ERR_SPIFFE_ID");
  }

  /** Like {@link TrustDomain.parse}, but returns a verdict and never throws. */
  static safeParse(input: string): Verdict<TrustDomain> {
    if (typeof input !== "string") return notText();
    if (input.startsWith(SCHEME)) {
      const id = SpiffeId.safeParse(input);
      return id.ok ? accept(id.value.trustDomain) : id;
    }
    return scanTrustDomain(input) ?? accept(new TrustDomain(input));
  }

  /**
   * Like {@link TrustDomain.parse} for text a person wrote: upper-case ASCII letters of the scheme and the name are
   * folded first. Not for anything that came over a wire.
   *
   * @throws SpiffeError `ERR_SPIFFE_ID`
   */
  static parseConfig(input: string): TrustDomain {
    return unwrap(TrustDomain.safeParseConfig(input), "ERR_SPIFFE_ID");
  }

  /** Like {@link TrustDomain.parseConfig}, but returns a verdict and never throws. */
  static safeParseConfig(input: string): Verdict<TrustDomain> {
    return typeof input === "string" ? TrustDomain.safeParse(foldAuthority(input)) : notText();
  }

  /** The trust domain's own ID, `spiffe://` and the name; it has no path. */
  get id(): SpiffeId {
    return SpiffeId.parse(SCHEME + this.name);
  }

  /** Whether both name the same trust domain, byte for byte. A string may be the name or the trust domain's ID. */
  equals(other: TrustDomain | string): boolean {
    if (typeof other === "string") return other === this.name || other === SCHEME + this.name;
    return other.name === this.name;
  }

  toString(): string {
    return this.name;
  }

  toJSON(): string {
    return this.name;
  }
}

/**
 * A SPIFFE ID: `spiffe://`, a trust domain and an optional path.
 *
 * Never passes through a URL parser, which would repair what has to be refused (ID-26).
 *
 * @example
 * ```ts
 * import { SpiffeId } from "spiffe-edge";
 * const id = SpiffeId.parse("spiffe://example.org/ns/shop/sa/web");
 * console.assert(id.trustDomain.name === "example.org" && id.path === "/ns/shop/sa/web");
 * console.assert(id.equals(SpiffeId.fromSegments("example.org", "ns", "shop", "sa", "web")));
 * console.assert(!SpiffeId.safeParse("spiffe://example.org/../web").ok);
 * ```
 */
export class SpiffeId {
  /** The whole ID as text. Two IDs are the same exactly when this is. */
  readonly uri: SpiffeUri;
  readonly #trustDomainEnd: number;
  #trustDomain: TrustDomain | undefined;

  private constructor(uri: string, trustDomainEnd: number) {
    this.uri = uri as SpiffeUri;
    this.#trustDomainEnd = trustDomainEnd;
    Object.freeze(this);
  }

  /** The trust domain this ID belongs to. */
  get trustDomain(): TrustDomain {
    return (this.#trustDomain ??= newTrustDomain(this.uri.slice(SCHEME.length, this.#trustDomainEnd)));
  }

  /** The path with its leading slash, or an empty string for a trust domain's own ID. */
  get path(): string {
    return this.uri.slice(this.#trustDomainEnd);
  }

  /**
   * Reads a SPIFFE ID by the letter of the standard; nothing is folded, decoded or repaired.
   *
   * @param input at most 2,048 bytes
   * @throws SpiffeError `ERR_SPIFFE_ID`, `reason` names the rule (SPIFFE-ID §2, ID-01 to ID-18)
   */
  static parse(input: string): SpiffeId {
    const end = typeof input === "string" ? scanId(input) : notText();
    return typeof end === "number" ? new SpiffeId(input, end) : unwrap(end, "ERR_SPIFFE_ID");
  }

  /**
   * Like {@link SpiffeId.parse}, but returns a verdict and never throws.
   *
   * @param input text, or the raw bytes of a certificate's URI name
   */
  static safeParse(input: string | Uint8Array): Verdict<SpiffeId> {
    const text = typeof input === "string" ? input : fromBytes(input);
    if (typeof text !== "string") return text;
    const end = scanId(text);
    if (typeof end !== "number") return end;
    return { ok: true, value: new SpiffeId(text, end) };
  }

  /**
   * Reads an ID that a person wrote into configuration: upper-case ASCII letters of scheme and trust domain are folded,
   * then the strict rules apply (ID-19). The path is never changed. Not for anything that came over a wire.
   *
   * @throws SpiffeError `ERR_SPIFFE_ID`
   */
  static parseConfig(input: string): SpiffeId {
    return unwrap(SpiffeId.safeParseConfig(input), "ERR_SPIFFE_ID");
  }

  /** Like {@link SpiffeId.parseConfig}, but returns a verdict and never throws. */
  static safeParseConfig(input: string): Verdict<SpiffeId> {
    return typeof input === "string" ? SpiffeId.safeParse(foldAuthority(input)) : notText();
  }

  /**
   * Builds an ID from a trust domain and a path.
   *
   * @param trustDomain a trust domain or its name
   * @param path empty, or segments that each follow a slash: `/ns/shop`
   * @throws SpiffeError `ERR_SPIFFE_ID`, also when the ID would be longer than 2,048 bytes (ID-17)
   */
  static fromPath(trustDomain: TrustDomain | string, path: string): SpiffeId {
    const domain = TrustDomain.parse(typeof trustDomain === "string" ? trustDomain : trustDomain?.name);
    if (typeof path !== "string" || (path !== "" && !path.startsWith("/"))) {
      return unwrap(
        refuse("id.path-character", "Expected a path that is empty or begins with a slash"),
        "ERR_SPIFFE_ID",
      );
    }
    return SpiffeId.parse(SCHEME + domain.name + path);
  }

  /**
   * Builds an ID from a trust domain and path segments, none of which may contain a slash.
   *
   * @throws SpiffeError `ERR_SPIFFE_ID`
   */
  static fromSegments(trustDomain: TrustDomain | string, ...segments: string[]): SpiffeId {
    for (const segment of segments) {
      if (segment === "") unwrap(refuse("id.path-empty-segment", "Expected no empty path segment"), "ERR_SPIFFE_ID");
      // a list of one text looks like the text, and hides its slashes
      if (typeof segment !== "string" || segment.includes("/")) {
        unwrap(refuse("id.path-character", 'Expected path segments as text without "/"'), "ERR_SPIFFE_ID");
      }
    }
    return SpiffeId.fromPath(trustDomain, segments.map((segment) => `/${segment}`).join(""));
  }

  /** Whether this ID belongs to the trust domain, given as a value, a name or the trust domain's ID. */
  memberOf(trustDomain: TrustDomain | string): boolean {
    return this.trustDomain.equals(trustDomain);
  }

  /** Whether both are the same ID, byte for byte. */
  equals(other: SpiffeId | string): boolean {
    return (typeof other === "string" ? other : other.uri) === this.uri;
  }

  toString(): SpiffeUri {
    return this.uri;
  }

  toJSON(): SpiffeUri {
    return this.uri;
  }

  static {
    inspectAs(SpiffeId.prototype, (self) => `SpiffeId(${self.uri})`);
  }
}

/** One character per byte, so that the scanner sees exactly what was on the wire; bytes above 0x7F stay visible to it. */
function fromBytes(input: Uint8Array): string | Refusal {
  if (!(input instanceof Uint8Array)) return notText();
  if (input.length > LIMITS.spiffeId) {
    return refuse("id.too-long", `Expected a SPIFFE ID of at most ${LIMITS.spiffeId} bytes, got ${input.length}`);
  }
  return String.fromCharCode.apply(null, input as unknown as number[]);
}

function notText(): Refusal {
  return refuse("id.scheme", "Expected the text of a SPIFFE ID or trust domain, got another type");
}

/** Lower-cases A-Z, and nothing else, up to the slash that ends the authority. What is too long is left to the scanner. */
function foldAuthority(input: string): string {
  if (input.length > LIMITS.spiffeId) return input;
  const authority = /^[A-Za-z]+:\/\//.exec(input)?.[0].length ?? 0;
  const slash = input.indexOf("/", authority);
  const end = slash === -1 ? input.length : slash;
  return input.slice(0, end).replace(/[A-Z]/g, (c) => String.fromCharCode(c.charCodeAt(0) + 32)) + input.slice(end);
}
