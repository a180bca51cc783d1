/** Signatures and what is built on them, with the tables that a source's bundles get; every token and leaf different. */
import { Buffer } from "node:buffer";
import { createPublicKey, type KeyObject, verify, type webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { fromBER } from "asn1js";
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from "jose";
import * as pkijs from "pkijs";
import { wasmVerifier } from "../../src/crypto/choose-backend.ts";
import {
  type Curve,
  chooseSyncVerifier,
  JWS_ALGORITHMS,
  PublicKey,
  preloadAuthorities,
} from "../../src/crypto/index.ts";
import { WasmVerifier } from "../../src/crypto/wasm/verifier.ts";
import { TrustDomain } from "../../src/id/index.ts";
import { JwtBundle, safeValidateJwtSvidSync } from "../../src/jwt/index.ts";
import { safeVerifyX509SvidSync, X509Bundle } from "../../src/x509/index.ts";
import type { Fixtures } from "../lib/fixtures.ts";
import { rowOf } from "../lib/rows.ts";
import type { Bench, Measure } from "./measure.ts";

/** A token taken apart, as the signature check gets it. */
interface Signed {
  readonly input: Uint8Array<ArrayBuffer>;
  readonly signature: Uint8Array<ArrayBuffer>;
}

export const measureCrypto: Measure = async (bench) => {
  const td = TrustDomain.parse(bench.fixtures.trustDomain);
  const roots = bench.fixtures.x509.map(({ bundle }) => X509Bundle.fromDer(td, Buffer.from(bundle, "base64")));
  const sets = bench.fixtures.jwt.map(({ jwks }) => JwtBundle.fromJwks(td, JSON.stringify(jwks), "spiffe-bundle"));
  // what a source does when the bundles arrive
  preloadAuthorities(bench, [
    ...roots.flatMap((root) => root.authorities.map(({ publicKey }) => publicKey)),
    ...sets.flatMap((set) => set.keys.map(({ key }) => key)),
  ]);
  await wasmVerifier()?.ready();
  for (const [index, set] of bench.fixtures.jwt.entries()) {
    await measureTokens(bench, set, sets[index]!);
    await measureSignatures(bench, set);
  }
  for (const [index, set] of bench.fixtures.x509.entries()) await measureChains(bench, set, roots[index]!);
  keepSizes(bench);
  preloadAuthorities(bench, []);
};

/** Octets of the module as it is delivered, of its memory, and of the tables that these bundles and issuers have. */
function keepSizes(bench: Bench): void {
  const { bytes, tableBytes } = wasmVerifier()!.memory;
  const module = readFileSync(new URL("../../src/crypto/wasm/ecdsa.wasm", import.meta.url));
  const sizes = { "module in gzip": gzipSync(module, { level: 9 }).length, "memory of the module": bytes };
  for (const [name, size] of Object.entries({ ...sizes, "memory of tables": tableBytes })) {
    bench.keep(rowOf({ subject: "crypto", name, stack: "spiffe-edge", runtime: bench.runtime }, [size], "bytes"));
  }
}

function at<T>(list: readonly T[], i: number): T {
  return list[Math.abs(i) % list.length]!;
}

async function measureTokens(bench: Bench, set: Fixtures["jwt"][number], bundle: JwtBundle): Promise<void> {
  const { audience } = bench.fixtures;
  const ours = (token: string) => safeValidateJwtSvidSync(token, bundle, { audience }).ok;
  const keySet = createLocalJWKSet({ keys: set.jwks.keys.map((key) => ({ ...key, use: "sig" })) } as JSONWebKeySet);
  const jose = (token: string) =>
    jwtVerify(token, keySet, { audience, algorithms: [set.alg] }).then(
      () => true,
      () => false,
    );
  bench.count(`crypto ${set.name}`, "spiffe-edge", set.tokens, ours);
  await bench.countAsync(`crypto ${set.name}`, "jose", set.tokens, jose);
  await bench.add("crypto", set.name, "spiffe-edge", (i) => void ours(at(set.tokens, i)));
  await bench.add("crypto", set.name, "jose", (i) => jose(at(set.tokens, i)));
}

/** The bare check: with a table, on first use of a key, by the runtime at once and awaited. */
async function measureSignatures(bench: Bench, set: Fixtures["jwt"][number]): Promise<void> {
  const { algorithm: alg } = JWS_ALGORITHMS.get(set.alg)!;
  const jwk = set.jwks.keys[0] as Record<string, unknown>;
  const key = PublicKey.fromJwk(jwk);
  if (!key.ok || alg.family !== "ecdsa") throw new Error(`${set.name}: no ECDSA key`);
  const tokens = set.tokens.map((token): Signed => {
    const end = token.lastIndexOf(".");
    const octets = (text: string, encoding: "latin1" | "base64url") => new Uint8Array(Buffer.from(text, encoding));
    return { input: octets(token.slice(0, end), "latin1"), signature: octets(token.slice(end + 1), "base64url") };
  });
  const chosen = chooseSyncVerifier();
  const prepared = chosen.importKey(key.value);
  const ours = ({ input, signature }: Signed) => chosen.verify(alg, prepared, signature, input);
  // tables of the generator, as there are in any process by then, and none of the key
  const wasm = new WasmVerifier({ schedule: (task) => task() });
  const other = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: key.value.curve! }, true, [
    "verify",
    "sign",
  ]);
  const spki = PublicKey.fromSpki(new Uint8Array(await crypto.subtle.exportKey("spki", other.publicKey)));
  if (spki.ok) wasm.preload(wasm, [spki.value]);
  const bare = wasm.importKey(key.value);
  const first = ({ input, signature }: Signed) => wasm.verify(alg, bare, signature, input);
  const object: KeyObject = createPublicKey({ key: jwk as webcrypto.JsonWebKey, format: "jwk" });
  const hash = alg.hash.replace("SHA-", "sha");
  const options = { key: object, dsaEncoding: "ieee-p1363" } as const;
  const native = ({ input, signature }: Signed) => verify(hash, input, options, signature);
  const parameters = { name: "ECDSA", namedCurve: key.value.curve as Curve, hash: alg.hash };
  const webKey = await crypto.subtle.importKey("jwk", { ...jwk, use: "sig" }, parameters, false, ["verify"]);
  const subtle = ({ input, signature }: Signed) => crypto.subtle.verify(parameters, webKey, signature, input);

  const name = `verify ${set.alg}`;
  bench.count(`crypto ${name}`, "spiffe-edge", tokens, ours);
  bench.count(`crypto ${name} first use`, "spiffe-edge", tokens, first);
  bench.count(`crypto ${name}`, "native", tokens, native);
  await bench.countAsync(`crypto ${name} awaited`, "native", tokens, subtle);
  await bench.add("crypto", name, "spiffe-edge", (i) => void ours(at(tokens, i)));
  await bench.add("crypto", name, "native", (i) => void native(at(tokens, i)));
  await bench.add("crypto", `${name} awaited`, "native", (i) => subtle(at(tokens, i)));
  await bench.add("crypto", `${name} first use`, "spiffe-edge", (i) => void first(at(tokens, i)));
}

