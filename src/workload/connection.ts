/** One connection to one Workload API, shared by a client and the sources on it. Not part of the public surface. */
import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { type Clock, MAX_TIMER_MS } from "../base/clock.ts";
import { SpiffeError } from "../base/errors.ts";
import type { Verdict } from "../base/verdict.ts";
import { SpiffeWorkloadAPI } from "../gen/workload/workload_pb.js";
import type { Logger } from "../telemetry/logger.ts";
import { type Endpoint, formatEndpoint } from "./endpoint.ts";
import { type Failure, failureOf } from "./failure.ts";
import { JudgedSvids } from "./judged-svids.ts";
import { checkTimeout, linkSignals, within } from "./signals.ts";
import type { Content, Snapshot } from "./snapshot.ts";
import { type OpenTransport, openTransport } from "./transport.ts";
import { Vigil } from "./vigil.ts";

export type WorkloadApi = Client<typeof SpiffeWorkloadAPI>;

/** What Connect is told about one call. */
export interface RpcOptions {
  readonly signal: AbortSignal;
  /** Milliseconds until the call gives up; absent for a stream that stays open. */
  readonly timeoutMs?: number;
}

/** How long a call may take, and who may end it earlier. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds; the client's own `timeoutMs` by default. */
  readonly timeoutMs?: number | undefined;
}

/** One streaming call: how to open it, how to read it, and what is left after a redaction. */
export interface Profile<M, T extends Snapshot> {
  /** What is fetched or watched, such as `x509`; part of an error's phase. */
  readonly name: string;
  open(api: WorkloadApi, options: RpcOptions): AsyncIterable<M>;
  /** @param judged what was accepted before on the same connection */
  decode(message: M, clock: Clock, judged?: JudgedSvids): Promise<Verdict<Content<T>>>;
  same(a: Content<T>, b: Content<T>): boolean;
  /** Wall time at which the first identity of a state ends; absent where nothing in it has an end. */
  endsAt?(content: Content<T>): number;
  readonly empty: Content<T>;
}

export interface ConnectionOptions {
  /** Where to dial. Without one, `transport` has to be given. */
  readonly endpoint?: Endpoint | undefined;
  readonly transport?: Transport | undefined;
  readonly timeoutMs: number;
  readonly keepaliveMs?: number | undefined;
  /** Milliseconds for which a state outlives a PermissionDenied; 0 by default. */
  readonly redactionGraceMs?: number | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Who holds a stream open, and is to be called about it. */
export interface Attendant {
  /** Another socket lies at the address: what is waited for may be there now. */
  arrived(): void;
  /** A second has passed. */
  look(): void;
}

export class Connection {
  readonly clock: Clock;
  readonly logger: Logger;
  /** The address as a URI, for sentences. */
  readonly socket: string;
  readonly redactionGraceMs: number;
  readonly judged: JudgedSvids = new JudgedSvids();
  readonly #timeoutMs: number;
  readonly #endpoint: Endpoint | undefined;
  readonly #api: WorkloadApi;
  /** The transport made here; one that was given is its owner's. */
  readonly #own: OpenTransport | undefined;
  readonly #vigil: Vigil<Attendant>;
  readonly #closing = new AbortController();
  #looking: Promise<void> | undefined;

  constructor(options: ConnectionOptions) {
    const { endpoint } = options;
    this.clock = options.clock;
    this.logger = options.logger;
    this.socket = endpoint === undefined ? "the given transport" : formatEndpoint(endpoint);
    this.redactionGraceMs = options.redactionGraceMs ?? 0;
    this.#timeoutMs = options.timeoutMs;
    this.#endpoint = endpoint;
    this.#vigil = new Vigil(options.clock, (attendants) => this.#look(attendants));
    this.#own = endpoint && openTransport(endpoint, { keepaliveMs: options.keepaliveMs });
    const transport = this.#own?.transport ?? options.transport;
    if (transport === undefined)
      throw new SpiffeError("ERR_SPIFFE_USAGE", "Neither a socket nor a transport was given");
    this.#api = createClient(SpiffeWorkloadAPI, withHeader(transport));
  }

