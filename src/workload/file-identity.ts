/** An X.509 identity in files: which they are, and how they are read and judged as one state. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { OptionNames } from "../base/check-options.ts";
import type { Clock } from "../base/clock.ts";
import { SpiffeError } from "../base/errors.ts";
import { accept, type Refusal, refuse, type Verdict } from "../base/verdict.ts";
import { decodePem, encodePem } from "../encoding/pem.ts";
import { TrustDomain } from "../id/index.ts";
import { safeVerifyX509Svid, type X509Bundle, X509Svid } from "../x509/index.ts";
import { readBundleDocument } from "./bundle-document.ts";
import { isMissing, readFileWhole } from "./file-read.ts";
import type { Content, X509Context } from "./snapshot.ts";

/** The files of an identity, in one of three forms. */
export type IdentityFiles =
  | {
      /** One PEM file: the private key (PKCS#8) first, then the chain, leaf first. */
      readonly credentials: string;
      /** Files by trust domain name, each a SPIFFE bundle or PEM; the own trust domain's is needed. */
      readonly bundles: Readonly<Record<string, string>>;
    }
  | {
      /** PEM file of the chain, leaf first. */
      readonly certificates: string;
      /** PEM file of the private key (PKCS#8). */
      readonly privateKey: string;
      readonly bundles: Readonly<Record<string, string>>;
    }
  | {
      /** Folder with `credential-bundle.pem` and one `<trust domain>.spiffe-trust-bundle.pem` for each that is trusted. */
      readonly folder: string;
    };

/** The files of the moment. */
interface Located {
  readonly identity: { readonly credentials: string } | { readonly certificates: string; readonly privateKey: string };
  readonly bundles: readonly (readonly [trustDomain: TrustDomain, path: string])[];
  readonly all: readonly string[];
}

export const FILE_NAMES: OptionNames<IdentityFiles> = {
  folder: true,
  credentials: true,
  certificates: true,
  privateKey: true,
  bundles: true,
};
const NAMES = Object.keys(FILE_NAMES) as (keyof typeof FILE_NAMES)[];

const CREDENTIALS = "credential-bundle.pem";
const BUNDLE = /^(.+)\.spiffe-trust-bundle\.pem$/;

/**
 * How to find the files.
 *
 * @throws SpiffeError `ERR_SPIFFE_USAGE`, `ERR_SPIFFE_ID`
 */
export function locator(files: IdentityFiles): { origin: string; locate: () => Promise<Located> } {
  const given: Partial<Record<(typeof NAMES)[number], string>> = files as object;
  const { folder, credentials, certificates, privateKey } = given;
  switch (NAMES.filter((name) => given[name] !== undefined).join()) {
    case "folder":
      return { origin: `the folder ${folder}`, locate: () => inFolder(folder!) };
    case "credentials,bundles":
      return among({ credentials: credentials! }, [credentials!], files);
    case "certificates,privateKey,bundles":
      return among({ certificates: certificates!, privateKey: privateKey! }, [certificates!, privateKey!], files);
    default: {
      const expected = "Expected credentials and bundles, or certificates, privateKey and bundles, or a folder";
      const got = NAMES.filter((name) => given[name] !== undefined).join(", ") || "none of them";
      throw new SpiffeError("ERR_SPIFFE_USAGE", `${expected}; got ${got}`);
    }
  }
}

function among(
  identity: Located["identity"],
  own: readonly string[],
  files: IdentityFiles,
): ReturnType<typeof locator> {
  const named = Object.entries("bundles" in files ? files.bundles : {});
  const bundles = named.map(([name, path]) => [TrustDomain.parse(name), path] as const);
  const located = { identity, bundles, all: [...own, ...bundles.map(([, path]) => path)] };
  return { origin: `the files ${located.all.join(", ")}`, locate: async () => located };
}

/** A name that is no trust domain's is nobody's bundle. */
async function inFolder(folder: string): Promise<Located> {
  const names = await readdir(folder).catch(() => []);
  const bundles = names.flatMap((name) => {
    const domain = TrustDomain.safeParse(BUNDLE.exec(name)?.[1] ?? "");
    return domain.ok ? [[domain.value, join(folder, name)] as const] : [];
  });
  const credentials = join(folder, CREDENTIALS);
  return { identity: { credentials }, bundles, all: [credentials, ...bundles.map(([, path]) => path)] };
}

