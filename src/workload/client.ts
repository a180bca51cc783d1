/** The Workload API's calls, once and as streams, each answer judged before it is returned. */
import type { Transport } from "@connectrpc/connect";
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { SpiffeError } from "../base/errors.ts";
import type { Verdict } from "../base/verdict.ts";
import { SpiffeId } from "../id/index.ts";
import type { JwtSvid } from "../jwt/index.ts";
import { type Logger, silentLogger } from "../telemetry/logger.ts";
import { type CallOptions, Connection, type Profile } from "./connection.ts";
import { endpointFromEnvironment, parseEndpoint } from "./endpoint.ts";
import { hintFor } from "./failure.ts";
import { decodeJwtSvids, decodeValidation, type ValidatedJwtSvid } from "./jwt-messages.ts";
import { JWT_BUNDLES, X509_BUNDLES, X509_CONTEXT } from "./profiles.ts";
import { checkGrace, checkTimeout } from "./signals.ts";
import { type Held, type JwtBundles, snapshot, type X509Bundles, type X509Context } from "./snapshot.ts";
import { Source } from "./source.ts";

/** How to reach a Workload API. */
export interface ClientOptions {
  /** The address, `unix:///path` or `tcp://address:port`; `SPIFFE_ENDPOINT_SOCKET` by default. */
  socket?: string | undefined;
  /** A Connect transport to use instead of dialling an address; its owner closes it. */
  transport?: Transport | undefined;
  /** Milliseconds a single call may take, 30,000 by default; `Infinity` has to be written. */
  timeoutMs?: number | undefined;
  /**
   * Milliseconds of silence after which a connection with open calls is asked by a PING whether it still works, 330,000
   * by default: a gRPC server takes more than one in five minutes for abuse. One that gives no answer is dialled anew.
   */
  keepaliveMs?: number | undefined;
  /**
   * Milliseconds for which sources go on using what they hold after the agent answered PermissionDenied, unless it takes
   * that back; 0 by default: they stop at once (WL-29). An SVID or bundle that a newer state lacks is gone at once.
   */
  redactionGraceMs?: number | undefined;
  clock?: Clock | undefined;
  logger?: Logger | undefined;
}

/** Which tokens to fetch. */
export interface JwtSvidOptions extends CallOptions {
  /** Whom the token is for; ends as its `aud`. At least one, none empty. */
  readonly audience: string | readonly string[];
  /** One of the caller's identities; all of them by default. */
  readonly id?: SpiffeId | string | undefined;
}

/** What the agent is asked to validate, and as whom. */
type JwtValidation = { token: string; audience: string } & CallOptions;

const KNOWN: OptionNames<ClientOptions> = {
  socket: true,
  transport: true,
  timeoutMs: true,
  keepaliveMs: true,
  redactionGraceMs: true,
  clock: true,
  logger: true,
};
const CALL: OptionNames<CallOptions> = { signal: true, timeoutMs: true };
const WATCH: OptionNames<Pick<CallOptions, "signal">> = { signal: true };
const FETCH_JWT: OptionNames<JwtSvidOptions> = { audience: true, id: true, ...CALL };
const VALIDATE_JWT: OptionNames<JwtValidation> = { token: true, audience: true, ...CALL };

/** The connection of a client, for the sources of this folder. */
export let connectionOf: (client: WorkloadApiClient) => Connection;

/**
 * A client of the SPIFFE Workload API.
 *
 * Nothing is dialled before the first call. Streams reconnect by themselves; most programs use `Workload`, which keeps
 * everything at hand.
 *
 * @example
 * ```ts
 * import { WorkloadApiClient } from "spiffe-edge/workload";
 * import { Authority } from "spiffe-edge/testing";
 * await using authority = await Authority.start({
 *   trustDomain: "example.org",
 *   entries: [{ id: "spiffe://example.org/web", socket: "web" }],
 * });
 * await using client = new WorkloadApiClient({ socket: authority.socketFor("web") });
 * const { svids } = await client.fetchX509Context();
 * console.assert(svids[0]?.id.uri === "spiffe://example.org/web");
 * ```
 */
