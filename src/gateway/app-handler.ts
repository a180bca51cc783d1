/** The way into an app from a server in the form of `node:http`: checks first, identity fields off, then the app. */
import { getRequestListener } from "@hono/node-server";
import type { Handler, ListenerRequest } from "../tls/index.ts";
import { answerProblem } from "./answer.ts";
import { IDENTITY_FIELD, isIdentityField } from "./headers.ts";
import { noteClaims } from "./middleware/forwarded.ts";
import type { Problem } from "./middleware/problem.ts";
import { checkRequest } from "./target.ts";

/** Anything that answers requests, such as a Hono app. */
export interface ServedApp {
  fetch(request: Request, env: never): Response | Promise<Response>;
}

/** Bytes of an unwanted request body that are read so that the caller gets to see the answer. */
const DISCARD_BYTES = 1_048_576;

/**
 * Takes away the fields that claim an identity: inside, it is `c.var.peer` (S-21). What they said is kept where `spiffe()`
 * alone finds it.
 */
function stripIdentity(request: ListenerRequest): void {
  const raw = request.rawHeaders;
  let claims: string[] | undefined;
  for (let i = raw.length - 2; i >= 0; i -= 2) {
    const name = raw[i] as string;
    if (!isIdentityField(name)) continue;
    const lower = name.toLowerCase();
    // other spellings are nobody's word
    if (lower === IDENTITY_FIELD) (claims ??= []).push(raw[i + 1] as string);
    raw.splice(i, 2);
    delete request.headers[lower];
  }
  if (claims !== undefined) noteClaims(request, claims);
}

/** Makes a handler of an app: what the checks refuse gets 400 before the app sees it (S-22, S-23). */
export function appHandler(app: ServedApp): Handler {
  const toApp = getRequestListener((request, env) => app.fetch(request, env as never), {
    overrideGlobalObjects: false,
  });
  return (request, response) => {
    const checked = checkRequest(request);
    if (!checked.ok) {
      const { reason, message: detail } = checked;
      const problem: Problem = { status: 400, code: "ERR_SPIFFE_REQUEST", reason, detail };
      answerProblem(request, response, problem, DISCARD_BYTES, "code");
      return undefined;
    }
    request.url = checked.value.target;
    stripIdentity(request);
    return toApp(request, response);
  };
}