  /** Aborts when this connection is closed. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Opens a stream that lasts until the signal aborts, the server ends it, or this connection is closed. */
  async *stream<M, T extends Snapshot>(profile: Profile<M, T>, signal: AbortSignal): AsyncGenerator<M> {
    const link = linkSignals(signal, this.#closing.signal);
    try {
      yield* profile.open(this.#api, { signal: link.signal });
    } finally {
      // Leaving the loop does not end Connect's stream; the signal does.
      link.abort();
      link.release();
    }
  }

  /** Calls the attendant each second and when another socket takes the place of the old, until the result is called. */
  attend(attendant: Attendant): () => void {
    return this.#vigil.join(attendant);
  }

  /** Asks the agent for a sign of life, after it owed one; a connection without it is dialled anew. */
  probe(): void {
    this.#own?.probe();
  }

  /** The first message of a stream, which is then left. */
  async first<M, T extends Snapshot>(profile: Profile<M, T>, options: CallOptions): Promise<Verdict<Content<T>>> {
    const phase = `fetch-${profile.name}`;
    const { clock, socket } = this;
    const timeoutMs = checkTimeout(options.timeoutMs ?? this.#timeoutMs);
    const late = () => {
      this.probe();
      const sentence = `The Workload API at ${socket} sent nothing within ${timeoutMs} ms (DeadlineExceeded)`;
      return new SpiffeError("ERR_SPIFFE_TIMEOUT", sentence, { phase, retryable: true });
    };
    const read = async (api: WorkloadApi, { signal }: RpcOptions) => {
      for await (const first of profile.open(api, { signal })) return first;
      const sentence = `The Workload API at ${socket} ended the stream without a message (OK)`;
      const reason = "workload.unavailable";
      throw new SpiffeError("ERR_SPIFFE_WORKLOAD_API", sentence, { phase, reason, retryable: true });
    };
    // Connect would keep the timer of its own deadline after the stream was left.
    const message = await within((signal) => this.call(phase, { signal, timeoutMs: Number.POSITIVE_INFINITY }, read), {
      timeoutMs,
      clock,
      signal: options.signal,
      late,
    });
    return profile.decode(message, clock, this.judged);
  }

  /**
   * Runs one call with its deadline; what it leaves open is ended.
   *
   * @param token the token the agent is to validate; it must not return in an error
   * @throws SpiffeError whatever the call threw, as one
   */
  async call<R>(
    phase: string,
    options: CallOptions,
    run: (api: WorkloadApi, rpc: RpcOptions) => Promise<R>,
    token?: string,
  ): Promise<R> {
    const timeoutMs = checkTimeout(options.timeoutMs ?? this.#timeoutMs);
    const link = linkSignals(options.signal, this.#closing.signal);
    try {
      return await run(this.#api, { signal: link.signal, ...(timeoutMs <= MAX_TIMER_MS && { timeoutMs }) });
    } catch (thrown) {
      if (this.closing.aborted)
        throw new SpiffeError("ERR_SPIFFE_CLOSED", "This Workload API client is closed", { phase });
      if (options.signal?.aborted) {
        const sentence = `The call to the Workload API at ${this.socket} was aborted`;
        throw new SpiffeError("ERR_SPIFFE_ABORTED", sentence, { phase, cause: options.signal.reason });
      }
      const { error } = this.failure(thrown, phase, token);
      if (error.code === "ERR_SPIFFE_TIMEOUT") this.probe();
      throw error;
    } finally {
      link.abort();
      link.release();
    }
  }

  failure(thrown: unknown, phase: string, token?: string): Failure {
    const failure = failureOf(thrown, { phase, socket: this.socket, endpoint: this.#endpoint, token });
    if (failure.kind === "denied") this.judged.clear();
    return failure;
  }

  /** Ends every call and stream. Idempotent. */
  close(): void {
    if (this.closing.aborted) return;
    this.#closing.abort();
    this.judged.clear();
    this.#own?.close();
  }

  #look(attendants: readonly Attendant[]): void {
    for (const attendant of attendants) attendant.look();
    this.#looking ??= this.#lookAtSocket(attendants).finally(() => {
      this.#looking = undefined;
    });
  }

  /** A new agent is dialled by its path, even while the connection to the old one still seems to work. */
  async #lookAtSocket(attendants: readonly Attendant[]): Promise<void> {
    const look = await this.#own?.look();
    if (look === undefined || this.closing.aborted) return;
    if (look.replaced) {
      const sentence = `The Workload API at ${this.socket} was replaced by another (Unavailable); it is dialled anew`;
      const options = { phase: "connect", reason: "workload.unavailable", retryable: true } as const;
      this.#own?.redial(new SpiffeError("ERR_SPIFFE_WORKLOAD_API", sentence, options));
    }
    if (look.replaced || look.arrived) for (const attendant of attendants) attendant.arrived();
  }
}

/** Adds the header without which the endpoint refuses every call (WE-05), above whatever transport there is. */
function withHeader(transport: Transport): Transport {
  const withSecurity = (given: ConstructorParameters<typeof Headers>[0]): Headers => {
    const header = new Headers(given);
    header.set("workload.spiffe.io", "true");
    return header;
  };
  return {
    unary: (method, signal, timeoutMs, header, ...rest) =>
      transport.unary(method, signal, timeoutMs, withSecurity(header), ...rest),
    stream: (method, signal, timeoutMs, header, ...rest) =>
      transport.stream(method, signal, timeoutMs, withSecurity(header), ...rest),
  };
}
