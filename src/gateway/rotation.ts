/** Counts the own SVIDs as they come. */
import type { Clock } from "../base/index.ts";
import type { TlsIdentity } from "../tls/index.ts";
import type { X509Svid } from "../x509/index.ts";

/** How often the own SVID changed. */
export class Rotation {
  /** SVIDs after the first. */
  count = 0;
  /** Wall time in milliseconds at which the newest came, or was there at the start. */
  at: number | undefined;
  #svid: X509Svid | undefined;

  /** Follows an identity until the signal aborts or it is closed. */
  async follow(identity: TlsIdentity, clock: Clock, signal: AbortSignal): Promise<void> {
    const look = () => {
      try {
        this.#see(identity.x509.x509Svid(), clock.now());
      } catch {
        // none at the moment: the next one is a rotation
      }
    };
    look();
    try {
      for await (const _ of identity.x509.updates(signal)) look();
    } catch {
      // whoever uses the identity tells of its end
    }
  }

  #see(svid: X509Svid, now: number): void {
    if (svid === this.#svid) return;
    if (this.#svid !== undefined) this.count++;
    this.#svid = svid;
    this.at = now;
  }
}
