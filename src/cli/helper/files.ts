/** What is written for a state: the contents of a generation. */
import { encodeBase64 } from "../../encoding/index.ts";
import type { JwtBundle, JwtSvid } from "../../jwt/index.ts";
import type { Certificate, X509Bundle, X509Svid } from "../../x509/index.ts";
import { FEDERATED, type HelperConfig, type TokenFile } from "./config.ts";
import type { GenerationFile } from "./generation.ts";

/** A state as far as it goes into files. */
export interface HelperState {
  readonly svid: X509Svid;
  readonly x509: ReadonlyMap<string, X509Bundle>;
  readonly jwt: ReadonlyMap<string, JwtBundle>;
  readonly tokens: ReadonlyMap<TokenFile, JwtSvid>;
}

/**
 * The files of a state.
 *
 * @param now wall time, by which an authority has expired
 * @returns a sentence instead when a part is missing: a generation is whole or is not written
 */
export function filesOf(config: HelperConfig, state: HelperState, now: number): readonly GenerationFile[] | string {
  const { modes } = config;
  const own = state.x509.get(state.svid.id.trustDomain.name);
  const files: GenerationFile[] = [];
  if (config.x509 !== undefined) {
    if (own === undefined) return `there is no bundle of ${state.svid.id.trustDomain}`;
    const { names, certificates, authorities } = { names: config.x509, ...partsOf(config, state.svid, own, now) };
    files.push(
      { name: names.bundle, content: pem(authorities), mode: modes.cert },
      { name: names.svid, content: pem(certificates), mode: modes.cert },
      { name: names.key, content: state.svid.toPem().privateKey, mode: modes.key },
    );
    for (const [name, bundle] of config.federated ? state.x509 : []) {
      // In a file of its own: pooled, one trust domain's authorities would vouch for another's IDs (FED-33).
      if (bundle === own) continue;
      files.push({ name: `${name}${FEDERATED}`, content: pem(living(config, bundle, now)), mode: modes.cert });
    }
  }
  if (config.jwtBundle !== undefined) {
    if (state.jwt.size === 0) return "there are no JWT bundles";
    files.push({ name: config.jwtBundle, content: jwtBundles(state.jwt), mode: modes.jwtBundle });
  }
  for (const file of config.tokens) {
    const svid = state.tokens.get(file);
    if (svid === undefined) return `there is no JWT-SVID for ${file.audience.join(", ")}`;
    files.push({ name: file.name, content: svid.token, mode: modes.token });
  }
  return files;
}

function partsOf(config: HelperConfig, svid: X509Svid, own: X509Bundle, now: number) {
  const [leaf, ...intermediates] = svid.certificates;
  const authorities = living(config, own, now);
  return config.intermediatesToBundle
    ? { certificates: [leaf!], authorities: [...authorities, ...intermediates] }
    : { certificates: svid.certificates, authorities };
}

function living({ omitExpired }: HelperConfig, { authorities }: X509Bundle, now: number): readonly Certificate[] {
  return omitExpired ? authorities.filter(({ notAfter }) => now <= notAfter.getTime()) : authorities;
}

function pem(certificates: readonly Certificate[]): string {
  return certificates.map((certificate) => certificate.toPem()).join("");
}

/** A JSON object: the JWK set of each trust domain, in base64, by its name. */
function jwtBundles(bundles: ReadonlyMap<string, JwtBundle>): string {
  const sets = [...bundles]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, bundle]) => {
      return [name, encodeBase64(new TextEncoder().encode(JSON.stringify(bundle.toJwks())))] as const;
    });
  return `${JSON.stringify(Object.fromEntries(sets))}\n`;
}
