/** What of the identity works but should not stay: a Workload API that is away, pinned peers whom nothing vouches for. */
import { TrustDomain } from "../id/index.ts";
import { bundleOf } from "../tls/identity.ts";
import type { View } from "./view.ts";

/** The warnings of `/readyz` about the own identity and the bundles of others. */
export function trustWarnings(view: View): string[] {
  return [...awayWarnings(view), ...bundleWarnings(view)];
}

/** A source of the Workload API tells how it stands; an identity of another kind does not. */
function awayWarnings({ identity }: View): string[] {
  const sources: readonly unknown[] = [identity?.x509, identity?.jwt];
  const away = sources.some((source) => (source as { readonly state?: unknown } | undefined)?.state === "stale");
  return away ? ["the Workload API sends nothing new at the moment: what it sent last is in use until it ends"] : [];
}

function bundleWarnings({ identity, config }: View): string[] {
  if (identity === undefined) return [];
  return [...config.upstreams, ...config.bytes.upstreams].flatMap(({ name, id }) => {
    const domain = id === undefined ? undefined : TrustDomain.safeParse(id);
    if (domain?.ok !== true || bundleOf(identity, domain.value)?.isEmpty === false) return [];
    return [`upstream ${name} has to be ${id}, but there is no bundle of ${domain.value} to prove it by`];
  });
}
