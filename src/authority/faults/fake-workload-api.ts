/** A Workload API that does wrong on demand, on the real wire: HTTP/2 and gRPC over a unix socket. */
import { constants } from "node:http2";
import { type OptionNames, onlyKnown } from "../../base/check-options.ts";
import { type Clock, systemClock } from "../../base/index.ts";
import { openSocketDirectory, type SocketDirectory } from "../socket-directory.ts";
import type { TestCa } from "../test-ca.ts";
import type { TestJwtKey } from "../test-jwt.ts";
import { type FakeMethod, FakeService, type SeenCall, type SentSvids } from "./fake-service.ts";
import { type FakeIdentity, FakeState } from "./fake-state.ts";
import { Front } from "./front.ts";
import { type GrpcCode, GrpcWire } from "./grpc-wire.ts";
import type { MessageFault } from "./message-fault.ts";

/** Options of {@link FakeWorkloadApi.start}; each has a default. */
export interface FakeWorkloadApiOptions {
  /** Default `example.org`. */
  readonly trustDomain?: string;
  /** Default: one, `/workload` of the trust domain. */
  readonly identities?: readonly FakeIdentity[];
  /** Life of X.509-SVIDs in ms, default one hour; rounded up to whole seconds of the clock. */
  readonly x509TtlMs?: number;
  /** Life of JWT-SVIDs in ms, default five minutes. */
  readonly jwtTtlMs?: number;
  /** Issues and sends new X.509-SVIDs so often, in ms; default never. */
  readonly rotateEveryMs?: number;
  /** Directory of the socket: one that does not exist, or one of mode 0700; default a fresh one. */
  readonly directory?: string;
  readonly clock?: Clock;
  /** Called after X.509-SVIDs were written to a stream. */
  readonly onSent?: (sent: SentSvids) => void;
}

const KNOWN: OptionNames<FakeWorkloadApiOptions> = {
  trustDomain: true,
  identities: true,
  x509TtlMs: true,
  jwtTtlMs: true,
  rotateEveryMs: true,
  directory: true,
  clock: true,
  onSent: true,
};
const IDENTITY: OptionNames<FakeIdentity> = { id: true, hint: true };

/** How a method fails. */
type Failing = { method?: FakeMethod; message?: string; calls?: number };
const FAILING: OptionNames<Failing> = { method: true, message: true, calls: true };

const HOUR_MS = 3_600_000;
/** How many states a flood alternates between: issuing one costs more than sending it. */
const FLOOD_VARIANTS = 20;
const FLOOD_STEP_MS = 5;

/**
 * A Workload API for tests of programs that must survive a bad one. Without a word from the test it is a good one: keys
 * and certificates come from a {@link TestCa}, streams stay open and get each new state.
 *
 * Faults of a moment: `spoil` (a message), `end`, `reset`, `goAway`, `cut`, `replace`, `flood`. Faults that last until
 * `heal()`: `fail` (any gRPC status), `redact`, `delay`, `endAfterAnswer`, `halfOpen`, `stop`.
 *
 * @example
 * ```ts
 * import { FakeWorkloadApi } from "spiffe-edge/testing";
 * import { X509Source } from "spiffe-edge/workload";
 * await using fake = await FakeWorkloadApi.start({ identities: [{ id: "spiffe://example.org/web" }] });
 * await using source = await X509Source.open({ socket: fake.socket });
 * const held = source.current;
 *
 * fake.spoil({ empty: "x509_svid_key" });
 * while (source.counters.invalid === 0) await new Promise((resolve) => setTimeout(resolve, 5));
 * console.assert(source.current === held && source.lastError?.reason === "workload.field-missing");
 *
 * fake.redact();
 * while (source.state !== "revoked") await new Promise((resolve) => setTimeout(resolve, 5));
 * console.assert(source.current === undefined);
 * ```
 */
export class FakeWorkloadApi {
  /** The address, as `SPIFFE_ENDPOINT_SOCKET` wants it. */
  readonly socket: string;
  /** Absolute path of the socket. */
  readonly path: string;
  readonly #directory: SocketDirectory;
  readonly #state: FakeState;
  readonly #service: FakeService;
  readonly #front: Front;
  readonly #wire: GrpcWire;
  readonly #clock: Clock;
  #rotation: AbortController | undefined;
  #closed: Promise<void> | undefined;

