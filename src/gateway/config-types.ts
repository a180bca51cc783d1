/** The gateway's configuration: as it is written, and as the gateway runs on it. */
import type { AuthorizerSettings } from "../policy/authorizer-settings.ts";
import type { AuthorizerInput, Policy, PolicyRule } from "../policy/index.ts";
import type { AccessLogConfig } from "./access-log.ts";
import type { ByteConfig, EgressInput } from "./config-tcp.ts";
import type { RateStoreInput } from "./rates/config-store.ts";
import type { RatesConfig } from "./rates/rates.ts";
import type { Explain } from "./refusal.ts";
import type { RoutePath } from "./routes.ts";
import type { HealthConfig } from "./upstream/health.ts";
import type { UpstreamTarget } from "./upstream-url.ts";
import type { XfccConfig } from "./xfcc.ts";

/** A listener as it is written. */
export interface ListenerInput {
  readonly name?: string;
  /** What its connections carry: requests, or with `tcp` bytes of any protocol; `http` by default. */
  readonly protocol?: "http" | "tcp";
  /** For bytes: the one name to agree on by ALPN, such as `postgresql`, in place of `h2` and `http/1.1`. */
  readonly alpn?: string;
  /** Address to bind; `0.0.0.0` by default. */
  readonly address?: string;
  /** Port to bind, 0 for any free one; 8443 by default. */
  readonly port?: number;
  readonly clientCertificate?: "require" | "optional" | "none";
  /** Age at which a connection drains; unlimited by default, 30m where TLS resumption cannot be switched off. */
  readonly maxConnectionAge?: string;
  /** Connections at a time, handshakes included; `limits.connections` by default. */
  readonly maxConnections?: number;
  /** Load balancers that tell the caller's address by a PROXY header of version 2 before TLS, as addresses or prefixes. */
  readonly proxyProtocol?: { readonly from: readonly string[] };
}

/** An upstream as it is written. */
export interface UpstreamInput {
  /**
   * `https://host:port`, `http://` on loopback, or `unix:/path`; for bytes `tls://host:port`, `tcp://` on loopback, or
   * `unix:/path`. Of several, requests and connections take turns.
   */
  readonly url: string | readonly string[];
  /** The SPIFFE ID that must answer; needed for https and tls, refused elsewhere. */
  readonly id?: string;
  /** `h2` speaks HTTP/2 to it: as TLS agrees, or with prior knowledge in plaintext; `http1` by default. gRPC needs `h2`. */
  readonly protocol?: "http1" | "h2";
  /** Allows plain http to another machine: every request and answer can be read and changed on the way. */
  readonly unsafePlainUpstream?: true;
  /** Time of one try to a connection, and from the end of the request to the answer; the route's time by default. */
  readonly tryTimeout?: string;
  /**
   * Further tries of a request that no address has seen, or whose repetition changes nothing: at most `max` (1 by
   * default), all together a share of the requests (`10%` by default) and one per second.
   */
  readonly retries?: { readonly max?: number; readonly budget?: string };
  /**
   * Asks every address for `path` now and then (5s): after two failures in a row it gets no requests, until it answers 2xx.
   * Of an upstream for bytes it has no path: each check opens a connection, proves the peer and leaves.
   */
  readonly health?: { readonly path?: string; readonly every?: string };
  /** Time to an open connection, of an upstream for bytes; 5s by default. */
  readonly connectTimeout?: string;
  /** Begins each connection of an upstream for bytes with a PROXY header: the caller's address and SPIFFE ID. */
  readonly proxyProtocol?: "v2";
}

/** An upstream for HTTP, as it is written. */
export type HttpUpstreamInput = Omit<UpstreamInput, "connectTimeout" | "proxyProtocol">;

/** A route as it is written. */
export interface RouteInput {
  readonly name: string;
  /** Listeners it is reachable by; all by default, for bytes those with `protocol: tcp` that are named. */
  readonly listen?: readonly string[];
  /**
   * `/a/b`, or `/a/b/**` with everything below; `*` or `{name}` is any one segment. Of several that match, the one wins
   * that has text where the others have a wildcard, looked at segment by segment. Absent for bytes.
   */
  readonly path?: string;
  /**
   * Hosts it answers for, in small letters without port; `*.` before a name is one label more. A route that names the host
   * goes before one for any. A host that another listener's route names more exactly than this one's is refused with 421.
   */
  readonly hosts?: readonly string[];
  /** Accepts JWT-SVIDs issued for one of these, beside certificates. */
  readonly audience?: readonly string[];
  /**
   * Hands the caller's JWT-SVID on in `Authorization`: the upstream, and all to whom it is passed there, can then call as
   * that caller for as long as the token lives. Without it, the token stays at the gateway.
   */
  readonly unsafeForwardToken?: true;
  readonly upstream: string;
  /** Time until the upstream's answer begins; 30s by default. */
  readonly timeout?: string;
  /** Takes WebSocket over HTTP/1.1; without it `Upgrade` is not passed on. */
  readonly websocket?: true;
  /** For bytes: time without one in either direction after which a connection ends; 1h by default. */
  readonly idle?: string;
  /** For bytes: connections of one SPIFFE ID at a time; 1,000 by default. */
  readonly maxConnectionsPerIdentity?: number;
}

/** Rules, written out and in files. */
export interface PolicySetInput {
  readonly rules?: readonly PolicyRule[];
  /** Files by name, `*` in the last part for several; each speaks only for the IDs below one of its prefixes. */
  readonly files?: readonly { readonly glob: string; readonly idPrefixes: readonly string[] }[];
  /** For every rule written out here that does not say its own. */
  readonly mode?: "enforce" | "audit";
  readonly until?: string;
}

