export { type IdMatcher, matchAny, matchId, matchIdPrefix, matchMemberOf, matchOneOf } from "./match.ts";
export type { JwtPeer, Peer, TokenIdentity, X509Peer } from "./peer.ts";
export { SpiffeId, type SpiffeUri, TrustDomain } from "./spiffe-id.ts";
