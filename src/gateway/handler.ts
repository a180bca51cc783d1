/** The way of one request through the gateway: target, route, identity, policy, upstream; each step may end it. */
import { type Clock, type Reason, SpiffeError, timeOf } from "../base/index.ts";
import type { Peer, X509Peer } from "../id/index.ts";
import {
  type Authorizer,
  type AuthorizerOutcome,
  type Decision,
  type Difference,
  decide,
  explain,
  headerName,
  type Policy,
  type RequestFacts,
  type Shadow,
} from "../policy/index.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { GatewayMetrics } from "../telemetry/metrics.ts";
import { connectionPeer, type Handler, type ListenerRequest, type ListenerResponse } from "../tls/index.ts";
import type { AccessLog } from "./access-log.ts";
import { answerProblem, cutAnswer } from "./answer.ts";
import type { GatewayConfig, RouteConfig } from "./config-types.ts";
import { expectationFault } from "./expectation.ts";
import { grpcTimeout } from "./grpc-timeout.ts";
import { endToEnd, type Field, fieldsOf, requestFields } from "./headers.ts";
import { type Authentication, authenticate, carriesSvid } from "./middleware/authenticate.ts";
import type { Problem } from "./middleware/problem.ts";
import { type Passed, pass } from "./proxy-stream.ts";
import type { RateVerdict } from "./rate-limits.ts";
import { overRate } from "./rates/over-rate.ts";
import type { Rates } from "./rates/rates.ts";
import type { Explain } from "./refusal.ts";
import { RequestTrace } from "./request-trace.ts";
import type { RouteTable } from "./routes.ts";
import type { RunningRequests } from "./running.ts";
import { checkRequest, type RequestTarget } from "./target.ts";
import type { TokenDoors } from "./token-doors.ts";
import type { Upstream } from "./upstream.ts";
import type { Xfcc } from "./xfcc.ts";

/** What the requests of one listener share. */
export interface Room {
  readonly listener: string;
  readonly routes: RouteTable;
  readonly policy: Policy;
  readonly shadow: Shadow | undefined;
  readonly authorizer: Authorizer | undefined;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly doors: TokenDoors;
  readonly limits: GatewayConfig["limits"];
  readonly rates: Rates | undefined;
  readonly xfcc: Xfcc | undefined;
  readonly explain: Explain;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: GatewayMetrics;
  readonly running: RunningRequests;
  readonly access: AccessLog;
}

/** What becomes known of a request on its way: the material of its one log line. */
export interface Journey {
  readonly requestId: string;
  readonly startedAt: number;
  readonly address: string | undefined;
  target?: RequestTarget;
  route?: RouteConfig;
  peer?: Peer;
  decision?: Decision;
  /** What the candidate policy would have decided, where that differs. */
  difference?: Difference | undefined;
  /** What the external authorizer made of it, where one was asked. */
  confirmed?: AuthorizerOutcome | undefined;
  /** Whether the gateway refused it itself. */
  refused?: boolean;
  /** What its identity's limit said, once it has been counted there. */
  rated?: RateVerdict;
  /** Its spans, where somebody listens to them. */
  readonly trace?: RequestTrace | undefined;
  /** Why a policy that came into force meanwhile ended it. */
  ended?: Decision;
}

/** A request that may go on. */
export interface Judged {
  readonly target: RequestTarget;
  readonly route: RouteConfig;
  readonly peer: Peer | undefined;
  readonly clientCert: string | undefined;
  /** Milliseconds that the caller gives the whole call, from its beginning. */
  readonly callMs: number | undefined;
}

/** The headers that the rules look at, of those that the upstream will see. */
function headerFacts(room: Room, request: ListenerRequest): Record<string, string[]> | undefined {
  const { headers } = room.policy;
  const more = room.shadow?.candidate.headers ?? headers;
  if (headers.length === 0 && more.length === 0) return undefined;
  const names = new Set([...headers, ...more]);
  const found: Record<string, string[]> = Object.create(null);
  for (const [name, value] of endToEnd(fieldsOf(request.rawHeaders))) {
    const plain = headerName(name);
    if (names.has(plain)) (found[plain] ??= []).push(value);
  }
  return found;
}

function factsOf(room: Room, request: ListenerRequest, target: RequestTarget, route: RouteConfig): RequestFacts {
  const { method, path, host } = target;
  const { listener, clock } = room;
  return { method, path, host, listener, route: route.name, headers: headerFacts(room, request), now: timeOf(clock) };
}

