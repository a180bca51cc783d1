/** What a caller is told when an upstream cannot answer: which kind of trouble, never an address. */
import { isSpiffeError } from "../base/index.ts";
import type { Problem } from "./middleware/problem.ts";

const NO_IDENTITY = ["ERR_SPIFFE_NOT_READY", "ERR_SPIFFE_EXPIRED", "ERR_SPIFFE_REVOKED", "ERR_SPIFFE_CLOSED"];

/** The upstream was reached and broke the exchange. */
export function badGateway(detail: string): Problem {
  return { status: 502, code: "ERR_SPIFFE_UPSTREAM", reason: "upstream.aborted", detail };
}

/** Time ran out. */
export function timeout(detail: string): Problem {
  return { status: 504, code: "ERR_SPIFFE_TIMEOUT", reason: "upstream.timeout", detail };
}

/** Why no connection came about. */
export function unavailable(error: unknown): Problem {
  if (isSpiffeError(error, "ERR_SPIFFE_TIMEOUT")) return timeout("The upstream could not be reached in time");
  if (isSpiffeError(error, "ERR_SPIFFE_PEER_REFUSED")) {
    const detail = "The upstream could not prove who it is";
    return { status: 502, code: "ERR_SPIFFE_UPSTREAM", reason: "upstream.identity", detail };
  }
  if (isSpiffeError(error) && NO_IDENTITY.includes(error.code)) {
    return { status: 503, code: error.code, detail: "The gateway has no identity to dial with" };
  }
  const detail = "The upstream could not be reached";
  return { status: 502, code: "ERR_SPIFFE_UPSTREAM", reason: "upstream.unreachable", detail };
}
