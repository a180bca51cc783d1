/** What Deno has to be told before a program may reach a Workload API. Other runtimes have no such permissions. */
import { denoNetFlag } from "../runtime/deno-permission.ts";
import type { Endpoint } from "./endpoint.ts";

/** The flags a program needs for this endpoint (measured on Deno 2.9.5). */
export function denoFlags(endpoint?: Endpoint): string {
  const variable = "--allow-env=SPIFFE_ENDPOINT_SOCKET";
  if (endpoint?.kind === "tcp") return `${denoNetFlag(endpoint.host, endpoint.port)} ${variable}`;
  const path = endpoint?.path ?? "PATH";
  return `--allow-read=${path} --allow-write=${path} --allow-net=unix:${path} ${variable}`;
}
