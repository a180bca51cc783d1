/** W3C Trace Context: a caller's trace goes on as it is; a request without one, or with a broken one, begins one. */
import type { Field } from "./headers.ts";

const TRACEPARENT =
  /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[\x21-\x7e]{0,64})?$/;
const MAX_STATE = 512;

/** The trace that a caller's request belongs to; undefined for none, and for one that is not well formed. */
export function callerTrace(
  received: readonly Field[],
): { readonly traceparent: string; readonly tracestate: string | undefined } | undefined {
  const isNamed = (name: string, wanted: string) => name.length === wanted.length && name.toLowerCase() === wanted;
  const parents = received.filter(([name]) => isNamed(name, "traceparent"));
  const parent = parents[0]?.[1];
  if (parent === undefined || parents.length > 1 || !TRACEPARENT.test(parent)) return undefined;
  // version 00 has four parts and no more
  if (parent.length !== 55 && parent.startsWith("00")) return undefined;
  const states = received.filter(([name]) => isNamed(name, "tracestate"));
  const state = states.map(([, value]) => value).join(",");
  return { traceparent: parent, tracestate: state !== "" && state.length <= MAX_STATE ? state : undefined };
}

/**
 * The fields of the trace that a request belongs to, where nobody here adds a span to it.
 *
 * @param requestId a random UUID; a trace that begins here is called by it
 */
export function traceFields(received: readonly Field[], requestId: string): Field[] {
  const { traceparent, tracestate } = callerTrace(received) ?? {};
  if (traceparent !== undefined) {
    const parent: Field = ["traceparent", traceparent];
    return tracestate === undefined ? [parent] : [parent, ["tracestate", tracestate]];
  }
  const id = requestId.replaceAll("-", "");
  return [["traceparent", `00-${id}-${id.slice(16)}-00`]];
}
