/** `servePlain()`: a Hono app for callers with tokens, in plaintext that does not leave this machine (S-18). */

import { inRange, type OptionNames, onlyKnown, usage, wholeInRange } from "../base/check-options.ts";
import { type Clock, systemClock } from "../base/index.ts";
import { capabilities } from "../runtime/capabilities.ts";
import { type Logger, silentLogger } from "../telemetry/logger.ts";
import { thatNeverThrows } from "../telemetry/quiet-logger.ts";
import type { OwnPlace } from "../tls/listening.ts";
import { markConnection } from "../tls/peer.ts";
import type { ServedApp } from "./app-handler.ts";
import { closeOnSignal } from "./close-on-signal.ts";
import { checkFetchRequest } from "./fetch-request.ts";
import { isLoopbackAddress } from "./loopback.ts";
import { problemResponse } from "./middleware/problem.ts";
import { openBun } from "./native/bun.ts";
import { openDeno } from "./native/deno.ts";
import { openNode } from "./native/node.ts";
import type { Answer, NativeServer } from "./native/server.ts";

/** Settings of {@link servePlain}. */
export interface PlainServeOptions {
  /** TCP port, 0 for a free one; 8080 by default. */
  readonly port?: number | undefined;
  /** A loopback address; `127.0.0.1` by default. */
  readonly address?: string | undefined;
  /** Path of a unix socket, in place of port and address. */
  readonly path?: string | undefined;
  /** Milliseconds that running requests have left once the server closes; 30,000 by default. */
  readonly drainMs?: number | undefined;
  /** Signals of the process that close the server; `SIGTERM` and `SIGINT` by default, an empty list for none. */
  readonly signals?: readonly NodeJS.Signals[] | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
}

/** A running plaintext server. */
export interface PlainServer extends AsyncDisposable {
  /** The bound address, or the path of the unix socket. */
  readonly address: string;
  /** The bound port; 0 for a unix socket. */
  readonly port: number;
  /** Settles when the port and every connection are closed. */
  readonly closed: Promise<void>;
  /**
   * Drains and closes. Idempotent.
   *
   * @param options.deadlineMs milliseconds; `drainMs` by default
   * @returns how many requests had to be cut
   */
  close(options?: { deadlineMs?: number }): Promise<{ cut: number }>;
}

const KNOWN: OptionNames<PlainServeOptions> = {
  port: true,
  address: true,
  path: true,
  drainMs: true,
  signals: true,
  clock: true,
  logger: true,
};

/**
 * Serves an app over plaintext HTTP/1.1 on loopback or a unix socket, by the fastest server of the runtime: `Bun.serve`,
 * `Deno.serve` or `node:http`. For callers with JWT-SVIDs behind something on the same machine that ends TLS; nobody has an
 * X.509 identity here, so give `spiffe()` a `jwt` door.
 *
 * Ambiguous targets and hosts and two `Authorization` fields get 400 before the app, as far as the server shows them:
 * `Bun.serve` has resolved `..`, `\` and absolute targets before, and router, policy and app see the result alike;
 * `Deno.serve` takes a bare line feed for the end of a field, and can not cut an answer that streams past the deadline.
 *
 * @param app a Hono app, or anything with its `fetch`
 * @returns the server, once its port is open
 * @throws `ERR_SPIFFE_USAGE` for an address beyond this machine; `ERR_SPIFFE_PORT_IN_USE`, `ERR_SPIFFE_PERMISSION`,
 *   `ERR_SPIFFE_CONFIG` as `listen`
 *
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { servePlain, spiffe } from "spiffe-edge/gateway";
 * import { Authority } from "spiffe-edge/testing";
 * import { Workload } from "spiffe-edge/workload";
 *
 * const id = "spiffe://example.org/orders";
 * await using authority = await Authority.start({ trustDomain: "example.org", entries: [{ id, socket: "orders" }] });
 * await using workload = await Workload.open({ socket: authority.socketFor("orders") });
 * const app = new Hono().use(spiffe(workload, { jwt: { audience: id } })).get("/", (c) => c.text(c.var.peer.id.uri));
 * await using server = await servePlain(app, { port: 0 });
 * const { token } = await workload.jwt.fetch({ audience: id });
 * const url = `http://127.0.0.1:${server.port}/`;
 * console.assert((await (await fetch(url, { headers: { authorization: `Bearer ${token}` } })).text()) === id);
 * console.assert((await fetch(url)).status === 401);
 * ```
 */
