/** `createGateway()`: listeners, routes, policy, upstreams and the status port of one configuration. */
import { type Clock, isSpiffeError, systemClock, timeOf } from "../base/index.ts";
import type { JwtBundleSource } from "../jwt/index.ts";
import { Authorizer } from "../policy/authorizer.ts";
import { Shadow } from "../policy/index.ts";
import { type Logger, silentLogger } from "../telemetry/logger.ts";
import { gatewayMetrics } from "../telemetry/metrics.ts";
import { listen, type TlsIdentity, type TlsListener } from "../tls/index.ts";
import { Workload } from "../workload/index.ts";
import { isCheckedConfig, parseGatewayConfig } from "./config.ts";
import type { GatewayConfig, GatewayInput, ListenerConfig } from "./config-types.ts";
import { requestHandler } from "./handler.ts";
import { RouteTable } from "./routes.ts";
import { checkSockets, placeOf } from "./sockets.ts";
import { openStatus, type Readiness, type StatusServer } from "./status.ts";
import { type ByteRoutes, openByteRoutes } from "./tcp/open.ts";
import { Upstream } from "./upstream.ts";

/** The identity a gateway serves and dials with; a `Workload` is one. */
export interface GatewayIdentity extends TlsIdentity {
  readonly jwt: JwtBundleSource;
}

/** Settings of {@link createGateway}. */
export interface GatewayOptions {
  /** The gateway's identity. Without it one is opened as `identity` of the configuration says, and closed at the end. */
  readonly workload?: GatewayIdentity | undefined;
  /** Gets one `request` line per request, and what the gateway has to say itself. */
  readonly logger?: Logger | undefined;
  readonly clock?: Clock | undefined;
  /** Listening sockets that were passed to this process, by the name of a listener or `status`; see `passedSockets`. */
  readonly sockets?: ReadonlyMap<string, number> | undefined;
}

/** A running gateway. */
export interface Gateway extends AsyncDisposable {
  readonly state: "starting" | "serving" | "draining" | "closed";
  readonly listeners: readonly { readonly name: string; readonly address: string; readonly port: number }[];
  readonly status: { readonly address: string; readonly port: number };
  /** What `/readyz` answers. */
  readiness(): Readiness;
  /** Settles when everything is closed. */
  readonly closed: Promise<void>;
  /**
   * Drains: takes no new connection, lets running requests finish, cuts the rest at the deadline. Idempotent.
   *
   * @param options.deadlineMs milliseconds; `drain.deadline` of the configuration by default
   * @returns how many connections had to be cut
   */
  close(options?: { deadlineMs?: number }): Promise<{ cut: number }>;
}

/**
 * Starts a gateway: callers prove a SPIFFE ID by certificate or token, the policy decides, an upstream answers.
 *
 * Nothing is started when the configuration has a fault, and what was started is closed again when a later step fails.
 *
 * @param config a checked configuration, or an object in the shape of the gateway file
 * @returns the gateway, once every port is open
 * @throws `ERR_SPIFFE_CONFIG`, `ERR_SPIFFE_PORT_IN_USE`, `ERR_SPIFFE_PERMISSION`, or what opening the identity throws
 *
 * @example
 * ```ts
 * import { createServer } from "node:http";
 * import { Authority } from "spiffe-edge/testing";
 * import { createGateway } from "spiffe-edge/gateway";
 * import { createFetch } from "spiffe-edge/tls";
 * import { Workload } from "spiffe-edge/workload";
 *
 * const id = (name: string) => `spiffe://example.org/${name}`;
 * const entries = ["gateway", "web"].map((name) => ({ id: id(name), socket: name }));
 * await using authority = await Authority.start({ trustDomain: "example.org", entries });
 * await using web = await Workload.open({ socket: authority.socketFor("web") });
 * const upstream = createServer((request, response) => response.end(`hello ${request.headers["x-spiffe-id"]}`));
 * await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
 * await using gateway = await createGateway({
 *   identity: { socket: authority.socketFor("gateway") },
 *   status: { port: 0 },
 *   listen: { address: "127.0.0.1", port: 0 },
 *   upstreams: { hello: { url: `http://127.0.0.1:${(upstream.address() as { port: number }).port}` } },
 *   routes: [{ name: "hello", path: "/**", upstream: "hello" }],
 *   policy: [{ rule: "web-says-hello", allow: { ids: [id("web")] }, methods: ["GET"] }],
 * });
 * const answer = await createFetch(web, { peer: id("gateway") })(`https://127.0.0.1:${gateway.listeners[0]!.port}/`);
 * console.assert((await answer.text()) === "hello spiffe://example.org/web");
 * upstream.close();
 * ```
 */
export async function createGateway(
  config: GatewayConfig | GatewayInput,
  options: GatewayOptions = {},
): Promise<Gateway> {
  const checked = isCheckedConfig(config) ? config : parseGatewayConfig(config as GatewayInput);
  const gateway = new RunningGateway(checked, options);
  try {
    await gateway.start();
  } catch (error) {
    await gateway.close({ deadlineMs: 0 });
    throw error;
  }
  return gateway;
}

