/** Refusals as Hono wants them: thrown before `next()`, so that `some()` and `every()` of `hono/combine` compose them. */
import { HTTPException } from "hono/http-exception";
import { type Problem, problemResponse } from "./problem.ts";

type ExceptionStatus = ConstructorParameters<typeof HTTPException>[0];

/** The exception that answers with a problem document. */
export function refusal(problem: Problem, cause?: unknown): HTTPException {
  const res = problemResponse(problem);
  return new HTTPException(problem.status as ExceptionStatus, { res, message: problem.detail, cause });
}