/** The policy as it is written, where a list of rules is not enough. */
export interface PolicyInput extends PolicySetInput {
  /** A policy that decides nothing: where it would decide otherwise is counted and logged. */
  readonly candidate?: readonly PolicyRule[] | PolicySetInput;
  /** Asked about each request that the rules allow; it may deny and add headers of its list. */
  readonly authorizer?: AuthorizerInput;
}

/** The gateway file. Durations are written `500ms`, `30s`, `5m`, sizes `32KiB`, `10MiB`. */
export interface GatewayInput {
  readonly identity?: { readonly socket?: string; readonly startupTimeout?: string };
  readonly status?: { readonly address?: string; readonly port?: number };
  /** This or `egress`; routes and policy belong to it. */
  readonly listen?: ListenerInput | readonly ListenerInput[];
  readonly upstreams: Readonly<Record<string, UpstreamInput>>;
  readonly routes?: readonly RouteInput[];
  /** Ways out: plaintext on this machine in, mutual TLS to one pinned peer out. */
  readonly egress?: readonly EgressInput[];
  readonly policy?: readonly PolicyRule[] | PolicyInput | undefined;
  /**
   * Of each listener: `connections` at a time (10000), time of a `handshake` (5s, at most 10s), bytes of `headers` (32KiB)
   * and of a `body` (10MiB), time without a byte of a body until it counts as `idle` (60s).
   */
  readonly limits?: {
    readonly connections?: number;
    readonly handshake?: string;
    readonly headers?: string;
    readonly body?: string;
    readonly idle?: string;
    /**
     * Requests of each verified identity: `rate` as `50/s`, `burst` at once; the rate of a second by default. Each process
     * counts for itself, or together with all that name the same `store`.
     */
    readonly perIdentity?: { readonly rate: string; readonly burst?: number; readonly store?: RateStoreInput };
  };
  /**
   * Where each request gets its line: the common log, or a file by absolute path; false for no lines. Refusals that are
   * alike become one line in ten seconds with their number, unless `everyRefusal` is true.
   */
  readonly accessLog?: false | { readonly file?: string; readonly everyRefusal?: boolean };
  /** `delay`: new connections are still taken after `/readyz` says 503, none by default; `deadline`: 30s by default. */
  readonly drain?: { readonly delay?: string; readonly deadline?: string };
  /**
   * Tells upstreams of the caller's certificate in `x-forwarded-client-cert`, with its PEM where `chain` says so. The same
   * field of the peers in `from`, exact IDs, goes on before it; everybody else's is stripped.
   */
  readonly xfcc?: { readonly from?: readonly string[]; readonly chain?: boolean };
  /** What a refused caller is told: `full` with the rule, `code` with code and reason (default), `none` the status alone. */
  readonly explain?: Explain;
  /** The last key of the file, so that one cut short can be told from it. */
  readonly end?: true;
}

/** A listener to open. */
export interface ListenerConfig {
  readonly name: string;
  readonly protocol: "http" | "tcp";
  readonly alpn: string | undefined;
  readonly address: string;
  readonly port: number;
  readonly clientCertificate: "require" | "optional" | "none";
  readonly maxConnectionAgeMs: number | undefined;
  readonly maxConnections: number;
  /** Addresses and prefixes of load balancers that send a PROXY header. */
  readonly proxies: readonly string[] | undefined;
}

/** An upstream to dial. */
export interface UpstreamConfig {
  readonly name: string;
  readonly targets: readonly UpstreamTarget[];
  readonly id: string | undefined;
  readonly protocol: "http1" | "h2";
  /** Whether it is reached in plaintext over a network. */
  readonly unsafePlain: boolean;
  readonly tryTimeoutMs: number | undefined;
  /** Further tries of one request, and their share of all requests, 0 to 1. */
  readonly retries: { readonly max: number; readonly budget: number };
  readonly health: HealthConfig | undefined;
}

/** A route to serve. */
export interface RouteConfig {
  readonly name: string;
  readonly listeners: readonly string[];
  /** Hosts as written; empty for any. */
  readonly hosts: readonly string[];
  readonly path: RoutePath;
  readonly audience: readonly string[];
  readonly upstream: string;
  readonly timeoutMs: number;
  readonly websocket: boolean;
  /** Whether a JWT-SVID goes on to the upstream. */
  readonly forwardsToken: boolean;
}

/** A checked configuration; only `parseGatewayConfig` and `loadGatewayConfig` make one. */
export interface GatewayConfig {
  readonly identity: { readonly socket: string | undefined; readonly startupTimeoutMs: number };
  readonly status: { readonly address: string; readonly port: number };
  readonly listeners: readonly ListenerConfig[];
  readonly upstreams: readonly UpstreamConfig[];
  readonly routes: readonly RouteConfig[];
  /** All that carries bytes and not HTTP. */
  readonly bytes: ByteConfig;
  readonly policy: Policy;
  readonly candidate: Policy | undefined;
  readonly authorizer: AuthorizerSettings | undefined;
  readonly limits: {
    readonly connections: number;
    readonly handshakeMs: number;
    readonly headerBytes: number;
    readonly bodyBytes: number;
    readonly idleMs: number;
    readonly perIdentity?: RatesConfig;
  };
  readonly accessLog: AccessLogConfig;
  readonly drain: { readonly delayMs: number; readonly deadlineMs: number };
  readonly explain: Explain;
  readonly xfcc: XfccConfig | undefined;
}
