/** A Workload API whose answers a test writes, the wrong ones too: real gRPC on a real socket. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { ConnectError, type ConnectRouter, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import { serveUnix, type UnixServer } from "../../src/authority/unix-server.ts";
import { SpiffeWorkloadAPI, type X509SVIDResponseSchema } from "../../src/gen/workload/workload_pb.js";

export type Handlers = Partial<ServiceImpl<typeof SpiffeWorkloadAPI>>;
export type X509Answer = MessageInitShape<typeof X509SVIDResponseSchema>;

export class WorkloadServer {
  /** The socket as a URI. */
  readonly socket: string;
  readonly path: string;
  readonly #directory: string;
  readonly #routes: (router: ConnectRouter) => void;
  #server: UnixServer | undefined;

  private constructor(directory: string, handlers: Handlers) {
    this.#directory = directory;
    this.path = join(directory, "api.sock");
    this.socket = `unix://${this.path}`;
    this.#routes = (router) => router.service(SpiffeWorkloadAPI, handlers);
  }

  /** Serves the handlers; a method without one answers Unimplemented. */
  static async start(handlers: Handlers): Promise<WorkloadServer> {
    const server = await WorkloadServer.prepare(handlers);
    await server.listen();
    return server;
  }

  /** As {@link WorkloadServer.start}, but the socket is not there before `listen()`. */
  static async prepare(handlers: Handlers): Promise<WorkloadServer> {
    return new WorkloadServer(await mkdtemp(join(tmpdir(), "wl-")), handlers);
  }

  async listen(): Promise<void> {
    this.#server = await serveUnix(this.path, this.#routes, []);
  }

  /** Closes the socket and every connection, as an agent that stops. */
  async stop(): Promise<void> {
    await this.#server?.close();
    this.#server = undefined;
  }

  async close(): Promise<void> {
    await this.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** Waits until the caller has left; for a handler that keeps its stream open. */
export function untilLeft(context: HandlerContext): Promise<void> {
  return new Promise((resolve) => {
    if (context.signal.aborted) return resolve();
    context.signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** Sends one answer and keeps the stream open. */
export async function* sayAndStay<T>(answer: T, context: HandlerContext): AsyncGenerator<T> {
  yield answer;
  await untilLeft(context);
}

/** What a stream's handler does next: send, finish, or fail. One stream at a time. */
export class Feed<T> {
  /** Streams opened so far. */
  streams = 0;
  /** Streams open now, as the server knows. */
  open = 0;
  readonly #steps: (T | ConnectError | "end")[] = [];
  #wake: () => void = () => {};

  push(...steps: (T | ConnectError | "end")[]): void {
    this.#steps.push(...steps);
    this.#wake();
  }

  async *stream(context: HandlerContext): AsyncGenerator<T> {
    this.streams++;
    this.open++;
    const left = untilLeft(context);
    try {
      while (!context.signal.aborted) {
        const step = this.#steps.shift();
        if (step === "end") return;
        if (step instanceof ConnectError) throw step;
        if (step !== undefined) yield step;
        else {
          const pushed = new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
          await Promise.race([left, pushed]);
        }
      }
    } finally {
      this.open--;
    }
  }
}

/** Waits until something holds; for what another party brings about. */
export async function eventually(holds: () => boolean, what: string): Promise<void> {
  for (let tries = 0; !holds(); tries++) {
    if (tries > 12_000) assert.fail(`It did not come to: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