/**
 * Reads all files, and judges them together.
 *
 * @throws SpiffeError `ERR_SPIFFE_X509_SVID`, `ERR_SPIFFE_BUNDLE` for what they hold, also when it does not fit together;
 *   and what {@link readFileWhole} throws, for the identity's files and the own bundle also when one is missing
 */
export async function readIdentity(locate: () => Promise<Located>, clock: Clock): Promise<Content<X509Context>> {
  const { identity, bundles: paths } = await locate();
  const svid = await readSvid(identity);
  const bundles = new Map<string, X509Bundle>();
  for (const [trustDomain, path] of paths) {
    const bundle = await readBundle(trustDomain, path);
    if (bundle !== undefined) bundles.set(trustDomain.name, bundle);
  }
  const { trustDomain } = svid.id;
  if (!bundles.has(trustDomain.name)) {
    const sentence = `Expected a bundle file of ${trustDomain}, the own trust domain, and there is none`;
    const cause = Object.assign(new Error("no such file"), { code: "ENOENT" });
    throw new SpiffeError("ERR_SPIFFE_CONFIG", sentence, { phase: "read", retryable: true, cause });
  }
  const source = { x509BundleFor: ({ name }: TrustDomain) => bundles.get(name) };
  const verified = await safeVerifyX509Svid(svid.certificates, source, { clock });
  if (!verified.ok) throw fault("ERR_SPIFFE_X509_SVID", `the SVID of ${svid.id.uri}`, verified);
  return { svids: Object.freeze([svid]), bundles };
}

async function readSvid(identity: Located["identity"]): Promise<X509Svid> {
  if ("credentials" in identity) {
    const path = identity.credentials;
    const pieces = splitCredentials(latin1(await readFileWhole(path)));
    const svid = pieces.ok ? await X509Svid.safeFromPem(pieces.value.certificates, pieces.value.privateKey) : pieces;
    if (!svid.ok) throw fault("ERR_SPIFFE_X509_SVID", path, svid);
    return svid.value;
  }
  const certificates = latin1(await readFileWhole(identity.certificates));
  const svid = await X509Svid.safeFromPem(certificates, latin1(await readFileWhole(identity.privateKey)));
  if (!svid.ok) throw fault("ERR_SPIFFE_X509_SVID", `${identity.certificates} with ${identity.privateKey}`, svid);
  return svid.value;
}

/** The key comes first; a file in another order was made for something else. */
function splitCredentials(pem: string): Verdict<{ certificates: string; privateKey: string }> {
  const blocks = decodePem(pem);
  if (!blocks.ok) return blocks;
  const [key, ...chain] = blocks.value;
  if (key?.label !== "PRIVATE KEY") return refuse("encoding.pem", "Expected the block PRIVATE KEY first");
  const write = ({ label, der }: { label: string; der: Uint8Array }) => encodePem(label, der);
  return accept({ privateKey: write(key), certificates: chain.map(write).join("") });
}

/** A bundle that is gone ends the trust in its trust domain; without the own one there is no identity. */
async function readBundle(trustDomain: TrustDomain, path: string): Promise<X509Bundle | undefined> {
  let document: Uint8Array;
  try {
    document = await readFileWhole(path);
  } catch (error) {
    if (!isMissing(error)) throw error;
    return undefined;
  }
  const verdict = readBundleDocument(document, trustDomain);
  if (!verdict.ok) throw fault("ERR_SPIFFE_BUNDLE", path, verdict);
  return verdict.value.x509.get(trustDomain.name);
}

function fault(code: "ERR_SPIFFE_X509_SVID" | "ERR_SPIFFE_BUNDLE", where: string, refusal: Refusal): SpiffeError {
  return new SpiffeError(code, `${where}: ${refusal.message}`, { reason: refusal.reason, phase: "read" });
}

function latin1(bytes: Uint8Array): string {
  return new TextDecoder("latin1").decode(bytes);
}
