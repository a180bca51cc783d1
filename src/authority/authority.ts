/** The embedded authority: a whole trust domain in this process, for development and tests. */
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { type Clock, SpiffeError, systemClock } from "../base/index.ts";
import { TrustDomain } from "../id/index.ts";
import { JwtBundle } from "../jwt/index.ts";
import { type Logger, silentLogger } from "../telemetry/logger.ts";
import { X509Bundle } from "../x509/index.ts";
import { concat } from "./asn1.ts";
import { Change } from "./change.ts";
import { type AuthorityEntry, checkEntries, checkLife, type Registration } from "./entries.ts";
import type { IssuedX509 } from "./generation.ts";
import { Keyring } from "./keyring.ts";
import { reflectionRoutes } from "./reflection.ts";
import { openSocketDirectory, type SocketDirectory } from "./socket-directory.ts";
import { serveUnix, type UnixServer } from "./unix-server.ts";
import {
  type Caller,
  type CallerIdentity,
  type PublishedBundle,
  requireSecurityHeader,
  workloadRoutes,
} from "./workload-service.ts";

const HOUR_MS = 3_600_000;

/** The longest sleep between two looks at the clocks, so that a step of the wall clock is noticed. */
const MAX_SLEEP_MS = 5_000;

/** The wait after a rotation that failed. */
const RETRY_MS = 1_000;

export interface AuthorityOptions {
  /** Name of the trust domain. */
  trustDomain: string;
  entries: readonly AuthorityEntry[];
  /**
   * Directory of the sockets: one that does not exist, or one of mode 0700. Default: a fresh one below
   * `XDG_RUNTIME_DIR` or the temporary directory.
   */
  directory?: string;
  /** Life of X.509-SVIDs in ms, unless the entry says otherwise; default one hour. */
  x509TtlMs?: number;
  /** Life of JWT-SVIDs in ms, unless the entry says otherwise; default five minutes. */
  jwtTtlMs?: number;
  /** Life of a CA certificate in ms; default 24 hours. Its successor is published at half of it. */
  caTtlMs?: number;
  /** How long a new CA or JWT key is in every bundle before it signs, in ms; default 2,000, or a quarter of `caTtlMs` if that is less. */
  prepareMs?: number;
  clock?: Clock;
  logger?: Logger;
}

const KNOWN: OptionNames<AuthorityOptions> = {
  trustDomain: true,
  entries: true,
  directory: true,
  x509TtlMs: true,
  jwtTtlMs: true,
  caTtlMs: true,
  prepareMs: true,
  clock: true,
  logger: true,
};

type Lasting = Readonly<Required<Omit<AuthorityOptions, "trustDomain" | "entries" | "directory">>>;

interface Held {
  readonly registration: Registration;
  readonly svid: IssuedX509;
  readonly issuer: object;
}

/**
 * A trust domain in this process: a CA, registration entries, and the real Workload API on one private unix socket per
 * workload. Keys are made at the start, stay in memory and rotate; sockets and directory go away with `close()`.
 *
 * Any process of the same user can open the sockets and so get the identities: use it for development and tests.
 *
 * @example
 * ```ts
 * import { Authority } from "spiffe-edge/testing";
 * const authority = await Authority.start({
 *   trustDomain: "example.org",
 *   entries: [{ id: "spiffe://example.org/web", socket: "web" }],
 * });
 * console.assert(authority.socketFor("web").startsWith("unix:///"));
 * await authority.close();
 * ```
 */
export class Authority {
  readonly trustDomain: TrustDomain;
  /** Absolute path of the directory that holds the sockets. */
  readonly directory: string;
  readonly #options: Lasting;
  readonly #keyring: Keyring;
  readonly #sockets: SocketDirectory;
  readonly #servers: Map<string, UnixServer> = new Map();
  readonly #change: Change = new Change();
  readonly #closing: AbortController = new AbortController();
  readonly #federated: Map<string, { other: Authority; leave: () => void }> = new Map();
  #registrations: readonly Registration[] = [];
  #held: Map<string, Held> = new Map();
  #published: PublishedBundle;
  #bundles: { from: PublishedBundle; x509: X509Bundle; jwt: JwtBundle } | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #timer: Promise<void> = Promise.resolve();
  #rearm: AbortController = new AbortController();
  #closed: Promise<void> | undefined;

