/** The project's own cases, as `spiffe/README.md` describes them, judged through the package's public functions. */
import {
  BundleMap,
  BundleSet,
  type Clock,
  isSpiffeError,
  JwtBundle,
  SpiffeBundle,
  SpiffeId,
  safeValidateJwtSvid,
  safeValidateJwtSvidSync,
  safeVerifyX509Svid,
  safeVerifyX509SvidSync,
  TrustDomain,
  type Verdict,
  X509Bundle,
} from "../../mod.ts";
import type { SignatureVerifier, SyncSignatureVerifier } from "../../src/crypto/index.ts";
import { toHex } from "../../src/crypto/octets.ts";
import { decodeBase64 } from "../../src/encoding/index.ts";
import type { Judgement, VectorCase } from "./set.ts";

/** Part of a long text or list: the same thing many times. */
export interface Repeat {
  readonly repeat: string;
  readonly times: number;
}

/** A text, or its parts where it is too long to be written out. */
export type LongText = string | readonly (string | Repeat)[];

export interface SpiffeCase {
  readonly name: string;
  readonly valid: boolean;
  /** The reason by which this project refuses; information for others. */
  readonly reason?: string;
  /** Where the standard leaves it open or says nothing: what was chosen. */
  readonly choice?: string;
  readonly requirements: readonly string[];
  /** For a refusal: the valid case that differs in the one thing. */
  readonly twin?: string;
}

export interface IdCase extends SpiffeCase {
  readonly input?: string;
  readonly inputBase64?: string;
  readonly parseConfig: string | null;
}

export interface X509Case extends SpiffeCase {
  /** The verifier's clock. */
  readonly time: string;
  /** Authorities in base64 of DER by trust domain. */
  readonly bundles: Readonly<Record<string, readonly string[]>>;
  /** Leaf first, base64 of DER. */
  readonly chain: readonly (string | Repeat)[];
  /** The SPIFFE ID of an accepted peer. */
  readonly id?: string;
  /** Kinds of keys in the case. */
  readonly keys: readonly string[];
}

export interface JwtCase extends SpiffeCase {
  readonly time: string;
  readonly leewaySeconds: number;
  /** Whom the validator is. */
  readonly audience: readonly string[];
  /** SPIFFE bundles by trust domain. */
  readonly bundles: Readonly<Record<string, unknown>>;
  readonly token: LongText;
  readonly id?: string;
}

export interface BundleCase extends SpiffeCase {
  readonly trustDomain: string;
  /** A SPIFFE bundle, a bundle map, or a JWK set of the Workload API's FetchJWTBundles. */
  readonly format: "spiffe-bundle" | "bundle-map" | "workload-api-jwks";
  readonly document?: LongText;
  readonly documentBase64?: string;
  readonly expected?: BundleContents | MapContents;
}

/** What has to be left of a valid bundle map, by trust domain. */
export interface MapContents {
  readonly trustDomains: Readonly<Record<string, BundleContents>>;
}

/** What has to be left of a valid bundle. */
export interface BundleContents {
  /** SHA-256 of each X.509 authority's DER, in the document's order. */
  readonly x509: readonly string[];
  /** `kid` of each JWT key in the document's order, null for one without. */
  readonly jwt: readonly (string | null)[];
  readonly sequence: string | null;
  readonly refreshHintSeconds: number | null;
}

/** The text that parts stand for. */
export function whole(text: LongText): string {
  return typeof text === "string" ? text : text.map((part) => expand(part).join("")).join("");
}

function expand(part: string | Repeat): string[] {
  return typeof part === "string" ? [part] : new Array<string>(part.times).fill(part.repeat);
}

function bytes(base64: string): Uint8Array {
  const decoded = decodeBase64(base64);
  if (!decoded.ok) throw new Error(decoded.message);
  return decoded.value;
}

function clockAt(time: string): Clock {
  const now = Date.parse(time);
  return { now: () => now, monotonic: () => now, sleep: () => Promise.reject(new Error("nothing waits")) };
}

function judgement(verdict: Verdict<{ id: SpiffeId }>): Judgement {
  return verdict.ok
    ? { accepted: true, text: `accepted as ${verdict.value.id}` }
    : { accepted: false, text: verdict.reason };
}

function vectorCase(file: string, one: SpiffeCase, text: string, judge: VectorCase["judge"]): VectorCase {
  return { id: `${file}#${one.name}`, expected: one.valid ? "accept" : "refuse", text, judge };
}

/** What a validator of SVIDs has to say about a case. */
function svidText(one: SpiffeCase & { id?: string }): string {
  return one.valid ? `accepted as ${one.id}` : String(one.reason);
}

