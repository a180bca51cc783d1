/** HTTP/2 sessions to one peer, opened when a request needs one, each on a connection that was verified before. */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type OutgoingHttpHeaders,
  connect as openSession,
} from "node:http2";
import { type Clock, systemClock } from "../base/clock.ts";
import { SpiffeError } from "../base/errors.ts";
import type { X509Svid } from "../x509/index.ts";
import { type Authorizer, expectationOf } from "./authorizers.ts";
import { connectVouched } from "./connect.ts";
import type { TlsIdentity } from "./identity.ts";
import { HEADER_BYTES } from "./options.ts";
import { ownSvid } from "./own-identity.ts";
import { isOwn } from "./snapshot.ts";
import { openWhole } from "./whole-stream.ts";

/** What {@link PeerSessions} need to know. */
export interface PeerSessionsOptions {
  readonly url: URL;
  readonly authorize: Authorizer;
  readonly connectTimeoutMs: number | undefined;
  readonly idleTimeoutMs: number;
  readonly clock: Clock | undefined;
}

interface Open {
  readonly session: ClientHttp2Session;
  /** Whether a later request would be verified as the connection was (S-6). */
  readonly isCurrent: () => boolean;
  streams: number;
  idle: AbortController | undefined;
}

/** A connection that is dialled for all who ask while the own SVID stays the same. */
interface Opening {
  readonly own: X509Svid | undefined;
  readonly open: Promise<Open>;
}

function ignore(): void {}

/** Has the shape of the session manager that Connect's Node transports take. */
export class PeerSessions {
  /** Origin of the base URL. */
  readonly authority: string;
  readonly #identity: TlsIdentity;
  readonly #options: PeerSessionsOptions;
  readonly #clock: Clock;
  #open: Open | undefined;
  #opening: Opening | undefined;
  #closed = false;

  constructor(identity: TlsIdentity, options: PeerSessionsOptions) {
    this.authority = options.url.origin;
    this.#identity = identity;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Opens a stream, on a new connection where there is none that may still be used. */
  async request(
    method: string,
    path: string,
    headers: OutgoingHttpHeaders,
    options: Parameters<ClientHttp2Session["request"]>[1] = {},
  ): Promise<ClientHttp2Stream> {
    const open = await this.#ready();
    let stream: ClientHttp2Stream;
    try {
      stream = openWhole(open.session, { ...headers, ":method": method, ":path": path }, options);
    } catch (cause) {
      // It ended between the look and the use; nothing was sent.
      throw new SpiffeError("ERR_SPIFFE_UPSTREAM", `The session to ${this.authority} ended before the request`, {
        phase: "request",
        retryable: true,
        hint: "Send the request again: it gets another session",
        cause,
      });
    }
    open.streams++;
    open.idle?.abort();
    open.idle = undefined;
    stream.once("close", () => {
      open.streams--;
      this.#endWhenIdle(open);
    });
    return stream;
  }

  /** Part of the shape; nothing here needs it. */
  notifyResponseByteRead(_stream: ClientHttp2Stream): void {}

  /** Takes no more requests; lets those that run finish. */
  close(): void {
    this.#closed = true;
    this.#open?.session.close();
  }

  async #ready(): Promise<Open> {
    if (this.#closed) {
      throw new SpiffeError("ERR_SPIFFE_CLOSED", `The sessions to ${this.authority} were closed`, {
        phase: "request",
        hint: "Make new options: these were closed by their owner",
      });
    }
    const open = this.#open;
    if (open !== undefined && !open.session.closed && !open.session.destroyed) {
      if (open.isCurrent()) return open;
      // A later verdict could differ: streams that run may finish, nothing new begins on it.
      open.session.close();
    }
    const under = this.#opening;
    // a dial under way shows the SVID of when it began
    const mayShare = under?.own !== undefined && isOwn(under.own, this.#identity, this.#clock);
    return (mayShare ? under : this.#begin()).open;
  }

  #begin(): Opening {
    const opening: Opening = {
      own: this.#ownNow(),
      open: this.#dial().finally(() => {
        if (this.#opening === opening) this.#opening = undefined;
      }),
    };
    this.#opening = opening;
    return opening;
  }

  /** Nothing while this side has none: the dial says why. */
  #ownNow(): X509Svid | undefined {
    try {
      return ownSvid(this.#identity, this.#clock);
    } catch {
      return undefined;
    }
  }

  async #dial(): Promise<Open> {
    const { url, authorize, connectTimeoutMs, clock } = this.#options;
    let session: ClientHttp2Session | undefined;
    const { socket, isCurrent, rejudge } = await connectVouched(this.#identity, {
      host: url.hostname.replace(/^\[|\]$/g, ""),
      port: url.port === "" ? 443 : Number(url.port),
      peer: authorize,
      alpn: ["h2"],
      // GOAWAY: streams that run may finish.
      onDrain: () => void session?.close(),
      ...(clock === undefined ? {} : { clock }),
      ...(connectTimeoutMs === undefined ? {} : { timeoutMs: connectTimeoutMs }),
    });
    if (socket.alpnProtocol !== "h2" || socket.destroyed) {
      socket.destroy();
      throw new SpiffeError("ERR_SPIFFE_TLS", `Expected ${url.host} to speak HTTP/2; it chose another protocol`, {
        phase: "handshake",
        hint: "Check that the peer serves HTTP/2 on this port",
      });
    }
    session = openSession(this.authority, {
      createConnection: () => socket,
      settings: { enablePush: false, maxHeaderListSize: HEADER_BYTES },
    });
    session.on("error", ignore);
    const open: Open = {
      session,
      // A program's own function may decide anew each time.
      isCurrent: () => isCurrent() && (expectationOf(authorize) !== undefined || rejudge().ok === true),
      streams: 0,
      idle: undefined,
    };
    session.once("close", () => {
      open.idle?.abort();
      if (this.#open === open) this.#open = undefined;
    });
    // one that was dialled later, with a newer SVID, may be there before
    if (this.#open === undefined || open.isCurrent()) this.#open = open;
    this.#endWhenIdle(open);
    return open;
  }

  #endWhenIdle(open: Open): void {
    if (open.streams > 0 || open.session.closed || open.session.destroyed) return;
    if (this.#closed) return void open.session.close();
    open.idle?.abort();
    open.idle = new AbortController();
    this.#clock.sleep(this.#options.idleTimeoutMs, open.idle.signal).then(() => open.session.close(), ignore);
  }
}
