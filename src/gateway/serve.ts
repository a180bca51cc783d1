/** `serve()`: a Hono app behind a listener that verifies SPIFFE identities. */
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import type { Clock } from "../base/index.ts";
import { type Logger, silentLogger } from "../telemetry/logger.ts";
import { thatNeverThrows } from "../telemetry/quiet-logger.ts";
import { type Authorizer, type ClientCertificate, listen, type TlsIdentity, type TlsListener } from "../tls/index.ts";
import { appHandler, type ServedApp } from "./app-handler.ts";
import { closeOnSignal } from "./close-on-signal.ts";

export type { ServedApp } from "./app-handler.ts";

/** Settings of {@link serve}. */
export interface ServeOptions {
  /** The identity to serve with; a `Workload` is one. */
  readonly workload: TlsIdentity;
  /** TCP port, 0 for a free one; 8443 by default. */
  readonly port?: number | undefined;
  /** Address to bind; `0.0.0.0` by default. */
  readonly address?: string | undefined;
  /** `require` by default; with `optional` or `none` give `spiffe()` a `jwt` door. */
  readonly clientCertificate?: ClientCertificate | undefined;
  /** Which verified peers may connect at all; every one that a trusted bundle vouches for by default. */
  readonly authorize?: Authorizer | undefined;
  /** Milliseconds that running requests have left once the server closes; 30,000 by default. */
  readonly drainMs?: number | undefined;
  /** Signals of the process that close the server; `SIGTERM` and `SIGINT` by default, an empty list for none. */
  readonly signals?: readonly NodeJS.Signals[] | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
}

const KNOWN: OptionNames<ServeOptions> = {
  workload: true,
  port: true,
  address: true,
  clientCertificate: true,
  authorize: true,
  drainMs: true,
  signals: true,
  clock: true,
  logger: true,
};

/** A running server. */
export interface SpiffeServer extends AsyncDisposable {
  readonly address: string;
  readonly port: number;
  readonly counters: TlsListener["counters"];
  /** Settles when the port and every connection are closed. */
  readonly closed: Promise<void>;
  /**
   * Drains and closes. Idempotent.
   *
   * @param options.deadlineMs milliseconds; `drainMs` by default
   * @returns how many connections had to be cut
   */
  close(options?: { deadlineMs?: number }): Promise<{ cut: number }>;
}

/**
 * Serves an app over mutual TLS: HTTP/1.1 and HTTP/2 on one port, each caller verified before its first byte is read.
 *
 * The app sees targets in one canonical form; ambiguous ones, two hosts, two `Authorization` fields get 400 before it
 * (S-22, S-23). `SIGTERM` and `SIGINT` drain; `closed` tells the end.
 *
 * @param app a Hono app, or anything with its `fetch`
 * @returns the server, once its port is open
 * @throws what `listen` throws: `ERR_SPIFFE_PORT_IN_USE`, `ERR_SPIFFE_PERMISSION`, `ERR_SPIFFE_USAGE` …
 *
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { authorize, serve, spiffe } from "spiffe-edge/gateway";
 * import { Authority } from "spiffe-edge/testing";
 * import { createFetch } from "spiffe-edge/tls";
 * import { Workload } from "spiffe-edge/workload";
 *
 * const id = (name: string) => `spiffe://example.org/${name}`;
 * const entries = ["orders", "web"].map((name) => ({ id: id(name), socket: name }));
 * await using authority = await Authority.start({ trustDomain: "example.org", entries });
 * await using workload = await Workload.open({ socket: authority.socketFor("orders") });
 * await using web = await Workload.open({ socket: authority.socketFor("web") });
 * const app = new Hono()
 *   .use(spiffe(workload))
 *   .get("/orders", authorize({ ids: [id("web")] }), (c) => c.json({ you: c.var.peer.id }));
 * await using server = await serve(app, { workload, address: "127.0.0.1", port: 0 });
 * const answer = await createFetch(web, { peer: id("orders") })(`https://127.0.0.1:${server.port}/orders`);
 * console.assert((await answer.text()) === '{"you":"spiffe://example.org/web"}');
 * ```
 */
export async function serve(app: ServedApp, options: ServeOptions): Promise<SpiffeServer> {
  onlyKnown("serve", options, KNOWN);
  const { workload, port, address, clientCertificate, authorize, clock } = options;
  const logger = thatNeverThrows(options.logger ?? silentLogger);
  const listener = await listen(workload, {
    handler: appHandler(app),
    ...(port === undefined ? {} : { port }),
    ...(address === undefined ? {} : { address }),
    ...(clientCertificate === undefined ? {} : { clientCertificate }),
    ...(authorize === undefined ? {} : { authorize }),
    ...(clock === undefined ? {} : { clock }),
    logger,
  });
  const drainMs = options.drainMs ?? 30_000;
  const close = (closing: { deadlineMs?: number } = {}) => {
    onlyKnown("close", closing, { deadlineMs: true });
    return listener.close({ deadlineMs: closing.deadlineMs ?? drainMs });
  };
  const forget = closeOnSignal(options.signals, (signal) => {
    logger.info("draining", { signal, deadlineMs: drainMs });
    void close();
  });
  const closed = listener.closed.then(forget);
  return {
    get address() {
      return listener.address;
    },
    get port() {
      return listener.port;
    },
    get counters() {
      return listener.counters;
    },
    closed,
    close: async (closing) => {
      const result = await close(closing);
      await closed;
      return result;
    },
    async [Symbol.asyncDispose]() {
      await close();
      await closed;
    },
  };
}
