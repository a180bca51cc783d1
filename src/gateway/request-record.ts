/** The one line that a request has in the access log, its number in the metrics, and the end of its spans. */
import type { ListenerRequest } from "../tls/index.ts";
import type { Journey } from "./journey.ts";
import type { Passed } from "./proxy-stream.ts";
import type { Room } from "./room.ts";

const round = (ms: number | undefined) => (ms === undefined ? undefined : Math.round(ms * 1_000) / 1_000);

/** Notes a request that is over. */
export function record(room: Room, request: ListenerRequest, journey: Journey, passed: Passed): void {
  const { target, route, peer, decision } = journey;
  const durationMs = room.clock.monotonic() - journey.startedAt;
  const { status, problem, error, complete } = passed;
  room.metrics.request({
    listener: room.listener,
    route: route?.name ?? "none",
    method: request.method ?? "",
    status,
    via: peer?.via ?? "none",
    seconds: durationMs / 1_000,
  });
  journey.trace?.end(journey, room.listener, passed);
  if (room.access.isOff) return;
  const line = {
    requestId: journey.requestId,
    listener: room.listener,
    route: route?.name,
    address: journey.address,
    method: request.method,
    // a path that was refused is not repeated: it may be anything
    path: target?.path,
    host: target?.host,
    status,
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
    error: error === undefined ? undefined : error instanceof Error ? error.message : String(error),
    complete,
    durationMs: round(durationMs),
    upstreamMs: round(passed.upstreamMs),
    bytesIn: passed.bytesIn,
    bytesOut: passed.bytesOut,
  };
  room.access.write(line, journey.refused === true);
}
