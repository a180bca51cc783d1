/** Against a real SPIRE below a root of its own: every SVID has an intermediate, on both sides and with go-spiffe. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { goPeers } from "../../bench/lib/go-peers.ts";
import { exportPkcs8 } from "../../src/authority/keys.ts";
import { TestCa } from "../../src/authority/testing.ts";
import { isSpiffeError } from "../../src/base/errors.ts";
import { encodePem } from "../../src/encoding/index.ts";
import { authorizeOneOf, listen, peerOf, type TlsListener } from "../../src/tls/index.ts";
import { Workload } from "../../src/workload/index.ts";
import { verifyX509Svid } from "../../src/x509/index.ts";
import { GoServer, goGet } from "../peers/go.ts";
import { WAYS } from "../peers/ways.ts";
import { eventually } from "../support/eventually.ts";
import { serveSvid } from "../support/given-svid.ts";
import { credentialsOf, rawRequest } from "../support/raw-client.ts";
import { skipMissing } from "../support/skip.ts";
import { type Spire, spireMissing, startSpire } from "../support/spire.ts";

const DOMAIN = "x0tta6bl4.local";
const ORDERS = `spiffe://${DOMAIN}/orders`;
const WEB = `spiffe://${DOMAIN}/web`;
const GUEST = `spiffe://${DOMAIN}/guest`;
const TIMES = 10;
const END = "-----END CERTIFICATE-----\n";

const peers = await goPeers();
const missing = spireMissing();
const goMissing = missing ?? ("missing" in peers ? peers.missing : undefined);
const program = "path" in peers ? peers.path : "";

let root: TestCa;
let spire: Spire;
let orders: Workload;
let web: Workload;
let guest: Workload;
let server: TlsListener;
let handled: string[] = [];

function nestedTest(title: string, why: string | undefined, run: () => Promise<void>): void {
  it(title, skipMissing(title, why), run);
}

/** A Workload API with one of SPIRE's SVIDs alone: the agent hands all of them to every caller. */
function alone(workload: Workload) {
  const svid = workload.x509.x509Svid();
  const chainDer = Buffer.concat(svid.certificates.map(({ der }) => der));
  const bundle = workload.x509.x509BundleFor(svid.id.trustDomain)!;
  return serveSvid(svid.id.uri, { chainDer, privateKeyPkcs8: svid.privateKeyPkcs8() }, bundle);
}

describe("SPIRE below a root", () => {
  before(async () => {
    if (missing !== undefined) return;
    root = await TestCa.create({ trustDomain: DOMAIN });
    const upstream = { certPem: root.certPem, keyPem: encodePem("PRIVATE KEY", await exportPkcs8(root.keys)) };
    const entries = ["orders", "web", "guest"].map((hint) => ({ path: `/${hint}`, hint }));
    spire = await startSpire({ entries, trustDomain: DOMAIN, upstream });
    const open = (hint: string) => Workload.open({ socket: spire.endpoint, hint });
    [orders, web, guest] = (await Promise.all(["orders", "web", "guest"].map(open))) as [Workload, Workload, Workload];
    server = await listen(orders, {
      port: 0,
      address: "127.0.0.1",
      throttle: false,
      authorize: authorizeOneOf(WEB),
      handler: (request, response) => {
        handled.push(peerOf(request).id.uri);
        response.end(`for ${peerOf(request).id}`);
      },
    });
  });
  beforeEach(() => {
    handled = [];
  });
  after(async () => {
    await server?.close({ deadlineMs: 1_000 });
    for (const workload of [orders, web, guest]) await workload?.close();
    await spire?.stop();
  });

  nestedTest("its SVIDs have an intermediate, and the root alone is in the bundle", missing, async () => {
    const svid = web.x509.x509Svid();
    assert.equal(svid.certificates.length, 2);
    const { authorities } = web.x509.x509BundleFor(svid.id.trustDomain)!;
    assert.deepEqual(
      authorities.map(({ der }) => Buffer.from(der).toString("hex")),
      [Buffer.from(root.rootDer).toString("hex")],
    );
    const { chain } = await verifyX509Svid(svid.certificates, orders.x509);
    assert.equal(chain.length, 3);
    await assert.rejects(
      verifyX509Svid(svid.certificates.slice(0, 1), orders.x509),
      (error) => isSpiffeError(error) && error.reason === "x509.no-path",
    );
  });

  nestedTest(
    "[S-1] [S-7] [G-2] web is served in every way, guest and web without its intermediate in none",
    missing,
    async () => {
      for (const { get } of WAYS) {
        for (let i = 0; i < TIMES; i++) {
          assert.equal(await get(web, server.port, ORDERS, "/"), `for ${WEB}`);
          await assert.rejects(get(guest, server.port, ORDERS, "/"));
          await assert.rejects(
            get(web, server.port, GUEST, "/"),
            (error) => isSpiffeError(error, "ERR_SPIFFE_PEER_REFUSED") && error.reason === "peer.not-authorized",
          );
        }
      }
      assert.deepEqual(handled, Array(WAYS.length * TIMES).fill(WEB));
      assert.equal(server.counters.reasons["peer.not-authorized"], WAYS.length * TIMES);

      handled = [];
      const whole = credentialsOf(web.x509.x509Svid());
      const leaf = { ...whole, certificates: `${whole.certificates.split(END)[0]}${END}` };
      for (let i = 0; i < TIMES; i++) {
        assert.equal(await rawRequest({ port: server.port, credentials: leaf }), "");
        assert.match(await rawRequest({ port: server.port, credentials: whole }), /^HTTP\/1\.1 200 /);
      }
      assert.equal(handled.length, TIMES);
      assert.equal(server.counters.reasons["x509.no-path"], TIMES);
    },
  );

  nestedTest("[S-1] [S-7] [G-2] go-spiffe as web is served by listen, as guest it is not", goMissing, async () => {
    for (const [workload, served] of [
      [web, TIMES],
      [guest, 0],
    ] as const) {
      const api = await alone(workload);
      const call = { port: server.port, peer: ORDERS, requests: TIMES, http2: true };
      const { bodies, errors } = await goGet(program, api.socket, call);
      assert.deepEqual([bodies.length, errors.length], [served, TIMES - served], errors.join());
      await api.close();
    }
    assert.deepEqual(handled, Array(TIMES).fill(WEB));
  });

  nestedTest(
    "[S-5] [S-7] [G-2] go-spiffe as orders is called in every way, as guest it gets no request",
    goMissing,
    async () => {
      for (const [workload, right] of [
        [orders, true],
        [guest, false],
      ] as const) {
        const api = await alone(workload);
        const go = await GoServer.start(program, api.socket, WEB);
        try {
          for (const { get } of WAYS) {
            for (let i = 0; i < TIMES; i++) {
              const call = get(web, go.port, ORDERS, "/");
              if (right) assert.equal(await call, `for ${WEB}`);
              else await assert.rejects(call, (error) => isSpiffeError(error, "ERR_SPIFFE_PEER_REFUSED"));
            }
          }
          const wanted = right ? WAYS.length * TIMES : 0;
          await eventually(() => go.handled.length === wanted, "all requests handled");
          assert.equal(go.handled.length, wanted);
        } finally {
          await go.stop();
          await api.close();
        }
      }
    },
  );
});
