/** `authorize()`: lets only named callers reach a handler. */
import type { MiddlewareHandler } from "hono";
import { type OptionNames, onlyKnown } from "../../base/check-options.ts";
import { SpiffeError as Failure, type SpiffeError } from "../../base/index.ts";
import type { JwtPeer, Peer, TokenIdentity, X509Peer } from "../../id/index.ts";
import { explain, Policy, type Principals } from "../../policy/index.ts";
import { refusal } from "./exception.ts";
import { givenPeer, type SpiffeEnv } from "./peer-env.ts";
import type { ErrorLog } from "./spiffe.ts";

/** A caller that showed a token, alone or beside a certificate. */
export type TokenPeer = JwtPeer | (X509Peer & { readonly token: TokenIdentity });

interface Named<Via extends "x509" | "jwt" | undefined> {
  /** SPIFFE IDs, exact or with whole segments as `*` and a final `**`, as in a policy rule. */
  readonly ids?: readonly string[] | undefined;
  /** Names of trust domains, each with all its workloads. */
  readonly trustDomains?: readonly string[] | undefined;
  /** How the identity must be proven. */
  readonly via?: Via;
}

/** Who may pass: callers with one of `ids`, or members of one of `trustDomains`, or whoever proved an identity `via`. */
export type AuthorizeOptions<Via extends "x509" | "jwt" | undefined = "x509" | "jwt" | undefined> = Named<Via> &
  ({ readonly ids?: undefined } | { readonly trustDomains?: undefined });

const KNOWN: OptionNames<AuthorizeOptions> = { ids: true, trustDomains: true, via: true };

const consoleLog: ErrorLog = { error: (message) => console.error(message) };

/**
 * Middleware that answers 403 with the reason unless the caller is one of those named. Several in a row all have to
 * agree; `some()` of `hono/combine` joins alternatives.
 *
 * `ids` and `trustDomains` mean the peer's own identity; with `via: "jwt"` they mean the token's, also beside a
 * certificate, and `c.var.peer.token` is typed as present.
 *
 * @throws `ERR_SPIFFE_CONFIG` when nobody is named or an ID is none; `ERR_SPIFFE_USAGE` for an option it does not know
 *
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { authorize, spiffe } from "spiffe-edge/gateway";
 * import { asPeer } from "spiffe-edge/testing";
 * const app = new Hono()
 *   .use(spiffe({ jwt: { jwtBundleFor: () => undefined } }))
 *   .get("/", authorize({ trustDomains: ["example.org"] }), (c) => c.text("hello"));
 * console.assert((await app.request("/", {}, asPeer("spiffe://example.com/web"))).status === 403);
 * console.assert((await app.request("/", {}, asPeer("spiffe://example.org/web"))).status === 200);
 * ```
 */
export function authorize(
  who: AuthorizeOptions<"jwt"> & { via: "jwt" },
): MiddlewareHandler<{ Variables: { peer: TokenPeer } }>;
export function authorize(
  who: AuthorizeOptions<"x509"> & { via: "x509" },
): MiddlewareHandler<{ Variables: { peer: X509Peer } }>;
export function authorize(who: AuthorizeOptions): MiddlewareHandler<SpiffeEnv>;
// biome-ignore lint/suspicious/noExplicitAny: the overloads above are the types
export function authorize(who: AuthorizeOptions): MiddlewareHandler<any> {
  onlyKnown("authorize()", who, KNOWN);
  const { ids, trustDomains, via } = who;
  const rest = { ...(ids !== undefined && { ids }), ...(trustDomains !== undefined && { trustDomains }) };
  const allow: Principals = via === undefined ? rest : { ...rest, via: [via] };
  let policy: Policy;
  try {
    policy = Policy.compile([{ rule: "authorize", allow }]);
  } catch (error) {
    throw new Failure("ERR_SPIFFE_CONFIG", (error as Error).message.replaceAll("policy[0].allow", "authorize()"));
  }
  let told = false;
  return async function spiffeAuthorize(c, next) {
    let peer: Peer;
    try {
      peer = givenPeer(c.get("peer"));
    } catch (error) {
      const { code, message, hint } = error as SpiffeError;
      if (!told) consoleLog.error(`${code}: ${message}. ${hint}`);
      told = true;
      throw refusal({ status: 500, code, detail: message }, error);
    }
    const decision = policy.decide(peer, { method: c.req.method, path: c.req.path });
    if (decision.verdict === "allow") return next();
    const { reason } = decision;
    throw refusal({ status: 403, code: "ERR_SPIFFE_DENIED", reason, detail: explain(decision, peer) });
  };
}
