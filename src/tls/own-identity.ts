/** What this side proves itself with, and whether it still may (S-10). */
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { type Clock, timeOf } from "../base/clock.ts";
import { isSpiffeError, SpiffeError } from "../base/errors.ts";
import { type Refusal, refuse } from "../base/verdict.ts";
import { chooserOf } from "../workload/choice.ts";
import type { X509Svid } from "../x509/index.ts";
import type { TlsIdentity } from "./identity.ts";

/** Which of several SVIDs of a workload is meant. */
export type SvidChoice = { readonly id: string } | { readonly hint: string };

const KNOWN: OptionNames<SvidChoice> = { id: true, hint: true };

const ends = new WeakMap<X509Svid, number>();

/** Wall time in milliseconds at which the first certificate of an SVID ends, intermediates included. */
export function endOf(svid: X509Svid): number {
  let end = ends.get(svid);
  if (end === undefined) {
    end = Math.min(svid.expiresAt.getTime(), ...svid.certificates.map(({ notAfter }) => notAfter.getTime()));
    ends.set(svid, end);
  }
  return end;
}

/**
 * The own SVID: valid now, and of a trust domain that has authorities.
 *
 * @throws what the identity throws without one; `ERR_SPIFFE_EXPIRED`; `ERR_SPIFFE_NO_IDENTITY` when the bundle is empty
 */
export function ownSvid({ x509 }: TlsIdentity, clock: Clock): X509Svid {
  const svid = x509.x509Svid();
  if (!(timeOf(clock) < endOf(svid))) {
    throw new SpiffeError("ERR_SPIFFE_EXPIRED", `The X509-SVID of ${svid.id} expired and no newer one came`, {
      reason: "x509.expired",
      retryable: true,
    });
  }
  const { trustDomain } = svid.id;
  let cause: unknown;
  try {
    if (x509.x509BundleFor(trustDomain)?.isEmpty === false) return svid;
  } catch (error) {
    cause = error;
  }
  throw new SpiffeError("ERR_SPIFFE_NO_IDENTITY", `Nobody vouches for ${svid.id}: ${trustDomain} has no authorities`, {
    reason: "x509.no-bundle",
    retryable: true,
    cause,
  });
}

/** A refusal for the time in which this side has nothing to prove itself with. */
export function ownIdentityLost(cause: unknown): Refusal {
  const why = isSpiffeError(cause) ? cause.message : "the source of the identity fails";
  return refuse("peer.own-identity-lost", `This side has no valid identity: ${why}`);
}

/**
 * An identity whose SVID is chosen among all that the workload has.
 *
 * @throws SpiffeError `ERR_SPIFFE_USAGE`, `ERR_SPIFFE_ID` for a choice that is none
 */
export function withChosenSvid(identity: TlsIdentity, choice: SvidChoice): TlsIdentity {
  const { x509 } = identity;
  onlyKnown("svid", choice, KNOWN);
  const { id, hint } = choice as { id?: string; hint?: string };
  if ((id === undefined) === (hint === undefined)) {
    throw new SpiffeError("ERR_SPIFFE_USAGE", "Expected svid to be { id } or { hint }; got both or none");
  }
  const chooser = chooserOf({ id, hint });
  return {
    x509: {
      x509BundleFor: (trustDomain) => x509.x509BundleFor(trustDomain),
      updates: (signal) => x509.updates(signal),
      x509Svid() {
        // Sources that know of one SVID alone have no `current`.
        const svids = x509.current?.svids ?? [x509.x509Svid()];
        const { svid } = chooser.choose(svids);
        if (svid !== undefined) return svid;
        const there = svids.map((each) => each.id.uri).join(", ") || "none";
        throw new SpiffeError("ERR_SPIFFE_NO_IDENTITY", `No X509-SVID has ${chooser.wanted}; there are ${there}`, {
          reason: "workload.no-svid",
          retryable: true,
        });
      },
    },
  };
}
