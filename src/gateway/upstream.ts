/** Dialling upstreams: kept connections, each proven before it carries a request, thrown away when an identity changes. */
import { Agent, type ClientRequest, request as sendHttp } from "node:http";
import { connect as dialPlain, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type Clock, SpiffeError } from "../base/index.ts";
import { SpiffeId } from "../id/index.ts";
import { capabilities } from "../runtime/capabilities.ts";
import { connect as dialVerified, type TlsIdentity } from "../tls/index.ts";
import type { X509Bundle, X509Svid } from "../x509/index.ts";
import type { UpstreamConfig } from "./config-types.ts";
import { type Field, toHeaderObject } from "./headers.ts";
import type { UpstreamTarget } from "./upstream-url.ts";

/** Milliseconds to a connection that may carry requests. */
const CONNECT_TIMEOUT_MS = 5_000;
/** Idle connections kept per address. */
const MAX_IDLE = 64;
/** Bytes of an answer's head. */
const HEAD_BYTES = 65_536;

/** What goes to an upstream, beside the body. */
export interface UpstreamRequest {
  readonly method: string;
  readonly target: string;
  readonly fields: readonly Field[];
}

/** Marks the failure of a dial: nothing of the request has left. */
const dialFailures = new WeakSet<Error>();

/** Whether an error came before a connection was there, so that the upstream cannot have seen the request (S-24). */
export function isDialFailure(error: unknown): boolean {
  return error instanceof Error && dialFailures.has(error);
}

/** Keeps connections that one function opened. */
class KeptConnections extends Agent {
  readonly #open: () => Promise<Duplex>;

  constructor(open: () => Promise<Duplex>) {
    super({ keepAlive: capabilities.keptConnections.value, maxFreeSockets: MAX_IDLE });
    this.#open = open;
  }

  override createConnection(_options: unknown, callback?: (error: Error | null, stream: Duplex) => void): undefined {
    this.#open().then(
      (socket) => callback?.(null, socket),
      (cause: unknown) => {
        const error = cause instanceof Error ? cause : new Error(String(cause));
        dialFailures.add(error);
        callback?.(error, undefined as never);
      },
    );
    return undefined;
  }

  /** Ends what is idle; what is busy ends after its answer. */
  retire(): void {
    (this as unknown as { keepAlive: boolean }).keepAlive = false;
    for (const sockets of Object.values(this.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
  }
}

/** What a kept connection was judged by; another of any of these needs a new connection (S-6). */
interface Generation {
  readonly svid: X509Svid;
  readonly bundle: X509Bundle | undefined;
}

/** One address of an upstream with its connections. */
class Dialler {
  readonly target: UpstreamTarget;
  readonly #id: SpiffeId | undefined;
  readonly #identity: TlsIdentity;
  readonly #clock: Clock;
  #kept: { readonly agent: KeptConnections; readonly generation: Generation | undefined } | undefined;

  constructor(target: UpstreamTarget, id: SpiffeId | undefined, identity: TlsIdentity, clock: Clock) {
    this.target = target;
    this.#id = id;
    this.#identity = identity;
    this.#clock = clock;
  }

  /** The connections that fit the newest snapshot; throws what the identity throws while it has no SVID. */
  agent(): KeptConnections {
    const generation = this.#generation();
    const kept = this.#kept;
    if (
      kept !== undefined &&
      kept.generation?.svid === generation?.svid &&
      kept.generation?.bundle === generation?.bundle
    ) {
      return kept.agent;
    }
    kept?.agent.retire();
    const agent = new KeptConnections(() =>
      this.#id === undefined ? this.#dialPlain() : this.#dialVerified(this.#id),
    );
    this.#kept = { agent, generation };
    return agent;
  }

  /** Follows a change of the identity: idle connections of the old one end, busy ones too where trust is lost. */
  review(): void {
    if (this.#id === undefined || this.#kept === undefined) return;
    try {
      const generation = this.#generation();
      if (generation?.bundle === undefined || generation.bundle.isEmpty) this.close();
      else this.agent();
    } catch {
      this.close();
    }
  }

  close(): void {
    this.#kept?.agent.destroy();
    this.#kept = undefined;
  }

  #generation(): Generation | undefined {
    if (this.#id === undefined) return undefined;
    const { x509 } = this.#identity;
    return { svid: x509.x509Svid(), bundle: x509.x509BundleFor(this.#id.trustDomain) };
  }

  async #dialVerified(id: SpiffeId): Promise<Duplex> {
    const { hostname = "", port = 443 } = this.target;
    const { socket } = await dialVerified(this.#identity, {
      host: hostname,
      port,
      peer: id,
      alpn: ["http/1.1"],
      timeoutMs: CONNECT_TIMEOUT_MS,
      clock: this.#clock,
    });
    return socket;
  }

  async #dialPlain(): Promise<Duplex> {
    const { socketPath, hostname, port } = this.target;
    const stop = new AbortController();
    const late = this.#clock.sleep(CONNECT_TIMEOUT_MS, stop.signal).then(() => {
      throw new SpiffeError(
        "ERR_SPIFFE_TIMEOUT",
        `No connection to ${this.target.url} within ${CONNECT_TIMEOUT_MS} ms`,
      );
    });
    let socket: Socket | undefined;
    try {
      socket = socketPath === undefined ? dialPlain({ host: hostname, port: port ?? 80 }) : dialPlain(socketPath);
      const open = socket;
      open.setNoDelay(true);
      await Promise.race([
        new Promise<void>((resolve, reject) => {
          open.once("connect", resolve);
          // stays: an idle connection may break at any time, which is no error of anybody's
          open.on("error", reject);
        }),
        late,
      ]);
      return open;
    } catch (error) {
      socket?.destroy();
      throw error;
    } finally {
      late.catch(() => {});
      stop.abort();
    }
  }
}

/** An upstream: where its requests go, in turns when it has several addresses. */
export class Upstream {
  readonly name: string;
  readonly #diallers: readonly Dialler[];
  #turn = 0;

  constructor(config: UpstreamConfig, identity: TlsIdentity, clock: Clock) {
    this.name = config.name;
    const id = config.id === undefined ? undefined : SpiffeId.parse(config.id);
    this.#diallers = config.targets.map((target) => new Dialler(target, id, identity, clock));
  }

  /** The addresses to try for one request, beginning with the one whose turn it is. */
  targets(): readonly { readonly target: UpstreamTarget; send(request: UpstreamRequest): ClientRequest }[] {
    const first = this.#turn++ % this.#diallers.length;
    return [...this.#diallers.slice(first), ...this.#diallers.slice(0, first)].map((dialler) => ({
      target: dialler.target,
      send: ({ method, target, fields }) =>
        sendHttp({
          agent: dialler.agent(),
          host: dialler.target.hostname ?? "localhost",
          method,
          path: target,
          headers: toHeaderObject(fields),
          setHost: false,
          maxHeaderSize: HEAD_BYTES,
        }),
    }));
  }

  /** Reviews after each change of the identity until the signal aborts or the identity is closed; then closes. */
  async follow(identity: TlsIdentity, signal?: AbortSignal): Promise<void> {
    try {
      for await (const _ of identity.x509.updates(signal)) for (const dialler of this.#diallers) dialler.review();
    } finally {
      this.close();
    }
  }

  close(): void {
    for (const dialler of this.#diallers) dialler.close();
  }
}
