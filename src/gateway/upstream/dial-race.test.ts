/** What comes up while an upstream is dialled: its bundle may be another by the time the connection is there. */
import assert from "node:assert/strict";
import type { Duplex } from "node:stream";
import { after, before, describe, it } from "node:test";
import { type StaticIdentity, staticIdentity, TestCa } from "../../authority/testing.ts";
import { isSpiffeError, systemClock } from "../../base/index.ts";
import { SpiffeId } from "../../id/index.ts";
import { listen, type TlsIdentity, type TlsListener } from "../../tls/index.ts";
import { ByteEndpoint } from "../tcp/byte-endpoint.ts";
import { parseUpstreamUrl } from "../upstream-url.ts";
import { Endpoint } from "./endpoint.ts";

const ORDERS = "spiffe://example.org/orders";
const HOST = "127.0.0.1";

describe("an upstream's bundle that is replaced while it is dialled", () => {
  let own: StaticIdentity;
  /** Another authority of the upstream's trust domain, which did not issue its certificate. */
  let next: TestCa;
  let server: TlsListener;

  before(async () => {
    const [home, ca] = [await TestCa.create({ trustDomain: "home.example" }), await TestCa.create()];
    next = await TestCa.create();
    const bundles = [home.x509Bundle(), ca.x509Bundle()];
    own = await staticIdentity({ svid: await home.issue({ id: "spiffe://home.example/gateway" }), bundles });
    server = await listen(await staticIdentity({ svid: await ca.issue({ id: ORDERS }), bundles }), {
      address: HOST,
      port: 0,
      handler: (_request, response) => void response.end(),
    });
  });
  after(() => server.close({ deadlineMs: 0 }));

  /** The own identity; the upstream's bundle is replaced once it has been asked for so many times. */
  const replacing = (after: number): TlsIdentity => {
    let asked = 0;
    const { x509 } = own;
    const x509BundleFor: typeof x509.x509BundleFor = (trustDomain) =>
      trustDomain.name === "example.org" && ++asked > after ? next.x509Bundle() : x509.x509BundleFor(trustDomain);
    return { x509: { ...x509, x509BundleFor } };
  };

  const ways: readonly [name: string, open: (identity: TlsIdentity) => Promise<Duplex>][] = [
    [
      "a request that takes its connection over",
      (identity) => {
        const dial = { id: SpiffeId.parse(ORDERS), protocol: "http1", identity, clock: systemClock } as const;
        return new Endpoint(parseUpstreamUrl(`https://${HOST}:${server.port}`)!, HOST, dial).open();
      },
    ],
    [
      "bytes",
      (identity) => {
        const target = { url: `tls://${HOST}:${server.port}`, tls: true, host: HOST, port: server.port };
        const dial = { id: SpiffeId.parse(ORDERS), identity, clock: systemClock, timeoutMs: 10_000 };
        return new ByteEndpoint(target, HOST, dial).dial(new AbortController().signal);
      },
    ],
  ];

  for (const [name, open] of ways) {
    it(`[S-5] [S-6] has no connection for ${name}, and one that stays has`, async () => {
      await assert.rejects(open(replacing(1)), (error) => isSpiffeError(error, "ERR_SPIFFE_PEER_REFUSED"));
      (await open(replacing(Infinity))).destroy();
    });
  }
});