  private constructor(trustDomain: TrustDomain, options: Lasting, keyring: Keyring, sockets: SocketDirectory) {
    this.trustDomain = trustDomain;
    this.directory = sockets.path;
    this.#options = options;
    this.#keyring = keyring;
    this.#sockets = sockets;
    this.#published = this.#publish();
  }

  /**
   * Starts the authority and serves every entry's socket.
   *
   * @throws `ERR_SPIFFE_CONFIG` for a wrong option or entry, `ERR_SPIFFE_USAGE` for one it does not know, `ERR_SPIFFE_ID` for a wrong trust domain,
   * `ERR_SPIFFE_AUTHORITY` when directory or sockets cannot be had safely: a symbolic link in the path, another user's
   * or an open directory, a live socket of another process, a path above 107 bytes
   */
  static async start(options: AuthorityOptions): Promise<Authority> {
    onlyKnown("Authority.start", options, KNOWN);
    const trustDomain = TrustDomain.parse(options.trustDomain);
    const caTtlMs = checkLife("caTtlMs", options.caTtlMs ?? 24 * HOUR_MS);
    const prepareMs = options.prepareMs ?? Math.min(2_000, caTtlMs / 4);
    if (!(prepareMs >= 0 && prepareMs <= caTtlMs / 4)) {
      const expected = `0 to ${caTtlMs / 4}, a quarter of caTtlMs`;
      throw new SpiffeError("ERR_SPIFFE_CONFIG", `prepareMs: expected ${expected}, got ${prepareMs}`);
    }
    const complete = {
      x509TtlMs: checkLife("x509TtlMs", options.x509TtlMs ?? HOUR_MS),
      jwtTtlMs: checkLife("jwtTtlMs", options.jwtTtlMs ?? HOUR_MS / 12),
      caTtlMs,
      prepareMs,
      clock: options.clock ?? systemClock,
      logger: options.logger ?? silentLogger,
    };
    const lives = { ttlMs: complete.x509TtlMs, jwtTtlMs: complete.jwtTtlMs };
    checkEntries(options.entries, trustDomain, lives);
    const keyring = await Keyring.create({ trustDomain, clock: complete.clock, caTtlMs, prepareMs });
    const sockets = await openSocketDirectory(options.directory);
    const authority = new Authority(trustDomain, complete, keyring, sockets);
    try {
      await authority.setEntries(options.entries);
    } catch (error) {
      await authority.close();
      throw error;
    }
    authority.#timer = authority.#keepTime();
    complete.logger.info("embedded authority, keys in memory: every process of this user can get its identities", {
      trustDomain: trustDomain.name,
      directory: sockets.path,
    });
    return authority;
  }

  /**
   * The address of a workload's socket, as `SPIFFE_ENDPOINT_SOCKET` wants it: `unix:///…/name.sock`.
   *
   * @throws `ERR_SPIFFE_AUTHORITY` when no entry ever named this socket
   */
  socketFor(name: string): string {
    if (!this.#servers.has(name)) throw new SpiffeError("ERR_SPIFFE_AUTHORITY", `No entry has the socket "${name}"`);
    return `unix://${this.directory}/${name}.sock`;
  }

  /** The CA certificates published now. */
  x509Bundle(): X509Bundle {
    return this.#parsed().x509;
  }

  /** The JWT keys published now. */
  jwtBundle(): JwtBundle {
    return this.#parsed().jwt;
  }

  /**
   * Rotates the CA and the JWT key: the new ones are published, `prepareMs` later they sign, and every X.509-SVID is
   * issued anew. The old ones stay published until the last SVID they signed has expired. Resolves when the new ones
   * sign.
   */
  async rotate(): Promise<void> {
    const before = this.#keyring.current;
    await this.#serially(async () => {
      if (this.#keyring.current === before) await this.#keyring.prepare();
      await this.#settle();
    });
    while (this.#keyring.current === before) {
      await this.#options.clock.sleep(Math.max(0, this.#keyring.dueIn()), this.#closing.signal);
      await this.#serially(() => this.#settle());
    }
  }

