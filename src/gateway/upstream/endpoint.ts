/** One address of an upstream: its kept connections, each proven before it carries a request, and how it has been lately. */
import { connect as dialPlain, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type Clock, SpiffeError } from "../../base/index.ts";
import type { SpiffeId } from "../../id/index.ts";
import { connectVouched } from "../../tls/connect.ts";
import type { CallEvents, UpstreamCall, UpstreamRequest } from "../../tls/http1/call.ts";
import { Http1Pool } from "../../tls/http1/pool.ts";
import type { TlsIdentity } from "../../tls/index.ts";
import { isCurrent, type Snapshot, snapshotOf } from "../../tls/snapshot.ts";
import type { UpstreamTarget } from "../upstream-url.ts";
import { Http2Pool } from "./http2-pool.ts";
import { Standing } from "./standing.ts";

/** Milliseconds to a connection that may carry requests. */
const CONNECT_TIMEOUT_MS = 5_000;

/** What the addresses of one upstream share. */
export interface DialSettings {
  /** Who must answer, at whichever address; undefined for plaintext. */
  readonly id: SpiffeId | undefined;
  readonly protocol: "http1" | "h2";
  readonly identity: TlsIdentity;
  readonly clock: Clock;
}

interface Kept {
  readonly pool: Http1Pool | Http2Pool;
  readonly snapshot: Snapshot | undefined;
}

/** One address of an upstream with its connections. */
export class Endpoint extends Standing {
  readonly target: UpstreamTarget;
  /** Where it is dialled: a name or an IP address; undefined for a unix socket. */
  readonly host: string | undefined;
  readonly #dial: DialSettings;
  #kept: Kept | undefined;
  #retired = false;

  constructor(target: UpstreamTarget, host: string | undefined, dial: DialSettings) {
    super(dial.clock);
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

  /** Begins a request; throws what the identity throws while it has no SVID. */
  begin(request: UpstreamRequest, events: CallEvents): UpstreamCall {
    return this.#pool().begin(request, events);
  }

  /** A connection for one request that takes it over; proven, and kept by nobody. */
  open(): Promise<Duplex> {
    return this.#connect(true, () => {});
  }

  /** Ends idle connections: where one was found dead, others may be. */
  dropIdle(): void {
    this.#kept?.pool.dropIdle();
  }

  /** Follows a change of the identity: idle connections of the old one end, busy ones too where trust is lost. */
  review(): void {
    if (this.#dial.id === undefined || this.#kept === undefined) return;
    try {
      const { bundle } = this.#snapshot() ?? {};
      if (bundle === undefined || bundle.isEmpty) this.close();
      else this.#pool();
    } catch {
      this.close();
    }
  }

  /** The upstream is no longer here: running requests end in peace, and nothing is kept any more. */
  retire(): void {
    this.#retired = true;
    this.#kept?.pool.retire();
  }

  close(): void {
    this.#kept?.pool.destroy();
    this.#kept = undefined;
  }

  /** The connections that fit the newest snapshot. */
  #pool(): Http1Pool | Http2Pool {
    const kept = this.#kept;
    const { identity, clock, protocol } = this.#dial;
    if (kept !== undefined && (kept.snapshot === undefined || isCurrent(kept.snapshot, identity, clock)))
      return kept.pool;
    const snapshot = this.#snapshot();
    kept?.pool.retire();
    const open = () => this.#connect(false, () => this.#leave(made));
    const authority = `${this.target.tls ? "https" : "http"}://${this.target.authority}`;
    const pool = protocol === "h2" ? new Http2Pool(open, authority) : new Http1Pool(open, clock);
    const made: Kept = { pool, snapshot };
    if (this.#retired) pool.retire();
    this.#kept = made;
    return pool;
  }

  /** One of these connections is near its end: what runs may finish, and what comes goes over others (S-9). */
  #leave(kept: Kept): void {
    kept.pool.retire();
    if (this.#kept === kept) this.#kept = undefined;
  }

  /** What proves a connection made now; another of any of it needs a new connection (S-6). Nothing for plaintext. */
  #snapshot(): Snapshot | undefined {
    const { id, identity, clock } = this.#dial;
    return id === undefined ? undefined : snapshotOf(identity, id.trustDomain, clock);
  }

  /**
   * @param halfOpen whether the end of the upstream's side leaves the other one open, where the transport can
   * @param onDrain hears that the connection should be used no more
   */
  #connect(halfOpen: boolean, onDrain: () => void): Promise<Duplex> {
    const { id } = this.#dial;
    return id === undefined ? this.#dialPlain(halfOpen) : this.#dialVerified(id, onDrain);
  }

  async #dialVerified(id: SpiffeId, onDrain: () => void): Promise<Duplex> {
    const { hostname = "", port = 443 } = this.target;
    const { identity, clock, protocol } = this.#dial;
    const { host = hostname } = this;
    const { socket } = await connectVouched(identity, {
      host,
      port,
      peer: id,
      alpn: [protocol === "h2" ? "h2" : "http/1.1"],
      timeoutMs: CONNECT_TIMEOUT_MS,
      onDrain,
      clock,
      // an address that a name led to is asked by that name
      ...(host === hostname ? {} : { servername: hostname.replace(/\.$/, "") }),
    });
    if (protocol === "h2" && socket.alpnProtocol !== "h2") {
      socket.destroy();
      throw new SpiffeError("ERR_SPIFFE_TLS", `Expected ${hostname} to speak HTTP/2; it chose another protocol`, {
        hint: "Leave protocol: h2 out where the upstream speaks HTTP/1.1",
      });
    }
    return socket;
  }

  async #dialPlain(allowHalfOpen: boolean): Promise<Duplex> {
    const { socketPath, port = 80, url } = this.target;
    const { clock } = this.#dial;
    const stop = new AbortController();
    const late = clock.sleep(CONNECT_TIMEOUT_MS, stop.signal).then(() => {
      throw new SpiffeError("ERR_SPIFFE_TIMEOUT", `No connection to ${url} within ${CONNECT_TIMEOUT_MS} ms`);
    });
    let socket: Socket | undefined;
    try {
      socket = dialPlain({
        ...(socketPath === undefined ? { host: this.host, port } : { path: socketPath }),
        allowHalfOpen,
      });
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
