/** The way of one request through the gateway: its verdict, then its upstream or its refusal. */
import type { Handler, ListenerRequest, ListenerResponse } from "../tls/index.ts";
import { answerProblem, cutAnswer } from "./answer.ts";
import { beginJourney } from "./journey.ts";
import { judgeCurrent } from "./judge.ts";
import type { Problem } from "./middleware/problem.ts";
import { type Passed, pass } from "./proxy-stream.ts";
import { enterRunning } from "./rejudge.ts";
import { record } from "./request-record.ts";
import { type Room, upstreamOf } from "./room.ts";
import { forwardedFields } from "./upstream-fields.ts";

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
