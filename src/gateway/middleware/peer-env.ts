/** Where a request's verified caller comes from and where it is kept: the connection, or a test that says so. */
import { SpiffeError } from "../../base/index.ts";
import { type Peer, SpiffeId, type X509Peer } from "../../id/index.ts";

/** The Hono environment of an app behind `spiffe()`: `c.var.peer` is the verified caller. */
export type SpiffeEnv = { Variables: { peer: Peer } };

/** As {@link SpiffeEnv}, where only certificates are accepted. */
export type SpiffeX509Env = { Variables: { peer: X509Peer } };

/** Module-private: no header, environment variable or JSON can make a property of this name. */
const ASSUMED: unique symbol = Symbol("spiffe-edge.assumed-peer");

/** Peers that `spiffe()` gave out; a `peer` variable set by anybody else is not one. */
const given = new WeakSet<Peer>();

/**
 * An environment for `app.request()` in tests: the app sees the caller as verified. Real connections ignore it.
 *
 * @param peer a SPIFFE ID, taken as an X.509 identity that is valid for an hour, or a whole peer
 * @throws `ERR_SPIFFE_ID` when the string is not a SPIFFE ID
 *
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { authorize, spiffe } from "spiffe-edge/gateway";
 * import { asPeer } from "spiffe-edge/testing";
 * const app = new Hono()
 *   .use(spiffe({ jwt: { jwtBundleFor: () => undefined } }))
 *   .get("/orders", authorize({ ids: ["spiffe://example.org/web"] }), (c) => c.text(c.var.peer.id.uri));
 * const allowed = await app.request("/orders", {}, asPeer("spiffe://example.org/web"));
 * console.assert(allowed.status === 200);
 * const refused = await app.request("/orders", {}, asPeer("spiffe://example.org/guest"));
 * console.assert(refused.status === 403);
 * ```
 */
export function asPeer(peer: string | SpiffeId | Peer): object {
  if (typeof peer !== "string" && !(peer instanceof SpiffeId)) return { [ASSUMED]: peer };
  const id = typeof peer === "string" ? SpiffeId.parse(peer) : peer;
  const assumed: X509Peer = { via: "x509", id, expiresAt: new Date(Date.now() + 3_600_000) };
  return { [ASSUMED]: assumed };
}

/** The peer that {@link asPeer} put into an environment. */
export function assumedPeer(env: unknown): Peer | undefined {
  return typeof env === "object" && env !== null ? (env as { [ASSUMED]?: Peer })[ASSUMED] : undefined;
}

/** Records a peer as given out by `spiffe()`. */
export function give(peer: Peer): Peer {
  given.add(peer);
  return peer;
}

/** The fault of an app whose requests reach it without an identity anybody has checked. */
export function noListener(what: string): SpiffeError {
  return new SpiffeError("ERR_SPIFFE_NO_LISTENER", what, {
    hint: "Start the app with serve(app, { workload }) from spiffe-edge/gateway and put .use(spiffe(workload)) before its handlers",
  });
}

/** The verified caller of a request, as `spiffe()` left it; throws `ERR_SPIFFE_NO_LISTENER` where it did not run. */
export function givenPeer(variable: unknown): Peer {
  if (given.has(variable as Peer)) return variable as Peer;
  throw noListener("A handler asks who calls, but spiffe() did not run before it");
}