export class WorkloadApiClient {
  readonly #connection: Connection;

  static {
    connectionOf = (client) => client.#connection;
  }

  /**
   * @throws SpiffeError `ERR_SPIFFE_ENDPOINT` for a missing or malformed address; `ERR_SPIFFE_USAGE` for a wrong time or an
   *   option it does not know
   */
  constructor(options: ClientOptions = {}) {
    onlyKnown("WorkloadApiClient", options, KNOWN);
    const { socket, transport } = options;
    if (socket !== undefined && transport !== undefined) {
      throw new SpiffeError("ERR_SPIFFE_USAGE", "A Workload API client takes a socket or a transport, not both");
    }
    this.#connection = new Connection({
      endpoint: socket !== undefined ? parseEndpoint(socket) : transport ? undefined : endpointFromEnvironment(),
      transport,
      timeoutMs: checkTimeout(options.timeoutMs ?? 30_000),
      keepaliveMs: options.keepaliveMs === undefined ? undefined : checkTimeout(options.keepaliveMs, "keepaliveMs"),
      redactionGraceMs: checkGrace(options.redactionGraceMs ?? 0),
      clock: options.clock ?? systemClock,
      logger: options.logger ?? silentLogger,
    });
  }

  /**
   * All X.509 identities of the caller, with the bundles they may verify peers by (WL-20 to WL-29, S-11).
   *
   * @throws SpiffeError `ERR_SPIFFE_NO_IDENTITY` when the caller has none; `ERR_SPIFFE_WORKLOAD_API` with a reason when
   *   the answer breaks a rule or the agent is not there; `ERR_SPIFFE_TIMEOUT`; `ERR_SPIFFE_ABORTED`;
   *   `ERR_SPIFFE_PERMISSION`; `ERR_SPIFFE_CLOSED`
   */
  fetchX509Context(options: CallOptions = {}): Promise<X509Context> {
    return this.#fetch("WorkloadApiClient.fetchX509Context", X509_CONTEXT, options);
  }

  /**
   * The X.509 context and each newer one; reconnects by itself and skips updates that break a rule. After a redaction
   * comes a context without SVIDs and bundles. Ends when the signal aborts or this client is closed.
   *
   * @throws SpiffeError when the Workload API forbids to ask again
   */
  watchX509Context(options: { signal?: AbortSignal | undefined } = {}): AsyncIterable<X509Context> {
    onlyKnown("WorkloadApiClient.watchX509Context", options, WATCH);
    return this.#watch(X509_CONTEXT, options.signal);
  }

  /** The X.509 bundles the caller may trust. Throws as {@link WorkloadApiClient.fetchX509Context} does. */
  fetchX509Bundles(options: CallOptions = {}): Promise<X509Bundles> {
    return this.#fetch("WorkloadApiClient.fetchX509Bundles", X509_BUNDLES, options);
  }

  /** The X.509 bundles and each newer state, as {@link WorkloadApiClient.watchX509Context}. */
  watchX509Bundles(options: { signal?: AbortSignal | undefined } = {}): AsyncIterable<X509Bundles> {
    onlyKnown("WorkloadApiClient.watchX509Bundles", options, WATCH);
    return this.#watch(X509_BUNDLES, options.signal);
  }

  /** The JWT bundles the caller may trust. Throws as {@link WorkloadApiClient.fetchX509Context} does. */
  fetchJwtBundles(options: CallOptions = {}): Promise<JwtBundles> {
    return this.#fetch("WorkloadApiClient.fetchJwtBundles", JWT_BUNDLES, options);
  }

  /** The JWT bundles and each newer state, as {@link WorkloadApiClient.watchX509Context}. */
  watchJwtBundles(options: { signal?: AbortSignal | undefined } = {}): AsyncIterable<JwtBundles> {
    onlyKnown("WorkloadApiClient.watchJwtBundles", options, WATCH);
    return this.#watch(JWT_BUNDLES, options.signal);
  }

  /**
   * JWT-SVIDs of all the caller's identities, or of the named one, for an audience (WL-40 to WL-43). Nothing is cached
   * here.
   *
   * @throws SpiffeError `ERR_SPIFFE_USAGE` for an empty audience; else as {@link WorkloadApiClient.fetchX509Context}
   */
  async fetchJwtSvids(options: JwtSvidOptions): Promise<JwtSvid[]> {
    onlyKnown("WorkloadApiClient.fetchJwtSvids", options, FETCH_JWT);
    const audience = audienceList(options.audience);
    const id = typeof options.id === "string" ? SpiffeId.parse(options.id) : options.id;
    const message = await this.#connection.call("fetch-jwt", options, (api, rpc) =>
      api.fetchJWTSVID({ audience, spiffeId: id?.uri ?? "" }, rpc),
    );
    return this.#accept("fetch-jwt", decodeJwtSvids(message, { audience, id }, this.#connection.clock));
  }

  /** The first of {@link WorkloadApiClient.fetchJwtSvids}: the default identity's, or the named one's. */
  async fetchJwtSvid(options: JwtSvidOptions): Promise<JwtSvid> {
    onlyKnown("WorkloadApiClient.fetchJwtSvid", options, FETCH_JWT);
    const [first] = await this.fetchJwtSvids(options);
    return first!;
  }

  /**
   * Lets the agent validate a JWT-SVID (WL-48 to WL-50).
   *
   * @param options the token in compact form, and the caller's own name among its audiences
   * @throws SpiffeError `ERR_SPIFFE_JWT_VERIFY` when the agent refuses the token; else as
   *   {@link WorkloadApiClient.fetchX509Context}
   */
  async validateJwtSvid(options: JwtValidation): Promise<ValidatedJwtSvid> {
    onlyKnown("WorkloadApiClient.validateJwtSvid", options, VALIDATE_JWT);
    const { token, audience } = options;
    const phase = "validate-jwt";
    const message = await this.#connection.call(
      phase,
      options,
      (api, rpc) => api.validateJWTSVID({ svid: token, audience: audienceList(audience)[0]! }, rpc),
      token,
    );
    return this.#accept(phase, decodeValidation(message));
  }

  /** Ends every call and stream, and the connection. Idempotent. */
  async close(): Promise<void> {
    this.#connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #fetch<M, T extends Held>(name: string, profile: Profile<M, T>, options: CallOptions): Promise<T> {
    onlyKnown(name, options, CALL);
    const verdict = await this.#connection.first(profile, options);
    const content = this.#accept(`fetch-${profile.name}`, verdict);
    return snapshot<T>(content, this.#connection.clock.now(), 1);
  }

  async *#watch<M, T extends Held>(profile: Profile<M, T>, signal: AbortSignal | undefined): AsyncGenerator<T> {
    const source = new Source<T>(this.#connection, profile);
    try {
      yield* source.updates(signal);
    } finally {
      await source.close();
    }
  }

  #accept<T>(phase: string, verdict: Verdict<T>): T {
    if (verdict.ok) return verdict.value;
    const sentence = `The answer of the Workload API at ${this.#connection.socket} was refused: ${verdict.message}`;
    throw new SpiffeError("ERR_SPIFFE_WORKLOAD_API", sentence, {
      reason: verdict.reason,
      phase,
      hint: hintFor(verdict.reason),
    });
  }
}

/** The audiences as a list without repetition. */
export function audienceList(audience: string | readonly string[]): string[] {
  const list = [...new Set(typeof audience === "string" ? [audience] : audience)];
  if (list.length > 0 && !list.includes("")) return list;
  throw new SpiffeError("ERR_SPIFFE_USAGE", "A JWT-SVID needs at least one audience, and none may be empty");
}
