import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { connect as dialTls, type TLSSocket } from "node:tls";
import { eventually } from "../../test/support/eventually.ts";
import { ManualClock } from "../authority/manual-clock.ts";
import type { StaticIdentity } from "../authority/static-identity.ts";
import { TestCa } from "../authority/test-ca.ts";
import { isSpiffeError } from "../base/errors.ts";
import { Certificate, X509Svid } from "../x509/index.ts";
import { presentedChain } from "./chain.ts";
import { connect } from "./connect.ts";
import { createFetch } from "./fetch.ts";
import { listen, type TlsListener } from "./listen.ts";
import { peerOf } from "./peer.ts";
import {
  http1Done,
  http1Get,
  identityOf,
  many,
  Relay,
  rawExchange,
  rawOptions,
  type Shown,
  shown,
} from "./wire.testing.ts";

const ORDERS = "spiffe://example.org/orders";
const WEB = "spiffe://example.org/web";

let ca: TestCa;
let orders: StaticIdentity;
let web: StaticIdentity;
let good: Shown;
let foreign: Shown;
let server: TlsListener;
let handled = 0;

async function get(show: Shown, more = {}): Promise<string> {
  const seen = await rawExchange(rawOptions(server.port, show, "http/1.1", more), http1Get(), http1Done);
  return seen.bytes.toString().slice(0, 12);
}

/** The serial number of the certificate that the listener serves now. */
function served(): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket: TLSSocket = dialTls(rawOptions(server.port, good, "http/1.1"));
    socket.once("error", reject);
    socket.once("secureConnect", () => {
      const chain = presentedChain(socket);
      assert.ok(chain.ok);
      resolve(Certificate.parse(chain.value[0]!).serialNumber);
      socket.destroy();
    });
  });
}

