/** `createGateway()`: listeners, routes, policy, upstreams and the status port of one configuration. */
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { type Clock, SpiffeError, systemClock } from "../base/index.ts";
import { type Logger, silentLogger } from "../telemetry/logger.ts";
import { gatewayMetrics } from "../telemetry/metrics.ts";
import { thatNeverThrows } from "../telemetry/quiet-logger.ts";
import { withFields } from "../telemetry/with-fields.ts";
import { listen } from "../tls/index.ts";
import { Workload } from "../workload/index.ts";
import { AccessLog } from "./access-log.ts";
import { isCheckedConfig, parseGatewayConfig } from "./config.ts";
import { readingOf } from "./config-file.ts";
import type { GatewayConfig, GatewayInput, ListenerConfig } from "./config-types.ts";
import { Followers } from "./followers.ts";
import type { Gateway, GatewayIdentity, GatewayOptions } from "./gateway-types.ts";
import { requestHandler } from "./handler.ts";
import { type Grounds, Live, successor } from "./live.ts";
import { Rates } from "./rates/rates.ts";
import { type Readiness, readinessOf } from "./readiness.ts";
import { logReadiness } from "./readiness-log.ts";
import { readingsOf } from "./readings.ts";
import { Reloader } from "./reload.ts";
import { takesUpgrades } from "./restart.ts";
import { Rotation } from "./rotation.ts";
import { RuleTimes } from "./rule-times.ts";
import { RunningRequests } from "./running.ts";
import { checkSockets, placeOf } from "./sockets.ts";
import { openStatus, type StatusServer, type StatusSource } from "./status.ts";
import { type ByteRoutes, openByteRoutes } from "./tcp/open.ts";
import { TokenDoors } from "./token-doors.ts";
import { type OpenListener, reportOf, type View } from "./view.ts";
import { upgradeHandler } from "./websocket.ts";

const KNOWN: OptionNames<GatewayOptions> = {
  workload: true,
  logger: true,
  clock: true,
  file: true,
  worker: true,
  sockets: true,
};

