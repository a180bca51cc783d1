/** Errors of the project: one base class, stable codes, sentences that say what to do. */
import type { ErrorCode, Reason } from "./codes.ts";

const BRAND = "spiffe-edge.error";

/** What an error carries beside its sentence. */
export interface SpiffeErrorOptions {
  /** The rule that was broken, where the error stands for a refused input. */
  reason?: Reason | undefined;
  /** The step that failed, for example `connect`, `fetch-x509`, `handshake`. */
  phase?: string | undefined;
  /** Whether trying the same again later can succeed, and nothing is done twice by that. */
  retryable?: boolean | undefined;
  /** What to do about it, one sentence. */
  hint?: string | undefined;
  cause?: unknown;
}

/**
 * The one error class at the public surface.
 *
 * `message` says what was expected and what came; `hint` what to do. Secrets (keys, tokens) are never part of either.
 *
 * @example
 * ```ts
 * import { isSpiffeError, SpiffeId } from "spiffe-edge";
 * try {
 *   SpiffeId.parse("https://example.org/web");
 * } catch (error) {
 *   if (!isSpiffeError(error, "ERR_SPIFFE_ID")) throw error;
 *   console.assert(error.reason === "id.scheme");
 * }
 * ```
 */
export class SpiffeError extends Error {
  override name = "SpiffeError";
  readonly code: ErrorCode;
  readonly reason: Reason | undefined;
  readonly phase: string | undefined;
  readonly retryable: boolean;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: SpiffeErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.reason = options.reason;
    this.phase = options.phase;
    this.retryable = options.retryable ?? false;
    this.hint = options.hint;
    Object.defineProperty(this, Symbol.for(BRAND), { value: true });
  }
}

/**
 * Tells whether a caught value is a {@link SpiffeError}, also one made by another copy of this package.
 *
 * @param error any caught value
 * @param code when given, the error must carry exactly this code
 */
export function isSpiffeError(error: unknown, code?: ErrorCode): error is SpiffeError {
  if (typeof error !== "object" || error === null || !(Symbol.for(BRAND) in error)) return false;
  return code === undefined || (error as SpiffeError).code === code;
}
