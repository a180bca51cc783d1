/** The status port: plain HTTP, apart from traffic, for probes, scrapers and people. Shows no claims and no header values. */
import { createServer } from "node:http";
import { SpiffeError } from "../base/index.ts";
import { capabilities } from "../runtime/capabilities.ts";
import { listening } from "../tls/listening.ts";
import type { Readiness } from "./readiness.ts";

/** What the status port asks the gateway for. */
export interface StatusSource {
  readiness(): Readiness;
  /** The Prometheus text and its content type. */
  metrics(): Promise<{ text: string; contentType: string }>;
  /** The whole state as JSON, without secrets. */
  status(): object;
}

/** A running status port. */
export interface StatusServer {
  readonly address: string;
  readonly port: number;
  close(): Promise<void>;
}

type Answer = { readonly status: number; readonly type: string; readonly body: string };

const json = (status: number, value: unknown): Answer => ({
  status,
  type: "application/json",
  body: `${JSON.stringify(value, null, 2)}\n`,
});

async function answerOf(path: string, source: StatusSource): Promise<Answer> {
  switch (path) {
    case "/livez":
      return { status: 200, type: "text/plain", body: "alive\n" };
    case "/readyz": {
      const readiness = source.readiness();
      return json(readiness.ready ? 200 : 503, readiness);
    }
    case "/metrics": {
      const { text, contentType } = await source.metrics();
      return { status: 200, type: contentType, body: text };
    }
    case "/status":
      return json(200, source.status());
    default:
      return { status: 404, type: "text/plain", body: "/livez /readyz /metrics /status\n" };
  }
}

/**
 * Opens the status port.
 *
 * @param fd a listening socket that was passed on, in place of address and port
 * @throws `ERR_SPIFFE_PORT_IN_USE`, `ERR_SPIFFE_PERMISSION`, or `ERR_SPIFFE_CONFIG` for an address that is none of this
 *   machine, and for a descriptor where the runtime can not take one
 */
export async function openStatus(
  address: string,
  port: number,
  source: StatusSource,
  fd?: number,
): Promise<StatusServer> {
  const { value: takesDescriptor, why } = capabilities.httpOnDescriptor;
  if (fd !== undefined && !takesDescriptor) {
    throw new SpiffeError(
      "ERR_SPIFFE_CONFIG",
      `This runtime can not serve the status port on a passed socket: ${why}`,
      {
        phase: "listen",
        hint: "Pass the sockets of listeners alone; the status port opens its own by status.address and status.port",
      },
    );
  }
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 }, (request, response) => {
    request.resume();
    const get = request.method === "GET" || request.method === "HEAD";
    const path = (request.url ?? "").split("?")[0] as string;
    const wanted = get
      ? answerOf(path, source)
      : Promise.resolve<Answer>({ status: 405, type: "text/plain", body: "GET only\n" });
    wanted
      .catch((): Answer => ({ status: 500, type: "text/plain", body: "the state cannot be read\n" }))
      .then(({ status, type, body }) => {
        response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
        response.end(request.method === "HEAD" ? undefined : body);
      });
  });
  const place = fd === undefined ? { address, port } : { fd };
  const bound = await listening(server, { ...place, name: "the status port" });
  return {
    address: bound.address,
    port: bound.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
