/** What a caller is told when an upstream cannot answer: which kind of trouble, never an address. */
import { isSpiffeError } from "../base/index.ts";
import type { Problem } from "./middleware/problem.ts";
import type { TryOutcome } from "./upstream/tries.ts";

const NO_IDENTITY = ["ERR_SPIFFE_NOT_READY", "ERR_SPIFFE_EXPIRED", "ERR_SPIFFE_REVOKED", "ERR_SPIFFE_CLOSED"];

/** Whether a dial failed for want of an own identity, which no other address changes. */
export function isOwnTrouble(error: unknown): boolean {
  return isSpiffeError(error) && NO_IDENTITY.includes(error.code);
}

/** The upstream was reached and broke the exchange. */
export function badGateway(detail: string): Problem {
  return { status: 502, code: "ERR_SPIFFE_UPSTREAM", reason: "upstream.aborted", detail };
}

/** The caller's request cannot be written in the upstream's protocol. */
export function unsendable(detail: string): Problem {
  return { status: 400, code: "ERR_SPIFFE_REQUEST", reason: "request.framing", detail };
}

/** Time ran out. */
export function timeout(detail: string): Problem {
  return { status: 504, code: "ERR_SPIFFE_TIMEOUT", reason: "upstream.timeout", detail };
}

/** The upstream did not answer lately and is left alone for a moment. */
export function breakerOpen(): Problem {
  const detail = "The upstream did not answer lately and is left alone for a moment";
  return { status: 503, code: "ERR_SPIFFE_UPSTREAM", reason: "upstream.breaker-open", detail };
}

/** Health checks speak against every address. */
export function unhealthy(): Problem {
  const detail = "No address of the upstream passes its health checks";
  return { status: 503, code: "ERR_SPIFFE_UPSTREAM", reason: "upstream.unhealthy", detail };
}

/** Why no connection came about. */
export function unavailable(error: unknown): Problem {
  if (isSpiffeError(error, "ERR_SPIFFE_TIMEOUT")) return timeout("The upstream could not be reached in time");
  if (isSpiffeError(error, "ERR_SPIFFE_PEER_REFUSED")) {
    const detail = "The upstream could not prove who it is";
    return { status: 502, code: "ERR_SPIFFE_UPSTREAM", reason: "upstream.identity", detail };
  }
  if (isSpiffeError(error) && isOwnTrouble(error)) {
    return { status: 503, code: error.code, detail: "The gateway has no identity to dial with" };
  }
  const detail = "The upstream could not be reached";
  return { status: 502, code: "ERR_SPIFFE_UPSTREAM", reason: "upstream.unreachable", detail };
}

/** How a try is counted whose connection did not come about. */
export function dialOutcome(error: unknown): Exclude<TryOutcome, "answered"> {
  return isSpiffeError(error, "ERR_SPIFFE_PEER_REFUSED") ? "identity" : "unreachable";
}
