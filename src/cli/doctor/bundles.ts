/** The checks of bundles and of the JWT profile. */
import { isSpiffeError, systemClock } from "../../base/index.ts";
import { SpiffeId, type TrustDomain } from "../../id/index.ts";
import { type JwtBundle, safeValidateJwtSvid } from "../../jwt/index.ts";
import type { WorkloadApiClient } from "../../workload/index.ts";
import { type Finding, failed, failure, noted, ok, skipped } from "./report.ts";

/** Whom the token of the round trip is for: nobody, so that it is of no use elsewhere. */
const AUDIENCE = "spiffe-edge-doctor";
/** How far an issuer's clock may be ahead before tokens are refused by others (JWT-13). */
const SKEW_MS = 10_000;

export type JwtBundles = ReadonlyMap<string, JwtBundle>;

/** An agent may have a profile switched off. */
function isMissing(error: unknown): boolean {
  return isSpiffeError(error, "ERR_SPIFFE_WORKLOAD_API") && error.message.includes("(Unimplemented)");
}

/** Names with the number of what is in each. */
function counted(bundles: ReadonlyMap<string, number>): string {
  return [...bundles].map(([name, count]) => `${name} (${count})`).join(", ");
}

function judge(counts: ReadonlyMap<string, number>, own: string, what: string): Finding | undefined {
  const facts = { bundles: Object.fromEntries(counts) };
  const fix = "see that the agent is in sync with its server";
  if (!counts.has(own))
    return failed(`there is no bundle of the own trust domain ${own}, only ${counted(counts)}`, fix, facts);
  const empty = [...counts].find(([, count]) => count === 0)?.[0];
  if (empty === undefined) return undefined;
  const detail = `the bundle of ${empty} has no ${what}: nobody of it is trusted; there are ${counted(counts)}`;
  return (empty === own ? failed : noted)(detail, fix, facts);
}

/**
 * The X.509 bundles, own and federated.
 *
 * @param fault what is wrong with the answer that brought the SVIDs, and none of the checks before has told
 */
export async function checkX509Bundles(
  client: WorkloadApiClient,
  id: string,
  fault: string | undefined,
): Promise<Finding> {
  if (fault !== undefined) return failed(`every client drops the agent's answer: ${fault}`, "see the agent's log");
  try {
    const { bundles } = await client.fetchX509Bundles();
    const counts = new Map([...bundles].map(([name, bundle]) => [name, bundle.authorities.length]));
    const bad = judge(counts, SpiffeId.parse(id).trustDomain.name, "authorities");
    if (bad !== undefined) return bad;
    const now = systemClock.now();
    const ended = [...bundles].find(([, { authorities }]) =>
      authorities.every((each) => each.validityAt(now) !== "within"),
    );
    const facts = { bundles: Object.fromEntries(counts) };
    if (ended === undefined) return ok(`authorities of ${counted(counts)}`, facts);
    return noted(
      `no authority of ${ended[0]} is valid now; there are ${counted(counts)}`,
      "see why its bundle is not refreshed",
      facts,
    );
  } catch (error) {
    return isMissing(error) ? skipped("the agent does not offer X.509 bundles alone") : failure(error);
  }
}

/** The JWT bundles, own and federated. */
export async function checkJwtBundles(
  client: WorkloadApiClient,
  id: string,
): Promise<{ finding: Finding; bundles?: JwtBundles }> {
  try {
    const { bundles } = await client.fetchJwtBundles();
    const counts = new Map([...bundles].map(([name, bundle]) => [name, bundle.keys.length]));
    const bad = judge(counts, SpiffeId.parse(id).trustDomain.name, "keys");
    if (bad !== undefined) return { finding: bad, bundles };
    const facts = { bundles: Object.fromEntries(counts) };
    const odd = [...bundles].flatMap(([name, { warnings }]) => warnings.map(({ message }) => `${name}: ${message}`));
    if (odd.length === 0) return { finding: ok(`keys of ${counted(counts)}`, facts), bundles };
    return { finding: noted(`keys of ${counted(counts)}; left out: ${odd[0]}`, undefined, { ...facts, odd }), bundles };
  } catch (error) {
    if (isMissing(error)) return { finding: skipped("the agent does not offer the JWT profile") };
    return { finding: failure(error) };
  }
}

/** Fetches a token, and verifies it here and by the agent. */
export async function checkJwtSvid(client: WorkloadApiClient, bundles: JwtBundles): Promise<Finding> {
  try {
    const svid = await client.fetchJwtSvid({ audience: AUDIENCE });
    const source = { jwtBundleFor: ({ name }: TrustDomain) => bundles.get(name) };
    const verdict = await safeValidateJwtSvid(svid.token, source, { audience: AUDIENCE });
    const ahead = (svid.issuedAt?.getTime() ?? 0) - systemClock.now();
    if (ahead > SKEW_MS) {
      const detail = `the token was issued ${Math.round(ahead / 1_000)} s in the future: this machine's clock is behind the issuer's`;
      return failed(detail, "compare this machine's clock with the issuer's: timedatectl, chronyc tracking");
    }
    if (!verdict.ok) {
      const facts = { reason: verdict.reason };
      return failed(
        `the agent's own token is refused: ${verdict.message}`,
        "see that agent and server have the same keys",
        facts,
      );
    }
    const agent = await validatedByAgent(client, svid.token);
    return ok(`a token of ${svid.id} for ${AUDIENCE} is issued, and verified here${agent}`, { id: svid.id.uri });
  } catch (error) {
    return isMissing(error) ? skipped("the agent does not offer JWT-SVIDs") : failure(error);
  }
}

async function validatedByAgent(client: WorkloadApiClient, token: string): Promise<string> {
  try {
    await client.validateJwtSvid({ token, audience: AUDIENCE });
    return " and by the agent";
  } catch (error) {
    if (isMissing(error)) return "; the agent offers no validation";
    throw error;
  }
}
