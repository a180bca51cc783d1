/** One address of an upstream: its kept connections, each proven before it carries a request, and how it has been lately. */
import { Agent, type ClientRequest, request as sendHttp } from "node:http";
import { connect as dialPlain, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type Clock, SpiffeError } from "../../base/index.ts";
import type { SpiffeId } from "../../id/index.ts";
import { capabilities } from "../../runtime/capabilities.ts";
import { connect as dialVerified, type TlsIdentity } from "../../tls/index.ts";
import type { X509Bundle, X509Svid } from "../../x509/index.ts";
import { toHeaderObject } from "../headers.ts";
import type { UpstreamTarget } from "../upstream-url.ts";
import type { CallEvents, UpstreamCall, UpstreamRequest } from "./call.ts";
import { Http1Call } from "./http1-call.ts";

/** Milliseconds to a connection that may carry requests. */
const CONNECT_TIMEOUT_MS = 5_000;
/** Idle connections kept per address. */
const MAX_IDLE = 64;
/** Bytes of an answer's head. */
const HEAD_BYTES = 65_536;
/** Milliseconds that an address which could not be dialled stands back; twice as long each further time. */
const REST_MS = 1_000;
const MAX_REST_MS = 30_000;
/** Checks in a row that take an address out of service; one good check brings it back. */
const FAILED_CHECKS = 2;

/** Marks the failure of a dial: nothing of the request has left. */
const dialFailures = new WeakSet<Error>();

/** Whether an error came before a connection was there, so that the upstream cannot have seen the request (S-24). */
export function isDialFailure(error: unknown): boolean {
  return error instanceof Error && dialFailures.has(error);
}

/** Keeps connections that one function opened. */
class KeptConnections extends Agent {
  readonly #open: () => Promise<Duplex>;

  constructor(open: () => Promise<Duplex>, keepAlive: boolean) {
    super({ keepAlive, maxFreeSockets: MAX_IDLE });
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

  dropIdle(): void {
    for (const sockets of Object.values(this.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
  }

  /** Ends what is idle; what is busy ends after its answer. */
  retire(): void {
    (this as unknown as { keepAlive: boolean }).keepAlive = false;
    this.dropIdle();
  }
}

/** What a kept connection was judged by; another of any of these needs a new connection (S-6). */
interface Generation {
  readonly svid: X509Svid;
  readonly bundle: X509Bundle | undefined;
}

/** What the addresses of one upstream share. */
export interface DialSettings {
  /** Who must answer, at whichever address; undefined for plaintext. */
  readonly id: SpiffeId | undefined;
  readonly identity: TlsIdentity;
  readonly clock: Clock;
}

/** One address of an upstream with its connections. */
export class Endpoint {
  readonly target: UpstreamTarget;
  /** Where it is dialled: a name or an IP address; undefined for a unix socket. */
  readonly host: string | undefined;
  readonly #dial: DialSettings;
  #kept: { readonly agent: KeptConnections; readonly generation: Generation | undefined } | undefined;
  #retired = false;
  #failedDials = 0;
  #restUntil = Number.NEGATIVE_INFINITY;
  #failedChecks = 0;

  constructor(target: UpstreamTarget, host: string | undefined, dial: DialSettings) {
    this.target = target;
    this.host = host;
    this.#dial = dial;
  }

  /** The address for logs and status. */
  get address(): string {
    const { socketPath, port, url } = this.target;
    if (this.host === undefined || socketPath !== undefined) return url;
    return `${this.host.includes(":") ? `[${this.host}]` : this.host}:${port}`;
  }

  /** Whether its health checks do not speak against it. */
  get healthy(): boolean {
    return this.#failedChecks < FAILED_CHECKS;
  }

  /** Whether it could not be dialled a short time ago; others are asked first. */
  get resting(): boolean {
    return this.#dial.clock.monotonic() < this.#restUntil;
  }

  noteDial(reached: boolean): void {
    if (reached) {
      this.#failedDials = 0;
      this.#restUntil = Number.NEGATIVE_INFINITY;
    } else {
      const rest = Math.min(MAX_REST_MS, REST_MS * 2 ** this.#failedDials++);
      this.#restUntil = this.#dial.clock.monotonic() + rest;
    }
  }

  noteCheck(passed: boolean): void {
    this.#failedChecks = passed ? 0 : this.#failedChecks + 1;
  }

  /** Begins a request; throws what the identity throws while it has no SVID. */
  begin(request: UpstreamRequest, events: CallEvents): UpstreamCall {
    return new Http1Call(this.send(request), request.withBody, events);
  }

  /** The same in the form of `node:http`, which is sent only with its `end()`. */
  send({ method, target, fields }: Omit<UpstreamRequest, "withBody">): ClientRequest {
    return sendHttp({
      agent: this.#agent(),
      host: this.target.hostname ?? "localhost",
      method,
      path: target,
      headers: toHeaderObject(fields),
      setHost: false,
      maxHeaderSize: HEAD_BYTES,
    });
  }

  /** Ends idle connections: where one was found dead, others may be. */
  dropIdle(): void {
    this.#kept?.agent.dropIdle();
  }

  /** Follows a change of the identity: idle connections of the old one end, busy ones too where trust is lost. */
  review(): void {
    if (this.#dial.id === undefined || this.#kept === undefined) return;
    try {
      const generation = this.#generation();
      if (generation?.bundle === undefined || generation.bundle.isEmpty) this.close();
      else this.#agent();
    } catch {
      this.close();
    }
  }

  /** The upstream is no longer here: running requests end in peace, and nothing is kept any more. */
  retire(): void {
    this.#retired = true;
    this.#kept?.agent.retire();
  }

  close(): void {
    this.#kept?.agent.destroy();
    this.#kept = undefined;
  }

  /** The connections that fit the newest snapshot. */
  #agent(): KeptConnections {
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
    const { id } = this.#dial;
    const keepAlive = capabilities.keptConnections.value && !this.#retired;
    const agent = new KeptConnections(() => (id === undefined ? this.#dialPlain() : this.#dialVerified(id)), keepAlive);
    this.#kept = { agent, generation };
    return agent;
  }

  #generation(): Generation | undefined {
    const { id, identity } = this.#dial;
    if (id === undefined) return undefined;
    return { svid: identity.x509.x509Svid(), bundle: identity.x509.x509BundleFor(id.trustDomain) };
  }

  async #dialVerified(id: SpiffeId): Promise<Duplex> {
    const { hostname = "", port = 443 } = this.target;
    const { identity, clock } = this.#dial;
    const { host = hostname } = this;
    const { socket } = await dialVerified(identity, {
      host,
      port,
      peer: id,
      alpn: ["http/1.1"],
      timeoutMs: CONNECT_TIMEOUT_MS,
      clock,
      // an address that a name led to is asked by that name
      ...(host === hostname ? {} : { servername: hostname.replace(/\.$/, "") }),
    });
    return socket;
  }

  async #dialPlain(): Promise<Duplex> {
    const { socketPath, port = 80, url } = this.target;
    const { clock } = this.#dial;
    const stop = new AbortController();
    const late = clock.sleep(CONNECT_TIMEOUT_MS, stop.signal).then(() => {
      throw new SpiffeError("ERR_SPIFFE_TIMEOUT", `No connection to ${url} within ${CONNECT_TIMEOUT_MS} ms`);
    });
    let socket: Socket | undefined;
    try {
      socket = socketPath === undefined ? dialPlain({ host: this.host, port }) : dialPlain(socketPath);
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
