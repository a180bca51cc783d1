/** How long a gRPC caller waits for the whole of its call, as `grpc-timeout` says. */
import { accept, type Clock, refuse, type Verdict } from "../base/index.ts";
import type { ListenerRequest } from "../tls/index.ts";
import type { Deadline } from "./deadlines.ts";
import { fieldsOf } from "./headers.ts";
import { speaksGrpc } from "./refusal.ts";

/** Milliseconds of each unit; of hours, minutes and seconds the letters are large. */
const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/** At most eight digits and a unit, as gRPC over HTTP/2 writes it. */
const TIMEOUT = /^([0-9]{1,8})([HMSmun])$/;

/**
 * The milliseconds that a gRPC call may take in all; undefined where the caller says nothing, or speaks something else.
 *
 * Refusal: `request.grpc-timeout` for several of them, or another form.
 */
export function grpcTimeout(request: ListenerRequest): Verdict<number | undefined> {
  if (request.headers["grpc-timeout"] === undefined || !speaksGrpc(request)) return accept(undefined);
  const stated = fieldsOf(request.rawHeaders).filter(([name]) => name.toLowerCase() === "grpc-timeout");
  const [, digits, unit] = TIMEOUT.exec(stated.length === 1 ? (stated[0]?.[1] ?? "") : "") ?? [];
  if (digits === undefined || unit === undefined)
    return refuse(
      "request.grpc-timeout",
      "Expected grpc-timeout once, as up to eight digits and one of H, M, S, m, u, n",
    );
  return accept(Number(digits) * (UNITS[unit] as number));
}

/** A wait of a length that a caller chose: it has a timer of its own, as the lanes of others are kept for good. */
export function callDeadline(clock: Clock, ms: number, act: () => void): Deadline {
  const over = new AbortController();
  clock.sleep(ms, over.signal).then(act, () => {});
  return { cancel: () => over.abort() };
}
