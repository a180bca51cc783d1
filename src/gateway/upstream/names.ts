/** From a host name to addresses and the time they hold for: what the system knows of the name, and the DNS of its time. */
import { promises as dns } from "node:dns";

/** What a name led to. */
export interface Resolved {
  readonly addresses: readonly string[];
  /** How long it holds, in milliseconds; undefined where nobody said. */
  readonly ttlMs: number | undefined;
}

/** Looks a name up; throws when it leads nowhere. */
export type Resolve = (name: string) => Promise<Resolved>;

/** Milliseconds for the question how long an answer holds. */
const TTL_TIMEOUT_MS = 2_000;

/**
 * The smallest TTL of a name's address records; undefined where the DNS has none.
 *
 * @param servers DNS servers, `address:port`; those of the system by default
 */
export async function ttlOf(name: string, servers?: readonly string[]): Promise<number | undefined> {
  try {
    const resolver = new dns.Resolver({ timeout: TTL_TIMEOUT_MS, tries: 1 });
    if (servers !== undefined) resolver.setServers([...servers]);
    const none = (): { ttl: number }[] => [];
    const records = await Promise.all([
      resolver.resolve4(name, { ttl: true }).catch(none),
      resolver.resolve6(name, { ttl: true }).catch(none),
    ]);
    const seconds = records.flat().map(({ ttl }) => ttl);
    return seconds.length === 0 ? undefined : Math.min(...seconds) * 1_000;
  } catch {
    // a runtime that is not allowed to ask
    return undefined;
  }
}

/** The system's way: hosts file, search domains and all; the TTL is the DNS's. */
export const resolveName: Resolve = async (name) => {
  const [found, ttlMs] = await Promise.all([dns.lookup(name, { all: true }), ttlOf(name)]);
  return { addresses: found.map(({ address }) => address), ttlMs };
};