interface OpenListener {
  readonly config: ListenerConfig;
  readonly tls: TlsListener;
  closed: boolean;
}

class RunningGateway implements Gateway {
  readonly closed: Promise<void>;
  readonly #config: GatewayConfig;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #given: GatewayIdentity | undefined;
  readonly #sockets: ReadonlyMap<string, number>;
  readonly #metrics = gatewayMetrics(() => this.#readings());
  readonly #stop = new AbortController();
  readonly #startedAt: number;
  readonly #shadow: Shadow | undefined;
  readonly #authorizer: Authorizer | undefined;
  #state: Gateway["state"] = "starting";
  #identity: GatewayIdentity | undefined;
  #owned: Workload | undefined;
  #listeners: OpenListener[] = [];
  #upstreams = new Map<string, Upstream>();
  #bytes: ByteRoutes | undefined;
  #statusServer: StatusServer | undefined;
  #following: Promise<void>[] = [];
  #closing: Promise<{ cut: number }> | undefined;
  #onClosed!: () => void;

  constructor(config: GatewayConfig, options: GatewayOptions) {
    this.#config = config;
    this.#given = options.workload;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.#sockets = options.sockets ?? new Map();
    this.#startedAt = this.#clock.now();
    const { candidate, authorizer } = config;
    this.#shadow = candidate === undefined ? undefined : new Shadow(candidate);
    this.#authorizer = authorizer === undefined ? undefined : new Authorizer(authorizer, { clock: this.#clock });
    this.closed = new Promise((resolve) => {
      this.#onClosed = resolve;
    });
  }

  get state(): Gateway["state"] {
    return this.#state;
  }

