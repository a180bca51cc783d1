/** Who takes part in the soak of mTLS: the authority's workloads, and peers of other domains that are wrong in one thing. */
import { readFileSync, writeFileSync } from "node:fs";
import { TestCa } from "../../src/authority/testing.ts";
import { TrustDomain } from "../../src/id/index.ts";
import { bundlesOf, type Shown, shown } from "../../src/tls/wire.testing.ts";
import { chainOf, HOME, makeWorld, PARTNER } from "../../src/tls/wrong-peers.testing.ts";
import { X509Bundle } from "../../src/x509/index.ts";

/** The domain of the embedded authority, whose SVIDs and CA rotate. */
export const DOMAIN = "soak.example";
export const ORDERS: string = `spiffe://${DOMAIN}/orders`;
export const WEB: string = `spiffe://${DOMAIN}/web`;
/** On the server's list, and used by the attacker. */
export const PROBER: string = `spiffe://${DOMAIN}/prober`;
/** Verified and not on the server's list. */
export const GUEST: string = `spiffe://${DOMAIN}/guest`;
/** The domain whose bundle the server loses. */
export const LEAVING = "leaving.example";
/** The good peers of the domains that the attacker's certificates are of. */
export const HOME_WEB: string = `spiffe://${HOME}/web`;
export const LEAVING_WEB: string = `spiffe://${LEAVING}/web`;

/** Paths by which the server counts what reached its handler. */
export const PATHS: Readonly<Record<"numbered" | "wrong" | "twin" | "drop", string>> = {
  numbered: "/n/",
  wrong: "/wrong/",
  twin: "/twin/",
  drop: `/drop/${LEAVING}`,
};

/** A class of wrong peers; `twin` differs in that one thing and is served. */
export interface WrongClass {
  readonly name: string;
  /** Why the server has to refuse it; absent where the handshake itself breaks. */
  readonly reason?: string;
  readonly show?: Shown;
  readonly twin: NonNullable<Shown>;
  readonly how?: "pipelined" | "tls 1.2" | "leaving";
}

/** What the driver gives the other processes, as a file. */
export interface SoakWorld {
  readonly classes: readonly WrongClass[];
  /** DER in base64, by trust domain. */
  readonly bundles: Readonly<Record<string, string>>;
}

/** Makes the wrong peers and their twins. */
export async function makeSoakWorld(): Promise<SoakWorld> {
  const { home, partner, good, wrong } = await makeWorld();
  const leaving = await TestCa.create({ trustDomain: LEAVING });
  const forged = await TestCa.create({ trustDomain: DOMAIN });
  const foreign = wrong.find(({ name }) => name.startsWith("foreign CA"))!;
  const twin = shown(good);
  const leavingWeb = shown(await leaving.issue({ id: LEAVING_WEB }));
  const longest = shown(await (await chainOf(home, 9)).issue({ id: HOME_WEB }));
  const classes: WrongClass[] = [
    ...wrong.map((each) => ({ ...each, twin: /chain/.test(each.name) ? longest : twin })),
    {
      name: "not on the list",
      reason: "peer.not-authorized",
      show: shown(await home.issue({ id: `${HOME_WEB}2` })),
      twin,
    },
    {
      name: "member of a federated domain",
      reason: "peer.not-authorized",
      show: shown(await partner.issue({ id: `spiffe://${PARTNER}/web` })),
      twin,
    },
    {
      name: "the caller's ID by another CA",
      reason: "x509.no-path",
      show: shown(await forged.issue({ id: WEB })),
      twin,
    },
    { name: "pipelined, no certificate", reason: "peer.no-certificate", show: undefined, twin, how: "pipelined" },
    { name: "pipelined, foreign CA", reason: foreign.reason, show: foreign.show, twin, how: "pipelined" },
    { name: "TLS 1.2", show: twin, twin, how: "tls 1.2" },
    { name: "bundle withdrawn", reason: "x509.no-bundle", show: leavingWeb, twin: leavingWeb, how: "leaving" },
  ];
  const bundles = Object.fromEntries(
    [home, partner, leaving].map((ca) => [ca.trustDomain.name, Buffer.from(ca.rootDer).toString("base64")]),
  );
  return { classes, bundles };
}

export function writeWorld(file: string, world: SoakWorld): void {
  writeFileSync(file, JSON.stringify(world), { mode: 0o600 });
}

export function readWorld(file: string): SoakWorld {
  return JSON.parse(readFileSync(file, "utf8")) as SoakWorld;
}

/** The bundles of the domains beside the authority's, as an identity looks them up. */
export function otherBundles(world: SoakWorld, without: ReadonlySet<string>): ReturnType<typeof bundlesOf> {
  return bundlesOf(
    ...Object.entries(world.bundles)
      .filter(([name]) => !without.has(name))
      .map(([name, der]) => X509Bundle.fromDer(TrustDomain.parse(name), Buffer.from(der, "base64"))),
  );
}
