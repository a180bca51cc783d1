/** The one line that a request has in the access log, its number in the metrics, and the end of its spans. */
import type { LogFields } from "../telemetry/logger.ts";
import type { ListenerRequest } from "../tls/index.ts";
import type { Journey } from "./journey.ts";
import type { Passed } from "./proxy-stream.ts";
import type { Room } from "./room.ts";

const round = (ms: number | undefined) => (ms === undefined ? undefined : Math.round(ms * 1_000) / 1_000);

/** Notes a request that is over. */
export function record(room: Room, request: ListenerRequest, journey: Journey, passed: Passed): void {
  const { route, peer } = journey;
  const durationMs = room.clock.monotonic() - journey.startedAt;
  room.metrics.request({
    listener: room.listener,
    route: route?.name ?? "none",
    method: request.method ?? "",
    status: passed.status,
    via: peer?.via ?? "none",
    seconds: durationMs / 1_000,
  });
  journey.trace?.end(journey, room.listener, passed);
  if (room.access.isOff) return;
  const { method } = request;
  const error = passed.error === undefined ? undefined : textOf(passed.error);
  room.access.write(
    () => fieldsOf(room.listener, method, journey, passed, error, durationMs),
    journey.refused === true,
    journey.target === undefined ? 0 : journey.target.target.length + (journey.target.authorization?.length ?? 0),
  );
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The fields of its line. */
function fieldsOf(
  listener: string,
  method: string | undefined,
  journey: Journey,
  passed: Passed,
  error: string | undefined,
  durationMs: number,
): LogFields {
  const { target, route, peer, decision } = journey;
  const { problem } = passed;
  return {
    requestId: journey.requestId,
    listener,
    route: route?.name,
    address: journey.address,
    method,
    // a path that was refused is not repeated: it may be anything
    path: target?.path,
    host: target?.host,
    status: passed.status,
    peer: peer?.id.uri,
    via: peer?.via,
    token: peer?.via === "x509" ? peer.token?.id.uri : undefined,
    verdict: decision?.verdict,
    reason: problem?.reason ?? decision?.reason,
    rule: decision?.rule,
    mode: decision?.mode,
    audited: decision?.audited?.verdict,
    auditedRule: decision?.audited?.rule,
    candidate: journey.difference?.candidate.verdict,
    candidateRule: journey.difference?.candidate.rule,
    authorizer: journey.confirmed?.failure,
    ended: journey.ended?.reason,
    endedRule: journey.ended?.rule,
    code: problem?.code,
    error,
    complete: passed.complete,
    durationMs: round(durationMs),
    upstreamMs: round(passed.upstreamMs),
    bytesIn: passed.bytesIn,
    bytesOut: passed.bytesOut,
  };
}
