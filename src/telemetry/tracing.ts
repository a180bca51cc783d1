/** The tracing seam: the API of OpenTelemetry, which does nothing until a program registers an SDK. */
import {
  type Context,
  createTraceState,
  type HrTime,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  type Span,
  type Tracer,
  trace,
} from "@opentelemetry/api";

/** The scope of this package's spans. */
const SCOPE = "spiffe-edge";
const MAX_STATE = 512;

/** The tracer of the SDK that is registered now; undefined without one, and then nothing more is to be done. */
export function registeredTracer(): Tracer | undefined {
  const provider = trace.getTracerProvider();
  // the API's own stand-in has no tracer as long as nobody has registered anything
  return provider instanceof ProxyTracerProvider ? provider.getDelegateTracer(SCOPE) : provider.getTracer(SCOPE);
}

/** The context of a caller's trace, or of none. Both fields have been checked by `trace-context.ts`. */
export function callerContext(traceparent: string | undefined, tracestate: string | undefined): Context {
  if (traceparent === undefined) return ROOT_CONTEXT;
  const [, traceId = "", spanId = "", flags = ""] = traceparent.split("-");
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16) & 1,
    isRemote: true,
    ...(tracestate === undefined ? {} : { traceState: createTraceState(tracestate) }),
  });
}

/** The fields by which an upstream goes on with a span's trace. */
export function traceFieldsOf(span: Span): [name: string, value: string][] {
  const { traceId, spanId, traceFlags, traceState } = span.spanContext();
  const fields: [string, string][] = [["traceparent", `00-${traceId}-${spanId}-0${traceFlags & 1}`]];
  const state = traceState?.serialize() ?? "";
  if (state !== "" && state.length <= MAX_STATE) fields.push(["tracestate", state]);
  return fields;
}

/** A wall time in milliseconds as spans take it. */
export function spanTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1_000);
  return [seconds, Math.floor((ms - seconds * 1_000) * 1_000_000)];
}
