/** What opening has in common: whose client it is, and how long to wait for the first state. */
import { SpiffeError } from "../base/errors.ts";
import { type ClientOptions, connectionOf, WorkloadApiClient } from "./client.ts";
import type { Connection } from "./connection.ts";
import { checkTimeout, within } from "./signals.ts";

/** Where a source gets its state: an address, or a client that it shares and does not close. */
export interface SourceOptions extends Omit<ClientOptions, "timeoutMs"> {
  readonly client?: WorkloadApiClient | undefined;
}

/** How long to wait for the first state. */
export interface OpenOptions {
  /** Milliseconds, 30,000 by default; `Infinity` has to be written. */
  readonly timeoutMs?: number | undefined;
  /** Ends the wait; what was opened is closed again. */
  readonly signal?: AbortSignal | undefined;
}

/** A client with its connection; `release` closes it if it was made here. */
export interface HeldClient {
  readonly client: WorkloadApiClient;
  readonly connection: Connection;
  release(): Promise<void>;
}

/** The given client, or an own one. */
export function holdClient(options: SourceOptions): HeldClient {
  const { client, socket, transport, keepaliveMs, redactionGraceMs, clock, logger } = options;
  if (client !== undefined) return { client, connection: connectionOf(client), release: async () => {} };
  const own = new WorkloadApiClient({ socket, transport, keepaliveMs, redactionGraceMs, clock, logger });
  return { client: own, connection: connectionOf(own), release: () => own.close() };
}

/** Something that is opened: it becomes ready, or says what the last trouble was. */
export interface Opening {
  readonly connection: Connection;
  ready(signal: AbortSignal): Promise<unknown>;
  lastError(): SpiffeError | undefined;
  close(): Promise<void>;
}

/** Waits until it is ready; when it does not become so in time, or fails for good, it is closed again. */
export async function whenReady(opening: Opening, options: OpenOptions): Promise<void> {
  const { clock, socket } = opening.connection;
  try {
    const timeoutMs = checkTimeout(options.timeoutMs ?? 30_000);
    const late = () => lateError(socket, timeoutMs, opening.lastError());
    await within((signal) => opening.ready(signal), { timeoutMs, clock, signal: options.signal, late });
  } catch (error) {
    await opening.close();
    throw error;
  }
}

function lateError(socket: string, timeoutMs: number, cause: SpiffeError | undefined): SpiffeError {
  const last =
    cause === undefined ? "it accepted the call and sent nothing" : `${cause.code} at ${cause.phase}: ${cause.message}`;
  const sentence = `The Workload API at ${socket} gave no identity within ${timeoutMs} ms. Last: ${last}`;
  const phase = cause?.phase ?? "first-message";
  return new SpiffeError("ERR_SPIFFE_TIMEOUT", sentence, {
    phase,
    retryable: true,
    hint: cause?.hint,
    reason: cause?.reason,
    cause,
  });
}
