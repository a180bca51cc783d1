/** A fetch that sends the workload's JWT-SVID, to the origins it is meant for and nowhere else. */
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { SpiffeError } from "../base/errors.ts";
import type { SpiffeId } from "../id/index.ts";
import { checkTokenTarget, otherToken } from "./bearer.ts";
import type { JwtSvidSource } from "./jwt-source.ts";

/** What sends a request: the platform's fetch, or one of `spiffe-edge/tls`. */
export type SendRequest = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/** Options of {@link createJwtFetch}. */
export interface CreateJwtFetchOptions {
  /** Whom the tokens are for; the service looks for it in them. */
  readonly audience: string | readonly string[];
  /** Where the tokens may go: `https://host` or `https://host:port`, one or all that serve this audience. */
  readonly origin: string | readonly string[];
  /** One of the workload's identities; the default one otherwise. */
  readonly id?: SpiffeId | string | undefined;
  /** Sends the requests; the platform's fetch by default. One by `createFetch` adds mutual TLS. */
  readonly fetch?: SendRequest | undefined;
}

const KNOWN: OptionNames<CreateJwtFetchOptions> = { audience: true, origin: true, id: true, fetch: true };

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const MAX_REDIRECTS = 5;

/** One request to be sent, anew for each try. */
interface Attempt {
  readonly url: URL;
  readonly method: string;
  readonly signal: AbortSignal | undefined;
  /** How the caller wants redirects: `follow`, `manual` or `error`. */
  readonly redirect: string;
  /** Whether the body can be sent a second time. */
  readonly replayable: boolean;
  send(token: string): Promise<Response>;
  /** The request that a redirect asks for, if it can be made. */
  redirected(url: URL, status: number): Attempt | undefined;
}

/**
 * Makes a fetch that adds `authorization: Bearer <JWT-SVID>` to every request.
 *
 * A token leaves for the named origins alone, over TLS, or to this host. Redirects are followed within the origin, at most
 * five; one that leads elsewhere is returned as it came. A request that is answered 401 is sent once more, with another
 * token, if its body can be replayed: streams can not (S-20). An `authorization` header of the caller is replaced.
 *
 * @param workload a `Workload`, or whatever has a `jwt` source
 * @param options audience, and the origins that serve it
 * @returns like the platform's fetch. It rejects with `ERR_SPIFFE_USAGE` for another origin, `ERR_SPIFFE_UPSTREAM` for a
 *   redirect that may not be or never ends, and with what `JwtSource.fetch` and the given `fetch` throw
 * @throws SpiffeError `ERR_SPIFFE_USAGE` for an origin that is none, or is neither TLS nor this host, and for an option it
 *   does not know
 *
 * @example
 * ```ts
 * import { createServer } from "node:http";
 * import { createJwtFetch, Workload } from "spiffe-edge/workload";
 * import { Authority } from "spiffe-edge/testing";
 * await using authority = await Authority.start({
 *   trustDomain: "example.org",
 *   entries: [{ id: "spiffe://example.org/web", socket: "web" }],
 * });
 * await using workload = await Workload.open({ socket: authority.socketFor("web") });
 * const server = createServer((request, response) => response.end(request.headers.authorization?.slice(0, 7)));
 * await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
 * const origin = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
 * const call = createJwtFetch(workload, { audience: "spiffe://example.org/orders", origin });
 * console.assert((await (await call(`${origin}/orders`)).text()) === "Bearer ");
 * await new Promise((resolve) => server.close(resolve));
 * ```
 */