  /**
   * Replaces the entries. Open streams get their new state at once; a socket without an entry answers PermissionDenied,
   * on its open streams too, until it has one again. An identity that stays keeps its SVID.
   *
   * @throws `ERR_SPIFFE_CONFIG` for a wrong entry, `ERR_SPIFFE_AUTHORITY` when a new socket cannot be opened; the old
   * entries then stay
   */
  async setEntries(entries: readonly AuthorityEntry[]): Promise<void> {
    const { x509TtlMs, jwtTtlMs } = this.#options;
    const registrations = checkEntries(entries, this.trustDomain, { ttlMs: x509TtlMs, jwtTtlMs });
    await this.#serially(async () => {
      const names = new Set(registrations.map((registration) => registration.socket));
      const opened = [...names].filter((name) => !this.#servers.has(name)).map((name) => this.#serve(name));
      for (const result of await Promise.allSettled(opened)) if (result.status === "rejected") throw result.reason;
      this.#registrations = registrations;
      await this.#settle();
    });
  }

  /**
   * Trusts another authority: entries that name its trust domain in `federatesWith` get its bundles, now and as they
   * change. One direction; for both, call it on both.
   *
   * @throws `ERR_SPIFFE_CONFIG` when it is of the same trust domain
   */
  federate(other: Authority): void {
    if (other.trustDomain.equals(this.trustDomain)) {
      throw new SpiffeError("ERR_SPIFFE_CONFIG", `${other.trustDomain.name} cannot federate with itself`);
    }
    this.unfederate(other.trustDomain.name);
    const leave = other.#change.subscribe(() => this.#change.notify());
    this.#federated.set(other.trustDomain.name, { other, leave });
    this.#change.notify();
  }

  /** Ends the trust in a foreign trust domain; its bundles leave every stream. */
  unfederate(trustDomain: string): void {
    this.#federated.get(trustDomain)?.leave();
    if (this.#federated.delete(trustDomain)) this.#change.notify();
  }

  /** Ends all streams with Unavailable, closes the sockets and removes them with their directory. May be called twice. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    this.#rearm.abort();
    await this.#timer;
    await this.#turn;
    for (const { leave } of this.#federated.values()) leave();
    await Promise.all([...this.#servers.values()].map((server) => server.close()));
    await this.#sockets.remove();
    this.#held.clear();
  }

  /** One change of state at a time. */
  #serially<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(() => {
      if (this.#closing.signal.aborted) throw new SpiffeError("ERR_SPIFFE_CLOSED", "The authority is closed");
      return work();
    });
    this.#turn = result.catch(() => {});
    return result;
  }

  async #keepTime(): Promise<void> {
    const { clock, logger } = this.#options;
    const sleep = (ms: number, signal: AbortSignal) =>
      clock.sleep(ms, signal).then(
        () => true,
        () => false,
      );
    while (!this.#closing.signal.aborted) {
      this.#rearm = new AbortController();
      const slept = await sleep(Math.min(MAX_SLEEP_MS, Math.max(0, this.#dueIn())), this.#rearm.signal);
      if (!slept || this.#closing.signal.aborted) continue;
      try {
        await this.#serially(() => this.#settle());
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        logger.error("rotation failed, tried again in a second", { error: String(error) });
        await sleep(RETRY_MS, this.#closing.signal);
      }
    }
  }

  #dueIn(): number {
    const now = this.#options.clock.now();
    return Math.min(this.#keyring.dueIn(), ...[...this.#held.values()].map(({ svid }) => renewAt(svid) - now));
  }

  /** Brings keys, SVIDs and bundles up to date and tells the streams. */
  async #settle(): Promise<void> {
    await this.#keyring.advance();
    const held = new Map<string, Held>();
    await Promise.all(
      this.#registrations.map(async (registration) => {
        held.set(registration.key, await this.#fresh(registration, this.#held.get(registration.key)));
      }),
    );
    this.#held = held;
    this.#published = this.#publish();
    this.#change.notify();
    this.#keyring.published();
    this.#rearm.abort();
  }

  /** The held SVID while it is in the first half of its life and signed by the current CA, else a new one. */
  async #fresh(registration: Registration, held: Held | undefined): Promise<Held> {
    const now = this.#options.clock.now();
    const issuer = this.#keyring.current;
    if (held?.issuer === issuer && inFirstHalf(held.svid, now) && held.registration.ttlMs === registration.ttlMs)
      return { ...held, registration };
    const svid = await issuer.issueX509(registration.id, now, registration.ttlMs);
    return { registration, svid, issuer };
  }

  #publish(): PublishedBundle {
    const keys = this.#keyring.jwtKeys();
    return {
      trustDomain: this.trustDomain,
      x509: concat(this.#keyring.x509Authorities()),
      jwks: new TextEncoder().encode(JSON.stringify({ keys })),
    };
  }

  #parsed(): { x509: X509Bundle; jwt: JwtBundle } {
    const from = this.#published;
    if (this.#bundles?.from !== from) {
      this.#bundles = {
        from,
        x509: X509Bundle.fromDer(this.trustDomain, from.x509),
        jwt: JwtBundle.fromJwks(this.trustDomain, from.jwks, "workload-api"),
      };
    }
    return this.#bundles;
  }

  async #serve(name: string): Promise<void> {
    const path = await this.#sockets.claim(name);
    const workload = workloadRoutes(this.#caller(name));
    const routes = (router: ConnectRouter) => {
      workload(router);
      reflectionRoutes(router);
    };
    this.#servers.set(name, await serveUnix(path, routes, [requireSecurityHeader]));
  }

  #caller(socket: string): Caller {
    const registrations = () => this.#registrations.filter((registration) => registration.socket === socket);
    const federated = () => {
      const names = new Set(registrations().flatMap((entry) => entry.federatesWith.map((domain) => domain.name)));
      return [...names].flatMap((name) => this.#federated.get(name)?.other ?? []);
    };
    return {
      clock: this.#options.clock,
      change: this.#change,
      closed: this.#closing.signal,
      identities: () => registrations().map((registration) => this.#identity(registration)),
      ownBundle: () => this.#published,
      federatedBundles: () => federated().map((other) => other.#published),
      jwtBundleFor: (trustDomain) => {
        const domains: readonly Authority[] = [this, ...federated()];
        return domains.find((authority) => authority.trustDomain.equals(trustDomain))?.jwtBundle();
      },
    };
  }

  #identity(registration: Registration): CallerIdentity {
    const { id, hint, key, jwtTtlMs } = registration;
    return {
      id,
      hint,
      // a reader after a step of the clock must not get what the timer has not renewed yet
      x509: async () => {
        const held = this.#held.get(key);
        if (held !== undefined && inFirstHalf(held.svid, this.#options.clock.now())) return held.svid;
        await this.#serially(() => this.#settle());
        const renewed = this.#held.get(key);
        if (renewed === undefined) throw new ConnectError("the entry was removed", Code.PermissionDenied);
        return renewed.svid;
      },
      jwt: (audience) => {
        return this.#serially(() => this.#keyring.current.issueJwt(id, audience, this.#options.clock.now(), jwtTtlMs));
      },
    };
  }
}

/** False also when the wall clock went back behind the issuing. */
function inFirstHalf(svid: IssuedX509, now: number): boolean {
  return now >= svid.issuedAt && now < renewAt(svid);
}

function renewAt(svid: IssuedX509): number {
  return svid.issuedAt + (svid.expiresAt - svid.issuedAt) / 2;
}
