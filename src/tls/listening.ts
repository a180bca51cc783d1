/** Opening a server on an address, with one sentence for each way it can fail. */
import type { AddressInfo, Server } from "node:net";
import { SpiffeError } from "../base/errors.ts";
import { missingListenFlag } from "../runtime/deno-permission.ts";

/** Where a server shall listen. */
export interface ListenAddress {
  readonly address: string;
  readonly port: number;
  /** What the address is of, as errors call it. */
  readonly name: string;
}

/**
 * Opens a server.
 *
 * @returns the address it got
 * @throws `ERR_SPIFFE_PORT_IN_USE`, `ERR_SPIFFE_PERMISSION`, or `ERR_SPIFFE_CONFIG` for an address that is none of this machine
 */
export async function listening(server: Server, { address, port, name }: ListenAddress): Promise<AddressInfo> {
  const at = `${name} on ${address}:${port}`;
  const flag = missingListenFlag(address, port);
  if (flag !== undefined) {
    throw new SpiffeError("ERR_SPIFFE_PERMISSION", `Deno does not let this program open ${at}. Run it with ${flag}`, {
      phase: "listen",
    });
  }
  await new Promise<void>((resolve, reject) => {
    const onError = (error: Error) => reject(openError(error, at));
    server.once("error", onError);
    server.listen(port, address, () => {
      server.off("error", onError);
      resolve();
    });
  });
  return server.address() as AddressInfo;
}

function openError(cause: Error & { code?: string }, at: string): SpiffeError {
  const options = { phase: "listen", cause };
  switch (cause.code) {
    case "EADDRINUSE":
      return new SpiffeError(
        "ERR_SPIFFE_PORT_IN_USE",
        `Expected a free port for ${at}; another process listens there`,
        {
          ...options,
          hint: "Choose another port, or 0 for a free one",
        },
      );
    case "EACCES":
    case "EPERM":
      return new SpiffeError("ERR_SPIFFE_PERMISSION", `Not allowed to open ${at}`, options);
    default:
      return new SpiffeError("ERR_SPIFFE_CONFIG", `Can not open ${at}: ${cause.message}`, options);
  }
}
