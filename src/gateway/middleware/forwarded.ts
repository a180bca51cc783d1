/** The first caller, as a peer in front tells it: believed of named peers alone, on their own connection (S-21). */
import { type OptionNames, onlyKnown, usage } from "../../base/check-options.ts";
import { accept, refuse, type Verdict } from "../../base/index.ts";
import { type Peer, SpiffeId } from "../../id/index.ts";
import { IDENTITY_FIELD, isIdentityField } from "../headers.ts";
import { assumedCaller, noListener } from "./peer-env.ts";

/** Whose word on the first caller `spiffe()` takes. */
export interface ForwardedOptions {
  /** SPIFFE IDs of the gateways in front: exact ones, at least one. Each of them can name any caller. */
  readonly from: readonly (string | SpiffeId)[];
}

/** Tells the first caller of a request, once its peer has been verified. */
export type CallerOf = (peer: Peer, env: unknown) => Verdict<SpiffeId | undefined>;

/** What requests said before it was taken off them. By the server's own request object, which nobody outside can make. */
const claims = new WeakMap<object, readonly string[]>();

/** Notes the values of the identity field that were taken off a request. */
export function noteClaims(request: object, values: readonly string[]): void {
  claims.set(request, values);
}

const NOBODY: Verdict<undefined> = accept(undefined);

/**
 * Makes the judge of what peers say of callers.
 *
 * @throws SpiffeError `ERR_SPIFFE_USAGE` when `from` is not a list of exact SPIFFE IDs
 */
export function callerFrom(options: ForwardedOptions): CallerOf {
  const from = trusted(options);
  return (peer, env) => {
    const incoming = (env as { incoming?: object } | undefined)?.incoming;
    if (incoming !== undefined) assertStripped(incoming);
    // a token proves who calls, not who speaks on this connection
    if (peer.via !== "x509" || !from.has(peer.id.uri)) return NOBODY;
    // without a connection the peer is a test's, and so is what it says
    if (incoming === undefined) return accept(assumedCaller(env));
    const values = claims.get(incoming);
    if (values === undefined) return NOBODY;
    return speaksHttp(incoming) ? claimed(values) : refuse("request.spiffe-id", UNAGREED);
  };
}

const KNOWN: OptionNames<ForwardedOptions> = { from: true };

/** The IDs, copied: what happens to the list later changes nothing. */
function trusted(options: ForwardedOptions): ReadonlySet<string> {
  onlyKnown("spiffe({ forwarded })", options, KNOWN);
  const { from } = options;
  if (!Array.isArray(from) || from.length === 0) {
    const got = Array.isArray(from) ? "none" : String(from);
    throw usage(`Expected forwarded.from to be a list of at least one SPIFFE ID; got ${got}`);
  }
  const ids = new Set<string>();
  for (const one of from as readonly unknown[]) {
    const id = one instanceof SpiffeId ? one : typeof one === "string" ? SpiffeId.safeParse(one) : undefined;
    const exact = id === undefined || id instanceof SpiffeId ? id : id.ok ? id.value : undefined;
    // the ID of a whole trust domain is nobody's who connects, and would be taken for a pattern
    if (exact === undefined || exact.path === "") {
      const expected = "exact SPIFFE IDs such as spiffe://example.org/gateway";
      throw usage(`Expected forwarded.from to hold ${expected}; got ${String(one)}`);
    }
    ids.add(exact.uri);
  }
  return ids;
}

const UNAGREED = `A connection that did not agree on HTTP by ALPN says ${IDENTITY_FIELD}`;

interface Socket {
  readonly alpnProtocol?: string | false | null;
}

/**
 * Whether the peer opened the connection for HTTP. One that carries bytes of others, as the gateway's `egress` does, agrees on
 * nothing, and who wrote them could claim anybody.
 */
function speaksHttp(incoming: object): boolean {
  const request = incoming as { stream?: { session?: { socket?: Socket } }; socket?: Socket };
  try {
    const agreed = (request.stream?.session?.socket ?? request.socket)?.alpnProtocol;
    return agreed === "h2" || agreed === "http/1.1";
  } catch {
    // the socket of an ended HTTP/2 session
    return false;
  }
}

/** One field with one SPIFFE ID; what a trusted peer says in another way is somebody's fault, not no caller. */
function claimed(values: readonly string[]): Verdict<SpiffeId> {
  if (values.length !== 1) return refuse("request.spiffe-id", `The request has more than one ${IDENTITY_FIELD}`);
  const id = SpiffeId.safeParse(values[0] as string);
  return id.ok ? id : refuse("request.spiffe-id", `${IDENTITY_FIELD} does not hold one SPIFFE ID (${id.reason})`);
}

/** Refuses a request whose server left the field on it: handlers would read it as it came. */
function assertStripped(incoming: object): void {
  const { rawHeaders } = incoming as { rawHeaders?: readonly string[] };
  if (!Array.isArray(rawHeaders)) return;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (!isIdentityField(rawHeaders[i] as string)) continue;
    throw noListener("The server that runs this app leaves fields on requests that claim an identity");
  }
}
