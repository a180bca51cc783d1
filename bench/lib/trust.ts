/** A trust domain for the benches of TLS: a Workload API with the server's SVID, and many different clients. */
import { TestCa, type TestSvid } from "../../src/authority/testing.ts";
import { serveSvid } from "../../test/support/given-svid.ts";
import { type HostileLeaf, hostileLeaves } from "./hostile-leaves.ts";

/** PEM of one client; `good` clients have to be served. */
export interface Leaf {
  readonly cert: string;
  readonly key: string;
  readonly good: boolean;
}

export interface BenchTrust {
  readonly domain: string;
  /** SPIFFE ID of the server, and its Workload API. */
  readonly server: string;
  readonly endpoint: string;
  /** Roots of the domain, PEM. */
  readonly roots: string;
  readonly leaves: readonly Leaf[];
  /** Clients whose chains cost much, none of whom may be served. */
  readonly hostile: readonly HostileLeaf[];
  stop(): Promise<void>;
}

/** Every so many clients, one is of a foreign CA with the same name. */
const BAD_EVERY = 100;

/** @param count distinct clients, each with a key of its own */
export async function startTrust(count: number): Promise<BenchTrust> {
  const domain = "bench.example";
  const server = `spiffe://${domain}/server`;
  const subject = { O: "bench" };
  const ca = await TestCa.create({ trustDomain: domain, subject });
  const foreign = await TestCa.create({ trustDomain: domain, subject });
  // The name is for plain TLS, which knows no SPIFFE IDs.
  const svid = await ca.issue({ id: server, dnsSans: ["localhost"] });
  const api = await serveSvid(server, svid, ca.x509Bundle());
  const leaves: Leaf[] = [];
  for (let i = 0; i < count; i++) {
    const good = i % BAD_EVERY !== BAD_EVERY - 1;
    const { certPem, keyPem }: TestSvid = await (good ? ca : foreign).issue({ id: `spiffe://${domain}/client/${i}` });
    leaves.push({ cert: certPem, key: keyPem, good });
  }
  const hostile = await hostileLeaves(ca, `spiffe://${domain}/hostile`);
  return { domain, server, endpoint: api.socket, roots: ca.certPem, leaves, hostile, stop: () => api.close() };
}
