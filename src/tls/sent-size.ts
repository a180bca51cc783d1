/**
 * How much a peer sent, before anything costly is made of it (S-7): by the octets that the TLS stack holds, where it gives
 * them. Only ever a reason to refuse; what is not told here is found out by reading the chain.
 */
import type { TLSSocket } from "node:tls";
import { LIMITS } from "../base/limits.ts";
import { contextTag, type DerReader, decodeDer } from "../encoding/der.ts";
import { type Capabilities, capabilities } from "../runtime/capabilities.ts";

/** Certificates that were sent, and their octets. */
interface Sent {
  certificates: number;
  bytes: number;
}

/** Where an SSL_SESSION has the leaf, and the certificates after it. */
const PEER = contextTag(3, true);
const CHAIN = contextTag(19, true);

const WAYS: { readonly [way in Capabilities["sentOctets"]["value"]]: (socket: TLSSocket) => Sent | undefined } = {
  none: () => undefined,
  handle: (socket) => {
    const { _handle: handle } = socket as unknown as { _handle: Handle };
    const { certificates } = handle.getPeerCertificateChain();
    return { certificates: certificates.length, bytes: certificates.reduce((sum, { length }) => sum + length, 0) };
  },
  session: (socket) => {
    const session = socket.getSession();
    if (session === undefined) return undefined;
    const sent = decodeDer(session, ofSession);
    // it has secrets of the connection too
    session.fill(0);
    return sent.ok ? sent.value : undefined;
  },
};

interface Handle {
  getPeerCertificateChain(): { readonly certificates: readonly Uint8Array[] };
}

function ofSession(reader: DerReader): Sent {
  const sent: Sent = { certificates: 0, bytes: 0 };
  const fields = reader.sequence();
  while (!fields.atEnd) {
    if (fields.next !== PEER && fields.next !== CHAIN) fields.skip();
    else
      for (const certificates = fields.enter(fields.next); !certificates.atEnd; sent.certificates++)
        sent.bytes += certificates.element().length;
  }
  return sent;
}

/** Whether a peer sent more certificates or octets than are read. */
export function sentTooMuch(socket: TLSSocket): boolean {
  try {
    const sent = WAYS[capabilities.sentOctets.value](socket);
    return sent !== undefined && (sent.certificates > LIMITS.chainLength || sent.bytes > LIMITS.chainBytes);
  } catch {
    return false;
  }
}
