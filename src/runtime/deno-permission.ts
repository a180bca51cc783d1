/** Deno's permissions for the network. Other runtimes have none. */

interface DenoLike {
  permissions?: { requestSync?(wanted: { name: "net"; host: string }): { state: string } };
}

/** Tells whether Deno refused for want of a permission; it throws this synchronously, also out of `net.connect`. */
export function isDenoRefusal(error: unknown): boolean {
  return error instanceof Error && error.name === "NotCapable";
}

/** The flag that lets a Deno program use this address. */
export function denoNetFlag(host: string, port: number): string {
  return `--allow-net=${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/**
 * The flag that is missing before a server may listen here, or nothing. Asked beforehand, because `node:net` servers throw
 * the refusal where nobody can catch it (Deno 2.9.5). A terminal is asked, as Deno itself would do.
 */
export function missingListenFlag(host: string, port: number): string | undefined {
  const deno = (globalThis as { Deno?: DenoLike }).Deno;
  const flag = denoNetFlag(host, port);
  const wanted = flag.slice("--allow-net=".length);
  const state = deno?.permissions?.requestSync?.({ name: "net", host: wanted }).state;
  return state === undefined || state === "granted" ? undefined : flag;
}
