/** gRPC calls written by hand, so that nothing adds headers, retries or judges the answer. */
import { connect as connectHttp2, type OutgoingHttpHeaders } from "node:http2";
import { connect } from "node:net";
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";

/** The metadata without which every call is refused. */
export const SECURITY: OutgoingHttpHeaders = { "workload.spiffe.io": "true" };

export interface Answer<T> {
  /** The gRPC status. */
  status: number;
  message: string;
  messages: T[];
  /** Response headers and trailers. */
  headers: Readonly<Record<string, unknown>>;
}

export interface Stream<T> {
  /** The next message; rejects when the call ends before it. */
  next(): Promise<T>;
  /** The final status; rejects when there is none. */
  end: Promise<Answer<T>>;
  cancel(): void;
}

/** A call of bytes: what is sent is what is given, prefix included. */
export interface RawCall {
  /** Such as `/SpiffeWorkloadAPI/FetchX509SVID`. */
  path: string;
  body: Uint8Array;
  headers?: OutgoingHttpHeaders;
}

/** A message with its prefix of five bytes. */
export function framed(message: Uint8Array): Uint8Array {
  const frame = new Uint8Array(5 + message.length);
  new DataView(frame.buffer).setUint32(1, message.length);
  frame.set(message, 5);
  return frame;
}

/** Calls the Workload API at a `unix:` address. */
export function callRaw<T>(endpoint: string, call: RawCall, decode: (message: Uint8Array) => T): Stream<T> {
  const session = connectHttp2("http://localhost", {
    createConnection: () => connect(endpoint.slice("unix://".length)),
  });
  const stream = session.request({
    ":method": "POST",
    ":path": call.path,
    "content-type": "application/grpc",
    te: "trailers",
    ...call.headers,
  });
  const messages: T[] = [];
  const waiting: { resolve(message: T): void; reject(error: Error): void }[] = [];
  let taken = 0;
  const deliver = () => {
    while (waiting.length > 0 && taken < messages.length) waiting.shift()?.resolve(messages[taken++] as T);
  };
  const end = new Promise<Answer<T>>((resolve, reject) => {
    let buffered = Buffer.alloc(0);
    let last: Record<string, unknown> = {};
    stream.on("response", (received) => {
      last = { ...last, ...received };
    });
    stream.on("trailers", (received) => {
      last = { ...last, ...received };
    });
    stream.on("data", (chunk: Buffer) => {
      buffered = Buffer.concat([buffered, chunk]);
      while (buffered.length >= 5 && buffered.length >= 5 + buffered.readUInt32BE(1)) {
        const length = buffered.readUInt32BE(1);
        messages.push(decode(buffered.subarray(5, 5 + length)));
        buffered = buffered.subarray(5 + length);
      }
      deliver();
    });
    stream.on("error", reject);
    session.on("error", reject);
    const finish = () => {
      const message = decodeURIComponent(String(last["grpc-message"] ?? ""));
      resolve({ status: Number(last["grpc-status"]), message, messages, headers: last });
    };
    // The answer may be whole before the request is.
    stream.on("end", () => {
      if (last["grpc-status"] === undefined) return;
      finish();
      if (!stream.writableFinished) session.destroy();
    });
    stream.on("close", () => {
      session.close();
      if (last["grpc-status"] !== undefined) return finish();
      reject(new Error(`the call ended without a status, HTTP ${last[":status"]}`));
    });
  });
  end.then(
    ({ status, message }) => {
      for (const { reject } of waiting) reject(new Error(`the call ended with ${status} ${message}`));
    },
    (error: Error) => {
      for (const { reject } of waiting) reject(error);
    },
  );
  stream.end(call.body);
  return {
    end,
    next() {
      const message = new Promise<T>((resolve, reject) => waiting.push({ resolve, reject }));
      deliver();
      return message;
    },
    cancel: () => session.destroy(),
  };
}

/** Calls a method of the Workload API with a message. */
export function call<I extends DescMessage, O extends DescMessage>(
  endpoint: string,
  method: string,
  schemas: { input: I; output: O },
  request: MessageInitShape<I>,
  headers: OutgoingHttpHeaders = SECURITY,
): Stream<MessageShape<O>> {
  const body = framed(toBinary(schemas.input, create(schemas.input, request)));
  const decode = (message: Uint8Array) => fromBinary(schemas.output, message);
  return callRaw(endpoint, { path: `/SpiffeWorkloadAPI/${method}`, body, headers }, decode);
}

/** The first message of a call that is then left. */
export async function first<T>(stream: Stream<T>): Promise<T> {
  const message = await stream.next();
  stream.end.catch(() => {});
  stream.cancel();
  return message;
}
