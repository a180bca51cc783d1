/**
 * The spans of one request: one of the gateway as a server, and one as a client for each try at an upstream. They hold what
 * the access log holds: no query, no header value, no token. Nothing that a span does or throws touches the request.
 */
import {
  type Attributes,
  type Context,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import { type Clock, timeOf } from "../base/index.ts";
import { callerContext, registeredTracer, spanTime, traceFieldsOf } from "../telemetry/tracing.ts";
import type { ListenerRequest } from "../tls/index.ts";
import type { UpstreamConfig } from "./config-types.ts";
import { type Field, fieldsOf } from "./headers.ts";
import type { Journey } from "./journey.ts";
import type { Passed } from "./proxy-stream.ts";
import type { RequestTarget } from "./target.ts";
import { callerTrace } from "./trace-context.ts";

/** Methods by name; any other is one word, as names of spans must be few. */
const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"]);
const OTHER = "_OTHER";

function quietly<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch {
    // an SDK is somebody else's program
    return undefined;
  }
}

/** `host` and `host:port` as attributes. */
function serverOf(host: string, authority: string): Attributes {
  const port = /:(\d{1,5})$/.exec(authority)?.[1];
  return { "server.address": host, ...(port === undefined ? {} : { "server.port": Number(port) }) };
}

/** Spans of a request that somebody listens to. */
export class RequestTrace {
  readonly #tracer: Tracer;
  readonly #clock: Clock;
  readonly #method: string;
  readonly #server: Span;
  readonly #context: Context;
  /** Wall time in milliseconds at the start, and the monotonic time of then: a span's end is never before its start. */
  readonly #wall: number;
  readonly #from: number;
  #client: { readonly span: Span; readonly upstream: UpstreamConfig } | undefined;
  #tries = 0;

  private constructor(tracer: Tracer, clock: Clock, request: ListenerRequest) {
    this.#tracer = tracer;
    this.#clock = clock;
    this.#wall = timeOf(clock);
    this.#from = clock.monotonic();
    this.#method = METHODS.has(request.method ?? "") ? (request.method as string) : OTHER;
    const { traceparent, tracestate } = callerTrace(fieldsOf(request.rawHeaders)) ?? {};
    const parent = callerContext(traceparent, tracestate);
    this.#server = tracer.startSpan(
      this.#name(),
      {
        kind: SpanKind.SERVER,
        startTime: spanTime(this.#wall),
        attributes: {
          "http.request.method": this.#method,
          "url.scheme": "https",
          "network.protocol.version": request.httpVersionMajor === 2 ? "2" : "1.1",
        },
      },
      parent,
    );
    this.#context = trace.setSpan(parent, this.#server);
  }

  /** Begins the span of a request; undefined where no SDK is registered. */
  static begin(request: ListenerRequest, clock: Clock): RequestTrace | undefined {
    const tracer = registeredTracer();
    if (tracer === undefined) return undefined;
    return quietly(() => {
      const begun = new RequestTrace(tracer, clock, request);
      // a tracer that does nothing has no trace to go on with
      return trace.isSpanContextValid(begun.#server.spanContext()) ? begun : undefined;
    });
  }

  /**
   * Begins the span of a try.
   *
   * @param authority the `Host` of the address that is tried
   * @returns the fields of the trace for it; undefined where there is no span
   */
  tried(upstream: UpstreamConfig, { path }: RequestTarget, authority: string): Field[] | undefined {
    return quietly(() => {
      this.#endTry({ "error.type": OTHER });
      const scheme = upstream.id === undefined ? "http" : "https";
      const host = authority.replace(/:\d{1,5}$/, "").replace(/^\[|\]$/g, "");
      const attributes: Attributes = {
        "http.request.method": this.#method,
        "url.full": `${scheme}://${authority}${path}`,
        "url.path": path,
        ...serverOf(host, authority),
        "spiffe_edge.upstream": upstream.name,
      };
      if (this.#tries > 0) attributes["http.request.resend_count"] = this.#tries;
      this.#tries++;
      const startTime = this.#time();
      const span = this.#tracer.startSpan(
        this.#name(),
        { kind: SpanKind.CLIENT, startTime, attributes },
        this.#context,
      );
      this.#client = { span, upstream };
      return traceFieldsOf(span);
    });
  }

  /** Ends what is open, with what is known of the request by now. */
  end(journey: Journey, listener: string, passed: Passed): void {
    quietly(() => {
      const { status, problem, complete } = passed;
      const broken = complete ? undefined : "incomplete";
      if (this.#client !== undefined) {
        const answered = passed.upstreamMs !== undefined && problem === undefined;
        const { id } = this.#client.upstream;
        const refused = answered && status >= 400 ? String(status) : broken;
        this.#endTry({
          "http.response.status_code": answered ? status : undefined,
          // an answer comes over a connection of this peer alone
          "spiffe.peer.id": answered ? id : undefined,
          "error.type": problem === undefined ? refused : (problem.reason ?? problem.code),
        });
      }
      if (!this.#server.isRecording()) return;
      const { route, target, peer, decision } = journey;
      if (route !== undefined) this.#server.updateName(`${this.#name()} ${route.path.text}`);
      const failed = status >= 500 ? (problem?.reason ?? problem?.code ?? String(status)) : broken;
      this.#finish(this.#server, {
        "http.response.status_code": status === 0 ? undefined : status,
        "http.route": route?.path.text,
        "url.path": target?.path,
        ...(target === undefined ? {} : serverOf(target.host, target.authority)),
        "client.address": journey.address,
        "error.type": failed,
        "spiffe.peer.id": peer?.id.uri,
        "spiffe.peer.via": peer?.via,
        "spiffe_edge.listener": listener,
        "spiffe_edge.request_id": journey.requestId,
        "spiffe_edge.verdict": decision?.verdict,
        "spiffe_edge.reason": problem?.reason ?? decision?.reason,
        "spiffe_edge.rule": decision?.rule,
      });
    });
  }

  #name(): string {
    return this.#method === OTHER ? "HTTP" : this.#method;
  }

  #time(): ReturnType<typeof spanTime> {
    return spanTime(this.#wall + this.#clock.monotonic() - this.#from);
  }

  #endTry(attributes: Attributes): void {
    const { span } = this.#client ?? {};
    this.#client = undefined;
    if (span !== undefined) this.#finish(span, attributes);
  }

  #finish(span: Span, attributes: Attributes): void {
    span.setAttributes(attributes);
    if (attributes["error.type"] !== undefined) span.setStatus({ code: SpanStatusCode.ERROR });
    span.end(this.#time());
  }
}
