/** One gRPC call as plain HTTP/2: for what the Workload API client never does, such as leaving the header out. */
import { constants, connect as openSession } from "node:http2";
import { connect, type Socket } from "node:net";
import { LIMITS, SpiffeError } from "../../base/index.ts";
import type { Endpoint } from "../../workload/index.ts";

/** How a call ended. */
export interface RawAnswer {
  /** The gRPC status; 0 also when a first message came, the stream being left then. */
  readonly status: number;
  readonly message: string;
  /** The first message. */
  readonly body: Uint8Array | undefined;
}

/** Names of the gRPC status codes, by number. */
export const GRPC_CODES: readonly string[] = [
  "OK",
  "Canceled",
  "Unknown",
  "InvalidArgument",
  "DeadlineExceeded",
  "NotFound",
  "AlreadyExists",
  "PermissionDenied",
  "ResourceExhausted",
  "FailedPrecondition",
  "Aborted",
  "OutOfRange",
  "Unimplemented",
  "Internal",
  "Unavailable",
  "DataLoss",
  "Unauthenticated",
];

/** Flag and length of a message, then the empty message. */
const EMPTY_MESSAGE = new Uint8Array(5);
const FRAME_HEAD = 5;

/** Opens a connection to a Workload API; what goes wrong comes as its `error` event, or is thrown. */
export function dial(endpoint: Endpoint): Socket {
  return endpoint.kind === "unix" ? connect(endpoint.path) : connect({ host: endpoint.host, port: endpoint.port });
}

/**
 * Calls a method with the empty message.
 *
 * @param path such as `/grpc.health.v1.Health/Check`
 * @throws SpiffeError `ERR_SPIFFE_TIMEOUT`; `ERR_SPIFFE_WORKLOAD_API` when what answers does not speak gRPC
 */
export function rawCall(
  endpoint: Endpoint,
  path: string,
  { headers, timeoutMs }: { headers: Readonly<Record<string, string>>; timeoutMs: number },
): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    let socket: Socket | undefined;
    const session = openSession("http://localhost", { createConnection: () => (socket = dial(endpoint)) });
    const call = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
    let received = Buffer.alloc(0);
    let outcome: RawAnswer | SpiffeError | undefined;
    // The stream ends first and the session after it: Deno 2.9.5 dies of a session that is destroyed under its streams.
    const settle = (found: RawAnswer | SpiffeError) => {
      outcome ??= found;
      call.close(constants.NGHTTP2_CANCEL);
    };
    const broken = (why: string) => {
      const sentence = `What answers does not speak gRPC: ${why}`;
      settle(new SpiffeError("ERR_SPIFFE_WORKLOAD_API", sentence, { phase: path, hint: "Check the address" }));
    };
    const timer = setTimeout(() => {
      const sentence = `No answer to ${path} within ${timeoutMs} ms`;
      settle(new SpiffeError("ERR_SPIFFE_TIMEOUT", sentence, { phase: path, retryable: true }));
    }, timeoutMs);
    const finish = (fields: Record<string, unknown>) => {
      const status = fields["grpc-status"];
      if (status === undefined) return;
      outcome ??= { status: Number(status), message: String(fields["grpc-message"] ?? ""), body: messageOf(received) };
    };
    call.on("response", (fields) => {
      // A server that knows no such method may say so in HTTP.
      if (fields[":status"] === 404) return finish({ "grpc-status": GRPC_CODES.indexOf("Unimplemented") });
      if (fields[":status"] !== 200) return broken(`HTTP status ${fields[":status"]}`);
      finish(fields);
    });
    call.on("trailers", finish);
    call.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length > LIMITS.grpcMessage) return broken("it sends without end");
      const body = messageOf(received);
      if (body !== undefined) settle({ status: 0, message: "", body });
    });
    call.on("error", (error: Error) => broken(error.message));
    session.on("error", (error: Error) => broken(error.message));
    call.once("close", () => {
      clearTimeout(timer);
      session.close();
      // A peer that is silent would keep it open.
      setImmediate(() => socket?.destroy());
      if (outcome === undefined) broken("the stream ended without a status");
      if (outcome instanceof SpiffeError) reject(outcome);
      else resolve(outcome!);
    });
    call.end(EMPTY_MESSAGE);
  });
}

/** The first message, once it is whole. */
function messageOf(received: Buffer): Uint8Array | undefined {
  if (received.length < FRAME_HEAD) return undefined;
  const length = received.readUInt32BE(1);
  return received.length < FRAME_HEAD + length ? undefined : received.subarray(FRAME_HEAD, FRAME_HEAD + length);
}
