/** One request at one address, whatever its protocol: what is sent, and what is told of it. */

/** One field: name, value. */
export type Field = readonly [name: string, value: string];

/** What goes to an upstream, beside the body. */
export interface UpstreamRequest {
  readonly method: string;
  readonly target: string;
  readonly fields: readonly Field[];
  /** Whether a body follows; it is written once there is a connection. */
  readonly withBody: boolean;
}

/** What a call tells. Nothing is told after `failed`, and nothing but `unwanted` after `ended`. */
export interface CallEvents {
  /** There is a connection that takes the body; not told of requests without one. */
  connected(call: UpstreamCall): void;
  /** The head of the answer; fields as names and values in turn. The reason is that of HTTP/1.1. */
  head(call: UpstreamCall, status: number, fields: readonly string[], reason?: string): void;
  data(call: UpstreamCall, chunk: Uint8Array): void;
  /** The answer is whole; trailers as names and values in turn. */
  ended(call: UpstreamCall, trailers: readonly string[]): void;
  /** It broke: before the head nothing was answered, later the answer is not whole. */
  failed(call: UpstreamCall, error: unknown): void;
  /** More of the body may be written. */
  drained(call: UpstreamCall): void;
  /** Nobody reads the rest of the body. */
  unwanted(call: UpstreamCall): void;
}

/**
 * A request that the protocol has no form for, as with a field twice that HTTP/2 has once, or a character beyond a byte;
 * none of it was sent.
 */
export class Unsendable extends Error {
  constructor(cause?: unknown) {
    super("The request has fields that cannot be sent on", { cause });
  }
}

/** A request that has begun. */
export interface UpstreamCall {
  /** Whether its connection had carried a request before. */
  readonly reused: boolean;
  /** Whether the upstream said that it did nothing with the request (S-24). */
  readonly unseen: boolean;
  /** Writes a part of the body; false when the next should wait for `drained`. */
  write(chunk: Uint8Array): boolean;
  /** Ends the request. */
  end(trailers: readonly Field[]): void;
  /** Stops and goes on telling of `data`. */
  pause(): void;
  resume(): void;
  /** Gives it up; what it held is of no use to others any more. */
  destroy(): void;
}
