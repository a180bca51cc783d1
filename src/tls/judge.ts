/** The verdict on a peer: chain read, verified against the bundle of its trust domain, and authorized. Never throws. */
import type { TLSSocket } from "node:tls";
import type { Clock } from "../base/clock.ts";
import { accept, type Refusal, refuse, type Verdict } from "../base/verdict.ts";
import type { SyncSignatureVerifier } from "../crypto/index.ts";
import { equalOctets } from "../crypto/octets.ts";
import type { X509Peer } from "../id/peer.ts";
import { safeVerifyX509SvidSync, type VerifiedX509Svid } from "../x509/index.ts";
import type { Authorizer } from "./authorizers.ts";
import { presentedChain, unexpectedlyResumed } from "./chain.ts";
import type { TlsIdentity } from "./identity.ts";

/** What a verdict depends on beside the socket. */
export interface Judgement {
  readonly identity: TlsIdentity;
  readonly authorize: Authorizer;
  readonly clock: Clock;
  readonly verifier: SyncSignatureVerifier;
}

/** A peer that was let in, with what it showed, so that it can be judged again. */
export interface JudgedPeer {
  readonly verified: VerifiedX509Svid;
  /** DER as presented, leaf first. */
  readonly presented: readonly Uint8Array[];
}

/** Judges the peer of a finished handshake. Anything thrown on the way is a refusal (S-8). */
export function judgePeer(socket: TLSSocket, by: Judgement): Verdict<JudgedPeer> {
  try {
    if (unexpectedlyResumed(socket)) {
      return refuse("peer.session-reused", "The TLS session was resumed although resumption is switched off");
    }
    const chain = presentedChain(socket);
    if (chain.ok !== true) return chain;
    const verdict = judgeChain(chain.value, by);
    return verdict.ok === true ? accept({ verified: verdict.value, presented: chain.value }) : verdict;
  } catch (error) {
    return internalRefusal(error);
  }
}

/** Judges a presented chain with the bundles and the time of now. Never throws. */
export function judgeChain(presented: readonly Uint8Array[], by: Judgement): Verdict<VerifiedX509Svid> {
  try {
    const verified = safeVerifyX509SvidSync(presented, by.identity.x509, { clock: by.clock, verifier: by.verifier });
    if (verified.ok !== true) return verified;
    const authorized = by.authorize(verified.value);
    if (authorized?.ok === true) return verified;
    settle(authorized);
    // An authorizer that answers with a promise or nothing has not accepted.
    return authorized?.ok === false ? authorized : refuse("peer.internal", "The authorizer gave no verdict");
  } catch (error) {
    return internalRefusal(error);
  }
}

/** Takes the rejection of a promise that came where none was expected; unhandled it would end the process. */
export function settle(value: unknown): void {
  if (value instanceof Promise) value.catch(() => {});
}

/** A refusal for something thrown where a verdict was expected. */
export function internalRefusal(error: unknown): Refusal {
  return refuse("peer.internal", `The check of the peer failed: ${error instanceof Error ? error.message : "unknown"}`);
}

/** What peers were verified by: beside them, as a peer is what programs print and keep. */
const chains = new WeakMap<X509Peer, readonly Uint8Array[]>();

/** The identity that a verified SVID stands for. */
export function peerFrom(judged: JudgedPeer): X509Peer {
  const { id, expiresAt } = judged.verified;
  const peer: X509Peer = Object.freeze({ via: "x509", id, expiresAt });
  chains.set(peer, pathOf(judged));
  return peer;
}

/**
 * The path without its authority, as DER. A kept connection holds the presented bytes anyway: parsed certificates beside
 * them would be the larger part of its memory.
 */
function pathOf({ verified, presented }: JudgedPeer): readonly Uint8Array[] {
  const path = verified.chain.slice(0, -1);
  if (path.length === 1 && presented.length === 1) return presented;
  return path.map(({ der }) => presented.find((each) => equalOctets(each, der)) ?? der);
}

/** The certificates of a peer of a connection, leaf first, without the authority; undefined for one that came otherwise. */
export function chainOf(peer: X509Peer): readonly Uint8Array[] | undefined {
  return chains.get(peer);
}
