/** Which runtime this is. The only place that asks. */

export type RuntimeName = "bun" | "deno" | "node" | "workerd";

interface ProcessLike {
  versions?: Record<string, string | undefined>;
}

function detect(): { name: RuntimeName; version: string } {
  const versions = (globalThis as { process?: ProcessLike }).process?.versions ?? {};
  if (versions.bun !== undefined) return { name: "bun", version: versions.bun };
  if (versions.deno !== undefined) return { name: "deno", version: versions.deno };
  const agent = (globalThis as { navigator?: { userAgent?: string } }).navigator?.userAgent;
  if (agent === "Cloudflare-Workers") return { name: "workerd", version: "" };
  return { name: "node", version: versions.node ?? "" };
}

/** Name and version of the runtime this module was loaded in. */
export const runtime: { readonly name: RuntimeName; readonly version: string } = Object.freeze(detect());
