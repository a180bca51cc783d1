/** The one log line and the one count of a connection for bytes, whatever became of it. */
import type { Clock, Reason } from "../../base/index.ts";
import { isSpiffeError } from "../../base/index.ts";
import type { X509Peer } from "../../id/index.ts";
import type { AuthorizerOutcome, Decision, Difference } from "../../policy/index.ts";
import type { Logger } from "../../telemetry/logger.ts";
import type { ConnectionMetric } from "../../telemetry/metrics.ts";
import type { DialFault } from "./byte-upstream.ts";
import type { SpliceEnd } from "./splice.ts";

/**
 * How a connection ended: passed on to its end, broken, never passed on, by the loss of an identity it rests on, or at the
 * deadline of a drain.
 */
export type ConnectionEnd = SpliceEnd | "identity" | "drain-deadline" | "denied" | "too-many" | "internal" | DialFault;

/** The end that a broken connection stands for: what this side did itself tells of itself by its error. */
export function endOf(ended: SpliceEnd, error: unknown): ConnectionEnd {
  if (!isSpiffeError(error)) return ended;
  return error.phase === "drain" ? "drain-deadline" : error.reason === undefined ? ended : "identity";
}

/** What becomes known of a connection on its way. */
export interface ConnectionStory {
  readonly connectionId: string;
  readonly startedAt: number;
  readonly listener: string;
  readonly route?: string;
  readonly address?: string | undefined;
  readonly peer?: X509Peer | undefined;
  decision?: Decision;
  difference?: Difference | undefined;
  confirmed?: AuthorizerOutcome | undefined;
  upstream?: string;
  /** The address that answered. */
  target?: string;
  bytesIn: number;
  bytesOut: number;
  error?: unknown;
}

/** Where stories are told. */
export interface Recorder {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: { connection(metric: ConnectionMetric): void };
}

/** Begins the story of a connection. */
export function begin(
  clock: Clock,
  known: Pick<ConnectionStory, "listener" | "route" | "address" | "peer">,
): ConnectionStory {
  return { connectionId: crypto.randomUUID(), startedAt: clock.monotonic(), ...known, bytesIn: 0, bytesOut: 0 };
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** Tells how it ended. */
export function tell({ clock, logger, metrics }: Recorder, story: ConnectionStory, ended: ConnectionEnd): void {
  const { decision, difference, confirmed, peer, error } = story;
  const durationMs = clock.monotonic() - story.startedAt;
  metrics.connection({
    listener: story.listener,
    route: story.route ?? "none",
    ended,
    bytesIn: story.bytesIn,
    bytesOut: story.bytesOut,
  });
  const because: Reason | undefined = isSpiffeError(error) ? error.reason : undefined;
  logger.info("connection", {
    connectionId: story.connectionId,
    listener: story.listener,
    route: story.route,
    address: story.address,
    peer: peer?.id.uri,
    via: peer?.via,
    verdict: decision?.verdict,
    reason: decision?.reason,
    rule: decision?.rule,
    mode: decision?.mode,
    audited: decision?.audited?.verdict,
    auditedRule: decision?.audited?.rule,
    candidate: difference?.candidate.verdict,
    candidateRule: difference?.candidate.rule,
    authorizer: confirmed?.failure,
    upstream: story.upstream,
    target: story.target,
    ended,
    endedBecause: because,
    error: error === undefined ? undefined : messageOf(error),
    durationMs: Math.round(durationMs * 1_000) / 1_000,
    bytesIn: story.bytesIn,
    bytesOut: story.bytesOut,
  });
}