export async function servePlain(app: ServedApp, options: PlainServeOptions = {}): Promise<PlainServer> {
  const place = placeOf(options);
  const { drainMs = 30_000, clock = systemClock } = options;
  const logger = thatNeverThrows(options.logger ?? silentLogger);
  const native = await open(place, app, logger);
  let onClosed = () => {};
  const closed = new Promise<void>((resolve) => {
    onClosed = resolve;
  });
  let closing: Promise<{ cut: number }> | undefined;
  const close = (options: { deadlineMs?: number } = {}) => {
    onlyKnown("close", options, { deadlineMs: true });
    return (closing ??= drain(native, options.deadlineMs ?? drainMs, clock).finally(() => {
      forget();
      onClosed();
    }));
  };
  const forget = closeOnSignal(options.signals, (signal) => {
    logger.info("draining", { signal, deadlineMs: drainMs });
    void close();
  });
  return {
    address: native.address,
    port: native.port,
    closed,
    close,
    async [Symbol.asyncDispose]() {
      await close();
    },
  };
}

function placeOf(options: PlainServeOptions): OwnPlace {
  onlyKnown("servePlain", options, KNOWN);
  const { path, port, address = "127.0.0.1", drainMs } = options;
  wholeInRange("port", port, 0, 65_535);
  inRange("drainMs", drainMs, 0, Infinity);
  if (path !== undefined) {
    if (port !== undefined || options.address !== undefined)
      throw usage("Expected path, or address and port; got both");
    if (typeof path !== "string" || path === "" || path.includes("\0"))
      throw usage("Expected path to name a unix socket");
    return { path };
  }
  if (!isLoopbackAddress(address)) {
    const hint = "Use serve(), which speaks TLS, or put something that ends TLS on this machine in front";
    throw usage(`Expected a loopback address, as tokens must not travel in plaintext; got ${String(address)}`, hint);
  }
  return { address, port: port ?? 8_080 };
}

function open(place: OwnPlace, app: ServedApp, logger: Logger): Promise<NativeServer> {
  switch (capabilities.plainServer.value) {
    case "bun":
      return openBun(place, answerOf(app, logger));
    case "deno":
      return openDeno(place, answerOf(app, logger));
    default:
      return openNode(place, app);
  }
}

/** The way into an app from a server that hands out a `Request`. */
function answerOf(app: ServedApp, logger: Logger): Answer {
  // what `spiffe()` looks for: a connection that somebody has judged, and that showed no certificate
  const socket = {};
  markConnection(socket, { accepted: true });
  const incoming = Object.freeze({ socket });
  const failed = (error: unknown): Response => {
    logger.error("the handler failed", { error: error instanceof Error ? error.message : String(error) });
    return problemResponse({ status: 500, code: "ERR_SPIFFE_INTERNAL", detail: "The server failed" });
  };
  return (request) => {
    try {
      const checked = checkFetchRequest(request);
      if (!checked.ok) {
        const { reason, message: detail } = checked;
        return problemResponse({ status: 400, code: "ERR_SPIFFE_REQUEST", reason, detail });
      }
      const answer = app.fetch(checked.value, { incoming } as never);
      return answer instanceof Promise ? answer.catch(failed) : answer;
    } catch (error) {
      return failed(error);
    }
  };
}

async function drain(native: NativeServer, deadlineMs: number, clock: Clock): Promise<{ cut: number }> {
  const timer = new AbortController();
  const stopped = native.stop();
  const late = clock.sleep(deadlineMs, timer.signal).then(
    () => true,
    () => false,
  );
  const tooLate = await Promise.race([stopped.then(() => false), late]);
  timer.abort();
  return { cut: tooLate ? await native.cut() : 0 };
}
