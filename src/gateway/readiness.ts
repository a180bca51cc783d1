/** Whether a gateway can serve, and if not, why. */
import { isSpiffeError, timeOf } from "../base/index.ts";
import { trustWarnings } from "./trust-warnings.ts";
import type { View } from "./view.ts";

/** Whether the gateway can serve. */
export interface Readiness {
  readonly ready: boolean;
  /** What is missing; empty when ready. */
  readonly reasons: readonly string[];
  /** What works but should not stay. */
  readonly warnings: readonly string[];
}

/** Judges what is there at the moment. */
export function readinessOf(view: View): Readiness {
  const reasons: string[] = [];
  if (view.state !== "serving") reasons.push(view.state);
  reasons.push(...identityFaults(view));
  if (view.state === "serving") {
    const closed = view.listeners.filter((listener) => listener.closed).map(({ config }) => config.name);
    for (const name of [...closed, ...(view.bytes?.closed ?? [])]) reasons.push(`listener ${name} is closed`);
  }
  return { ready: reasons.length === 0, reasons, warnings: warningsOf(view) };
}

function identityFaults({ identity, config }: View): string[] {
  if (identity === undefined) return ["no identity yet"];
  const faults: string[] = [];
  try {
    const { trustDomain } = identity.x509.x509Svid().id;
    if (identity.x509.x509BundleFor(trustDomain)?.isEmpty !== false) faults.push(`no X.509 bundle of ${trustDomain}`);
    const tokens = config.routes.some((route) => route.audience.length > 0);
    if (tokens && identity.jwt.jwtBundleFor(trustDomain)?.isEmpty !== false)
      faults.push(`no JWT bundle of ${trustDomain}`);
  } catch (error) {
    faults.push(isSpiffeError(error) ? `${error.code}: ${error.message}` : "the own identity cannot be read");
  }
  return faults;
}

function warningsOf(view: View): string[] {
  const { config, clock, reload, live } = view;
  const { last } = reload ?? {};
  const plain = [...config.upstreams, ...config.bytes.upstreams].filter((upstream) => upstream.unsafePlain);
  return [
    ...plain.map(({ name }) => `upstream ${name} is reached in plaintext over a network`),
    ...config.routes
      .filter((route) => route.forwardsToken)
      .map(({ name, upstream }) => `route ${name} hands JWT-SVIDs of its callers on to upstream ${upstream}`),
    ...trustWarnings(view),
    ...rateWarnings(live?.rates?.store?.up, config.limits.perIdentity?.store?.unsafePlain),
    ...config.policy.audits(timeOf(clock)).map((rule) => `rule ${rule} is in audit and not enforced`),
    ...(last?.result === "refused"
      ? [`the configuration was not reloaded at ${last.at.toISOString()}: ${last.error?.split("\n")[0]}`]
      : []),
  ];
}

function rateWarnings(up: boolean | undefined, plain: boolean | undefined): string[] {
  const told: string[] = [];
  if (up === false) told.push("the store of rate limits does not answer: this process counts alone");
  if (plain === true) told.push("the store of rate limits is reached in plaintext over a network");
  return told;
}
