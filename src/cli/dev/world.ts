/** The trust domain that `dev` plays in: the embedded authority, or the real agent of the environment. */
import process from "node:process";
import { Authority, type AuthorityEntry } from "../../authority/index.ts";
import { isSpiffeError, SpiffeError } from "../../base/index.ts";
import { TrustDomain } from "../../id/index.ts";
import { WorkloadApiClient } from "../../workload/index.ts";
import { usageError } from "../exit.ts";
import { readEntriesFile } from "./entries-file.ts";

const TRUST_DOMAIN = "x0tta6bl4.local";
const WORKLOADS = ["gateway", "web", "cron", "guest"] as const;
/** Short enough that a renewal can be watched. */
const X509_TTL_MS = 300_000;
const AGENT_TIMEOUT_MS = 10_000;

/** Who calls, and over which socket it gets its identity. */
export interface Actor {
  readonly name: string;
  readonly id: string;
  readonly socket: string;
}

/** What the rest of `dev` needs to know of the trust domain. */
export interface World {
  readonly embedded: boolean;
  readonly trustDomain: string;
  readonly gateway: Actor;
  /** Callers of the demo; all the same actor where a real agent gives this process one identity. */
  readonly web: Actor;
  readonly cron: Actor;
  readonly guest: Actor;
  /** Where the Workload API is, for people. */
  readonly where: string;
  close(): Promise<void>;
}

/**
 * The real agent when `SPIFFE_ENDPOINT_SOCKET` is set, else a fresh trust domain in this process.
 *
 * @param entriesFile more workloads for the embedded authority
 */
export function openWorld(entriesFile?: string): Promise<World> {
  const socket = process.env.SPIFFE_ENDPOINT_SOCKET;
  if (socket === undefined || socket === "") return embeddedWorld(entriesFile);
  if (entriesFile === undefined) return agentWorld(socket);
  throw usageError(
    "--entries is for the embedded authority, but SPIFFE_ENDPOINT_SOCKET names a real agent",
    "Leave one of them out",
  );
}

async function embeddedWorld(entriesFile: string | undefined): Promise<World> {
  const more = entriesFile === undefined ? [] : readEntriesFile(entriesFile, WORKLOADS);
  const authority = await startAuthority(more, entriesFile);
  const sockets = [...new Set([...WORKLOADS, ...more.map((entry) => entry.socket)])].join(",");
  const actor = (name: (typeof WORKLOADS)[number]): Actor => ({
    name,
    id: `spiffe://${TRUST_DOMAIN}/${name}`,
    socket: authority.socketFor(name),
  });
  return {
    embedded: true,
    trustDomain: TRUST_DOMAIN,
    gateway: actor("gateway"),
    web: actor("web"),
    cron: actor("cron"),
    guest: actor("guest"),
    where: `${authority.directory}/{${sockets}}.sock  (0700, one socket per workload)`,
    close: () => authority.close(),
  };
}

async function startAuthority(more: readonly AuthorityEntry[], file: string | undefined): Promise<Authority> {
  const demo = WORKLOADS.map((name) => ({ id: `spiffe://${TRUST_DOMAIN}/${name}`, socket: name }));
  try {
    // Those of the file come first, so that a fault is told with their place in the file.
    return await Authority.start({ trustDomain: TRUST_DOMAIN, entries: [...more, ...demo], x509TtlMs: X509_TTL_MS });
  } catch (error) {
    if (file === undefined || !isSpiffeError(error, "ERR_SPIFFE_CONFIG")) throw error;
    throw new SpiffeError("ERR_SPIFFE_CONFIG", `${file}: ${error.message}`, { cause: error });
  }
}

async function agentWorld(socket: string): Promise<World> {
  const client = new WorkloadApiClient({ socket, timeoutMs: AGENT_TIMEOUT_MS });
  try {
    const { svids } = await client.fetchX509Context();
    const id = svids[0]!.id;
    const actor: Actor = { name: id.path.split("/").at(-1)!, id: id.uri, socket };
    return {
      embedded: false,
      trustDomain: TrustDomain.parse(id.uri).name,
      gateway: actor,
      web: actor,
      cron: actor,
      guest: actor,
      where: `${socket}  (a real agent, one identity for gateway and callers)`,
      close: async () => {},
    };
  } finally {
    await client.close();
  }
}
