/** What the fake Workload API says when nothing is wrong: keys from TestCa, and the messages made of them. */
import { create, type JsonObject } from "@bufbuild/protobuf";
import type { Clock } from "../../base/index.ts";
import {
  type JWTBundlesResponse,
  JWTBundlesResponseSchema,
  type JWTSVIDResponse,
  JWTSVIDResponseSchema,
  type ValidateJWTSVIDResponse,
  ValidateJWTSVIDResponseSchema,
  type X509BundlesResponse,
  X509BundlesResponseSchema,
  type X509SVIDResponse,
  X509SVIDResponseSchema,
} from "../../gen/workload/workload_pb.js";
import { SpiffeId, type TrustDomain } from "../../id/index.ts";
import { JwtBundle, safeValidateJwtSvid } from "../../jwt/index.ts";
import { Certificate } from "../../x509/index.ts";
import { TestCa, type TestSvid } from "../test-ca.ts";
import { signTestJwt, type TestJwtKey, testJwtKey } from "../test-jwt.ts";

const DAY_MS = 86_400_000;

/** One identity of the workload that asks. */
export interface FakeIdentity {
  readonly id: string;
  readonly hint?: string;
}

/** An issued identity. */
export interface Held extends FakeIdentity {
  readonly svid: TestSvid;
  readonly serial: string;
}

export interface FakeStateOptions {
  readonly trustDomain: string;
  readonly x509TtlMs: number;
  readonly jwtTtlMs: number;
  readonly clock: Clock;
}

export class FakeState {
  readonly ca: TestCa;
  readonly jwtKey: TestJwtKey;
  /** A private key that belongs to no SVID handed out. */
  readonly otherKey: Uint8Array;
  /** How often the identities were issued. */
  issued = 0;
  readonly #options: FakeStateOptions;
  readonly #federated = new Map<string, TestCa>();
  #held: readonly Held[] = [];

  private constructor(options: FakeStateOptions, ca: TestCa, jwtKey: TestJwtKey, otherKey: Uint8Array) {
    this.#options = options;
    this.ca = ca;
    this.jwtKey = jwtKey;
    this.otherKey = otherKey;
  }

  static async create(options: FakeStateOptions, identities: readonly FakeIdentity[]): Promise<FakeState> {
    const now = options.clock.now();
    const dates = { notBefore: new Date(now - DAY_MS), notAfter: new Date(now + 365 * DAY_MS) };
    const [ca, key] = await Promise.all([TestCa.create({ trustDomain: options.trustDomain, ...dates }), testJwtKey()]);
    const { privateKeyPkcs8 } = await ca.issue();
    const state = new FakeState(options, ca, key, privateKeyPkcs8);
    await state.issue(identities);
    return state;
  }

  /** Serial numbers of the X.509-SVIDs that are handed out now, in their order. */
  get serials(): string[] {
    return this.#held.map(({ serial }) => serial);
  }

  /** Issues anew for these identities, by default those that there are. */
  async issue(identities: readonly FakeIdentity[] = this.#held): Promise<void> {
    this.#held = await this.#issueAll(identities);
    this.issued++;
  }

  /** Issues several times over, to be handed out later. */
  async variants(count: number): Promise<(readonly Held[])[]> {
    return Promise.all(Array.from({ length: count }, () => this.#issueAll(this.#held)));
  }

  /** Hands out what was issued before. */
  take(held: readonly Held[]): void {
    this.#held = held;
  }

  federate(ca: TestCa): void {
    this.#federated.set(ca.trustDomain.name, ca);
  }

  unfederate(trustDomain: string): void {
    this.#federated.delete(trustDomain);
  }

  x509Svids(): X509SVIDResponse {
    return create(X509SVIDResponseSchema, {
      svids: this.#held.map(({ id, hint, svid }) => ({
        spiffeId: id,
        x509Svid: svid.chainDer,
        x509SvidKey: svid.privateKeyPkcs8,
        bundle: this.ca.rootDer,
        hint: hint ?? "",
      })),
      federatedBundles: this.#federatedX509(),
    });
  }

  x509Bundles(): X509BundlesResponse {
    const own = { [this.ca.trustDomain.id.uri]: this.ca.rootDer };
    return create(X509BundlesResponseSchema, { bundles: { ...own, ...this.#federatedX509() } });
  }

  jwtBundles(): JWTBundlesResponse {
    return create(JWTBundlesResponseSchema, { bundles: { [this.ca.trustDomain.id.uri]: this.#jwks() } });
  }

  /** Tokens for the identity asked for, or for all; nothing when the workload has no such identity. */
  async jwtSvids(audience: readonly string[], spiffeId: string): Promise<JWTSVIDResponse | undefined> {
    const wanted = this.#held.filter(({ id }) => spiffeId === "" || id === spiffeId);
    if (wanted.length === 0) return undefined;
    const iat = Math.floor(this.#options.clock.now() / 1_000);
    const exp = Math.ceil((this.#options.clock.now() + this.#options.jwtTtlMs) / 1_000);
    const svids = await Promise.all(
      wanted.map(async ({ id, hint }) => {
        const claims = { sub: id, aud: [...audience], iat, exp };
        return { spiffeId: id, svid: await signTestJwt({ key: this.jwtKey, claims }), hint: hint ?? "" };
      }),
    );
    return create(JWTSVIDResponseSchema, { svids });
  }

  /** What a token says, or why it is refused. */
  async validate(token: string, audience: string): Promise<ValidateJWTSVIDResponse | string> {
    const bundle = JwtBundle.fromJwks(this.ca.trustDomain, this.#jwks(), "workload-api");
    const source = { jwtBundleFor: ({ name }: TrustDomain) => (name === bundle.trustDomain.name ? bundle : undefined) };
    const verdict = await safeValidateJwtSvid(token, source, { audience, clock: this.#options.clock });
    if (!verdict.ok) return `${verdict.reason}: ${verdict.message}`;
    const { id, audience: aud, expiresAt } = verdict.value;
    const claims: JsonObject = { sub: id.uri, aud: [...aud], exp: expiresAt.getTime() / 1_000 };
    return create(ValidateJWTSVIDResponseSchema, { spiffeId: id.uri, claims });
  }

  #issueAll(identities: readonly FakeIdentity[]): Promise<readonly Held[]> {
    return Promise.all(identities.map(({ id, hint }) => this.#issueOne(id, hint)));
  }

  async #issueOne(id: string, hint: string | undefined): Promise<Held> {
    const now = this.#options.clock.now();
    // Certificates count in whole seconds; rounded up, so that the shortest life is not over before it begins.
    const notAfter = new Date(Math.ceil((now + this.#options.x509TtlMs) / 1_000) * 1_000);
    const svid = await this.ca.issue({ id: SpiffeId.parse(id).uri, notBefore: new Date(now - 10_000), notAfter });
    const serial = Certificate.parse(svid.certificatesDer[0] as Uint8Array).serialNumber;
    return { id, ...(hint !== undefined && { hint }), svid, serial };
  }

  #federatedX509(): Record<string, Uint8Array> {
    return Object.fromEntries([...this.#federated.values()].map((ca) => [ca.trustDomain.id.uri, ca.rootDer]));
  }

  #jwks(): Uint8Array {
    return new TextEncoder().encode(JSON.stringify({ keys: [this.jwtKey.jwk] }));
  }
}
