/** What a listener counts. */
import type { Reason } from "../base/codes.ts";

/** Numbers since the start of a listener. */
export interface ListenerCounters {
  /** Handshakes whose peer was welcome. */
  accepted: number;
  /** Handshakes that finished and whose peer was not; `reasons` has them by reason. */
  refused: number;
  readonly reasons: { [reason in Reason]?: number };
  /** Connections that were told to finish, by reason, and those that were ended, by reason (S-9). */
  readonly drained: { [reason in Reason]?: number };
  readonly ended: { [reason in Reason]?: number };
  /** Connections closed before TLS because there were `maxConnections` already, or as many handshakes as there may be. */
  overLimit: number;
  /** Connections closed before TLS because their address was refused too often. */
  throttled: number;
  /** Handshakes that broke in TLS. */
  failed: number;
  /** Connections that did not finish a handshake in time. */
  timedOut: number;
  /** Requests, sessions or streams that came over a connection which was not accepted; expected to stay 0. */
  stray: number;
  /** Exceptions and rejections of the handler. */
  handlerErrors: number;
  /** Certificates put into service after the first. */
  rotations: number;
  /** Certificates that could not be put into service. */
  rotationsRefused: number;
  /** Accepted connections that are open now. */
  open: number;
}

export function newCounters(): ListenerCounters {
  return {
    accepted: 0,
    refused: 0,
    reasons: {},
    drained: {},
    ended: {},
    overLimit: 0,
    throttled: 0,
    failed: 0,
    timedOut: 0,
    stray: 0,
    handlerErrors: 0,
    rotations: 0,
    rotationsRefused: 0,
    open: 0,
  };
}
