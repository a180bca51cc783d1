/** One request through the gateway: head and body out, head and body back, both streaming, both ends told of a break. */
import type { Clock } from "../base/index.ts";
import type { ListenerRequest, ListenerResponse } from "../tls/index.ts";
import { Exchange } from "./exchange.ts";
import type { Field } from "./headers.ts";
import type { Problem } from "./middleware/problem.ts";
import type { Explain } from "./refusal.ts";
import type { Upstream } from "./upstream.ts";

/** What to send where, and how long to wait. */
export interface Passage {
  readonly upstream: Upstream;
  readonly method: string;
  /** Canonical path and query. */
  readonly target: string;
  /** Fields for the upstream at an address; the host differs by address. */
  fields(authority: string): Field[];
  /** Names that never come as a trailer of the request, as `headerName` spells them: they have been judged or set. */
  readonly reserved?: readonly string[] | undefined;
  /** Milliseconds until the answer begins, over all tries. */
  readonly timeoutMs: number;
  /** Milliseconds until the whole answer is through, where the caller says how long it waits. */
  readonly callMs?: number | undefined;
  /** Milliseconds without a byte of a body. */
  readonly idleMs: number;
  /** Bytes of the request body. */
  readonly bodyBytes: number;
  readonly requestId: string;
  /** How much the caller is told when there is no answer. */
  readonly explain: Explain;
  readonly clock: Clock;
}

/** How it went. */
export interface Passed {
  /** Status that the caller saw; 0 when it went away before one. */
  readonly status: number;
  readonly problem?: Problem | undefined;
  /** What broke, for the log. */
  readonly error?: unknown;
  /** Milliseconds from sending to the upstream's answer. */
  readonly upstreamMs?: number | undefined;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Whether the answer reached its end. */
  readonly complete: boolean;
}

/** Passes one request on and its answer back; resolves when the caller's side is over. */
export function pass(request: ListenerRequest, response: ListenerResponse, passage: Passage): Promise<Passed> {
  return new Promise((resolve) => new Exchange(request, response, passage, resolve).begin());
}