export function idCases(file: string, data: unknown): VectorCase[] {
  return (data as readonly IdCase[]).map((one) => {
    const text = `${one.reason ?? "accepted"}, as configuration ${one.parseConfig}`;
    return vectorCase(file, one, text, () => {
      const input = one.input ?? bytes(one.inputBase64!);
      const verdict = SpiffeId.safeParse(input);
      const config = typeof input === "string" ? SpiffeId.safeParseConfig(input) : verdict;
      const canonical = config.ok ? config.value.uri : null;
      return {
        accepted: verdict.ok,
        text: `${verdict.ok ? "accepted" : verdict.reason}, as configuration ${canonical}`,
      };
    });
  });
}

export function x509Cases(file: string, data: unknown): VectorCase[] {
  return (data as readonly X509Case[]).map((one) =>
    vectorCase(file, one, svidText(one), async (verifier) => {
      const bundles = Object.entries(one.bundles).map(([trustDomain, authorities]) =>
        X509Bundle.fromDer(trustDomain, Uint8Array.from(authorities.flatMap((authority) => [...bytes(authority)]))),
      );
      const source = { x509BundleFor: (wanted: TrustDomain) => bundles.find((b) => b.trustDomain.equals(wanted)) };
      const chain = one.chain.flatMap(expand).map(bytes);
      return judgement(await verifyBy(verifier, chain, source, clockAt(one.time)));
    }),
  );
}

function verifyBy(
  verifier: SignatureVerifier,
  chain: readonly Uint8Array[],
  source: Parameters<typeof safeVerifyX509Svid>[1],
  clock: Clock,
): ReturnType<typeof safeVerifyX509Svid> | ReturnType<typeof safeVerifyX509SvidSync> {
  return verifier.sync
    ? safeVerifyX509SvidSync(chain, source, { clock, verifier: verifier as SyncSignatureVerifier })
    : safeVerifyX509Svid(chain, source, { clock, verifier });
}

export function jwtCases(file: string, data: unknown): VectorCase[] {
  return (data as readonly JwtCase[]).map((one) =>
    vectorCase(file, one, svidText(one), async (verifier) => {
      const bundles = BundleSet.of(
        ...Object.entries(one.bundles).map(([trustDomain, bundle]) =>
          SpiffeBundle.parse(trustDomain, JSON.stringify(bundle)),
        ),
      );
      const { audience, leewaySeconds, time } = one;
      const options = { audience, leewayMs: leewaySeconds * 1_000, clock: clockAt(time) };
      try {
        return judgement(
          verifier.sync
            ? safeValidateJwtSvidSync(whole(one.token), bundles, {
                ...options,
                verifier: verifier as SyncSignatureVerifier,
              })
            : await safeValidateJwtSvid(whole(one.token), bundles, { ...options, verifier }),
        );
      } catch (error) {
        // a validator that accepts no audience is an error of its owner, not a verdict
        if (!isSpiffeError(error, "ERR_SPIFFE_USAGE")) throw error;
        return { accepted: false, text: error.code };
      }
    }),
  );
}

export function bundleCases(file: string, data: unknown): VectorCase[] {
  return (data as readonly BundleCase[]).map((one) => {
    const text = one.valid ? JSON.stringify(one.expected) : String(one.reason);
    return vectorCase(file, one, text, async () => {
      const document = one.documentBase64 === undefined ? whole(one.document!) : bytes(one.documentBase64);
      const contents = await read(one, document);
      return contents.ok
        ? { accepted: true, text: JSON.stringify(contents.value) }
        : { accepted: false, text: contents.reason };
    });
  });
}

async function read(
  { format, trustDomain }: BundleCase,
  document: string | Uint8Array,
): Promise<Verdict<BundleContents | MapContents>> {
  if (format === "workload-api-jwks") {
    const bundle = JwtBundle.safeFromJwks(trustDomain, document, "workload-api");
    if (!bundle.ok) return bundle;
    return { ok: true, value: { x509: [], jwt: keyIds(bundle.value), sequence: null, refreshHintSeconds: null } };
  }
  if (format === "bundle-map") {
    const map = BundleMap.safeParse(document);
    if (!map.ok) return map;
    const trustDomains: Record<string, BundleContents> = Object.create(null);
    for (const name of map.value.trustDomains) {
      trustDomains[name] = await contentsOf(map.value.bundleFor(TrustDomain.parse(name))!);
    }
    return { ok: true, value: { trustDomains } };
  }
  const bundle = SpiffeBundle.safeParse(trustDomain, document);
  return bundle.ok ? { ok: true, value: await contentsOf(bundle.value) } : bundle;
}

async function contentsOf({ x509, jwt, sequence, refreshHintMs }: SpiffeBundle): Promise<BundleContents> {
  const digests = x509.authorities.map(({ der }) => crypto.subtle.digest("SHA-256", der as Uint8Array<ArrayBuffer>));
  return {
    x509: (await Promise.all(digests)).map((digest) => toHex(new Uint8Array(digest))),
    jwt: keyIds(jwt),
    sequence: sequence?.toString() ?? null,
    refreshHintSeconds: refreshHintMs === undefined ? null : refreshHintMs / 1_000,
  };
}

function keyIds({ keys }: JwtBundle): (string | null)[] {
  return keys.map(({ keyId }) => keyId ?? null);
}
