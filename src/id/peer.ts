/** What a verified caller looks like to everything above: one of two kinds, told apart by `via`. */
import type { SpiffeId } from "./spiffe-id.ts";

/** The identity a verified JWT-SVID proved. Never the token itself. */
export interface TokenIdentity {
  readonly id: SpiffeId;
  readonly expiresAt: Date;
  readonly audience: readonly string[];
  readonly claims: Readonly<Record<string, unknown>>;
}

/** A caller that proved its ID by an X.509-SVID, and possibly sent a token as well, verified apart. */
export interface X509Peer {
  readonly via: "x509";
  readonly id: SpiffeId;
  readonly expiresAt: Date;
  readonly token?: TokenIdentity;
}

/** A caller that proved its ID by a JWT-SVID alone. */
export interface JwtPeer {
  readonly via: "jwt";
  readonly id: SpiffeId;
  readonly expiresAt: Date;
  readonly token: TokenIdentity;
}

/** A verified caller. */
export type Peer = X509Peer | JwtPeer;