const NO_DOOR: Decision = Object.freeze({ verdict: "deny", reason: "policy.default-deny", mode: "enforce" });

/** What a request that runs is judged by now; its path may belong to another route by now, or to none. */
function standing(
  room: Room,
  request: ListenerRequest,
  { target, route, peer }: Judged,
): { caller: Peer | undefined; facts: RequestFacts } | undefined {
  const now = room.routes.find(target.path, target.host) ?? route;
  const { token } = peer ?? {};
  const isForNow = token === undefined || token.audience.some((one) => now.audience.includes(one));
  // where tokens are taken, one for somebody else is refused, over a certificate too; elsewhere it says nothing
  if (!isForNow && (peer?.via === "jwt" || now.audience.length > 0)) return undefined;
  const caller = isForNow || peer?.via !== "x509" ? peer : { via: peer.via, id: peer.id, expiresAt: peer.expiresAt };
  return { caller, facts: factsOf(room, request, target, now) };
}

/** What the rules decide now of a request that runs. */
function decideAgain(room: Room, request: ListenerRequest, judged: Judged): Decision {
  const now = standing(room, request, judged);
  return now === undefined ? NO_DOOR : decide(room.policy, now.caller, now.facts);
}

/** What the external authorizer makes of that decision now. */
async function confirmAgain(
  room: Room,
  request: ListenerRequest,
  judged: Judged,
  decision: Decision,
  signal: AbortSignal,
): Promise<Decision> {
  const now = standing(room, request, judged);
  if (now === undefined) return NO_DOOR;
  const outcome = await room.authorizer?.confirm(decision, now.caller, now.facts, signal);
  return outcome?.decision ?? decision;
}

function addressOf(request: ListenerRequest): string | undefined {
  try {
    return request.socket.remoteAddress;
  } catch {
    // the session of an HTTP/2 request may be gone already
    return undefined;
  }
}

const badRequest = (reason: Reason, detail: string): Problem => ({
  status: 400,
  code: "ERR_SPIFFE_REQUEST",
  reason,
  detail,
});

/** A verdict on a request: what it needs to go on, or the answer it gets. */
type Judgement = Problem | Judged;

/** Judges one request; at once where nobody else has to be asked, as a promise costs more than the rest of it. */
function judge(room: Room, request: ListenerRequest, journey: Journey): Judgement | Promise<Judgement> {
  const verdict = connectionPeer(request);
  // the listener lets no other connection this far; this is the second look
  if (verdict?.accepted !== true)
    throw new SpiffeError("ERR_SPIFFE_NO_PEER", "A request came over a connection nobody accepted");
  const checked = checkRequest(request);
  if (!checked.ok) return badRequest(checked.reason, checked.message);
  const target = checked.value;
  journey.target = target;
  if (room.routes.isElsewhere(target.host)) {
    const detail = "The host is that of another listener";
    return { status: 421, code: "ERR_SPIFFE_REQUEST", reason: "request.misdirected", detail };
  }
  const route = room.routes.find(target.path, target.host);
  if (route === undefined) {
    return { status: 404, code: "ERR_SPIFFE_REQUEST", reason: "request.no-route", detail: "Nothing is served here" };
  }
  journey.route = route;
  const authorization = target.authorization === undefined ? [] : [target.authorization];
  const outcome = authenticate({ x509: verdict.peer, authorization }, room.doors.of(route), room.clock);
  const found: Found = { x509: verdict.peer, target, route };
  if (outcome instanceof Promise) return outcome.then((late) => authorize(room, request, journey, found, late));
  return authorize(room, request, journey, found, outcome);
}

/** What is known of a request before its caller is. */
interface Found {
  /** Whom the connection is from. */
  readonly x509: X509Peer | undefined;
  readonly target: RequestTarget;
  readonly route: RouteConfig;
}

/** Judges a request whose credentials have been judged. */
function authorize(
  room: Room,
  request: ListenerRequest,
  journey: Journey,
  found: Found,
  outcome: Authentication,
): Judgement | Promise<Judgement> {
  const nobody = !outcome.ok && outcome.reason === "request.no-credentials";
  const refused = outcome.ok ? undefined : problemOf(outcome);
  if (refused !== undefined && !(nobody && room.policy.namesAnonymous)) return refused;
  const peer = outcome.ok ? outcome.peer : undefined;
  if (peer !== undefined) journey.peer = peer;
  const limited = peer && overRate(room, peer, journey);
  const named: Named = { ...found, peer, refused };
  if (limited instanceof Promise) return limited.then((late) => late ?? ask(room, request, journey, named));
  return limited ?? ask(room, request, journey, named);
}

