/** The classes of wrong peers (G-2): each is wrong in one thing, and its twin is not. */
import { createSecureContext } from "node:tls";
import { TestCa, type TestSvid } from "../authority/test-ca.ts";
import type { Reason } from "../base/codes.ts";
import { type Shown, shown } from "./wire.testing.ts";

/** A class of peers that must be refused. */
export interface WrongPeers {
  readonly name: string;
  readonly reason: Reason;
  readonly show: Shown;
}

/** The own trust domain, one it federates with, and a foreign one. */
export interface World {
  readonly home: TestCa;
  readonly partner: TestCa;
  readonly good: TestSvid;
  /** Peers that no verification lets through. */
  readonly wrong: readonly WrongPeers[];
}

const HOUR_MS = 3_600_000;
const END = "-----END CERTIFICATE-----\n";
export const HOME = "home.example";
export const PARTNER = "partner.example";
export const WEB: string = `spiffe://${HOME}/web`;

/** Whether the TLS stack of this runtime lets a raw peer present it at all. */
function presentable(show: Shown): boolean {
  try {
    createSecureContext({ ...show });
    return true;
  } catch {
    return false;
  }
}

/** @param side the only extended key usage of the class that has one: the one that its own stack does not mind */
export async function makeWorld(side: "clientAuth" | "serverAuth" = "clientAuth"): Promise<World> {
  const home = await TestCa.create({ trustDomain: HOME });
  const partner = await TestCa.create({ trustDomain: PARTNER });
  const twin = await TestCa.create({ trustDomain: HOME });
  const stranger = await TestCa.create({ trustDomain: "stranger.example" });
  const middle = await home.intermediate();
  const constrained = await home.intermediate({ nameConstraints: { excluded: { uri: [HOME] } } });
  const now = Date.now();
  const own = async (options: Parameters<TestCa["issue"]>[0]) => shown(await home.issue({ id: WEB, ...options }));
  const withoutMiddle = await middle.issue({ id: WEB });
  const long: TestSvid = await (await chainOf(home, 10)).issue({ id: WEB });
  const wrong: WrongPeers[] = [
    { name: "no certificate", reason: "peer.no-certificate", show: undefined },
    { name: "foreign CA of the same name", reason: "x509.no-path", show: shown(await twin.issue({ id: WEB })) },
    {
      name: "ID of home under the partner's CA",
      reason: "x509.no-path",
      show: shown(await partner.issue({ id: WEB })),
    },
    {
      name: "ID of the partner under home's CA",
      reason: "x509.no-path",
      show: await own({ id: `spiffe://${PARTNER}/web` }),
    },
    {
      name: "trust domain without a bundle",
      reason: "x509.no-bundle",
      show: shown(await stranger.issue({ id: "spiffe://stranger.example/web" })),
    },
    { name: "expired", reason: "x509.expired", show: await own({ notAfter: new Date(now - HOUR_MS / 2) }) },
    {
      name: "not yet valid",
      reason: "x509.not-yet-valid",
      show: await own({ notBefore: new Date(now + HOUR_MS / 2) }),
    },
    { name: "CA as leaf", reason: "x509.leaf-is-ca", show: await own({ ca: true, keyUsage: ["digitalSignature"] }) },
    { name: "no URI SAN", reason: "x509.no-uri-san", show: await own({ uriSans: [], dnsSans: ["web"] }) },
    { name: "two URI SANs", reason: "x509.several-uri-sans", show: await own({ uriSans: [WEB, `${WEB}2`] }) },
    { name: "other URI SAN", reason: "x509.id", show: await own({ uriSans: ["https://home.example/web"] }) },
    { name: "root path", reason: "x509.leaf-root-path", show: await own({ id: `spiffe://${HOME}` }) },
    { name: "no key usage", reason: "x509.leaf-key-usage", show: await own({ keyUsage: null }) },
    {
      name: "key usage without signing",
      reason: "x509.leaf-key-usage",
      show: await own({ keyUsage: ["keyAgreement"] }),
    },
    {
      name: "extended key usage for one side only",
      reason: "x509.leaf-ext-key-usage",
      show: await own({ extKeyUsage: [side] }),
    },
    {
      name: "broken chain",
      reason: "x509.no-path",
      show: {
        cert: `${withoutMiddle.certPem.split(END)[0]}${END}`,
        key: withoutMiddle.keyPem,
      },
    },
    { name: "constrained chain", reason: "x509.name-constraints", show: shown(await constrained.issue({ id: WEB })) },
    { name: "spoilt signature", reason: "x509.signature", show: await own({ tamper: "signature" }) },
    { name: "chain of eleven", reason: "x509.chain-too-large", show: shown(long) },
  ];
  return { home, partner, good: await home.issue({ id: WEB }), wrong: wrong.filter(({ show }) => presentable(show)) };
}

/** A CA with the given number of intermediates above its leaves, itself included. */
export async function chainOf(root: TestCa, intermediates: number): Promise<TestCa> {
  let ca = root;
  for (let i = 0; i < intermediates; i++) ca = await ca.intermediate();
  return ca;
}
