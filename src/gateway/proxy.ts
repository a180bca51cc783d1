/** `proxy()`: the in-app form of the gateway's way to an upstream, a handler for Hono routes. */
import type { ClientRequest, IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream as NodeReadableStream } from "node:stream/web";
import type { Context, Handler } from "hono";
import { type Clock, SpiffeError, systemClock } from "../base/index.ts";
import type { Peer } from "../id/index.ts";
import { formatIssue } from "../policy/issue.ts";
import { canonicalTarget } from "../policy/request-line.ts";
import type { TlsIdentity } from "../tls/index.ts";
import { Reader } from "./config-reader.ts";
import type { UpstreamInput } from "./config-types.ts";
import { readUpstream } from "./config-upstream.ts";
import { type Field, fieldsOf, requestFields, responseFields } from "./headers.ts";
import { carriesSvid } from "./middleware/authenticate.ts";
import { givenPeer } from "./middleware/peer-env.ts";
import { type Problem, problemResponse } from "./middleware/problem.ts";
import { isDialFailure } from "./upstream/endpoint.ts";
import { isIdempotent, type Tries } from "./upstream/tries.ts";
import { TryTimer } from "./upstream/try-timer.ts";
import { Upstream } from "./upstream.ts";
import { badGateway, dialOutcome, isOwnTrouble, timeout, unavailable } from "./upstream-problem.ts";

/** Where {@link proxy} sends requests. */
export interface ProxyOptions extends UpstreamInput {
  /** Milliseconds until the upstream's answer begins, over all tries; 30,000 by default. */
  readonly timeoutMs?: number | undefined;
  readonly clock?: Clock | undefined;
}

/** A refusal on its way to the caller. */
class Refused extends Error {
  readonly problem: Problem;
  constructor(problem: Problem, cause?: unknown) {
    super(problem.detail, { cause });
    this.problem = problem;
  }
}

/**
 * A handler that sends the request on and returns the upstream's answer, streaming both ways: identity fields are
 * replaced by `x-spiffe-id` of the verified caller, a JWT-SVID in `Authorization` stays behind, redirects are passed on.
 * Upgrades and trailers do not pass; `createGateway()` has the stream proxy for trailers.
 *
 * Needs `spiffe()` before it. Answers 502 or 504 with a problem document when the upstream does not.
 *
 * @param workload the identity to dial with; a `Workload` is one
 * @param options `url` and, for https, `id`: the SPIFFE ID that must answer
 * @throws `ERR_SPIFFE_CONFIG` for an upstream that the gateway file would refuse as well
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
  const { timeoutMs = 30_000, clock = systemClock, ...input } = options;
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
  const { incoming, outgoing } = await send(raw, upstream, target, fields, timeoutMs, clock);
  const status = incoming.statusCode ?? 0;
  const headers = new Headers();
  for (const [name, value] of responseFields(fieldsOf(incoming.rawHeaders), requestId)) headers.append(name, value);
  const empty = raw.method === "HEAD" || status === 204 || status === 304;
  if (empty) incoming.resume();
  incoming.once("close", () => {
    if (!incoming.complete) outgoing.destroy();
  });
  const body = empty ? null : (Readable.toWeb(incoming) as unknown as ReadableStream<Uint8Array>);
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

interface Exchange {
  readonly incoming: IncomingMessage;
  readonly outgoing: ClientRequest;
}

async function send(
  request: Request,
  upstream: Upstream,
  target: string,
  fields: (authority: string) => Field[],
  timeoutMs: number,
  clock: Clock,
): Promise<Exchange> {
  const stop = new AbortController();
  let tries: Tries | undefined;
  let outgoing: ClientRequest | undefined;
  const late = clock.sleep(timeoutMs, stop.signal).then(
    () => {
      if (outgoing !== undefined) tries?.note("timeout");
      // a body that is still on its way may be the caller's slowness
      if (outgoing?.writableEnded === true) tries?.failed();
      throw new Refused(timeout("The upstream's answer did not begin in time"));
    },
    () => new Promise<never>(() => {}),
  );
  const gone = new Promise<never>((_, reject) => {
    const leave = () => reject(request.signal.reason);
    if (request.signal.aborted) leave();
    request.signal.addEventListener("abort", leave, { signal: stop.signal });
  });
  try {
    await Promise.race([upstream.ready(), late, gone]);
    const entered = upstream.enter();
    if ("status" in entered) throw new Refused(entered);
    tries = entered;
    for (;;) {
      const { endpoint } = tries;
      outgoing = undefined;
      try {
        const { method } = request;
        const sent = endpoint.send({ method, target, fields: fields(endpoint.target.authority) });
        outgoing = sent;
        // of a request that went on, a break while its body is sent or its answer read shows on the answer
        request.signal.addEventListener("abort", () => sent.destroy(), { once: true });
        const incoming = await Promise.race([answered(sent, request, upstream), late, gone]);
        tries.answered();
        return { incoming, outgoing: sent };
      } catch (error) {
        outgoing?.destroy();
        if (error instanceof Refused || request.signal.aborted) throw error;
        if (outgoing === undefined || isOwnTrouble(error)) throw new Refused(unavailable(error), error);
        const delay = again(tries, error, request, outgoing);
        if (delay === undefined) {
          tries.failed();
          throw new Refused(problemOf(error), error);
        }
        if (delay > 0) await Promise.race([clock.sleep(delay, stop.signal), late, gone]);
      }
    }
  } finally {
    tries?.left();
    stop.abort();
    gone.catch(() => {});
    late.catch(() => {});
  }
}

/** A try took too long. */
class Late extends Error {}

/** Counts a failed try: milliseconds until the next one, or undefined when there is none. */
function again(tries: Tries, error: unknown, request: Request, outgoing: ClientRequest): number | undefined {
  const dial = isDialFailure(error);
  tries.note(dial ? dialOutcome(error) : error instanceof Late ? "timeout" : "aborted");
  // a body is read once: after that only its absence can be repeated
  const repeatable = dial ? !request.bodyUsed : request.body === null && isIdempotent(request.method);
  return repeatable ? tries.again(!dial && outgoing.reusedSocket) : undefined;
}

function problemOf(error: unknown): Problem {
  if (isDialFailure(error)) return unavailable(error);
  if (error instanceof Late) return timeout("The upstream's answer did not begin in the time of one try");
  return badGateway("The upstream broke off before it answered");
}

/** Sends the body, once there is a connection, and waits for the head of the answer. */
function answered(outgoing: ClientRequest, request: Request, upstream: Upstream): Promise<IncomingMessage> {
  let timer: TryTimer | undefined;
  return new Promise<IncomingMessage>((resolve, reject) => {
    timer = new TryTimer(upstream.deadlines, upstream.tryTimeoutMs, () => reject(new Late()));
    timer.start();
    outgoing.on("error", reject);
    outgoing.once("response", resolve);
    outgoing.once("upgrade", (_incoming, socket) => {
      socket.destroy();
      reject(new Error("switched protocols"));
    });
    const { body } = request;
    if (body === null) return void outgoing.end();
    outgoing.once("socket", () => {
      timer?.stop();
      pipeline(Readable.fromWeb(body as unknown as NodeReadableStream), outgoing).then(() => timer?.start(), reject);
    });
  }).finally(() => {
    timer?.stop();
    timer = undefined;
  });
}