/** What is known of a request once its caller is. */
interface Named extends Found {
  readonly peer: Peer | undefined;
  /** What a caller without identity is answered where no rule lets it in. */
  readonly refused: Problem | undefined;
}

/** Asks the policy, and who is to be asked beside it. */
function ask(room: Room, request: ListenerRequest, journey: Journey, named: Named): Judgement | Promise<Judgement> {
  const { peer } = named;
  const facts = factsOf(room, request, named.target, named.route);
  const ruled = decide(room.policy, peer, facts);
  journey.difference = room.shadow?.compare(ruled, peer, facts);
  const asked: Asked = { ...named, ruled };
  // what an authorizer said of it before this was in force says nothing now
  journey.confirmed = undefined;
  if (room.authorizer === undefined) return conclude(room, request, journey, asked);
  return room.authorizer.confirm(ruled, peer, facts).then((confirmed) => {
    journey.confirmed = confirmed;
    return conclude(room, request, journey, asked);
  });
}

/** What the policy says of a request. */
interface Asked extends Named {
  readonly ruled: Decision;
}

/** The verdict on a request that everybody who is to be asked has been asked about. */
function conclude(
  room: Room,
  request: ListenerRequest,
  journey: Journey,
  { x509, target, route, peer, ruled, refused }: Asked,
): Judgement {
  const decision = journey.confirmed?.decision ?? ruled;
  journey.decision = decision;
  room.metrics.decision(decision.verdict, decision.reason, decision.audited);
  if (decision.verdict === "allow") {
    const clientCert = room.xfcc?.value(x509, fieldsOf(request.rawHeaders));
    if (clientCert?.ok === false) return badRequest(clientCert.reason, clientCert.message);
    const unmet = expectationFault(request);
    if (unmet !== undefined) return unmet;
    const callMs = grpcTimeout(request);
    if (!callMs.ok) return badRequest(callMs.reason, callMs.message);
    return { target, route, peer, clientCert: clientCert?.value, callMs: callMs.value };
  }
  // whom no rule lets in without an identity is asked for one
  if (refused !== undefined && ruled.verdict === "deny") return refused;
  // which rule denied is for the log, not for the caller
  const detail = decision.reason === "policy.denied" ? `a rule denies ${peer?.id.uri}` : explain(decision, peer);
  return { status: 403, code: "ERR_SPIFFE_DENIED", reason: decision.reason, rule: decision.rule, detail };
}

function problemOf(outcome: Extract<Authentication, { ok: false }>): Problem {
  const { status, reason, message: detail, challenge } = outcome;
  return { status, code: status === 400 ? "ERR_SPIFFE_REQUEST" : "ERR_SPIFFE_NO_PEER", reason, detail, challenge };
}

const round = (ms: number | undefined) => (ms === undefined ? undefined : Math.round(ms * 1_000) / 1_000);

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
  journey.trace?.end(journey, room.listener, passed);
}

/** Answers in the gateway's own name and waits until the caller has it. */
function answer(room: Room, request: ListenerRequest, response: ListenerResponse, problem: Problem): Promise<Passed> {
  return new Promise((resolve) => {
    let complete = false;
    const over = () => resolve({ status: problem.status, problem, bytesIn: 0, bytesOut: 0, complete });
    response.once("finish", () => {
      complete = true;
    });
    response.once("close", over);
    if (response.destroyed) return over();
    answerProblem(request, response, problem, room.limits.bodyBytes, room.explain);
  });
}

/** What became of the answer to a caller that has left. */
const LEFT: Passed = Object.freeze({ status: 0, bytesIn: 0, bytesOut: 0, complete: false });

/** A request's way begins. */
export function beginJourney(room: Room, request: ListenerRequest): Journey {
  const { clock } = room;
  const trace = RequestTrace.begin(request, clock);
  return { requestId: crypto.randomUUID(), startedAt: clock.monotonic(), address: addressOf(request), trace };
}

