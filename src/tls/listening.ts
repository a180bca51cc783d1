/** Opening a server on an address, with one sentence for each way it can fail. */
import type { AddressInfo, ListenOptions, Server } from "node:net";
import { isSpiffeError, SpiffeError } from "../base/errors.ts";
import { missingListenFlag } from "../runtime/deno-permission.ts";
import { freeSocketPath } from "./socket-file.ts";

/** Where a server shall listen: a TCP address, the path of a unix socket, or a socket that was opened and passed on. */
export type ListenPlace =
  | { readonly address: string; readonly port: number; readonly sharePort?: boolean }
  | { readonly path: string }
  | { readonly fd: number };

/** A place that is opened by this process. */
export type OwnPlace = Exclude<ListenPlace, { readonly fd: number }>;

/** Where it does. A unix socket has its path for an address and the port 0. */
export interface Bound {
  readonly address: string;
  readonly port: number;
}

/**
 * Opens a server. The file of a unix socket on which nobody listens any more is replaced; a live one is left alone.
 *
 * @param place with what it is of, as errors call it
 * @throws `ERR_SPIFFE_PORT_IN_USE`, `ERR_SPIFFE_PERMISSION`, or `ERR_SPIFFE_CONFIG` for an address that is none of this machine
 */
export async function listening(server: Server, place: ListenPlace & { readonly name: string }): Promise<Bound> {
  if ("path" in place) {
    const at = placeName(place, place.name);
    try {
      await open(server, { path: place.path }, at);
    } catch (error) {
      if (!isSpiffeError(error, "ERR_SPIFFE_PORT_IN_USE")) throw error;
      await freeSocketPath(place.path, () => error);
      await open(server, { path: place.path }, at);
    }
    return { address: place.path, port: 0 };
  }
  if ("fd" in place) {
    // known to net.Server, though not to its types
    await open(server, { fd: place.fd } as ListenOptions, placeName(place, place.name));
    const bound = server.address();
    return bound === null || typeof bound === "string" ? { address: bound ?? "", port: 0 } : bound;
  }
  const { address, port, name, sharePort = false } = place;
  const at = placeName(place, name);
  const flag = missingListenFlag(address, port);
  if (flag !== undefined) {
    throw new SpiffeError("ERR_SPIFFE_PERMISSION", `Deno does not let this program open ${at}. Run it with ${flag}`, {
      phase: "listen",
    });
  }
  // given only where it is wanted: some systems refuse the option as such
  await open(server, { port, host: address, ...(sharePort && { reusePort: true }) }, at);
  return server.address() as AddressInfo;
}

/** What errors call a listener and its place. */
export function placeName(place: ListenPlace, name = "the plaintext listener"): string {
  if ("fd" in place) return `${name} on the passed descriptor ${place.fd}`;
  return "path" in place ? `${name} on unix:${place.path}` : `${name} on ${place.address}:${place.port}`;
}

/**
 * Makes way for a server that would take a unix socket from others: an abandoned file goes, anything else stays.
 *
 * @throws `ERR_SPIFFE_PORT_IN_USE`
 */
export async function claimSocket(path: string): Promise<void> {
  const refused = (message: string, options?: { hint?: string; cause?: unknown }) =>
    new SpiffeError("ERR_SPIFFE_PORT_IN_USE", message, { phase: "listen", ...options });
  await freeSocketPath(path, refused);
}

function open(server: Server, to: ListenOptions, at: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error) => {
      server.off("listening", onListening);
      reject(openError(error, at));
    };
    const onListening = () => {
      server.off("error", onError);
      resolve();
    };
    server.once("error", onError);
    server.once("listening", onListening);
    try {
      server.listen(to);
    } catch (error) {
      // One runtime throws what the others emit.
      server.off("error", onError).off("listening", onListening);
      reject(openError(error as Error, at));
    }
  });
}

/** The error that a server could not open with, in one sentence. */
export function openError(cause: Error & { code?: string }, at: string): SpiffeError {
  const options = { phase: "listen", cause };
  switch (cause.code ?? cause.name) {
    case "AddrInUse":
    case "EADDRINUSE":
      return new SpiffeError(
        "ERR_SPIFFE_PORT_IN_USE",
        `Expected a free port for ${at}; another process listens there`,
        {
          ...options,
          hint: "Choose another port, or 0 for a free one",
        },
      );
    case "PermissionDenied":
    case "EACCES":
    case "EPERM":
      return new SpiffeError("ERR_SPIFFE_PERMISSION", `Not allowed to open ${at}`, options);
    default:
      return new SpiffeError("ERR_SPIFFE_CONFIG", `Can not open ${at}: ${cause.message}`, options);
  }
}
