/** The certificates a peer presented, in wire order. The only reader of peer certificates (S-2, S-7). */
import type { TLSSocket } from "node:tls";
import { LIMITS } from "../base/limits.ts";
import { accept, refuse, type Verdict } from "../base/verdict.ts";
import { capabilities } from "../runtime/capabilities.ts";
import { sentTooMuch } from "./sent-size.ts";

const TOO_LARGE = refuse(
  "x509.chain-too-large",
  `Expected at most ${LIMITS.chainLength} certificates and ${LIMITS.chainBytes} bytes in the presented chain; got more`,
);

interface Link {
  readonly raw?: Uint8Array;
  readonly issuerCertificate?: Link | undefined;
}

function firstLink(socket: TLSSocket): Link | undefined {
  if (capabilities.peerChain.value === "x509-links") return socket.getPeerX509Certificate() as Link | undefined;
  return socket.getPeerCertificate(true) as Link | undefined;
}

/**
 * Reads the chain of a finished handshake: DER, leaf first. At most 10 certificates and 64 KiB together; one more is
 * refused, not cut off.
 */
export function presentedChain(socket: TLSSocket): Verdict<Uint8Array[]> {
  if (sentTooMuch(socket)) return TOO_LARGE;
  const chain: Uint8Array[] = [];
  let bytes = 0;
  let link = firstLink(socket);
  let previous: Link | undefined;
  // A self-issued certificate links to itself in the detailed form; that is its end.
  while (link?.raw !== undefined && link !== previous) {
    bytes += link.raw.byteLength;
    if (chain.length >= LIMITS.chainLength || bytes > LIMITS.chainBytes) {
      return TOO_LARGE;
    }
    chain.push(new Uint8Array(link.raw));
    previous = link;
    link = link.issuerCertificate;
  }
  return chain.length === 0 ? refuse("peer.no-certificate", "The peer presented no certificate") : accept(chain);
}

/**
 * Whether the handshake continued an earlier session although this runtime can switch that off (S-4). Where it can not,
 * the chain of a resumed session is complete and is verified like any other.
 */
export function unexpectedlyResumed(socket: TLSSocket): boolean {
  return capabilities.resumptionOff.value && socket.isSessionReused();
}
