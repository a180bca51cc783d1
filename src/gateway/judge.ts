/** The verdict on one request: target, route, identity, rate, policy, external authorizer; each step may end it. */
import { type Reason, SpiffeError } from "../base/index.ts";
import type { Peer, X509Peer } from "../id/index.ts";
import { type Decision, decide, explain } from "../policy/index.ts";
import { connectionPeer, type ListenerRequest } from "../tls/index.ts";
import type { RouteConfig } from "./config-types.ts";
import { expectationFault } from "./expectation.ts";
import { grpcTimeout } from "./grpc-timeout.ts";
import { fieldsOf } from "./headers.ts";
import type { Journey } from "./journey.ts";
import { type Authentication, authenticate } from "./middleware/authenticate.ts";
import type { Problem } from "./middleware/problem.ts";
import { overRate } from "./rates/over-rate.ts";
import { factsOf } from "./request-facts.ts";
import type { Room } from "./room.ts";
import { checkRequest, type RequestTarget } from "./target.ts";

/** A request that may go on. */
export interface Judged {
  readonly target: RequestTarget;
  readonly route: RouteConfig;
  readonly peer: Peer | undefined;
  readonly clientCert: string | undefined;
  /** Milliseconds that the caller gives the whole call, from its beginning. */
  readonly callMs: number | undefined;
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