  private constructor(
    clock: Clock,
    state: FakeState,
    service: FakeService,
    place: { directory: SocketDirectory; path: string; front: Front },
  ) {
    this.#clock = clock;
    this.#state = state;
    this.#service = service;
    this.#directory = place.directory;
    this.#front = place.front;
    this.path = place.path;
    this.socket = `unix://${place.path}`;
    this.#wire = new GrpcWire((call) => void service.answer(call));
  }

  /**
   * Starts one on a socket of its own.
   *
   * @throws SpiffeError `ERR_SPIFFE_ID` for a wrong trust domain or identity; `ERR_SPIFFE_AUTHORITY` when the socket
   *   cannot be had; `ERR_SPIFFE_USAGE` for an option it does not know
   */
  static async start(options: FakeWorkloadApiOptions = {}): Promise<FakeWorkloadApi> {
    onlyKnown("FakeWorkloadApi.start", options, KNOWN);
    const { trustDomain = "example.org", x509TtlMs = HOUR_MS, jwtTtlMs = HOUR_MS / 12, clock = systemClock } = options;
    const identities = options.identities ?? [{ id: `spiffe://${trustDomain}/workload` }];
    for (const identity of identities) onlyKnown("an identity", identity, IDENTITY);
    const state = await FakeState.create({ trustDomain, x509TtlMs, jwtTtlMs, clock }, identities);
    const directory = await openSocketDirectory(options.directory);
    const [path, behind] = [await directory.claim("api"), await directory.claim("behind")];
    const service = new FakeService(state, clock, options.onSent ?? (() => {}));
    const fake = new FakeWorkloadApi(clock, state, service, { directory, path, front: new Front(path, behind) });
    try {
      await fake.#wire.listen(behind);
      await fake.#front.listen();
    } catch (error) {
      await fake.close();
      throw error;
    }
    if (options.rotateEveryMs !== undefined) fake.rotateEvery(options.rotateEveryMs);
    return fake;
  }

  /** The CA of its X.509-SVIDs. */
  get ca(): TestCa {
    return this.#state.ca;
  }

  /** The key of its JWT-SVIDs. */
  get jwtKey(): TestJwtKey {
    return this.#state.jwtKey;
  }

  /** Serial numbers of the X.509-SVIDs it hands out now, lower-case hex, in their order. */
  get serials(): readonly string[] {
    return this.#state.serials;
  }

  /** How often it issued new X.509-SVIDs, the first time included. */
  get rotations(): number {
    return this.#state.issued;
  }

