/** `createGateway()`: listeners, routes, policy, upstreams and the status port of one configuration. */
import { type Clock, systemClock } from "../base/index.ts";
import { type Logger, silentLogger } from "../telemetry/logger.ts";
import { gatewayMetrics } from "../telemetry/metrics.ts";
import { listen } from "../tls/index.ts";
import { Workload } from "../workload/index.ts";
import { isCheckedConfig, parseGatewayConfig } from "./config.ts";
import type { GatewayConfig, GatewayInput, ListenerConfig } from "./config-types.ts";
import type { Gateway, GatewayIdentity, GatewayOptions } from "./gateway-types.ts";
import { requestHandler } from "./handler.ts";
import { Live } from "./live.ts";
import { type Readiness, readinessOf } from "./readiness.ts";
import { openStatus, type StatusServer } from "./status.ts";
import { type OpenListener, readingsOf, reportOf, type View } from "./view.ts";

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

class RunningGateway implements Gateway {
  readonly closed: Promise<void>;
  readonly #config: GatewayConfig;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #given: GatewayIdentity | undefined;
  readonly #metrics = gatewayMetrics(() => readingsOf(this.#view()));
  readonly #stop = new AbortController();
  readonly #startedAt: number;
  #state: Gateway["state"] = "starting";
  #identity: GatewayIdentity | undefined;
  #owned: Workload | undefined;
  #listeners: OpenListener[] = [];
  #live: Live | undefined;
  #statusServer: StatusServer | undefined;
  #following: Promise<void>[] = [];
  #closing: Promise<{ cut: number }> | undefined;
  #onClosed!: () => void;

  constructor(config: GatewayConfig, options: GatewayOptions) {
    this.#config = config;
    this.#given = options.workload;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.#startedAt = this.#clock.now();
    this.closed = new Promise((resolve) => {
      this.#onClosed = resolve;
    });
  }

  get state(): Gateway["state"] {
    return this.#state;
  }

  get listeners(): { name: string; address: string; port: number }[] {
    return this.#listeners.map(({ config, tls }) => ({ name: config.name, address: config.address, port: tls.port }));
  }

  get status(): { address: string; port: number } {
    const { address, port } = this.#statusServer ?? this.#config.status;
    return { address, port };
  }

  readiness(): Readiness {
    return readinessOf(this.#view());
  }

  #view(): View {
    const live = this.#live;
    return {
      state: this.#state,
      startedAt: this.#startedAt,
      clock: this.#clock,
      identity: this.#identity,
      listeners: this.#listeners,
      config: live?.config ?? this.#config,
      live,
    };
  }

  async start(): Promise<void> {
    const { status, listeners } = this.#config;
    this.#statusServer = await openStatus(status.address, status.port, {
      readiness: () => this.readiness(),
      metrics: async () => ({ text: await this.#metrics.text(), contentType: this.#metrics.contentType }),
      status: () => reportOf(this.#view()),
    });
    const identity = await this.#openIdentity();
    this.#identity = identity;
    const live = new Live(this.#config, {
      identity,
      clock: this.#clock,
      logger: this.#logger,
      metrics: this.#metrics,
    });
    this.#live = live;
    for (const { config, name } of live.upstreams.values()) {
      if (config.unsafePlain) this.#logger.warn(`upstream ${name} is reached in plaintext over a network`);
    }
    for (const listener of listeners) this.#listeners.push(await this.#open(listener, live, identity));
    this.#following = [...live.upstreams.values()].map((upstream) =>
      upstream.follow(identity, this.#stop.signal).catch((error) => {
        if (!this.#stop.signal.aborted)
          this.#logger.error("the identity gives no more updates", { error: String(error) });
      }),
    );
    this.#state = "serving";
    this.#logger.info("gateway serves", { listeners: this.listeners, status: this.status });
  }

  async #openIdentity(): Promise<GatewayIdentity> {
    if (this.#given !== undefined) return this.#given;
    const { socket, startupTimeoutMs: timeoutMs } = this.#config.identity;
    this.#owned = await Workload.open({
      timeoutMs,
      clock: this.#clock,
      logger: this.#logger,
      ...(socket === undefined ? {} : { socket }),
    });
    return this.#owned;
  }

  async #open(config: ListenerConfig, first: Live, identity: GatewayIdentity): Promise<OpenListener> {
    const tls = await listen(identity, {
      handler: requestHandler(() => (this.#live ?? first).room(config.name)),
      address: config.address,
      port: config.port,
      clientCertificate: config.clientCertificate,
      handshakeTimeoutMs: this.#config.limits.handshakeMs,
      clock: this.#clock,
      logger: this.#logger,
      ...(config.maxConnectionAgeMs === undefined ? {} : { maxConnectionAgeMs: config.maxConnectionAgeMs }),
    });
    const open: OpenListener = { config, tls, closed: false };
    void tls.closed.then(() => {
      open.closed = true;
    });
    return open;
  }

  close(options: { deadlineMs?: number } = {}): Promise<{ cut: number }> {
    return (this.#closing ??= this.#close(options.deadlineMs ?? this.#config.drain.deadlineMs));
  }

  async #close(deadlineMs: number): Promise<{ cut: number }> {
    this.#state = "draining";
    const closed = await Promise.all(this.#listeners.map(({ tls }) => tls.close({ deadlineMs })));
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
