/** What Deno has to be told before a program may reach a Workload API. Other runtimes have no such permissions. */
import type { Endpoint } from "./endpoint.ts";

/** Tells whether Deno refused for want of a permission; it throws this synchronously, also out of `net.connect`. */
export function isDenoRefusal(error: unknown): boolean {
  return error instanceof Error && error.name === "NotCapable";
}

/** The flags a program needs for this endpoint (measured on Deno 2.9.5). */
export function denoFlags(endpoint?: Endpoint): string {
  const variable = "--allow-env=SPIFFE_ENDPOINT_SOCKET";
  if (endpoint?.kind === "tcp") return `--allow-net=${endpoint.host}:${endpoint.port} ${variable}`;
  const path = endpoint?.path ?? "PATH";
  return `--allow-read=${path} --allow-write=${path} --allow-net=unix:${path} ${variable}`;
}