describe("rotation of the own SVID", () => {
  before(async () => {
    ca = await TestCa.create();
    orders = await identityOf(ORDERS, ca);
    web = await identityOf(WEB, ca);
    good = shown(await ca.issue({ id: WEB }));
    foreign = shown(await (await TestCa.create()).issue({ id: WEB }));
    server = await listen(orders, {
      port: 0,
      address: "127.0.0.1",
      throttle: false,
      handler: (request, response) => {
        handled++;
        response.end(`for ${peerOf(request).id}`);
      },
    });
  });
  after(() => server.close());

  it("[S-3] the next handshake gets the new leaf, and every control is as before", async () => {
    const first = await served();
    const next = await X509Svid.parse(...materialOf(await ca.issue({ id: ORDERS })));
    await orders.update({ svid: next });
    await eventually(() => server.counters.rotations >= 1);
    assert.equal(await served(), next.leaf.serialNumber);
    assert.notEqual(next.leaf.serialNumber, first);
    const refused = server.counters.refused;
    assert.equal(await get(undefined), "", "no certificate");
    assert.equal(await get(foreign), "", "foreign CA");
    assert.equal(server.counters.refused - refused, 2);
    assert.equal(await get(good, { minVersion: "TLSv1.2", maxVersion: "TLSv1.2" }), "", "TLS 1.2");
    assert.equal(await get(good), "HTTP/1.1 200");
  });

  it("[S-3] an SVID whose key does not fit is not served, the old one stays, the next good one is", async () => {
    const before = await served();
    const broken = await X509Svid.parse(...materialOf(await ca.issue({ id: ORDERS })));
    // Of another kind, which no TLS stack notices by itself on every runtime.
    const other = await ca.issue({ id: ORDERS, keyType: "rsa-2048" });
    const mismatched = {
      id: broken.id,
      leaf: broken.leaf,
      certificates: broken.certificates,
      expiresAt: broken.expiresAt,
      privateKeyPkcs8: () => other.privateKeyPkcs8,
      toPem: () => ({ certificates: broken.toPem().certificates, privateKey: other.keyPem }),
    };
    const { x509Svid } = orders.x509;
    orders.x509.x509Svid = () => mismatched as unknown as X509Svid;
    await orders.update({});
    await eventually(() => server.counters.rotationsRefused >= 1);
    await assert.rejects(
      connect(orders, { host: "127.0.0.1", port: server.port, peer: ORDERS }),
      (error) => isSpiffeError(error, "ERR_SPIFFE_X509_SVID") && error.reason === "x509.key-mismatch",
    );
    orders.x509.x509Svid = x509Svid;
    assert.equal(await served(), before);
    assert.equal(await get(good), "HTTP/1.1 200");
    const next = await X509Svid.parse(...materialOf(await ca.issue({ id: ORDERS })));
    const rotations = server.counters.rotations;
    await orders.update({ svid: next });
    await eventually(() => server.counters.rotations >= rotations + 1);
    assert.equal(await served(), next.leaf.serialNumber);
  });

  it("[S-3] 200 requests and more while both sides rotate: none is lost or refused", async () => {
    const { refused, rotations } = server.counters;
    handled = 0;
    const call = createFetch(web, { peer: ORDERS });
    let rotating = true;
    let turns = 0;
    const rotation = (async () => {
      while (rotating) {
        await orders.update({ svid: await ca.issue({ id: ORDERS }) });
        await web.update({ svid: await ca.issue({ id: WEB }) });
        turns++;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })();
    const answers = new Set<number>();
    let sent = 0;
    try {
      // a fast machine answers 200 before ten rotations are over
      while (turns <= 10 || sent < 200) {
        const from = sent;
        sent += 100;
        await many(100, 4, async (i) => {
          const response = await call(`https://127.0.0.1:${server.port}/${from + i}`);
          assert.equal(response.status, 200);
          assert.equal(await response.text(), `for ${WEB}`);
          answers.add(from + i);
        });
      }
    } finally {
      rotating = false;
    }
    await rotation;
    assert.equal(answers.size, sent);
    assert.equal(handled, sent);
    assert.equal(server.counters.refused, refused);
    await eventually(() => server.counters.rotations >= rotations + 1);
  });

  it("[S-10] a handshake that outlives the certificate it is done with is refused, though a newer one is there", async () => {
    const clock = new ManualClock();
    const own = await identityOf(ORDERS, ca);
    const slow = await listen(own, {
      port: 0,
      address: "127.0.0.1",
      throttle: false,
      clock,
      handler: (_request, response) => void response.end("ok"),
    });
    const relay = await Relay.start(slow.port);
    try {
      for (const [left, answer] of [
        [-1, ""],
        [60_000, "HTTP/1.1 200"],
      ] as const) {
        const rotations = slow.counters.rotations;
        await own.update({ svid: await ca.issue({ id: ORDERS, notAfter: new Date(clock.now() + 3_600_000) }) });
        await eventually(() => slow.counters.rotations === rotations + 1);
        const ended = own.x509.x509Svid().expiresAt.getTime();
        // Between its two halves the certificate is replaced, and nearly or altogether ended.
        const between = async (socket: TLSSocket) => {
          await own.update({ svid: await ca.issue({ id: ORDERS, notAfter: new Date(ended + 3_600_000) }) });
          await eventually(() => slow.counters.rotations === rotations + 2);
          clock.step(ended - left - clock.now());
          relay.release(socket.localPort ?? 0);
        };
        const options = rawOptions(
          relay.port,
          shown(await ca.issue({ id: WEB, notAfter: new Date(ended + 3_600_000) })),
          "http/1.1",
        );
        const seen = await rawExchange(options, http1Get(), http1Done, (socket) => void between(socket));
        assert.equal(seen.handshake, true);
        assert.equal(seen.bytes.toString().slice(0, 12), answer);
      }
      assert.deepEqual(slow.counters.reasons, { "peer.own-expired": 1 });
      assert.equal(slow.counters.accepted, 1);
    } finally {
      await slow.close({ deadlineMs: 0 });
      await relay.close();
    }
  });

  it("[S-10] an own bundle that leaves ends all trust at the next handshake, and its return gives it back", async () => {
    await orders.update({ bundles: [] });
    assert.equal(await get(good), "");
    assert.ok(server.counters.reasons["peer.own-identity-lost"]! > 0);
    await orders.update({ bundles: ca.x509Bundle() });
    assert.equal(await get(good), "HTTP/1.1 200");
  });
});

function materialOf(svid: { chainDer: Uint8Array; privateKeyPkcs8: Uint8Array }): [Uint8Array, Uint8Array] {
  return [svid.chainDer, svid.privateKeyPkcs8];
}
