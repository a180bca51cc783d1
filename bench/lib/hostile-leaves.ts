/** What hostile callers show: chains that are made to cost as much as they can. */
import type { TestCa } from "../../src/authority/testing.ts";

/** PEM that a TLS client presents. */
export interface HostileLeaf {
  readonly cert: string;
  readonly key: string;
}

/** Octets of a chain that every TLS stack takes. */
const TAKEN = 60_000;

/** Four kinds of chains, none of which may be let in. */
export async function hostileLeaves(ca: TestCa, id: string): Promise<readonly HostileLeaf[]> {
  const plain = await ca.issue({ id });
  // as many names as 64 KiB hold, under a signature that is not the authority's
  const dnsSans = Array.from({ length: 8_000 }, (_, i) => `h${i}`);
  const named = await ca.issue({ id, dnsSans, tamper: "signature" });
  const tampered = await ca.issue({ id, tamper: "signature" });
  const twins: string[] = [];
  for (let i = 0; i < 9; i++) twins.push((await ca.intermediate({ subject: { O: "bench" } })).certPem);
  const taken = Math.floor(TAKEN / (plain.chainDer.length + 5));
  return [
    // more than some stacks take, and as many as all do
    { cert: plain.certPem.repeat(240), key: plain.keyPem },
    { cert: plain.certPem.repeat(taken), key: plain.keyPem },
    { cert: named.certPem, key: named.keyPem },
    { cert: tampered.certPem + twins.join(""), key: tampered.keyPem },
  ];
}