async function measureChains(bench: Bench, set: Fixtures["x509"][number], root: X509Bundle): Promise<void> {
  const { amount } = bench;
  const chains = set.chains.map((chain) => chain.map((der) => new Uint8Array(Buffer.from(der, "base64"))));
  const source = { x509BundleFor: (domain: TrustDomain) => (domain.equals(root.trustDomain) ? root : undefined) };
  const ours = (chain: Uint8Array[]) => safeVerifyX509SvidSync(chain, source).ok;
  const peer = pkijsChain(root.authorities[0]!.der);
  bench.count(`crypto ${set.name}`, "spiffe-edge", chains, ours);
  // issuers that came again and again have asked for tables, which timers build
  await wasmVerifier()?.ready();
  await bench.countAsync(`crypto ${set.name}`, "pkijs", chains.slice(0, 100), peer);
  await bench.add("crypto", set.name, "spiffe-edge", (i) => void ours(at(chains, i)));
  const fewer = { samples: Math.min(amount.samples, 100), warmup: Math.min(amount.warmup, 10) };
  await bench.add("crypto", set.name, "pkijs", (i) => peer(at(chains, i)), fewer);
}

/** RFC 5280 path validation by pkijs on WebCrypto; it knows nothing of SPIFFE IDs. */
function pkijsChain(rootDer: Uint8Array): (chain: Uint8Array[]) => Promise<boolean> {
  const parse = (der: Uint8Array) => new pkijs.Certificate({ schema: fromBER(new Uint8Array(der)).result });
  const root = parse(rootDer);
  return async (chain) => {
    const certs = chain.map(parse).reverse();
    const engine = new pkijs.CertificateChainValidationEngine({ trustedCerts: [root], certs });
    return (await engine.verify()).result;
  };
}
