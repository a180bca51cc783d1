/** One connection to the store: dialled, logged in and tried before anybody counts there. */
import { connect as dialPlain } from "node:net";
import type { Duplex } from "node:stream";
import { type Clock, isSpiffeError } from "../../base/index.ts";
import { streamFactory, type TlsIdentity } from "../../tls/index.ts";
import type { RateConfig } from "../rate-limits.ts";
import type { RateStoreConfig } from "./config-store.ts";
import { TAKE } from "./script.ts";

/** Milliseconds to a connection, and without an answer after which one is of no use. */
const DIAL_MS = 5_000;
const STUCK_MS = 1_000;

/** A connection that counts. */
export interface StoreClient {
  /** Milliseconds until the bucket of a key has something, 0 where it was taken; whatever the store said instead. */
  take(key: string, rate: RateConfig): Promise<unknown>;
  /** Settles when the connection is over, with what ended it. */
  readonly over: Promise<unknown>;
  close(): void;
}

type Counting = { take(key: string, rate: number, burst: number): Promise<unknown> };

function dial({ socketPath, host = "", port = 0, id }: RateStoreConfig, identity: TlsIdentity, clock: Clock): Duplex {
  if (socketPath !== undefined) return dialPlain({ path: socketPath });
  if (id === undefined) return dialPlain({ host, port });
  return streamFactory(identity, { peer: id, connectTimeoutMs: DIAL_MS, clock })({ host, port });
}

/**
 * Opens a connection and takes from a bucket of no one's there, which needs all that a request needs.
 *
 * @throws what the dial, the login or the store said; the caller shows it by {@link wordsOf} alone
 */
export async function openClient(
  config: RateStoreConfig,
  password: string | undefined,
  { identity, clock, signal }: { identity: TlsIdentity; clock: Clock; signal: AbortSignal },
): Promise<StoreClient> {
  // loaded by who has a store
  const { AbstractConnector, Redis } = await import("ioredis");
  signal.throwIfAborted();
  class Connector extends AbstractConnector {
    constructor() {
      super(0);
    }
    async connect() {
      const stream = dial(config, identity, clock);
      // what comes after the client has let go
      stream.on("error", () => {});
      this.stream = stream as never;
      return this.stream;
    }
    override disconnect() {
      this.stream?.destroy();
    }
  }
  const redis = new Redis({
    Connector: Connector as never,
    lazyConnect: true,
    // who opens a connection anew is the store, and nothing is sent twice
    retryStrategy: null,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    enableReadyCheck: false,
    disableClientInfo: true,
    protocol: 2,
    connectTimeout: DIAL_MS,
    socketTimeout: STUCK_MS,
    ...(config.username === undefined ? {} : { username: config.username }),
    ...(password === undefined ? {} : { password }),
  });
  redis.defineCommand("take", { lua: TAKE, numberOfKeys: 1 });
  const take: StoreClient["take"] = (key, { rate, burst }) => (redis as unknown as Counting).take(key, rate, burst);
  let trouble: unknown;
  redis.on("error", (error: unknown) => {
    trouble ??= error;
  });
  const over = new Promise<unknown>((resolve) => redis.once("end", () => resolve(trouble)));
  const close = () => redis.disconnect();
  signal.addEventListener("abort", close);
  void over.then(() => signal.removeEventListener("abort", close));
  try {
    await redis.connect();
    const wait = await take(`${config.prefix}probe`, { rate: 1_000, burst: 1 });
    if (waitOf(wait) === undefined) throw new Error("no such answer");
  } catch (error) {
    close();
    throw trouble ?? error;
  }
  return { take, over, close };
}

/** The milliseconds that a store answered; undefined for what is no such answer. */
export function waitOf(answer: unknown): number | undefined {
  return typeof answer === "number" && Number.isSafeInteger(answer) && answer >= 0 ? answer : undefined;
}

/** The first word of a store's refusal, such as `WRONGPASS`; undefined for any other error. */
export function refusalOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || error.name !== "ReplyError") return undefined;
  return /^[A-Z]{2,24}(?= |$)/.exec(error.message)?.[0] ?? "ERR";
}

/** What may be said of an error: the client's own hold the command, and with it a password. */
export function wordsOf(error: unknown): string {
  const refusal = refusalOf(error);
  if (refusal !== undefined) return `it refused with ${refusal}`;
  if (isSpiffeError(error)) return `${error.code}: ${error.message}`;
  const { code } = (error ?? {}) as { code?: unknown };
  if (typeof code === "string" && /^[A-Z_]{2,40}$/.test(code)) return code;
  return "the connection broke";
}
