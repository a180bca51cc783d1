/** A gRPC transport to one Workload API: HTTP/2 over a Unix socket, or over TCP where the endpoint says so. */
import { statSync } from "node:fs";
import { stat } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import type { Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { type Clock, systemClock } from "../base/clock.ts";
import { SpiffeError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { type Endpoint, formatEndpoint } from "./endpoint.ts";
import { KeptSessions } from "./keepalive.ts";

/** More often than every five minutes a gRPC server takes for abuse. */
export const KEEPALIVE_MS = 330_000;

export interface TransportOptions {
  /** Milliseconds of silence after which a connection with open calls is asked whether it is still there. */
  readonly keepaliveMs?: number | undefined;
  readonly clock?: Clock | undefined;
}

/** A transport and the connection under it. */
export interface OpenTransport {
  readonly transport: Transport;
  /** Whether another socket lies at the address than the one that was dialled last, and when one came or changed. */
  look(): Promise<SocketLook>;
  /** Asks the connection whether it is alive; without an answer it is ended. */
  probe(): void;
  /** Ends the connection and every call on it with this error; the next call dials anew. */
  redial(error: SpiffeError): void;
  /** Ends the connection and with it every open stream. */
  close(): void;
}

/** What a look at the socket's path found. */
export interface SocketLook {
  /** The connection belongs to a socket that is not the one at the path. */
  readonly replaced: boolean;
  /** Since the last look a socket came, or another took its place. */
  readonly arrived: boolean;
}

/** Makes a transport; nothing is dialled before the first call, and a lost connection is dialled anew by the next. */
export function openTransport(endpoint: Endpoint, options: TransportOptions = {}): OpenTransport {
  let dialled: string | undefined;
  let seen: string | undefined;
  const dial = (): Socket => {
    if (endpoint.kind === "tcp") return connect({ host: endpoint.host, port: endpoint.port });
    dialled = identityNow(endpoint.path);
    seen ??= dialled;
    return connect(endpoint.path);
  };
  const lost = () => {
    const sentence = `The Workload API at ${formatEndpoint(endpoint)} is silent: no answer to a PING (Unavailable)`;
    const reason = "workload.unavailable";
    return new SpiffeError("ERR_SPIFFE_WORKLOAD_API", sentence, { phase: "connect", reason, retryable: true });
  };
  const sessions = new KeptSessions({
    // The URL only fills the :authority header: the socket comes from `dial`.
    baseUrl: "http://localhost",
    dial,
    keepaliveMs: options.keepaliveMs ?? KEEPALIVE_MS,
    // Whether a peer is alive is a matter of real time, whatever time its certificates are judged at.
    clock: options.clock ?? systemClock,
    lost,
  });
  const transport = createGrpcTransport({
    baseUrl: "http://localhost",
    sessionManager: sessions,
    // Compression buys nothing between two processes of one host.
    acceptCompression: [],
    readMaxBytes: LIMITS.grpcMessage,
    writeMaxBytes: LIMITS.grpcMessage,
  });
  return {
    transport,
    async look() {
      if (endpoint.kind === "tcp") return { replaced: false, arrived: false };
      const there = await stat(endpoint.path, { bigint: true }).then(identityOf, () => undefined);
      const arrived = there !== undefined && there !== seen;
      seen = there;
      return { replaced: there !== undefined && dialled !== undefined && there !== dialled, arrived };
    },
    probe: () => sessions.probe(),
    redial(error) {
      dialled = undefined;
      sessions.abort(error);
    },
    close: () => sessions.abort(),
  };
}

/** Tells one socket file from the next at the same path; the number of a removed file is used again at once. */
function identityOf(file: { dev: bigint; ino: bigint; birthtimeNs: bigint }): string {
  return `${file.dev}:${file.ino}:${file.birthtimeNs}`;
}

function identityNow(path: string): string | undefined {
  try {
    return identityOf(statSync(path, { bigint: true }));
  } catch {
    return undefined;
  }
}
