/** `spiffe()`: puts the verified caller into `c.var.peer`, or answers for the handler. */
import type { Context, MiddlewareHandler, Next } from "hono";
import { type OptionNames, onlyKnown } from "../../base/check-options.ts";
import { type Clock, type SpiffeError, systemClock } from "../../base/index.ts";
import type { Peer, X509Peer } from "../../id/index.ts";
import { type JwtBundleSource, VerifiedTokens } from "../../jwt/index.ts";
import { connectionPeer } from "../../tls/peer.ts";
import { type Authentication, authenticate, type JwtDoor } from "./authenticate.ts";
import { refusal } from "./exception.ts";
import { callerFrom, type ForwardedOptions } from "./forwarded.ts";
import { assumedPeer, type ForwardedEnv, give, noListener, type SpiffeEnv, type SpiffeX509Env } from "./peer-env.ts";

/** What `spiffe()` needs of a workload: the bundles that tokens are checked against. A `Workload` is one. */
export interface SpiffeSources {
  readonly jwt: JwtBundleSource;
}

/** Where the one log line about wrong wiring goes. */
export interface ErrorLog {
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

/** Which tokens `spiffe()` takes. */
export interface JwtDoorOptions {
  /** What they must have been issued for; one of several is enough. */
  readonly audience: string | readonly string[];
  /** Where verified ones are remembered; a memory of its own by default. */
  readonly tokens?: VerifiedTokens | undefined;
}

/** Settings of `spiffe()`. */
export interface SpiffeOptions {
  /** Opens the second door: callers may show a JWT-SVID issued for this audience, alone or beside a certificate. */
  readonly jwt?: JwtDoorOptions | undefined;
  /** Gateways in front that tell the first caller in `x-spiffe-id`; handlers get it as `c.var.caller`. */
  readonly forwarded?: ForwardedOptions | undefined;
  /** Time for validity; the machine's clock by default. */
  readonly clock?: Clock | undefined;
  /** Told once when the app is wired so that no identity can reach it; `console` by default. */
  readonly logger?: ErrorLog | undefined;
}

interface NodeSocket {
  readonly encrypted?: boolean;
  readonly remoteAddress?: string | undefined;
  readonly localAddress?: string | undefined;
  readonly destroyed?: boolean;
}

const KNOWN: OptionNames<SpiffeOptions> = { jwt: true, forwarded: true, clock: true, logger: true };
const DOOR: OptionNames<JwtDoorOptions> = { audience: true, tokens: true };

const consoleLog: ErrorLog = { error: (message) => console.error(message) };

/** Whether a token may be read from a connection that another server accepted (S-18): TLS, loopback or a unix socket. */
function tokenMayTravel(incoming: object): boolean {
  const request = incoming as { stream?: { session?: { socket?: NodeSocket } }; socket?: NodeSocket };
  const socket = request.stream?.session?.socket ?? request.socket;
  if (socket === undefined || socket === null) return false;
  if (socket.encrypted === true) return true;
  // a unix socket has an address at neither end; one of TCP that the other side has reset has lost only the other's
  if (socket.remoteAddress === undefined) return socket.localAddress === undefined && socket.destroyed === false;
  return /^(?:::ffff:)?127\.|^::1$/.test(socket.remoteAddress);
}

/** Whether the platform itself terminates TLS and says so in the URL, which no caller can write there. */
function onTlsPlatform(c: Context): boolean {
  const agent = (globalThis as { navigator?: { userAgent?: string } }).navigator?.userAgent;
  return agent === "Cloudflare-Workers" && c.req.url.startsWith("https://");
}

/** Every `Authorization` value, as received where the runtime shows it. */
function authorizationOf(c: Context, incoming: unknown): string[] {
  const raw = (incoming as { rawHeaders?: readonly string[] } | undefined)?.rawHeaders;
  if (!Array.isArray(raw)) {
    const value = c.req.raw.headers.get("authorization");
    return value === null ? [] : [value];
  }
  const values: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) if (raw[i].toLowerCase() === "authorization") values.push(raw[i + 1]);
  return values;
}

type Connection = { readonly x509?: X509Peer | undefined };

/** What the connection proves; throws `ERR_SPIFFE_NO_LISTENER` where nobody has looked at it. */
function connectionOf(c: Context, jwt: boolean): Connection {
  const incoming = (c.env as { incoming?: unknown } | undefined)?.incoming;
  if (typeof incoming === "object" && incoming !== null) {
    const verdict = connectionPeer(incoming as Parameters<typeof connectionPeer>[0]);
    if (verdict?.accepted) return { x509: verdict.peer };
    if (verdict !== undefined) throw noListener("A request arrived on a connection that was refused");
    if (jwt && tokenMayTravel(incoming)) return {};
    throw noListener(
      jwt
        ? "A request came in plaintext from another machine, where a token must not travel"
        : "The server that accepted this connection does not verify SPIFFE identities",
    );
  }
  if (jwt && onTlsPlatform(c)) return {};
  throw noListener("The server that runs this app does not verify SPIFFE identities");
}

