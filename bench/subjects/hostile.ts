/** Chains that are made to cost as much as they can: the verdict is a refusal, and it has to come soon. */
import { TrustDomain } from "../../src/id/index.ts";
import { safeVerifyX509SvidSync, X509Bundle } from "../../src/x509/index.ts";
import { type Issued, issueCa, issueLeaf, type KeyType } from "../../src/x509/issue.testing.ts";
import type { Measure } from "./measure.ts";

interface Hostile {
  name: string;
  anchors: Issued[];
  chain: Issued[];
  reason: string;
}

/** Nine authorities that may, by their names, each have signed every other one, above a leaf that none has signed. */
async function entangled(keyType: KeyType): Promise<Hostile> {
  const root = await issueCa({ subject: "root", keyType });
  const twins: Issued[] = [];
  for (let i = 0; i < 9; i++) twins.push(await issueCa({ issuer: root, subject: "root", keyType }));
  const leaf = await issueLeaf(root, { keyType, tamper: (der) => void (der[der.length - 1]! ^= 1) });
  return { name: `hostile signatures ${keyType}`, anchors: [root], chain: [leaf, ...twins], reason: "x509.work-limit" };
}

/** As many names under as many constraints as 64 KiB hold. */
async function named(): Promise<Hostile> {
  const excluded = Array.from({ length: 1_000 }, (_, i) => ({ dns: `n${i}.example.net` }));
  const root = await issueCa({ subject: "root", excluded });
  const uri = { uri: "spiffe://example.org/web" };
  const leaf = await issueLeaf(root, { names: [uri, ...Array.from({ length: 8_000 }, (_, i) => ({ dns: `h${i}` }))] });
  return { name: "hostile names", anchors: [root], chain: [leaf], reason: "x509.work-limit" };
}

async function many(): Promise<Hostile> {
  const root = await issueCa({ subject: "root" });
  const leaf = await issueLeaf(root);
  const rest = Array<Issued>(239).fill(await issueCa({ issuer: root, subject: "many" }));
  return { name: "hostile 240 certificates", anchors: [root], chain: [leaf, ...rest], reason: "x509.chain-too-large" };
}

export const measureHostile: Measure = async ({ amount, add }) => {
  const td = TrustDomain.parse("example.org");
  const fewer = { samples: Math.min(amount.samples, 50), warmup: Math.min(amount.warmup, 5) };
  for (const make of [() => entangled("P-256"), () => entangled("P-521"), named, many]) {
    const { name, anchors, chain, reason } = await make();
    const authorities = anchors.map(({ certificate }) => certificate);
    const bundle = new X509Bundle(td, authorities);
    const presented = chain.map(({ der }) => der);
    const clock = { now: () => authorities[0]!.notBefore.getTime() + 1_000, monotonic: () => 0, sleep: async () => {} };
    await add(
      "x509",
      name,
      "spiffe-edge",
      () => {
        const verdict = safeVerifyX509SvidSync(presented, { x509BundleFor: () => bundle }, { clock });
        if (verdict.ok || verdict.reason !== reason) throw new Error(`${name}: ${JSON.stringify(verdict)}`);
      },
      fewer,
    );
  }
};