  get listeners(): { name: string; address: string; port: number }[] {
    const bytes = [...(this.#bytes?.listeners ?? []), ...(this.#bytes?.egress ?? [])];
    return [
      ...this.#listeners.map(({ config, tls }) => ({ name: config.name, address: config.address, port: tls.port })),
      ...bytes.map(({ name, address, port }) => ({ name, address, port })),
    ];
  }

  get status(): { address: string; port: number } {
    const { address, port } = this.#statusServer ?? this.#config.status;
    return { address, port };
  }

  async start(): Promise<void> {
    const { status, upstreams, listeners, identity } = this.#config;
    checkSockets(this.#config, this.#sockets);
    this.#statusServer = await openStatus(
      status.address,
      status.port,
      {
        readiness: () => this.readiness(),
        metrics: async () => ({ text: await this.#metrics.text(), contentType: this.#metrics.contentType }),
        status: () => this.#report(),
      },
      this.#sockets.get("status"),
    );
    if (this.#given === undefined) {
      const { socket, startupTimeoutMs: timeoutMs } = identity;
      this.#owned = await Workload.open({
        timeoutMs,
        clock: this.#clock,
        logger: this.#logger,
        ...(socket === undefined ? {} : { socket }),
      });
    }
    const workload = this.#given ?? (this.#owned as GatewayIdentity);
    this.#identity = workload;
    for (const upstream of upstreams) {
      this.#upstreams.set(upstream.name, new Upstream(upstream, workload, this.#clock));
      if (upstream.unsafePlain) this.#logger.warn(`upstream ${upstream.name} is reached in plaintext over a network`);
    }
    for (const listener of listeners) this.#listeners.push(await this.#open(listener, workload));
    this.#bytes = await openByteRoutes(this.#config.bytes, {
      identity: workload,
      policy: () => this.#config.policy,
      shadow: this.#shadow,
      authorizer: this.#authorizer,
      handshakeMs: this.#config.limits.handshakeMs,
      clock: this.#clock,
      logger: this.#logger,
      metrics: this.#metrics,
      sockets: this.#sockets,
    });
    this.#following = [...this.#upstreams.values()].map((upstream) =>
      upstream.follow(workload, this.#stop.signal).catch((error) => {
        if (!this.#stop.signal.aborted)
          this.#logger.error("the identity gives no more updates", { error: String(error) });
      }),
    );
    this.#state = "serving";
    this.#logger.info("gateway serves", { listeners: this.listeners, status: this.status });
  }

  async #open(config: ListenerConfig, workload: GatewayIdentity): Promise<OpenListener> {
    const handler = requestHandler({
      listener: config.name,
      routes: new RouteTable(this.#config.routes, config.name),
      policy: this.#config.policy,
      shadow: this.#shadow,
      authorizer: this.#authorizer,
      upstreams: this.#upstreams,
      bundles: workload.jwt,
      limits: this.#config.limits,
      clock: this.#clock,
      logger: this.#logger,
      metrics: this.#metrics,
    });
    const tls = await listen(workload, {
      handler,
      ...placeOf(config, this.#sockets),
      maxConnections: config.maxConnections,
      clientCertificate: config.clientCertificate,
      handshakeTimeoutMs: this.#config.limits.handshakeMs,
      clock: this.#clock,
      logger: this.#logger,
      ...(config.proxies === undefined ? {} : { proxyProtocol: { from: config.proxies } }),
      ...(config.maxConnectionAgeMs === undefined ? {} : { maxConnectionAgeMs: config.maxConnectionAgeMs }),
    });
    const open: OpenListener = { config, tls, closed: false };
    void tls.closed.then(() => {
      open.closed = true;
    });
    return open;
  }

  readiness(): Readiness {
    const reasons: string[] = [];
    if (this.#state !== "serving") reasons.push(this.#state);
    const identity = this.#identity;
    if (identity === undefined) reasons.push("no identity yet");
    else {
      try {
        const { trustDomain } = identity.x509.x509Svid().id;
        if (identity.x509.x509BundleFor(trustDomain)?.isEmpty !== false)
          reasons.push(`no X.509 bundle of ${trustDomain}`);
        const tokens = this.#config.routes.some((route) => route.audience.length > 0);
        if (tokens && identity.jwt.jwtBundleFor(trustDomain)?.isEmpty !== false)
          reasons.push(`no JWT bundle of ${trustDomain}`);
      } catch (error) {
        reasons.push(isSpiffeError(error) ? `${error.code}: ${error.message}` : "the own identity cannot be read");
      }
    }
    if (this.#state === "serving") {
      for (const { config, closed } of this.#listeners) if (closed) reasons.push(`listener ${config.name} is closed`);
      for (const name of this.#bytes?.closed ?? []) reasons.push(`listener ${name} is closed`);
    }
    const warnings = [...this.#config.upstreams, ...this.#config.bytes.upstreams]
      .filter((upstream) => upstream.unsafePlain)
      .map((upstream) => `upstream ${upstream.name} is reached in plaintext over a network`);
    const audits = this.#config.policy.audits(timeOf(this.#clock));
    warnings.push(...audits.map((rule) => `rule ${rule} is in audit and not enforced`));
    return { ready: reasons.length === 0, reasons, warnings };
  }

  #svid(): { id: string; expiresAt: Date } | undefined {
    try {
      const svid = this.#identity?.x509.x509Svid();
      return svid === undefined ? undefined : { id: svid.id.uri, expiresAt: svid.expiresAt };
    } catch {
      return undefined;
    }
  }

  #readings(): ReturnType<Parameters<typeof gatewayMetrics>[0]> {
    const svid = this.#svid();
    return {
      listeners: [
        ...this.#listeners.map(({ config, tls }) => ({ name: config.name, tls })),
        ...(this.#bytes?.listeners ?? []),
      ].map(({ name, tls: { counters } }) => ({
        name,
        open: counters.open,
        handshakes: {
          accepted: counters.accepted,
          throttled: counters.throttled,
          failed: counters.failed,
          "timed-out": counters.timedOut,
          ...counters.reasons,
        },
      })),
      svidExpiry: svid === undefined ? undefined : svid.expiresAt.getTime() / 1_000,
      ready: this.readiness().ready,
      draining: this.#state === "draining",
      unsafeUpstreams: [...this.#config.upstreams, ...this.#config.bytes.upstreams].filter((one) => one.unsafePlain)
        .length,
    };
  }

  #report(): object {
    const { routes, upstreams, policy } = this.#config;
    return {
      state: this.#state,
      startedAt: new Date(this.#startedAt).toISOString(),
      ...this.readiness(),
      identity: this.#svid(),
      listeners: this.#listeners.map(({ config, tls }) => ({
        name: config.name,
        address: config.address,
        port: tls.port,
        clientCertificate: config.clientCertificate,
        counters: tls.counters,
      })),
      routes: routes.map(({ name, listeners, path, audience, upstream }) => ({
        name,
        listen: listeners,
        path: path.text,
        audience,
        upstream,
      })),
      upstreams: upstreams.map(({ name, targets, id }) => ({
        name,
        url: targets.map((target) => target.url),
        id,
        ...this.#upstreams.get(name)?.state(),
      })),
      bytes: this.#bytes?.report(),
      rules: policy.rules,
      candidate: this.#shadow && { rules: this.#shadow.candidate.rules, ...this.#shadow.counters },
    };
  }

  close(options: { deadlineMs?: number } = {}): Promise<{ cut: number }> {
    return (this.#closing ??= this.#close(options.deadlineMs ?? this.#config.drain.deadlineMs));
  }

  async #close(deadlineMs: number): Promise<{ cut: number }> {
    this.#state = "draining";
    const closed = await Promise.all([
      ...this.#listeners.map(({ tls }) => tls.close({ deadlineMs })),
      ...(this.#bytes === undefined ? [] : [this.#bytes.close(deadlineMs)]),
    ]);
    const cut = closed.reduce((sum, one) => sum + one.cut, 0);
    this.#stop.abort();
    await Promise.all(this.#following);
    await this.#owned?.close();
    this.#state = "closed";
    await this.#statusServer?.close();
    this.#logger.info("gateway closed", { cut });
    this.#onClosed();
    return { cut };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
