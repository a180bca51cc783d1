/** The SVIDs of the last accepted message: an agent sends the same ones again, and judging them costs most of a fetch. */

import type { Clock } from "../base/clock.ts";
import { timeOf } from "../base/clock.ts";
import { equalOctets } from "../crypto/octets.ts";
import type { X509SVID } from "../gen/workload/workload_pb.js";
import type { Certificate, X509Bundle, X509Svid } from "../x509/index.ts";

/** One SVID that was accepted, and all that its acceptance rests on but the time. */
export interface JudgedSvid {
  readonly wire: X509SVID;
  readonly svid: X509Svid;
  /** The bundle it was sent with. */
  readonly sent: X509Bundle;
  /** The bundle that vouched for it: the one that came with the first SVID of its trust domain. */
  readonly bundle: X509Bundle;
  /** The path that was found, its authority included. */
  readonly path: readonly Certificate[];
}

/**
 * Remembers what was accepted last. Only what is equal in every byte is found again, and only while every certificate of
 * its path is within its time: then key, names, rules and signatures would be judged as before (S-11, S-17).
 */
export class JudgedSvids {
  #last: readonly JudgedSvid[] = [];

  find(wire: X509SVID, clock: Clock): JudgedSvid | undefined {
    const found = this.#last.find((judged) => isSame(judged.wire, wire));
    const now = timeOf(clock);
    return found?.path.every((certificate) => certificate.validityAt(now) === "within") ? found : undefined;
  }

  /** Takes the place of everything remembered before. */
  keep(judged: readonly JudgedSvid[]): void {
    this.#last = judged;
  }

  /** Forgets everything; private keys are among it. */
  clear(): void {
    this.#last = [];
  }
}

function isSame(a: X509SVID, b: X509SVID): boolean {
  return (
    a.spiffeId === b.spiffeId &&
    a.hint === b.hint &&
    equalOctets(a.x509Svid, b.x509Svid) &&
    equalOctets(a.x509SvidKey, b.x509SvidKey) &&
    equalOctets(a.bundle, b.bundle)
  );
}
