/** `proxy()`: the in-app form of the gateway's way to an upstream, a handler for Hono routes. */
import type { Context, Handler } from "hono";
import { type OptionNames, onlyKnown, plainOptions } from "../base/check-options.ts";
import { type Clock, SpiffeError, systemClock } from "../base/index.ts";
import type { Peer } from "../id/index.ts";
import { formatIssue } from "../policy/issue.ts";
import { canonicalTarget } from "../policy/request-line.ts";
import type { TlsIdentity } from "../tls/index.ts";
import { Reader } from "./config-reader.ts";
import type { HttpUpstreamInput } from "./config-types.ts";
import { readUpstream, UPSTREAM_NAMES } from "./config-upstream.ts";
import { Forwarding, Refused } from "./forwarding.ts";
import { type Field, fieldsOf, requestFields, responseFields } from "./headers.ts";
import { carriesSvid } from "./middleware/authenticate.ts";
import { givenPeer } from "./middleware/peer-env.ts";
import { problemResponse } from "./middleware/problem.ts";
import { Upstream } from "./upstream.ts";

/** Where {@link proxy} sends requests. */
export interface ProxyOptions extends HttpUpstreamInput {
  /** Milliseconds until the upstream's answer begins, over all tries; 30,000 by default. */
  readonly timeoutMs?: number | undefined;
  readonly clock?: Clock | undefined;
}

const KNOWN: OptionNames<ProxyOptions> = { ...UPSTREAM_NAMES, timeoutMs: true, clock: true };

/**
 * A handler that sends the request on and returns the upstream's answer, streaming both ways: identity fields are
 * replaced by `x-spiffe-id` of the verified caller, a JWT-SVID in `Authorization` stays behind, redirects are passed on.
 * Upgrades and trailers do not pass; `createGateway()` has the stream proxy for trailers.
 *
 * Needs `spiffe()` before it. Answers 502 or 504 with a problem document when the upstream does not.
 *
 * @param workload the identity to dial with; a `Workload` is one
 * @param options `url` and, for https, `id`: the SPIFFE ID that must answer
 * @throws `ERR_SPIFFE_CONFIG` for an upstream that the gateway file would refuse as well, `ERR_SPIFFE_USAGE` for an option
 *   it does not know
 *
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { createServer } from "node:http";
 * import { proxy, spiffe } from "spiffe-edge/gateway";
 * import { Authority, asPeer } from "spiffe-edge/testing";
 * import { Workload } from "spiffe-edge/workload";
 *
 * const entries = [{ id: "spiffe://example.org/gateway", socket: "gateway" }];
 * await using authority = await Authority.start({ trustDomain: "example.org", entries });
 * await using workload = await Workload.open({ socket: authority.socketFor("gateway") });
 * const upstream = createServer((request, response) => response.end(`hello ${request.headers["x-spiffe-id"]}`));
 * await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
 * const url = `http://127.0.0.1:${(upstream.address() as { port: number }).port}`;
 * const app = new Hono().use(spiffe(workload)).all("/*", proxy(workload, { url }));
 * const answer = await app.request("/", {}, asPeer("spiffe://example.org/web"));
 * console.assert((await answer.text()) === "hello spiffe://example.org/web");
 * upstream.close();
 * ```
 */
export function proxy(workload: TlsIdentity, options: ProxyOptions): Handler {
  onlyKnown("proxy()", options, KNOWN);
  const { timeoutMs = 30_000, clock = systemClock } = options;
  const input = plainOptions<HttpUpstreamInput>(options, UPSTREAM_NAMES);
  const read = new Reader();
  const config = readUpstream(read, "proxy", input, ["proxy()"]);
  if (config === undefined || read.issues.length > 0) {
    throw new SpiffeError("ERR_SPIFFE_CONFIG", read.issues.map(formatIssue).join("\n"));
  }
  const upstream = new Upstream(config, workload, clock);
  // kept connections end with the identity, so that they hold no process that is done
  upstream.follow(workload).catch(() => {});
  return async function spiffeProxy(c) {
    const requestId = crypto.randomUUID();
    try {
      return await forward(c, upstream, requestId, timeoutMs, clock);
    } catch (error) {
      if (error instanceof Refused) return problemResponse({ ...error.problem, requestId });
      throw error;
    }
  };
}

async function forward(
  c: Context,
  upstream: Upstream,
  requestId: string,
  timeoutMs: number,
  clock: Clock,
): Promise<Response> {
  let peer: Peer;
  try {
    peer = givenPeer(c.get("peer"));
  } catch (error) {
    const { code, message: detail, hint } = error as SpiffeError;
    console.error(`${code}: ${detail}. ${hint}`);
    throw new Refused({ status: 500, code, detail }, error);
  }
  const { raw } = c.req;
  const [, authority = "", rest = ""] = /^https?:\/\/([^/?#]*)(.*)$/s.exec(raw.url) ?? [];
  const checked = canonicalTarget(rest === "" ? "/" : rest);
  if (!checked.ok) {
    throw new Refused({ status: 400, code: "ERR_SPIFFE_REQUEST", reason: checked.reason, detail: checked.message });
  }
  const { target } = checked.value;
  const received = [...raw.headers] as Field[];
  const dropAuthorization = carriesSvid(raw.headers.get("authorization") ?? undefined);
  const address = (c.env as { incoming?: { socket?: { remoteAddress?: string } } } | undefined)?.incoming?.socket
    ?.remoteAddress;
  const fields = (host: string) => {
    const out = requestFields(received, {
      peerId: peer.id.uri,
      dropAuthorization,
      host,
      forwardedHost: authority,
      address,
      requestId,
    });
    return framed(out, raw);
  };
  const passage = { upstream, method: raw.method, target, fields, clock, withBody: raw.body !== null };
  const { status, fields: answered, body } = await new Forwarding(raw, passage, timeoutMs).begin();
  const headers = new Headers();
  for (const [name, value] of responseFields(fieldsOf(answered), requestId, status)) headers.append(name, value);
  return new Response(body, { status, headers });
}

/** Body framing of this hop. */
function framed(fields: Field[], request: Request): Field[] {
  const length = fields.filter(([name]) => name.toLowerCase() === "content-length");
  const rest = fields.filter(([name]) => name.toLowerCase() !== "content-length");
  if (request.body === null)
    return /^(?:POST|PUT|PATCH)$/.test(request.method) ? [...rest, ["content-length", "0"]] : rest;
  return length.length === 1 ? fields : [...rest, ["transfer-encoding", "chunked"]];
}
