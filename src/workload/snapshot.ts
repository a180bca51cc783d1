/** What the sources hold: whole states of the Workload API, replaced and never changed. */
import type { JwtBundle } from "../jwt/index.ts";
import type { X509Bundle, X509Svid } from "../x509/index.ts";

/** When and as which update a state arrived. */
export interface Snapshot {
  /** Wall time of arrival, milliseconds since the Unix epoch. */
  readonly receivedAt: number;
  /** Counts the states of one source, from 1. */
  readonly sequence: number;
}

/** What every source holds: bundles by trust domain name. */
export interface Held extends Snapshot {
  readonly bundles: ReadonlyMap<string, X509Bundle | JwtBundle>;
}

/** All X.509 identities of the caller with every bundle it may trust. Empty in both after a redaction. */
export interface X509Context extends Snapshot {
  /** In the agent's order: the first is the default identity (WL-13). */
  readonly svids: readonly X509Svid[];
  /** By trust domain name, own and federated. */
  readonly bundles: ReadonlyMap<string, X509Bundle>;
}

/** The X.509 bundles the caller may trust, by trust domain name. */
export interface X509Bundles extends Snapshot {
  readonly bundles: ReadonlyMap<string, X509Bundle>;
}

/** The JWT bundles the caller may trust, by trust domain name. */
export interface JwtBundles extends Snapshot {
  readonly bundles: ReadonlyMap<string, JwtBundle>;
}

/** A state before it is numbered. */
export type Content<T extends Snapshot> = Omit<T, keyof Snapshot>;

/** Numbers a state and freezes it. */
export function snapshot<T extends Snapshot>(content: Content<T>, receivedAt: number, sequence: number): T {
  return Object.freeze({ ...content, receivedAt, sequence }) as T;
}
