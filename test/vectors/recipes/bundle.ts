/** SPIFFE bundles, bundle maps and the JWK sets of the Workload API. */
import { encodeBase64, encodeBase64Url } from "../../../src/encoding/index.ts";
import { makeKey, type SigningKey } from "../../../src/jwt/sign.testing.ts";
import { type Issued, issue, issueCa, type KeyType } from "../../../src/x509/issue.testing.ts";
import type { BundleCase, BundleContents, LongText } from "../spiffe-cases.ts";
import type { Recipe } from "./add.ts";
import { once } from "./x509.ts";

export type BundleRecipe = Recipe<BundleCase>;
export type Json = Readonly<Record<string, unknown>>;

export const DOMAIN = "example.org";

export interface Parts {
  readonly root: Issued;
  readonly next: Issued;
  readonly leaf: Issued;
  readonly key: SigningKey;
  readonly rsa: SigningKey;
}

/** What the documents are made of: two authorities, a leaf, two JWT keys. */
export const parts: () => Promise<Parts> = once(async () => ({
  root: await authority("root"),
  next: await authority("next"),
  leaf: await issue({ subject: "leaf", keyUsage: ["digitalSignature"], ca: false }),
  key: await makeKey("ES256"),
  rsa: await makeKey("RS256"),
}));

export function authority(subject: string, keyType: KeyType = "P-256"): Promise<Issued> {
  return issueCa({ subject, keyType, names: [{ uri: `spiffe://${DOMAIN}` }] });
}

/** An authority as an element of a bundle, with changes; a change to `undefined` leaves a member out. */
export function x509Element({ certificate, der }: Issued, changes: Json = {}): Json {
  return { ...certificate.publicKey.toJwk(), use: "x509-svid", x5c: [encodeBase64(der)], ...changes };
}

export function jwtElement({ publicJwk }: SigningKey, changes: Json = {}): Json {
  return { ...publicJwk, use: "jwt-svid", kid: "key", ...changes };
}

export const base64 = ({ der }: Issued): string => encodeBase64(der);
export const base64url = ({ der }: Issued): string => encodeBase64Url(der);

/** What is left of a bundle: authorities and `kid`s; sequence and hint where the document has them. */
export interface Left {
  readonly x509?: readonly Issued[];
  readonly jwt?: readonly (string | null)[];
  readonly sequence?: string;
  readonly refreshHintSeconds?: number;
}

export async function contents(left: Left = {}): Promise<BundleContents> {
  const digests = (left.x509 ?? []).map(({ der }) => crypto.subtle.digest("SHA-256", Uint8Array.from(der)));
  return {
    x509: (await Promise.all(digests)).map((digest) => Buffer.from(digest).toString("hex")),
    jwt: left.jwt ?? [],
    sequence: left.sequence ?? null,
    refreshHintSeconds: left.refreshHintSeconds ?? null,
  };
}

export type About = Pick<BundleCase, "choice" | "reason"> & {
  readonly twin?: string;
  readonly format?: BundleCase["format"];
};

interface Made {
  readonly document: LongText | Uint8Array;
  readonly expected?: BundleCase["expected"];
}

export function bundle(name: string, requirements: string, about: About, make: () => Promise<Made>): BundleRecipe {
  const { reason, choice, twin, format = "spiffe-bundle" } = about;
  return {
    name,
    requirements: requirements.split(" "),
    valid: reason === undefined,
    ...(reason !== undefined && { reason, twin: twin ?? "document: no keys" }),
    ...(choice !== undefined && { choice }),
    async make() {
      const { document, expected } = await make();
      return {
        trustDomain: DOMAIN,
        format,
        ...(document instanceof Uint8Array ? { documentBase64: encodeBase64(document) } : { document }),
        ...(expected !== undefined && { expected }),
      };
    },
  };
}

/** A document that is this text, and what is left of it. */
export function taken(
  name: string,
  requirements: string,
  document: LongText,
  left: Left = {},
  about: About = {},
): BundleRecipe {
  return bundle(name, requirements, about, async () => ({ document, expected: await contents(left) }));
}

/** A document that is this text and is refused whole. */
export function refused(
  name: string,
  requirements: string,
  document: LongText | Uint8Array,
  about: About = {},
): BundleRecipe {
  return bundle(name, requirements, { reason: "bundle.malformed", ...about }, async () => ({ document }));
}
