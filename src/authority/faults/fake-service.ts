/** How the fake Workload API answers: rightly, unless a test said otherwise. */
import { type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { type Clock, SpiffeError } from "../../base/index.ts";
import {
  JWTBundlesResponseSchema,
  JWTSVIDRequestSchema,
  JWTSVIDResponseSchema,
  ValidateJWTSVIDRequestSchema,
  ValidateJWTSVIDResponseSchema,
  X509BundlesResponseSchema,
  X509SVIDResponseSchema,
} from "../../gen/workload/workload_pb.js";
import type { FakeState } from "./fake-state.ts";
import type { GrpcCode, WireCall } from "./grpc-wire.ts";
import { type MessageFault, spoil, type WireMessage } from "./message-fault.ts";

/** The calls that are answered; the others are answered with Unimplemented. */
export type FakeMethod = "FetchX509SVID" | "FetchX509Bundles" | "FetchJWTSVID" | "FetchJWTBundles" | "ValidateJWTSVID";

/** X.509-SVIDs that were written to one stream. */
export interface SentSvids {
  /** The number of the call. */
  readonly call: number;
  /** Serial numbers of the leaves, lower-case hex. */
  readonly serials: readonly string[];
}

/** A call that came in. */
export interface SeenCall {
  /** Numbers the calls, from 1. */
  readonly number: number;
  readonly method: string;
  /** Monotonic time in ms, by the fake's clock. */
  readonly at: number;
  /** Request headers by lower-case name. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** A status in the place of answers. */
export interface Refusal {
  readonly code: GrpcCode;
  readonly message: string;
  /** How many calls are still to be refused. */
  calls: number;
}

/** An open stream. */
export interface Stream {
  readonly call: WireCall;
  readonly number: number;
}

/** How many of the last calls are remembered. */
const SEEN_CALLS = 200;

export class FakeService {
  readonly refusals: Map<FakeMethod | "all", Refusal> = new Map();
  /** Milliseconds before each first answer. */
  readonly delays: Map<FakeMethod | "all", number> = new Map();
  readonly spoilNext: Map<FakeMethod, MessageFault> = new Map();
  readonly calls: SeenCall[] = [];
  endAfterAnswer = false;
  readonly #state: FakeState;
  readonly #clock: Clock;
  readonly #onSent: (sent: SentSvids) => void;
  readonly #streams = new Map<string, Set<Stream>>();
  #counted = 0;

  constructor(state: FakeState, clock: Clock, onSent: (sent: SentSvids) => void) {
    this.#state = state;
    this.#clock = clock;
    this.#onSent = onSent;
  }

  /** The open streams, of one method or of all. */
  streams(method?: FakeMethod): Stream[] {
    const found = [...this.#streams].filter(([name]) => method === undefined || name === method);
    return found.flatMap(([, streams]) => [...streams]);
  }

  async answer(call: WireCall): Promise<void> {
    const number = ++this.#counted;
    this.calls.push({ number, method: call.method, at: this.#clock.monotonic(), metadata: call.metadata });
    if (this.calls.length > SEEN_CALLS) this.calls.shift();
    const request = await call.request();
    if (call.metadata["workload.spiffe.io"] !== "true") return call.end("InvalidArgument", "security header missing");
    const method = call.method as FakeMethod;
    const ms = this.delays.get(method) ?? this.delays.get("all") ?? 0;
    if (ms > 0) await this.#clock.sleep(ms);
    const refusal = this.#takeRefusal(method);
    if (refusal !== undefined) return call.end(refusal.code, refusal.message);
    const fault = this.spoilNext.get(method);
    this.spoilNext.delete(method);
    try {
      switch (method) {
        case "FetchX509SVID":
        case "FetchX509Bundles":
        case "FetchJWTBundles":
          return this.#open({ call, number }, method, fault);
        case "FetchJWTSVID":
          return await this.#fetchJwt(call, request, fault);
        case "ValidateJWTSVID":
          return await this.#validateJwt(call, request, fault);
        default:
          return call.end("Unimplemented", `${call.method} is not offered`);
      }
    } catch (error) {
      call.end("Internal", String(error));
    }
  }

  /** Says the state of these methods on their open streams. */
  publish(...methods: FakeMethod[]): void {
    for (const method of methods) for (const stream of this.streams(method)) this.say(stream, method);
  }

  /** Sends the state of a stream's method, whole as always. */
  say({ call, number }: Stream, method: FakeMethod, fault?: MessageFault): void {
    switch (method) {
      case "FetchX509SVID":
        this.#send(call, X509SVIDResponseSchema, this.#state.x509Svids(), fault);
        if (fault === undefined) this.#onSent({ call: number, serials: this.#state.serials });
        break;
      case "FetchX509Bundles":
        this.#send(call, X509BundlesResponseSchema, this.#state.x509Bundles(), fault);
        break;
      case "FetchJWTBundles":
        this.#send(call, JWTBundlesResponseSchema, this.#state.jwtBundles(), fault);
        break;
      default:
        throw new SpiffeError("ERR_SPIFFE_USAGE", `${method} has no streams`);
    }
  }

  #takeRefusal(method: FakeMethod): Refusal | undefined {
    for (const key of [method, "all"] as const) {
      const refusal = this.refusals.get(key);
      if (refusal === undefined) continue;
      if (--refusal.calls <= 0) this.refusals.delete(key);
      return refusal;
    }
    return undefined;
  }

  #open(stream: Stream, method: FakeMethod, fault: MessageFault | undefined): void {
    const streams = this.#streams.get(method) ?? new Set();
    this.#streams.set(method, streams);
    streams.add(stream);
    void stream.call.closed.then(() => streams.delete(stream));
    this.say(stream, method, fault);
    if (this.endAfterAnswer) stream.call.end();
  }

  #send<D extends DescMessage>(
    call: WireCall,
    schema: D,
    message: MessageShape<D>,
    fault: MessageFault | undefined,
  ): void {
    const wire: WireMessage =
      fault === undefined ? { body: toBinary(schema, message) } : spoil(schema, message, fault, this.#state.otherKey);
    call.send(wire.body, wire.sent);
    if (wire.sent !== undefined) call.end();
  }

  async #fetchJwt(call: WireCall, request: Uint8Array, fault: MessageFault | undefined): Promise<void> {
    const { audience, spiffeId } = fromBinary(JWTSVIDRequestSchema, request);
    if (audience.length === 0) return call.end("InvalidArgument", "audience must be given");
    const answer = await this.#state.jwtSvids(audience, spiffeId);
    if (answer === undefined) return call.end("PermissionDenied", "not an identity of the caller");
    this.#send(call, JWTSVIDResponseSchema, answer, fault);
    call.end();
  }

  async #validateJwt(call: WireCall, request: Uint8Array, fault: MessageFault | undefined): Promise<void> {
    const { audience, svid } = fromBinary(ValidateJWTSVIDRequestSchema, request);
    const answer = await this.#state.validate(svid, audience);
    if (typeof answer === "string") return call.end("InvalidArgument", answer);
    this.#send(call, ValidateJWTSVIDResponseSchema, answer, fault);
    call.end();
  }
}
