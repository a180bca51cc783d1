/** Where a request's verified caller comes from and where it is kept: the connection, or a test that says so. */
import { type OptionNames, onlyKnown } from "../../base/check-options.ts";
import { SpiffeError } from "../../base/index.ts";
import { type Peer, SpiffeId, type X509Peer } from "../../id/index.ts";

/** The Hono environment of an app behind `spiffe()`: `c.var.peer` is the verified caller. */
export type SpiffeEnv = { Variables: { peer: Peer } };

/** As {@link SpiffeEnv}, where only certificates are accepted. */
export type SpiffeX509Env = { Variables: { peer: X509Peer } };

/**
 * What `spiffe(workload, { forwarded })` adds: the first caller, as the peer tells it. Undefined where nobody is told, and for
 * every peer whose word is not taken.
 */
export type ForwardedEnv = { Variables: { caller: SpiffeId | undefined } };

/** More of what a test may say with {@link asPeer}. */
export interface AssumeOptions {
  /** The first caller that the peer names; `forwarded` of `spiffe()` decides whether that counts. */
  readonly caller?: string | SpiffeId | undefined;
}

const KNOWN: OptionNames<AssumeOptions> = { caller: true };

interface Assumed {
  readonly peer: Peer;
  readonly caller: SpiffeId | undefined;
}

/** Module-private: no header, environment variable or JSON can make a property of this name. */
const ASSUMED: unique symbol = Symbol("spiffe-edge.assumed-peer");

/** Peers that `spiffe()` gave out; a `peer` variable set by anybody else is not one. */
const given = new WeakSet<Peer>();

/**
 * An environment for `app.request()` in tests: the app sees the caller as verified. Real connections ignore it.
 *
 * @param peer a SPIFFE ID, taken as an X.509 identity that is valid for an hour, or a whole peer
 * @param options `caller`: the first caller that this peer names, as a gateway in front does in `x-spiffe-id`
 * @throws `ERR_SPIFFE_ID` when a string is not a SPIFFE ID, `ERR_SPIFFE_USAGE` for an option it does not know
 *
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { authorize, spiffe } from "spiffe-edge/gateway";
 * import { asPeer } from "spiffe-edge/testing";
 * const workload = { jwt: { jwtBundleFor: () => undefined } };
 * const app = new Hono()
 *   .use(spiffe(workload, { forwarded: { from: ["spiffe://example.org/gateway"] } }))
 *   .get("/orders", authorize({ ids: ["spiffe://example.org/gateway"] }), (c) => c.text(`${c.var.caller}`));
 * const caller = "spiffe://example.org/web";
 * const allowed = await app.request("/orders", {}, asPeer("spiffe://example.org/gateway", { caller }));
 * console.assert((await allowed.text()) === caller);
 * const refused = await app.request("/orders", {}, asPeer("spiffe://example.org/guest", { caller }));
 * console.assert(refused.status === 403);
 * ```
 */
export function asPeer(peer: string | SpiffeId | Peer, options: AssumeOptions = {}): object {
  onlyKnown("asPeer()", options, KNOWN);
  const caller = options.caller === undefined ? undefined : idOf(options.caller);
  const isId = typeof peer === "string" || peer instanceof SpiffeId;
  const assumed: Assumed = { peer: isId ? certified(idOf(peer)) : peer, caller };
  return { [ASSUMED]: assumed };
}

function idOf(id: string | SpiffeId): SpiffeId {
  return id instanceof SpiffeId ? id : SpiffeId.parse(id);
}

function certified(id: SpiffeId): X509Peer {
  return { via: "x509", id, expiresAt: new Date(Date.now() + 3_600_000) };
}

function assumedBy(env: unknown): Assumed | undefined {
  return typeof env === "object" && env !== null ? (env as { [ASSUMED]?: Assumed })[ASSUMED] : undefined;
}

/** The peer that {@link asPeer} put into an environment. */
export function assumedPeer(env: unknown): Peer | undefined {
  return assumedBy(env)?.peer;
}

/** The caller that {@link asPeer} put beside its peer. */
export function assumedCaller(env: unknown): SpiffeId | undefined {
  return assumedBy(env)?.caller;
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