export function createJwtFetch(workload: { readonly jwt: JwtSvidSource }, options: CreateJwtFetchOptions): SendRequest {
  onlyKnown("createJwtFetch", options, KNOWN);
  const { audience, id, fetch: send = (...request) => fetch(...request) } = options;
  const origins = new Set((typeof options.origin === "string" ? [options.origin] : options.origin).map(originOf));
  if (origins.size === 0) throw usage("an origin that tokens may go to", "none");
  return async (input, init) => {
    let attempt = attemptOf(input, init, send);
    if (!origins.has(attempt.url.origin)) throw usage(`a URL of ${[...origins].join(" or ")}`, attempt.url.origin);
    const wanted = { audience, id, signal: attempt.signal };
    let svid = await workload.jwt.fetch(wanted);
    let retried = false;
    for (let redirects = 0; ; ) {
      const response = await attempt.send(svid.token);
      if (response.status === 401 && attempt.replayable && !retried) {
        retried = true;
        const other = await otherToken(workload.jwt, wanted, svid);
        if (other === undefined) return response;
        svid = other;
      } else {
        const next = nextOf(attempt, response);
        if (next === undefined) return response;
        if (++redirects > MAX_REDIRECTS) throw upstream(attempt, `redirected more than ${MAX_REDIRECTS} times`);
        attempt = next;
      }
      // What is not read would hold its connection.
      await response.body?.cancel();
    }
  };
}

/** Where a response sends the caller on to, within the origin; a redirect elsewhere is for the caller to judge. */
function nextOf(attempt: Attempt, response: Response): Attempt | undefined {
  const location = response.headers.get("location");
  if (!REDIRECTS.has(response.status) || location === null) return undefined;
  if (attempt.redirect === "error") throw upstream(attempt, `redirected (${response.status})`);
  if (attempt.redirect !== "follow" || !URL.canParse(location, attempt.url)) return undefined;
  const target = new URL(location, attempt.url);
  if (target.origin !== attempt.url.origin || target.username !== "" || target.password !== "") return undefined;
  return attempt.redirected(target, response.status);
}

function attemptOf(input: string | URL | Request, init: RequestInit | undefined, send: SendRequest): Attempt {
  const request = typeof input === "object" && "headers" in input ? input : undefined;
  const text = request?.url ?? String(input);
  if (!URL.canParse(text)) throw usage("an absolute URL", JSON.stringify(text.slice(0, 100)));
  const url = new URL(text);
  checkTokenTarget(url);
  const method = (init?.method ?? request?.method ?? "GET").toUpperCase();
  const signal = init?.signal ?? request?.signal ?? undefined;
  const redirect = init?.redirect ?? request?.redirect ?? "follow";
  const body = init?.body ?? undefined;
  const replayable = body === undefined ? request?.body == null : isReplayable(body);
  const headers = new Headers(init?.headers ?? request?.headers);
  const withToken = (token: string): RequestInit => {
    headers.set("authorization", `Bearer ${token}`);
    return { ...init, headers, redirect: "manual" };
  };
  return {
    url,
    method,
    signal,
    redirect,
    replayable,
    send: (token) => {
      const again = withToken(token);
      return request === undefined ? send(url.href, again) : send(new Request(request, again));
    },
    redirected: (target, status) => {
      const becomesGet = status === 303 ? method !== "HEAD" : (status === 301 || status === 302) && method === "POST";
      if (!becomesGet && !replayable) return undefined;
      const kept = new Headers(headers);
      if (becomesGet) for (const name of [...kept.keys()]) if (name.startsWith("content-")) kept.delete(name);
      const changed: RequestInit = { ...init, method: becomesGet ? "GET" : method, headers: kept, redirect: "follow" };
      if (becomesGet) delete changed.body;
      if (signal !== undefined) changed.signal = signal;
      return attemptOf(target, changed, send);
    },
  };
}

/** Whether a body gives the same bytes each time it is sent. */
function isReplayable(body: unknown): boolean {
  if (typeof body === "string" || body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return true;
  return body instanceof URLSearchParams || body instanceof Blob || body instanceof FormData;
}

function originOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.href !== `${url.origin}/`) {
    throw usage("an origin such as https://orders.example:8443", JSON.stringify(text.slice(0, 100)));
  }
  checkTokenTarget(url);
  return url.origin;
}

function usage(expected: string, came: string): SpiffeError {
  return new SpiffeError("ERR_SPIFFE_USAGE", `Expected ${expected}; got ${came}`, { phase: "request" });
}

function upstream({ url }: Attempt, what: string): SpiffeError {
  return new SpiffeError("ERR_SPIFFE_UPSTREAM", `Expected ${url.host} to answer; it ${what}`, { phase: "response" });
}