/**
 * Middleware that lets only verified callers pass and gives the handlers `c.var.peer`.
 *
 * The X.509 identity is the verdict of the listener that `serve()` opened. With `jwt`, a JWT-SVID as bearer token is
 * accepted as well (JWT-03, S-18): it must verify even over a good certificate; with both, the peer is the
 * certificate's and the token's identity is `peer.token`.
 *
 * With `forwarded`, `c.var.caller` is the ID that a peer of `from` wrote into `x-spiffe-id`, as this project's gateway does.
 * That counts from a peer that proves its ID by its certificate on this very connection, which was agreed on for HTTP by
 * ALPN; from everybody else, and where the field is absent, `caller` is undefined. `c.var.peer`, and `authorize()` with it,
 * stays the peer. A token beside the certificate is verified apart and says nothing of the caller. The field itself reaches
 * no handler (S-21).
 *
 * Answers 401 without valid credentials, 400 for two `Authorization` fields and for a peer of `from` whose `x-spiffe-id` is
 * doubled, no SPIFFE ID or among bytes of others, and 500 `ERR_SPIFFE_NO_LISTENER` with one log line where the app is not
 * served by a listener that verifies or, with `forwarded`, by one that leaves the field on a request: take `serve()`.
 *
 * @param workload the source of the JWT bundles, a `Workload`
 * @param options `jwt: { audience }` opens the door for tokens; `forwarded: { from }` names the gateways in front by their
 *   exact SPIFFE IDs
 * @throws `ERR_SPIFFE_USAGE` when the audience is empty, when `from` is not a list of SPIFFE IDs, and for an option it does not
 *   know
 *
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { spiffe } from "spiffe-edge/gateway";
 * import { asPeer } from "spiffe-edge/testing";
 * const workload = { jwt: { jwtBundleFor: () => undefined } };
 * const app = new Hono().use(spiffe(workload)).get("/", (c) => c.text(c.var.peer.id.uri));
 * const answer = await app.request("/", {}, asPeer("spiffe://example.org/web"));
 * console.assert((await answer.text()) === "spiffe://example.org/web");
 * ```
 */
export function spiffe(
  workload: SpiffeSources,
  options: SpiffeOptions & { readonly jwt: JwtDoorOptions; readonly forwarded: ForwardedOptions },
): MiddlewareHandler<SpiffeEnv & ForwardedEnv>;
export function spiffe(
  workload: SpiffeSources,
  options: SpiffeOptions & { readonly jwt?: undefined; readonly forwarded: ForwardedOptions },
): MiddlewareHandler<SpiffeX509Env & ForwardedEnv>;
export function spiffe(
  workload: SpiffeSources,
  options: SpiffeOptions & { readonly jwt: JwtDoorOptions; readonly forwarded?: undefined },
): MiddlewareHandler<SpiffeEnv>;
export function spiffe(
  workload: SpiffeSources,
  options?: SpiffeOptions & { readonly jwt?: undefined; readonly forwarded?: undefined },
): MiddlewareHandler<SpiffeX509Env>;
// biome-ignore lint/suspicious/noExplicitAny: the overloads above are the types
export function spiffe(workload: SpiffeSources, options: SpiffeOptions = {}): MiddlewareHandler<any> {
  // a misspelt door would be a closed one, and nobody told
  onlyKnown("spiffe()", options, KNOWN);
  const { clock = systemClock, logger = consoleLog } = options;
  let door: JwtDoor | undefined;
  if (options.jwt !== undefined) {
    onlyKnown("spiffe({ jwt })", options.jwt, DOOR);
    const { audience = [], tokens = new VerifiedTokens() } = options.jwt;
    door = { judge: tokens.judge({ audience, clock }), bundles: workload.jwt };
  }
  const callerOf = options.forwarded === undefined ? undefined : callerFrom(options.forwarded);
  let told = false;
  /** What a look at the wiring gives, or its fault, told once. */
  const wired = <T>(look: () => T): T => {
    try {
      return look();
    } catch (error) {
      const { code, message, hint } = error as SpiffeError;
      if (!told) logger.error(`${code}: ${message}. ${hint}`);
      told = true;
      throw refusal({ status: 500, code, detail: message }, error);
    }
  };
  /** The connection below a request. */
  const lookAt = (c: Context, assumed: Peer | undefined, incoming: unknown): Connection => {
    if (assumed?.via === "x509" && incoming === undefined) return { x509: assumed };
    return wired(() => connectionOf(c, door !== undefined));
  };
  const judge = (c: Context): Authentication | Promise<Authentication> => {
    const assumed = assumedPeer(c.env);
    const incoming = (c.env as { incoming?: unknown } | undefined)?.incoming;
    // an assumed peer beside a real connection is ignored: only the listener speaks for connections
    if (assumed?.via === "jwt" && incoming === undefined) return { ok: true, peer: assumed };
    const { x509 } = lookAt(c, assumed, incoming);
    return authenticate({ x509, authorization: authorizationOf(c, incoming) }, door, clock);
  };
  const enter = (c: Context, next: Next, outcome: Authentication): Promise<void> => {
    if (!outcome.ok) {
      const { status, reason, message: detail, challenge } = outcome;
      const code = status === 400 ? "ERR_SPIFFE_REQUEST" : "ERR_SPIFFE_NO_PEER";
      throw refusal({ status, code, reason, detail, challenge });
    }
    if (callerOf !== undefined) {
      const caller = wired(() => callerOf(outcome.peer, c.env));
      if (!caller.ok) {
        const { reason, message: detail } = caller;
        throw refusal({ status: 400, code: "ERR_SPIFFE_REQUEST", reason, detail });
      }
      // also where nobody is told: what somebody else has put there is not verified
      c.set("caller", caller.value);
    }
    c.set("peer", give(outcome.peer));
    return next();
  };
  // not async: of a token that is remembered nothing waits, and each promise would be one more per request
  return function spiffeIdentity(c, next) {
    try {
      const outcome = judge(c);
      return outcome instanceof Promise ? outcome.then((late) => enter(c, next, late)) : enter(c, next, outcome);
    } catch (error) {
      return Promise.reject(error);
    }
  };
}
