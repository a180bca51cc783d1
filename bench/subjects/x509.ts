/** X.509-SVID chains: parsing and whole verification, from bytes, every chain different. */
import { Buffer } from "node:buffer";
import { X509Certificate } from "node:crypto";
import { fromBER } from "asn1js";
import * as pkijs from "pkijs";
import { wasmVerifier } from "../../src/crypto/choose-backend.ts";
import { chooseSyncVerifier } from "../../src/crypto/index.ts";
import { TrustDomain } from "../../src/id/index.ts";
import { Certificate, safeVerifyX509SvidSync, spiffeIdOf, X509Bundle } from "../../src/x509/index.ts";
import type { Measure } from "./measure.ts";

export const measureX509: Measure = async ({ fixtures, amount, add, count, countAsync }) => {
  const td = TrustDomain.parse(fixtures.trustDomain);
  for (const set of fixtures.x509) {
    const chains = set.chains.map((chain) => chain.map((der) => new Uint8Array(Buffer.from(der, "base64"))));
    const root = new Uint8Array(Buffer.from(set.bundle, "base64"));
    const bundle = X509Bundle.fromDer(td, root);
    const source = { x509BundleFor: (domain: TrustDomain) => (domain.equals(td) ? bundle : undefined) };
    const ours = (chain: Uint8Array[]) => safeVerifyX509SvidSync(chain, source).ok;
    const native = nativeChain(new X509Certificate(root));
    const peer = pkijsChain(root);
    const key = `x509 ${set.name}`;
    const pick = (i: number) => chains[Math.abs(i) % chains.length]!;
    count(key, "spiffe-edge", chains, ours);
    count(key, "native", chains, native);
    await countAsync(key, "pkijs", chains.slice(0, 100), peer);
    // keys that are used again and again get tables between two measurements: all rows are of keys that have theirs
    await wasmVerifier()?.ready();
    await add("x509", set.name, "spiffe-edge", (i) => void ours(pick(i)));
    if (set.name === "chain P-256")
      await add("x509", "signatures P-256", "spiffe-edge", signatureChecks(chains, bundle));
    await add("x509", set.name, "native", (i) => void native(pick(i)));
    const fewer = { samples: Math.min(amount.samples, 100), warmup: Math.min(amount.warmup, 10) };
    await add("x509", set.name, "pkijs", (i) => peer(pick(i)), fewer);
    if (set.name !== "chain P-256") continue;
    await add("x509", "parse", "spiffe-edge", (i) => readWhole(pick(i)[0]!), { ...amount, batch: 10 });
    await add("x509", "parse", "native", (i) => void new X509Certificate(pick(i)[0]!), { ...amount, batch: 10 });
    await add("x509", "parse", "pkijs", (i) => void pkijs.Certificate.fromBER(pick(i)[0]!), { ...amount, batch: 10 });
  }
};

/** A parse with everything that a verification reads of a certificate. */
function readWhole(der: Uint8Array): void {
  const certificate = Certificate.parse(der);
  const { notBefore, notAfter, isCa, keyUsage, spki } = certificate;
  const all = spiffeIdOf(certificate).ok && notBefore < notAfter && !isCa && keyUsage !== undefined && spki.length > 0;
  if (!all) throw new Error("A good leaf lacks something");
}

/**
 * The two signature checks of a chain by the backend that verifies chains, in the state that the chains have left it in: what a
 * chain has to cost.
 */
function signatureChecks(chains: readonly Uint8Array[][], bundle: X509Bundle): (i: number) => void {
  const verifier = chooseSyncVerifier();
  const prepared = chains.map((chain) => {
    const [leaf, intermediate] = chain.map((der) => Certificate.parse(der));
    return { leaf: leaf!, intermediate: intermediate!, key: intermediate!.publicKey };
  });
  const root = verifier.importKey(bundle.authorities[0]!.publicKey);
  const check = (certificate: Certificate, key: unknown) =>
    verifier.verify(certificate.signatureAlgorithm!, key, certificate.signature, certificate.tbs);
  return (i) => {
    const { leaf, intermediate, key } = prepared[Math.abs(i) % prepared.length]!;
    check(intermediate, root);
    check(leaf, verifier.importKey(key));
  };
}

/** The two signatures and nothing else: no dates, no SPIFFE rules, no constraints. A lower bound, not a verifier. */
function nativeChain(root: X509Certificate): (chain: Uint8Array[]) => boolean {
  return (chain) => {
    const [leaf, intermediate] = chain.map((der) => new X509Certificate(der));
    return leaf!.verify(intermediate!.publicKey) && intermediate!.verify(root.publicKey);
  };
}

/** RFC 5280 path validation by pkijs on WebCrypto; it knows nothing of SPIFFE IDs. */
function pkijsChain(rootDer: Uint8Array): (chain: Uint8Array[]) => Promise<boolean> {
  const parse = (der: Uint8Array) => new pkijs.Certificate({ schema: fromBER(der).result });
  const root = parse(rootDer);
  return async (chain) => {
    const certs = chain.map(parse).reverse();
    const engine = new pkijs.CertificateChainValidationEngine({ trustedCerts: [root], certs });
    return (await engine.verify()).result;
  };
}
