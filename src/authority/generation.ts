/** One generation of signing keys: a self-signed CA for X.509-SVIDs and a key for JWT-SVIDs, rotated together. */
import { exportJWK, generateKeyPair, type JWK, SignJWT } from "jose";
import type { SpiffeId, TrustDomain } from "../id/index.ts";
import {
  authorityKeyIdentifier,
  basicConstraints,
  extKeyUsage,
  keyIdentifier,
  keyUsage,
  name,
  randomSerial,
  signCertificate,
  subjectAltName,
  subjectKeyIdentifier,
} from "./certificate.ts";
import { exportPkcs8, generateKeys, type KeyPair } from "./keys.ts";

/** Certificates are valid from a little before now, for peers whose clock is behind. */
const BACKDATE_MS = 10_000;

/** An X.509-SVID as the Workload API hands it out. */
export interface IssuedX509 {
  readonly id: SpiffeId;
  /** Concatenated DER, leaf first. */
  readonly certificates: Uint8Array;
  /** Unencrypted PKCS#8, DER. */
  readonly privateKey: Uint8Array;
  /** Wall time in milliseconds. */
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** Signing keys that live only in memory and cannot be exported. */
export class Generation {
  /** The CA certificate, DER. */
  readonly certificate: Uint8Array;
  /** Wall time in milliseconds at which the CA certificate ends. */
  readonly notAfter: number;
  /** The public JWT key: `kty`, `crv`, `x`, `y`, `kid`. */
  readonly jwk: JWK;
  /** Wall time at which the last SVID of each kind signed so far ends; 0 before the first. */
  lastX509Expiry = 0;
  lastJwtExpiry = 0;
  readonly #ca: KeyPair;
  readonly #subject: Uint8Array;
  readonly #keyId: Uint8Array;
  readonly #jwtKey: CryptoKey;

  private constructor(
    ca: { keys: KeyPair; subject: Uint8Array; keyId: Uint8Array; certificate: Uint8Array; notAfter: number },
    jwt: { key: CryptoKey; jwk: JWK },
  ) {
    this.certificate = ca.certificate;
    this.notAfter = ca.notAfter;
    this.jwk = jwt.jwk;
    this.#ca = ca.keys;
    this.#subject = ca.subject;
    this.#keyId = ca.keyId;
    this.#jwtKey = jwt.key;
  }

  /**
   * Makes the keys and the CA certificate.
   *
   * @param now wall time, ms
   * @param ttlMs life of the CA certificate, ms
   */
  static async create(trustDomain: TrustDomain, now: number, ttlMs: number): Promise<Generation> {
    const [keys, jwt] = await Promise.all([generateKeys("ec-p256", false), createJwtKey()]);
    const serial = randomSerial();
    const notAfter = wholeSecond(now + ttlMs);
    const keyId = await keyIdentifier(keys.spki);
    // generations differ in their serialNumber attribute, so that their subjects do not collide
    const subject = name({ O: "SPIFFE", serialNumber: BigInt(`0x${hex(serial)}`).toString() });
    const certificate = await signCertificate(
      {
        serial,
        issuer: subject,
        subject,
        notBefore: new Date(now - BACKDATE_MS),
        notAfter: new Date(notAfter),
        spki: keys.spki,
        extensions: [
          keyUsage(["keyCertSign", "cRLSign"]),
          basicConstraints(true),
          subjectKeyIdentifier(keyId),
          subjectAltName({ uri: [trustDomain.id.uri] }, false),
        ],
      },
      keys,
    );
    return new Generation({ keys, subject, keyId, certificate, notAfter }, jwt);
  }

  /** Issues an X.509-SVID with a fresh P-256 key; it never outlives the CA certificate. Times in ms. */
  async issueX509(id: SpiffeId, now: number, ttlMs: number): Promise<IssuedX509> {
    const keys = await generateKeys("ec-p256", true);
    const expiresAt = Math.min(wholeSecond(now + ttlMs), this.notAfter);
    this.lastX509Expiry = Math.max(this.lastX509Expiry, expiresAt);
    const [subjectKeyId, privateKey] = await Promise.all([keyIdentifier(keys.spki), exportPkcs8(keys)]);
    const certificates = await signCertificate(
      {
        issuer: this.#subject,
        subject: name({ C: "US", O: "SPIRE" }),
        notBefore: new Date(now - BACKDATE_MS),
        notAfter: new Date(expiresAt),
        spki: keys.spki,
        extensions: [
          keyUsage(["digitalSignature", "keyEncipherment", "keyAgreement"]),
          extKeyUsage(["serverAuth", "clientAuth"]),
          basicConstraints(false),
          subjectKeyIdentifier(subjectKeyId),
          authorityKeyIdentifier(this.#keyId),
          subjectAltName({ uri: [id.uri] }, false),
        ],
      },
      this.#ca,
    );
    return Object.freeze({ id, certificates, privateKey, issuedAt: now, expiresAt });
  }

  /** Issues a JWT-SVID. Times in ms; the claims are in whole seconds. */
  async issueJwt(id: SpiffeId, audience: readonly string[], now: number, ttlMs: number): Promise<string> {
    const expiresAt = wholeSecond(now + ttlMs);
    this.lastJwtExpiry = Math.max(this.lastJwtExpiry, expiresAt);
    return new SignJWT({ sub: id.uri, aud: [...audience], exp: expiresAt / 1_000, iat: Math.floor(now / 1_000) })
      .setProtectedHeader({ alg: "ES256", kid: this.jwk.kid as string, typ: "JWT" })
      .sign(this.#jwtKey);
  }
}

async function createJwtKey(): Promise<{ key: CryptoKey; jwk: JWK }> {
  const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: false });
  const { kty, crv, x, y } = await exportJWK(publicKey);
  const kid = hex(crypto.getRandomValues(new Uint8Array(16)));
  return { key: privateKey, jwk: { kty, crv, x, y, kid } as JWK };
}

/** Rounds up: a life of a fraction of a second must not end before it starts. */
function wholeSecond(ms: number): number {
  return Math.ceil(ms / 1_000) * 1_000;
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
