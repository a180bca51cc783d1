/** The gateway's own answers in the protocol of who asked: problem documents, gRPC's status, Connect's errors. */
import type { ListenerRequest } from "../tls/index.ts";
import { type Problem, problemBody, problemHeaders, type ShownProblem } from "./middleware/problem.ts";

/** How much a refused caller is told: also the rule, also code and reason, or no more than the status. */
export type Explain = "full" | "code" | "none";

/** An answer to write. */
export interface RefusalAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly trailers?: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** gRPC's number and Connect's word for a status, and the status that Connect gives its word. */
const CODES: Readonly<Record<number, readonly [grpc: number, connect: string, status: number]>> = {
  400: [3, "invalid_argument", 400],
  401: [16, "unauthenticated", 401],
  403: [7, "permission_denied", 403],
  404: [12, "unimplemented", 501],
  413: [8, "resource_exhausted", 429],
  417: [3, "invalid_argument", 400],
  421: [12, "unimplemented", 501],
  429: [8, "resource_exhausted", 429],
  502: [14, "unavailable", 503],
  503: [14, "unavailable", 503],
  504: [4, "deadline_exceeded", 504],
};
const INTERNAL = [13, "internal", 500] as const;

const GRPC = /^application\/grpc(?:-web(?:-text)?)?(?:\+[a-z0-9.-]+)?(?:;|$)/i;
const GRPC_WEB = /^application\/grpc-web/i;
const CONNECT_STREAM = /^application\/connect\+[a-z0-9.-]+(?:;|$)/i;
const CONNECT_UNARY = /^application\/(?:json|proto)(?:;|$)/i;

/** Whether a request is a gRPC call. Over HTTP/1.1, gRPC itself cannot be spoken, its form for browsers can. */
export function speaksGrpc({ headers, httpVersionMajor }: ListenerRequest): boolean {
  const type = headers["content-type"] ?? "";
  return GRPC.test(type) && (httpVersionMajor === 2 || GRPC_WEB.test(type));
}

/** What a problem says at a level. */
function told(problem: Problem, explain: Explain): ShownProblem {
  const { rule, ...rest } = problem;
  if (explain === "full") return problem;
  if (explain === "code") return rest;
  const { status, requestId, challenge, retryAfter } = problem;
  return { status, requestId, challenge, retryAfter };
}

/** Characters that a gRPC message brings as they are. */
function percent(text: string): string {
  return text.replace(/[^\x20-\x24\x26-\x7e]/gu, (character) =>
    [...new TextEncoder().encode(character)]
      .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`)
      .join(""),
  );
}

function sentence({ detail, status }: ShownProblem): string {
  return detail ?? `refused with status ${status}`;
}

/** A status in the trailers; the form for browsers has it in the head, where no trailers reach a page. */
function grpcAnswer(type: string, problem: ShownProblem): RefusalAnswer {
  const { status, code, reason, rule, requestId, retryAfter } = problem;
  const [number] = CODES[status] ?? INTERNAL;
  const said = { "spiffe-code": code, "spiffe-reason": reason, "spiffe-rule": rule, "x-request-id": requestId };
  const about: Record<string, string> = { "grpc-status": String(number), "grpc-message": percent(sentence(problem)) };
  for (const [name, value] of Object.entries(said)) if (value !== undefined) about[name] = value;
  if (retryAfter !== undefined) about["retry-after"] = String(retryAfter);
  const head = { "content-type": type };
  const body = new Uint8Array();
  if (GRPC_WEB.test(type)) return { status: 200, headers: { ...head, ...about }, body };
  return { status: 200, headers: head, trailers: about, body };
}

function connectError(problem: ShownProblem): object {
  const { status, code, reason, rule, requestId } = problem;
  const [, word] = CODES[status] ?? INTERNAL;
  // `details` is for protobuf messages; what is not one goes beside it and is passed over by clients
  return { code: word, message: sentence(problem), problem: { code, reason, rule, requestId } };
}

/** A unary call gets a status and JSON, a stream its end in an envelope (flag 2). */
function connectAnswer(problem: ShownProblem, stream: string | undefined): RefusalAnswer {
  const { "content-type": _, ...headers } = problemHeaders(problem);
  if (stream === undefined) {
    const [, , status] = CODES[problem.status] ?? INTERNAL;
    const body = new TextEncoder().encode(JSON.stringify(connectError(problem)));
    return { status, headers: { ...headers, "content-type": "application/json" }, body };
  }
  const json = new TextEncoder().encode(JSON.stringify({ error: connectError(problem) }));
  const body = new Uint8Array(5 + json.length);
  body[0] = 2;
  new DataView(body.buffer).setUint32(1, json.length);
  body.set(json, 5);
  return { status: 200, headers: { ...headers, "content-type": stream }, body };
}

/** What a caller gets. */
export function refusalAnswer(request: ListenerRequest, problem: Problem, explain: Explain): RefusalAnswer {
  const shown = told(problem, explain);
  const { headers } = request;
  const type = headers["content-type"] ?? "";
  if (speaksGrpc(request)) return grpcAnswer(type, shown);
  if (CONNECT_STREAM.test(type)) return connectAnswer(shown, type);
  const post = headers["connect-protocol-version"] === "1" && CONNECT_UNARY.test(type);
  const get = request.method === "GET" && /[?&]connect=v1(?:&|$)/.test(request.url ?? "");
  if (post || get) return connectAnswer(shown, undefined);
  return { status: problem.status, headers: problemHeaders(shown), body: new TextEncoder().encode(problemBody(shown)) };
}