  /** Connections accepted so far, and those that are open now. */
  get connections(): { readonly accepted: number; readonly open: number } {
    return { accepted: this.#front.accepted, open: this.#front.open };
  }

  /** The calls that came in, of one method or of all; the last 200. */
  calls(method?: FakeMethod): readonly SeenCall[] {
    return this.#service.calls.filter((call) => method === undefined || call.method === method);
  }

  /** Streams that are open now, of one method or of all. */
  openStreams(method?: FakeMethod): number {
    return this.#service.streams(method).length;
  }

  /** Issues new X.509-SVIDs and sends them to every open stream; gives their serial numbers. */
  async rotate(): Promise<readonly string[]> {
    await this.#state.issue();
    this.#service.publish("FetchX509SVID");
    return this.serials;
  }

  /** Rotates again and again, `ms` after the start of the last time; 0 ends it. */
  rotateEvery(ms: number): void {
    this.#rotation?.abort();
    this.#rotation = undefined;
    if (!(ms > 0)) return;
    this.#rotation = new AbortController();
    void this.#rotateEvery(ms, this.#rotation.signal);
  }

  /** Sends that many states, no two in a row alike, so many a second, to every open stream; the last stays. */
  async flood(states: number, perSecond: number): Promise<void> {
    const prepared = await this.#state.variants(FLOOD_VARIANTS);
    const start = this.#clock.monotonic();
    for (let sent = 0; sent < states; await this.#clock.sleep(FLOOD_STEP_MS)) {
      const due = Math.min(states, Math.ceil(((this.#clock.monotonic() - start) * perSecond) / 1_000));
      for (; sent < due; sent++) {
        this.#state.take(prepared[sent % prepared.length]!);
        this.#service.publish("FetchX509SVID");
      }
    }
  }

  /** Gives the workload other identities, and says so on every open stream; what is left out is redacted. */
  async setIdentities(identities: readonly FakeIdentity[]): Promise<void> {
    for (const identity of identities) onlyKnown("an identity", identity, IDENTITY);
    await this.#state.issue(identities);
    this.#service.publish("FetchX509SVID");
  }

  /** Adds a federated bundle and says so on every open stream. */
  federate(ca: TestCa): void {
    this.#state.federate(ca);
    this.#service.publish("FetchX509SVID", "FetchX509Bundles");
  }

  /** Takes a federated bundle away and says so on every open stream. */
  unfederate(trustDomain: string): void {
    this.#state.unfederate(trustDomain);
    this.#service.publish("FetchX509SVID", "FetchX509Bundles");
  }

  /**
   * Sends a spoilt message on every open stream of the method; where none is open, its next answer is spoilt.
   *
   * @returns on how many streams it was sent
   * @throws SpiffeError `ERR_SPIFFE_USAGE` when the method's answer has no place for this fault
   */
  spoil(fault: MessageFault, method: FakeMethod = "FetchX509SVID"): number {
    const streams = this.#service.streams(method);
    if (streams.length === 0) this.#service.spoilNext.set(method, fault);
    for (const stream of streams) this.#service.say(stream, method, fault);
    return streams.length;
  }

  /** Finishes the open streams, as if all had been said. */
  end(method?: FakeMethod): void {
    for (const { call } of this.#service.streams(method)) call.end();
  }

  /** Breaks the open streams off by RST_STREAM; their connection stays. */
  reset(method?: FakeMethod): void {
    for (const { call } of this.#service.streams(method)) call.reset();
  }

  /**
   * Ends the open streams with this status and answers calls with it, of one method or of all, until `heal()`.
   *
   * @param options.calls how many calls to answer so; 0: end the open streams only
   */
  fail(code: GrpcCode, options: Failing = {}): void {
    onlyKnown("FakeWorkloadApi.fail", options, FAILING);
    const { method, message = "", calls = Number.POSITIVE_INFINITY } = options;
    if (calls > 0) this.#service.refusals.set(method ?? "all", { code, message, calls });
    for (const { call } of this.#service.streams(method)) call.end(code, message);
  }

  /** Takes the identity away: PermissionDenied on every open stream and to every call, until `heal()`. */
  redact(): void {
    this.fail("PermissionDenied", { message: "no identity issued" });
  }

  /** Lets every call of the method, or of all, wait so long for its first answer, until `heal()`. */
  delay(ms: number, method?: FakeMethod): void {
    this.#service.delays.set(method ?? "all", ms);
  }

  /** Finishes each stream after its first message, until `heal()`; those that are open at once. */
  endAfterAnswer(): void {
    this.#service.endAfterAnswer = true;
    this.end();
  }

  /** Tells every connection to go away, by GOAWAY; the streams on it go on. */
  goAway(code: "NO_ERROR" | "INTERNAL_ERROR" | "ENHANCE_YOUR_CALM" = "NO_ERROR"): void {
    this.#wire.goAway(constants[`NGHTTP2_${code}`]);
  }

  /** Accepts and reads, and is silent: on open connections for good, on new ones until `heal()`. */
  halfOpen(): void {
    this.#front.silence();
  }

  /** Breaks every connection off. */
  cut(): void {
    this.#front.cut();
  }

  /** Takes the socket away and breaks every connection off, as an agent that ends; `heal()` brings it back. */
  async stop(): Promise<void> {
    await this.#front.unlisten();
    this.#front.cut();
  }

  /** Puts another socket in the place of the old and leaves open connections alone, as a new agent beside the old. */
  async replace(): Promise<void> {
    await this.#front.replace();
  }

  /** Ends every fault that lasts. */
  async heal(): Promise<void> {
    this.#service.refusals.clear();
    this.#service.delays.clear();
    this.#service.spoilNext.clear();
    this.#service.endAfterAnswer = false;
    this.#front.speak();
    await this.#front.listen();
  }

  /** Ends it and removes its socket. May be called twice. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.rotateEvery(0);
    await this.#front.close();
    await this.#wire.close();
    await this.#directory.remove();
  }

  async #rotateEvery(ms: number, signal: AbortSignal): Promise<void> {
    for (let next = this.#clock.monotonic() + ms; !signal.aborted; next += ms) {
      try {
        await this.#clock.sleep(Math.max(0, next - this.#clock.monotonic()), signal);
      } catch {
        return;
      }
      await this.rotate();
    }
  }
}
