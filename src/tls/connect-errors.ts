/** Why there is no connection: one error for each way a dial can end, with the step it ended at. */
import { isSpiffeError, SpiffeError } from "../base/errors.ts";
import type { Refusal } from "../base/verdict.ts";
import { denoNetFlag, isDenoRefusal } from "../runtime/deno-permission.ts";

/** The steps of a dial, in their order, as `phase` of its errors. */
export type DialPhase = "identity" | "lookup" | "connect" | "handshake" | "verify";

/** Where a dial goes: a name or address with a port, the path of a unix socket, or a stream that is there already. */
export type DialAddress =
  | { readonly host: string; readonly port: number }
  | { readonly path: string }
  | { readonly socket: object };

/** The address as errors name it. */
export function nameOf(address: DialAddress): string {
  if ("path" in address) return `unix:${address.path}`;
  if ("socket" in address) return farEndOf(address.socket) ?? "the given stream";
  return `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}

/** Whom a stream that is open already leads to, where it is a socket. */
function farEndOf(stream: object): string | undefined {
  const { remoteAddress: host, remotePort: port } = stream as { remoteAddress?: unknown; remotePort?: unknown };
  return typeof host === "string" && typeof port === "number" ? nameOf({ host, port }) : undefined;
}

/** What the identity threw, with the step and what to do. */
export function identityError(cause: unknown): SpiffeError {
  const known = isSpiffeError(cause) ? cause : undefined;
  return new SpiffeError(known?.code ?? "ERR_SPIFFE_NO_IDENTITY", known?.message ?? "This side has no X.509-SVID", {
    reason: known?.reason,
    phase: "identity",
    retryable: known?.retryable ?? true,
    hint: known?.hint ?? (known?.code === "ERR_SPIFFE_CLOSED" ? CLOSED : NO_SVID),
    cause,
  });
}

const NO_SVID = "Nothing can be dialled until the Workload API gives an SVID again: look at the agent";
const CLOSED = "This program closed it: dial before that, or open another one";

/** An error of the network or of TLS. */
export function dialError(cause: Error & { code?: unknown }, address: DialAddress, phase: DialPhase): SpiffeError {
  if (isSpiffeError(cause)) return cause;
  const at = nameOf(address);
  if (isDenoRefusal(cause)) {
    const flag = "host" in address ? denoNetFlag(address.host, address.port) : `--allow-net=${at}`;
    return new SpiffeError("ERR_SPIFFE_PERMISSION", `Deno does not let this program dial ${at}. Run it with ${flag}`, {
      phase,
      cause,
      hint: `Add ${flag}`,
    });
  }
  const code = typeof cause.code === "string" ? cause.code : "";
  const of = isLookup(cause) ? LOOKUP : phase === "handshake" ? (isProtocol(code) ? PROTOCOL : HANDSHAKE) : CONNECT;
  return new SpiffeError("ERR_SPIFFE_TLS", `Expected ${of.expected} ${at}: ${cause.message}`, {
    phase: of.phase,
    cause,
    retryable: of.retryable,
    hint: of.hint,
  });
}

interface Failure {
  readonly phase: DialPhase;
  readonly expected: string;
  readonly retryable: boolean;
  readonly hint: string;
}

const LOOKUP: Failure = {
  phase: "lookup",
  expected: "an address for",
  retryable: true,
  hint: "Check the name and this machine's resolver",
};
const CONNECT: Failure = {
  phase: "connect",
  expected: "to reach",
  retryable: true,
  hint: "Check the address and that the peer listens",
};
const HANDSHAKE: Failure = {
  phase: "handshake",
  expected: "a TLS 1.3 handshake with",
  retryable: true,
  hint: "Check that the peer speaks TLS 1.3, and look at its log: it may have cut this side off",
};
const PROTOCOL: Failure = { ...HANDSHAKE, retryable: false, hint: "Check that the peer speaks TLS 1.3 on this port" };

function isLookup(cause: Error & { code?: unknown; syscall?: unknown }): boolean {
  return cause.syscall === "getaddrinfo" || ["ENOTFOUND", "EAI_AGAIN", "DNS_ENOTFOUND"].includes(String(cause.code));
}

/** The other side answered, and not in TLS 1.3: it will the next time as well. */
function isProtocol(code: string): boolean {
  return code === "EPROTO" || /^ERR_SSL_/.test(code) || code === "InvalidData";
}

/** The peer finished the handshake and is not welcome. */
export function refusedError(refusal: Refusal, address: DialAddress): SpiffeError {
  const { reason, message } = refusal;
  const what = reason.startsWith("peer.") ? "is not who was expected" : "could not be verified";
  return new SpiffeError("ERR_SPIFFE_PEER_REFUSED", `The peer at ${nameOf(address)} ${what}: ${message}`, {
    reason,
    phase: "verify",
    // Its next certificate may be in time; what else is wrong with it stays wrong.
    retryable: reason === "x509.expired" || reason === "x509.not-yet-valid",
    hint:
      reason === "x509.no-bundle"
        ? "Federate with its trust domain, or correct the address: only bundles of this workload vouch for peers"
        : "Compare its SPIFFE ID with `peer`, and its trust domain with the bundles of this workload",
  });
}

/** The end of a connection that had been verified (S-9). */
export function endedError({ reason, message }: Refusal, address: DialAddress): SpiffeError {
  const own = reason === "peer.own-expired" || reason === "peer.own-identity-lost";
  const code = own || reason === "peer.max-age" ? "ERR_SPIFFE_CLOSED" : "ERR_SPIFFE_PEER_REFUSED";
  return new SpiffeError(code, `The connection to ${nameOf(address)} was ended: ${message}`, {
    reason,
    phase: "connected",
    // a new connection may be had; what was sent on this one, the peer may have acted on
    hint: "Dial again: the new connection is verified with what holds then; repeat only what may arrive twice",
  });
}

export function timeoutError(address: DialAddress, phase: DialPhase, timeoutMs: number): SpiffeError {
  return new SpiffeError("ERR_SPIFFE_TIMEOUT", `No verified connection to ${nameOf(address)} within ${timeoutMs} ms`, {
    phase,
    retryable: true,
    hint: "Check that the peer answers, or give it more time",
  });
}

/**
 * The error for an aborted call; a signal that timed out is told apart from one that was aborted.
 *
 * @param repeatable false for a call that the peer may have seen, and that may not arrive twice
 */
export function abortError(signal: AbortSignal, at: string, phase: string, repeatable = true): SpiffeError {
  const timedOut = (signal.reason as { name?: unknown } | undefined)?.name === "TimeoutError";
  const late = repeatable
    ? "Give the call more time, or look why the peer is slow"
    : "The peer may have acted on it: repeat the call only if it may arrive twice";
  return new SpiffeError(
    timedOut ? "ERR_SPIFFE_TIMEOUT" : "ERR_SPIFFE_ABORTED",
    timedOut ? `The signal's time for ${at} ran out` : `The call to ${at} was aborted`,
    {
      phase,
      cause: signal.reason,
      retryable: timedOut && repeatable,
      hint: timedOut ? late : "The caller's own signal ended it",
    },
  );
}