/**
 * Judges a request by what is in force when the verdict is there: what came into force meanwhile has its say too.
 *
 * @param act takes the verdict, and what it was found by, before anything else can come into force
 */
export async function judgeCurrent<T>(
  current: () => Room,
  request: ListenerRequest,
  journey: Journey,
  act: (room: Room, judged: Problem | Judged) => Promise<T>,
): Promise<T> {
  for (;;) {
    const room = current();
    // a turn later also where nobody was asked: a body that cannot be read shows only after its head, and nothing of it goes on
    const judged = await judge(room, request, journey);
    if (room !== current()) continue;
    journey.refused = "status" in judged;
    return act(room, judged);
  }
}

/**
 * Notes a request that was let in, for as long as it runs.
 *
 * @param cut breaks it off
 * @returns to be called when it is over
 */
export function enterRunning(
  room: Room,
  request: ListenerRequest,
  judged: Judged,
  journey: Journey,
  upstream: Upstream,
  cut: () => void,
): () => void {
  return room.running.enter({
    listener: room.listener,
    upstream,
    judge: (now) => decideAgain(now, request, judged),
    confirm: (now, decision, signal) => confirmAgain(now, request, judged, decision, signal),
    end(why) {
      journey.ended = why;
      cut();
    },
  });
}

/** Where a route leads. */
export function upstreamOf(room: Room, route: RouteConfig): Upstream {
  const upstream = room.upstreams.get(route.upstream);
  if (upstream === undefined) throw new SpiffeError("ERR_SPIFFE_INTERNAL", `Route ${route.name} has no upstream`);
  return upstream;
}

/** The fields for an upstream at an address. */
export function forwardedFields(
  room: Room,
  request: ListenerRequest,
  { target, route, peer, clientCert }: Judged,
  { address, requestId, confirmed, trace }: Journey,
): (authority: string) => Field[] {
  const carried = peer?.token !== undefined || carriesSvid(target.authorization);
  const dropAuthorization = carried && !route.forwardsToken;
  const received = fieldsOf(request.rawHeaders);
  const authorizer = room.authorizer && { names: room.authorizer.headers, fields: confirmed?.headers ?? [] };
  return (host) =>
    requestFields(received, {
      peerId: peer?.id.uri,
      authorizer,
      dropAuthorization,
      host,
      forwardedHost: target.authority,
      address,
      requestId,
      trace: trace?.tried(upstreamOf(room, route).config, target, host),
      clientCert,
    });
}

/**
 * The handler of a listener. Every request ends in exactly one log line.
 *
 * @param current what is in force; asked once per request
 */
export function requestHandler(current: () => Room): Handler {
  return async function gatewayRequest(request, response) {
    let room = current();
    const journey = beginJourney(room, request);
    const { requestId } = journey;
    // stays: a caller that goes away while it is judged is no error of anybody's
    response.on("error", () => {});
    request.on("error", () => {});
    let gone = false;
    response.once("close", () => {
      gone = true;
    });
    let passed: Passed;
    try {
      passed = await judgeCurrent(current, request, journey, async (found, judged) => {
        room = found;
        // who left while it was judged hears nothing, and nothing of it goes on
        if (gone) return { ...LEFT, ...("status" in judged ? { problem: { ...judged, requestId } } : {}) };
        if ("status" in judged) return answer(room, request, response, { ...judged, requestId });
        const { target, route } = judged;
        const upstream = upstreamOf(room, route);
        const leave = enterRunning(room, request, judged, journey, upstream, () => cutAnswer(response));
        return pass(request, response, {
          upstream,
          method: target.method,
          target: target.target,
          fields: forwardedFields(room, request, judged, journey),
          reserved: [...room.policy.headers, ...(room.authorizer?.headers ?? [])],
          timeoutMs: route.timeoutMs,
          callMs: judged.callMs && judged.callMs - (room.clock.monotonic() - journey.startedAt),
          idleMs: room.limits.idleMs,
          bodyBytes: room.limits.bodyBytes,
          requestId,
          explain: room.explain,
          clock: room.clock,
        }).finally(leave);
      });
    } catch (error) {
      const problem: Problem = { status: 500, code: "ERR_SPIFFE_INTERNAL", detail: "The gateway failed", requestId };
      passed = gone ? { ...LEFT, problem, error } : { ...(await answer(room, request, response, problem)), error };
    }
    record(room, request, journey, passed);
  };
}
