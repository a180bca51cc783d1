/** What things are verified with: a bundle file, or the bundles of the Workload API, or nothing. */
import process from "node:process";
import type { Verdict } from "../../base/index.ts";
import { SpiffeBundle } from "../../bundle/index.ts";
import { TrustDomain } from "../../id/index.ts";
import type { JwtBundleSource } from "../../jwt/index.ts";
import type { WorkloadApiClient } from "../../workload/index.ts";
import { type Certificate, spiffeIdOf, X509Bundle, type X509BundleSource } from "../../x509/index.ts";
import { type ConnectionOptions, openClient } from "../connection.ts";
import { sentenceOf, usageError } from "../exit.ts";
import { kindOf, readInput } from "./input.ts";

/** Bundles of one kind; or why there are none, and whether that is a failure. */
export type Trust<S> = { readonly source: S } | { readonly absent: string; readonly failed: boolean };

/** The options that say what to verify with. */
export interface TrustOptions extends ConnectionOptions {
  readonly bundle?: string;
  readonly trustDomain?: string;
}

const NOTHING = { absent: "no bundle; set SPIFFE_ENDPOINT_SOCKET, or give --socket or --bundle", failed: false };

/** Bundles for certificates. */
export async function x509Trust(options: TrustOptions): Promise<Trust<X509BundleSource>> {
  if (options.bundle !== undefined) return { source: readBundleFile(options.bundle, options.trustDomain) };
  return ofWorkloadApi(options, async (client) => {
    const { bundles } = await client.fetchX509Bundles();
    return { x509BundleFor: ({ name }: TrustDomain) => bundles.get(name) };
  });
}

/** Bundles for tokens. */
export async function jwtTrust(options: TrustOptions): Promise<Trust<JwtBundleSource>> {
  if (options.bundle !== undefined) return { source: readBundleFile(options.bundle, options.trustDomain) };
  return ofWorkloadApi(options, async (client) => {
    const { bundles } = await client.fetchJwtBundles();
    return { jwtBundleFor: ({ name }: TrustDomain) => bundles.get(name) };
  });
}

async function ofWorkloadApi<S>(
  options: ConnectionOptions,
  fetch: (client: WorkloadApiClient) => Promise<S>,
): Promise<Trust<S>> {
  if ((options.socket ?? process.env.SPIFFE_ENDPOINT_SOCKET ?? "") === "") return NOTHING;
  let client: WorkloadApiClient | undefined;
  try {
    client = openClient(options);
    return { source: await fetch(client) };
  } catch (error) {
    return { absent: sentenceOf(error), failed: true };
  } finally {
    await client?.close();
  }
}

/**
 * Reads a bundle that the user trusts. Whose it is has to be known: it is said by `--trust-domain`, or by the SPIFFE IDs
 * of its authorities, and never by what is verified with it.
 *
 * @throws SpiffeError `ERR_SPIFFE_USAGE`
 */
function readBundleFile(file: string, named: string | undefined): SpiffeBundle {
  const bytes = readInput(file);
  const wrong = (why: string) =>
    usageError(`Expected a bundle in ${file}: ${why}`, "Give a SPIFFE bundle (JSON), or CA certificates as PEM or DER");
  const read = (trustDomain: TrustDomain): SpiffeBundle => {
    const verdict = parseBundle(trustDomain, bytes);
    if (!verdict.ok) throw wrong(verdict.message);
    return verdict.value;
  };
  if (named !== undefined) {
    const domain = TrustDomain.safeParse(named);
    if (!domain.ok)
      throw usageError(`Expected a trust domain after --trust-domain: ${domain.message}`, "For example example.org");
    return read(domain.value);
  }
  const domain = trustDomainOf(read(UNNAMED).x509.authorities);
  if (domain === undefined) {
    throw usageError(
      `Nothing in ${file} says whose bundle it is`,
      "Say it with --trust-domain, for example --trust-domain example.org",
    );
  }
  return read(domain);
}

/** Stands for a trust domain while it is not known yet; nothing is verified with it. */
export const UNNAMED: TrustDomain = TrustDomain.parse("unnamed");

/** The trust domain that all authorities name as their own, if they agree. */
export function trustDomainOf(authorities: readonly Certificate[]): TrustDomain | undefined {
  const ids = authorities.map(spiffeIdOf);
  const names = new Set(ids.map((id) => (id.ok && id.value.path === "" ? id.value.trustDomain.name : "")));
  const [name] = names;
  return names.size === 1 && name !== undefined && name !== "" ? TrustDomain.parse(name) : undefined;
}

/** A bundle in any of its forms. */
export function parseBundle(trustDomain: TrustDomain, bytes: Uint8Array): Verdict<SpiffeBundle> {
  if (kindOf(bytes) === "json") return SpiffeBundle.safeParse(trustDomain, bytes);
  const x509 =
    kindOf(bytes) === "pem"
      ? X509Bundle.safeFromPem(trustDomain, new TextDecoder("latin1").decode(bytes))
      : X509Bundle.safeFromDer(trustDomain, bytes);
  return x509.ok ? { ok: true, value: SpiffeBundle.of(trustDomain, { x509: x509.value }) } : x509;
}
