/** A Workload API that hands out one given SVID, its chain as it is, right or wrong. */
import type { X509Bundle } from "../../src/x509/index.ts";
import { sayAndStay, WorkloadServer } from "./workload-server.ts";

/** @param chain the certificates to hand out, DER one after the other; those of the SVID unless given */
export function serveSvid(
  id: string,
  svid: { readonly chainDer: Uint8Array; readonly privateKeyPkcs8: Uint8Array },
  bundle: X509Bundle,
  chain: Uint8Array = svid.chainDer,
): Promise<WorkloadServer> {
  const roots = Buffer.concat(bundle.authorities.map(({ der }) => der));
  const given = { spiffeId: id, x509Svid: chain, x509SvidKey: svid.privateKeyPkcs8, bundle: roots };
  return WorkloadServer.start({ fetchX509SVID: (_, context) => sayAndStay({ svids: [given] }, context) });
}