/**
 * Starts a gateway: callers prove a SPIFFE ID by certificate or token, the policy decides, an upstream answers.
 *
 * Nothing is started when the configuration has a fault, and what was started is closed again when a later step fails.
 *
 * @param config a checked configuration, or an object in the shape of the gateway file
 * @returns the gateway, once every port is open
 * @throws `ERR_SPIFFE_CONFIG`, `ERR_SPIFFE_USAGE`, `ERR_SPIFFE_PORT_IN_USE`, `ERR_SPIFFE_PERMISSION`, or what opening the identity throws
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
  onlyKnown("createGateway", options, KNOWN);
  const checked = checkedConfig(config);
  const gateway = new RunningGateway(checked, options);
  try {
    await gateway.start();
  } catch (error) {
    await gateway.close({ deadlineMs: 0, delayMs: 0 });
    throw error;
  }
  return gateway;
}

function checkedConfig(config: GatewayConfig | GatewayInput): GatewayConfig {
  return isCheckedConfig(config) ? config : parseGatewayConfig(config as GatewayInput);
}

class RunningGateway implements Gateway {
  readonly closed: Promise<void>;
  readonly #config: GatewayConfig;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #given: GatewayIdentity | undefined;
  readonly #file: string | undefined;
  readonly #worker: number | undefined;
  readonly #sockets: ReadonlyMap<string, number>;
  readonly #metrics = gatewayMetrics(() => readingsOf(this.#view()));
  readonly #stop = new AbortController();
  readonly #startedAt: number;
  #state: Gateway["state"] = "starting";
  /** Absent until there is an identity. */
  #grounds: Grounds | undefined;
  #owned: Workload | undefined;
  #listeners: OpenListener[] = [];
  #bytes: ByteRoutes | undefined;
  #live: Live | undefined;
  #access: AccessLog | undefined;
  #statusServer: StatusServer | undefined;
  readonly #running = new RunningRequests();
  readonly #rotation = new Rotation();
  readonly #followers: Followers;
  readonly #ruleTimes: RuleTimes;
  /** Judgements of what runs that wait for the authorizer. */
  #asking = 0;
  #reloader: Reloader | undefined;
  #reloading: Promise<void> | undefined;
  #closing: Promise<{ cut: number }> | undefined;
  #onClosed!: () => void;

  constructor(config: GatewayConfig, options: GatewayOptions) {
    this.#config = config;
    this.#given = options.workload;
    this.#file = options.file;
    this.#worker = options.worker;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger === undefined ? silentLogger : thatNeverThrows(options.logger);
    this.#sockets = options.sockets ?? new Map();
    this.#startedAt = this.#clock.now();
    this.#followers = new Followers(this.#logger, this.#running);
    this.#ruleTimes = new RuleTimes(this.#clock, () => this.#ruleTimeCame());
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

  readiness(): Readiness {
    return readinessOf(this.#view());
  }

  report(): object {
    return reportOf(this.#view());
  }

  #view(): View {
    const live = this.#live;
    return {
      state: this.#state,
      startedAt: this.#startedAt,
      clock: this.#clock,
      identity: this.#grounds?.identity,
      listeners: this.#listeners,
      bytes: this.#bytes,
      config: live?.config ?? this.#config,
      live,
      reload: this.#reloader?.state,
      rotation: this.#rotation,
      running: this.#running.size,
      logLinesDropped: this.#access?.dropped ?? 0,
    };
  }

  async start(): Promise<void> {
    const { status, listeners, accessLog } = this.#config;
    checkSockets(this.#config, this.#sockets);
    this.#access = await AccessLog.open(accessLog, this.#logger, this.#clock, this.#worker);
    const source: StatusSource = {
      readiness: () => this.readiness(),
      metrics: async () => ({ text: await this.#metrics.text(), contentType: this.#metrics.contentType }),
      status: () => this.report(),
    };
    const statusPort = status.port === 0 ? 0 : status.port + (this.#worker ?? 0);
    this.#statusServer = await openStatus(status.address, statusPort, source, this.#sockets.get("status"));
    const identity = await this.#openIdentity();
    this.#grounds = {
      identity,
      clock: this.#clock,
      logger: this.#logger,
      metrics: this.#metrics,
      running: this.#running,
      access: this.#access,
      doors: new TokenDoors(identity.jwt, this.#clock),
    };
    const live = new Live(this.#config, this.#grounds);
    this.#live = live;
    this.#ruleTimes.follow(live.config.policy);
    for (const listener of listeners) this.#listeners.push(await this.#open(listener, live, identity));
    this.#bytes = await this.#openBytes(live, identity);
    this.#followers.follow(live.upstreams.values(), identity);
    void Rates.change(undefined, live.rates);
    void this.#rotation.follow(identity, this.#clock, this.#stop.signal);
    this.#state = "serving";
    this.#follow();
    this.#logger.info("gateway serves", { listeners: this.listeners, status: this.status });
    const lines = { clock: this.#clock, logger: this.#logger, signal: this.#stop.signal };
    void logReadiness(() => this.readiness(), lines);
  }

  #follow(): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#reloader = new Reloader({
      file,
      first: readingOf(this.#config),
      apply: (config) => this.#apply(config),
      clock: this.#clock,
      logger: this.#logger,
      signal: this.#stop.signal,
    });
    this.#reloading = this.#reloader.follow();
  }

  async reload(config?: GatewayConfig | GatewayInput): Promise<void> {
    if (config === undefined && this.#reloader !== undefined) return void (await this.#reloader.ask());
    if (config === undefined || this.#reloader !== undefined) {
      const expected = config === undefined ? "a configuration" : "no configuration";
      throw new SpiffeError("ERR_SPIFFE_USAGE", `Expected ${expected}: a gateway follows its file, or is told`);
    }
    await this.#apply(checkedConfig(config));
  }

  async reopen(): Promise<void> {
    await this.#access?.reopen();
  }

  /** Puts a configuration in force, or throws and changes nothing. */
  async #apply(config: GatewayConfig): Promise<{ ended: number }> {
    const grounds = this.#grounds;
    const live = this.#live;
    if (this.#state !== "serving" || grounds === undefined || live === undefined) {
      throw new SpiffeError("ERR_SPIFFE_CLOSED", "The gateway does not serve; nothing is reloaded");
    }
    const next = successor(live, config, grounds);
    // the one assignment: each request goes by what it finds here, whole
    this.#live = next;
    this.#ruleTimes.follow(config.policy);
    this.#followers.follow(next.upstreams.values(), grounds.identity);
    void Rates.change(live.rates, next.rates);
    return this.#rejudge(next);
  }

  /** Judges what runs by what is in force, and ends what would not be let in. */
  async #rejudge(live: Live, asks = true): Promise<{ ended: number }> {
    const room = (listener: string) => (this.#live ?? live).room(listener);
    if (asks) this.#asking++;
    try {
      // at once: requests may wait for an authorizer
      const judged = [this.#running.rejudge(room, asks), this.#bytes?.rejudge(asks)] as const;
      const [requests, connections] = await Promise.all(judged);
      return { ended: requests + (connections?.ended ?? 0) };
    } finally {
      if (asks) this.#asking--;
    }
  }

  /** The same rules say something else by now: who waits for a verdict gets one of now, and what runs is judged again. */
  async #ruleTimeCame(): Promise<void> {
    const grounds = this.#grounds;
    const live = this.#live;
    if (grounds === undefined || live === undefined) return;
    try {
      // another one: a verdict that is on its way does not count for it
      const next = new Live(live.config, grounds, live);
      this.#live = next;
      // nor does what the authorizer still is to say of what runs: it is asked again then
      const { ended } = await this.#rejudge(next, this.#asking > 0);
      this.#logger.info("rules began or ended to hold", { ended });
    } catch (error) {
      this.#logger.error("what runs was not judged again", { error: String(error) });
    }
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
    const { limits } = this.#config;
    const room = () => (this.#live ?? first).room(config.name);
    const handler = requestHandler(room);
    const tls = await listen(identity, {
      handler,
      // what waits to be asked for its body is judged first
      onExpect: handler,
      // so that a CONNECT is refused with a reason, and has its line
      onConnect: { http1: upgradeHandler(room), http2: handler },
      ...(takesUpgrades(this.#config, config.name) ? { onUpgrade: upgradeHandler(room) } : {}),
      ...placeOf(config, this.#sockets),
      sharePort: this.#worker !== undefined,
      clientCertificate: config.clientCertificate,
      handshakeTimeoutMs: limits.handshakeMs,
      maxConnections: config.maxConnections,
      maxHeaderBytes: limits.headerBytes,
      clock: this.#clock,
      logger: withFields(this.#logger, { listener: config.name }),
      ...(config.proxies === undefined ? {} : { proxyProtocol: { from: config.proxies } }),
      ...(config.maxConnectionAgeMs === undefined ? {} : { maxConnectionAgeMs: config.maxConnectionAgeMs }),
    });
    const open: OpenListener = { config, tls, closed: false };
    void tls.closed.then(() => {
      open.closed = true;
    });
    return open;
  }

  /** Opens what carries bytes; each connection goes by what is in force when it comes. */
  #openBytes(first: Live, identity: GatewayIdentity): Promise<ByteRoutes> {
    const live = () => this.#live ?? first;
    return openByteRoutes(this.#config.bytes, {
      identity,
      rules: () => ({ policy: live().config.policy, shadow: live().shadow, authorizer: live().authorizer }),
      handshakeMs: this.#config.limits.handshakeMs,
      sharePort: this.#worker !== undefined,
      clock: this.#clock,
      logger: this.#logger,
      metrics: this.#metrics,
      sockets: this.#sockets,
    });
  }

  close(options: { deadlineMs?: number; delayMs?: number } = {}): Promise<{ cut: number }> {
    onlyKnown("close", options, { deadlineMs: true, delayMs: true });
    const { drain } = this.#view().config;
    const { deadlineMs = drain.deadlineMs, delayMs = drain.delayMs } = options;
    return (this.#closing ??= this.#close(deadlineMs, delayMs));
  }

  async #close(deadlineMs: number, delayMs: number): Promise<{ cut: number }> {
    const served = this.#state === "serving";
    this.#state = "draining";
    this.#stop.abort();
    if (served) this.#logger.info("draining", { deadlineMs, delayMs });
    // whoever sends requests here sees the probe fail first
    if (served && delayMs > 0) await this.#clock.sleep(delayMs);
    const closed = await Promise.all([
      ...this.#listeners.map(({ tls }) => tls.close({ deadlineMs })),
      ...(this.#bytes === undefined ? [] : [this.#bytes.close(deadlineMs)]),
    ]);
    const cut = closed.reduce((sum, one) => sum + one.cut, 0);
    this.#ruleTimes.stop();
    await this.#followers.close();
    await this.#reloading;
    await Rates.change(this.#live?.rates, undefined);
    await this.#owned?.close();
    this.#state = "closed";
    await this.#statusServer?.close();
    await this.#access?.close();
    this.#logger.info("gateway closed", { cut });
    this.#onClosed();
    return { cut };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
