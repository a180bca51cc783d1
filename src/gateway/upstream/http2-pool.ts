/** The HTTP/2 sessions to one address: many requests on each, and another one where those have no room. */
import { type ClientHttp2Session, connect as openSession } from "node:http2";
import type { Duplex } from "node:stream";
import { capabilities } from "../../runtime/capabilities.ts";
import type { CallEvents, UpstreamCall, UpstreamRequest } from "../../tls/http1/call.ts";
import { dialFailure } from "../../tls/http1/pool.ts";
import { type CarryingSession, Http2Call } from "./http2-call.ts";

/** Streams of one session, where the upstream allows as many. */
const MAX_STREAMS = 100;
/** Requests with a body that one session carries: servers end one with 100 empty frames, as a flood. */
const MAX_BODIES = capabilities.frugalBodyEnd.value ? Number.POSITIVE_INFINITY : 64;
/** Bytes of an answer's fields. */
const HEADER_BYTES = 65_536;
/** Bytes of an answer that may be on their way before they are read. */
const WINDOW_BYTES = 262_144;

class Session implements CarryingSession {
  readonly session: ClientHttp2Session;
  used = false;
  lastSeen: number | undefined;
  streams = 0;
  #bodies = 0;
  #leaving = false;

  constructor(session: ClientHttp2Session, gone: () => void) {
    this.session = session;
    session.on("error", () => {});
    session.on("goaway", (_code, lastStreamId) => {
      this.#leaving = true;
      this.lastSeen = lastStreamId;
      gone();
    });
    session.once("close", gone);
  }

  get open(): boolean {
    return !this.#leaving && !this.session.closed && !this.session.destroyed;
  }

  get room(): boolean {
    const allowed = this.session.remoteSettings?.maxConcurrentStreams ?? MAX_STREAMS;
    return this.open && this.streams < Math.min(MAX_STREAMS, allowed);
  }

  carry(call: Http2Call): void {
    this.streams++;
    let over = false;
    call.start(this, () => {
      if (over) return;
      over = true;
      this.streams--;
      if (this.#leaving) this.leave();
    });
    this.used = true;
    if (call.withBody && ++this.#bodies >= MAX_BODIES) this.leave();
  }

  /** Takes nothing new, and ends with its last stream: one that is closed before it is connected breaks what waits for that. */
  leave(): void {
    this.#leaving = true;
    if (this.streams === 0) this.session.close();
  }
}

/** Sessions on connections that one function opens. */
export class Http2Pool {
  readonly #open: () => Promise<Duplex>;
  readonly #authority: string;
  readonly #sessions = new Set<Session>();
  #opening: Promise<Session> | undefined;
  #keeps = true;
  #closed = false;

  /** @param authority scheme and host, for the session alone */
  constructor(open: () => Promise<Duplex>, authority: string) {
    this.#open = open;
    this.#authority = authority;
  }

  /** Begins a request, on an open session where there is room. Throws for a request that cannot be written. */
  begin(request: UpstreamRequest, events: CallEvents): UpstreamCall {
    const call = new Http2Call(request, events);
    void this.#carry(call);
    return call;
  }

  /** Ends sessions without a request. */
  dropIdle(): void {
    for (const session of this.#sessions) if (session.streams === 0) session.session.close();
  }

  /** Takes nothing new; what runs may finish. */
  retire(): void {
    this.#keeps = false;
    for (const session of this.#sessions) session.leave();
  }

  /** Ends everything. */
  destroy(): void {
    this.#closed = true;
    for (const session of this.#sessions) session.session.destroy();
  }

  async #carry(call: Http2Call): Promise<void> {
    try {
      // who begins gets the call before its first event
      await undefined;
      for (;;) {
        const session = this.#withRoom();
        if (session !== undefined) {
          if (!call.destroyed) session.carry(call);
          if (!this.#keeps) session.leave();
          return;
        }
        this.#opening ??= this.#dial().finally(() => {
          this.#opening = undefined;
        });
        await this.#opening;
      }
    } catch (cause) {
      call.broken(dialFailure(cause));
    }
  }

  #withRoom(): Session | undefined {
    for (const session of this.#sessions) if (session.room) return session;
    return undefined;
  }

  async #dial(): Promise<Session> {
    const socket = await this.#open();
    if (this.#closed || socket.destroyed) {
      socket.destroy();
      throw new Error("The connection broke before it was used");
    }
    const opened = openSession(this.#authority, {
      createConnection: () => socket,
      settings: { enablePush: false, maxHeaderListSize: HEADER_BYTES, initialWindowSize: WINDOW_BYTES },
    });
    const session: Session = new Session(opened, () => this.#sessions.delete(session));
    this.#sessions.add(session);
    return session;
  }
}
