/** Follows an identity: calls back with each new own SVID until told to stop. */
import type { X509Svid } from "../x509/index.ts";
import type { TlsIdentity } from "./identity.ts";

/**
 * @param install called with the SVID of the moment, and with each later one
 * @param lost called when the stream of updates breaks
 */
export async function followSvid(
  identity: TlsIdentity,
  signal: AbortSignal,
  install: (svid: X509Svid) => void,
  lost: (error: unknown) => void,
): Promise<void> {
  let last: X509Svid | undefined;
  const look = () => {
    let svid: X509Svid;
    try {
      svid = identity.x509.x509Svid();
    } catch {
      // No identity at the moment: handshakes are refused by the check itself.
      return;
    }
    if (svid === last) return;
    last = svid;
    install(svid);
  };
  try {
    const updates = identity.x509.updates(signal)[Symbol.asyncIterator]();
    for (;;) {
      const next = updates.next();
      // After the subscription and before the wait, so that nothing falls between the two.
      look();
      if ((await next).done === true) return;
    }
  } catch (error) {
    if (!signal.aborted) lost(error);
  }
}
