/** What a failed call means: which error it is, and whether asking again can help. */
import { Code, ConnectError } from "@connectrpc/connect";
import type { ErrorCode, Reason } from "../base/codes.ts";
import { isSpiffeError, SpiffeError } from "../base/errors.ts";
import { isDenoRefusal } from "../runtime/deno-permission.ts";
import { denoFlags } from "./deno-permission.ts";
import type { Endpoint } from "./endpoint.ts";

/**
 * How to go on: `final` never again (WE-15, WE-19), `denied` later and without identity until then (WE-18, WL-29),
 * `transient` with backoff (WE-16).
 */
export type FailureKind = "final" | "denied" | "transient";

export interface Failure {
  readonly kind: FailureKind;
  readonly error: SpiffeError;
}

/** What was being done when it failed. */
export interface CallContext {
  /** The step, such as `fetch-x509`. */
  readonly phase: string;
  /** The address as a URI, for the sentence. */
  readonly socket: string;
  readonly endpoint?: Endpoint | undefined;
  /** A token the agent was to validate; it is kept out of the error even if the agent repeats it. */
  readonly token?: string | undefined;
}

interface Judgement {
  kind: FailureKind;
  code: ErrorCode;
  /** What happened, continuing "The Workload API at … ". */
  what: string;
  phase?: string;
  reason?: Reason;
  hint?: string;
}

/** Every error below this one, itself first: the runtime's own error is the cause of Connect's. */
function causes(error: unknown): Error[] {
  const chain: Error[] = [];
  for (let at: unknown = error; at instanceof Error && !chain.includes(at); at = at.cause) chain.push(at);
  return chain;
}

function judgeDial(chain: readonly Error[], endpoint: Endpoint | undefined): Judgement | undefined {
  if (chain.some(isDenoRefusal)) {
    const what = `may not be reached: Deno refused. Run the program with ${denoFlags(endpoint)}`;
    return { kind: "final", code: "ERR_SPIFFE_PERMISSION", what, phase: "connect" };
  }
  const codes = chain.map((error) => (error as NodeJS.ErrnoException).code);
  const unreachable = (what: string, hint: string): Judgement => {
    return {
      kind: "transient",
      code: "ERR_SPIFFE_WORKLOAD_API",
      what,
      phase: "connect",
      reason: "workload.unavailable",
      hint,
    };
  };
  if (codes.includes("ENOENT")) {
    return unreachable(
      "is not there: no such socket (Unavailable, ENOENT)",
      "Start the agent, or correct SPIFFE_ENDPOINT_SOCKET.",
    );
  }
  if (codes.includes("ECONNREFUSED")) {
    return unreachable("refused the connection (Unavailable, ECONNREFUSED)", "Nothing listens there: start the agent.");
  }
  const denied = codes.find((code) => code === "EACCES" || code === "EPERM");
  if (denied !== undefined) {
    const what = `may not be reached: permission denied (Unavailable, ${denied})`;
    const hint = "Give this user read and write permission on the socket and search permission on its directories.";
    return { kind: "transient", code: "ERR_SPIFFE_PERMISSION", what, phase: "connect", hint };
  }
  return undefined;
}

function judgeAnswer(code: Code, validating: boolean): Judgement {
  switch (code) {
    case Code.InvalidArgument:
      if (validating)
        return { kind: "final", code: "ERR_SPIFFE_JWT_VERIFY", what: "refused the token (InvalidArgument)" };
      return { kind: "final", code: "ERR_SPIFFE_WORKLOAD_API", what: "called the request invalid (InvalidArgument)" };
    case Code.Unimplemented:
      return {
        kind: "final",
        code: "ERR_SPIFFE_WORKLOAD_API",
        what: "does not offer this call (Unimplemented)",
        hint: "If this is an admin socket, or the server's, take the agent's public socket.",
      };
    case Code.PermissionDenied:
      return {
        kind: "denied",
        code: "ERR_SPIFFE_NO_IDENTITY",
        what: "has no identity for this process (PermissionDenied)",
        reason: "workload.no-svid",
        hint: "Register the workload with selectors that match this process.",
      };
    case Code.DeadlineExceeded:
      return { kind: "transient", code: "ERR_SPIFFE_TIMEOUT", what: "did not answer in time (DeadlineExceeded)" };
    case Code.ResourceExhausted:
      return {
        kind: "transient",
        code: "ERR_SPIFFE_WORKLOAD_API",
        what: "sent too much or is overloaded (ResourceExhausted)",
        reason: "workload.too-large",
      };
    default:
      return {
        kind: "transient",
        code: "ERR_SPIFFE_WORKLOAD_API",
        what: `failed (${Code[code]})`,
        reason: "workload.unavailable",
      };
  }
}

/** What to do about a message that broke a rule, where somebody here can do something. */
export function hintFor(reason: Reason): string | undefined {
  if (!/\.(?:expired|not-yet-valid)$/.test(reason)) return undefined;
  return "Compare this machine's clock with the issuer's, and see whether the agent renews: spiffe-edge doctor tells.";
}

/**
 * The code of a failed call. What Connect finds wrong with an answer itself, such as one that breaks off within a message,
 * it reports under codes that from an agent would forbid to ask again.
 */
function codeOf(error: ConnectError): Code {
  const byConnect = !error.isWireError && error.rawMessage.startsWith("protocol error");
  return byConnect ? Code.Internal : error.code;
}

/** Turns whatever a call threw into an error with phase and code, and says whether to try again. */
export function failureOf(thrown: unknown, context: CallContext): Failure {
  // What this project found itself is no answer of the agent: a refused message, a connection it gave up.
  const chain = causes(thrown);
  const own = chain.find((error) => isSpiffeError(error));
  if (own !== undefined) return { kind: "transient", error: own };
  const { token } = context;
  const connectError = ConnectError.from(thrown);
  const judgement = judgeDial(chain, context.endpoint) ?? judgeAnswer(codeOf(connectError), token !== undefined);
  const phase = judgement.phase ?? context.phase;
  const leaks = token !== undefined && connectError.message.includes(token);
  const said = phase === "connect" || leaks ? "" : connectError.rawMessage.slice(0, 300);
  const message = `The Workload API at ${context.socket} ${judgement.what}${said === "" ? "" : `: ${said}`}`;
  const error = new SpiffeError(judgement.code, message, {
    phase,
    reason: judgement.reason,
    hint: judgement.hint,
    retryable: judgement.kind !== "final",
    cause: leaks ? undefined : thrown,
  });
  return { kind: judgement.kind, error };
}
