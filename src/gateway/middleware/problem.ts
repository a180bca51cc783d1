/** Refusals as problem documents (RFC 9457): one shape for the middleware, the stream proxy and `serve()`. */
import type { ErrorCode, Reason } from "../../base/index.ts";

const TITLES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  413: "Content Too Large",
  417: "Expectation Failed",
  421: "Misdirected Request",
  429: "Too Many Requests",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

/** Why a request got no answer of its own. */
export interface Problem {
  readonly status: number;
  readonly code: ErrorCode;
  readonly reason?: Reason | undefined;
  /** The policy rule that decided, for callers who may know. */
  readonly rule?: string | undefined;
  /** One sentence for the caller; nothing of the inside, no secrets. */
  readonly detail: string;
  readonly requestId?: string | undefined;
  /** Value of `WWW-Authenticate`. */
  readonly challenge?: string | undefined;
  /** Seconds after which it is worth another request. */
  readonly retryAfter?: number | undefined;
}

/** What of a problem is told: all of it, or no more than the status. */
export type ShownProblem = Omit<Problem, "code" | "detail"> & Partial<Pick<Problem, "code" | "detail">>;

/** The problem document as JSON text. */
export function problemBody(problem: ShownProblem): string {
  const { status, code, reason, rule, detail, requestId } = problem;
  return JSON.stringify({
    type: "about:blank",
    title: TITLES[status] ?? "Error",
    status,
    code,
    reason,
    rule,
    detail,
    requestId,
  });
}

/** The fields that go with {@link problemBody}. */
export function problemHeaders(problem: ShownProblem): Record<string, string> {
  const headers: Record<string, string> = { "content-type": "application/problem+json", "cache-control": "no-store" };
  if (problem.challenge !== undefined) headers["www-authenticate"] = problem.challenge;
  if (problem.retryAfter !== undefined) headers["retry-after"] = String(problem.retryAfter);
  if (problem.requestId !== undefined) headers["x-request-id"] = problem.requestId;
  return headers;
}

/** The problem as an answer. */
export function problemResponse(problem: Problem): Response {
  return new Response(problemBody(problem), { status: problem.status, headers: problemHeaders(problem) });
}
