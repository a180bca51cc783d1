import assert from "node:assert/strict";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { after, before, describe, it } from "node:test";
import { connect as dialTls } from "node:tls";
import { eventually } from "../../test/support/eventually.ts";
import { ManualClock } from "../authority/manual-clock.ts";
import { staticIdentity } from "../authority/static-identity.ts";
import { TestCa, type TestSvid } from "../authority/test-ca.ts";
import { isSpiffeError } from "../base/errors.ts";
import { Certificate, X509Svid } from "../x509/index.ts";
import { presentedChain } from "./chain.ts";
import { connect } from "./connect.ts";
import type { Handler } from "./entries.ts";
import { type ListenOptions, listen, type TlsListener } from "./listen.ts";
import { connectionPeer } from "./peer.ts";
import { http1Done, http1Get, identityOf, rawExchange, rawOptions, type Shown, shown } from "./wire.testing.ts";

const ORDERS = "spiffe://example.org/orders";
const WEB = "spiffe://example.org/web";
const HERE = { address: "127.0.0.1", port: 0, throttle: false } as const;

let folder: string;
let ca: TestCa;
let web: Shown;
let certFile: string;
let keyFile: string;

const handler: Handler = (request, response) => void response.end(connectionPeer(request)?.peer?.id.uri ?? "nobody");

/** A certificate for a host name; what issued it is of no interest to who serves it. */
const issueWeb = (name = "orders.example", options = {}): Promise<TestSvid> =>
  ca.issue({ uriSans: [], dnsSans: [name], ...options });

function served(port: number): Promise<Certificate> {
  return new Promise((resolve, reject) => {
    const socket = dialTls(rawOptions(port, web, "http/1.1"));
    socket.once("error", reject);
    socket.once("secureConnect", () => {
      const chain = presentedChain(socket);
      socket.destroy();
      if (chain.ok) resolve(Certificate.parse(chain.value[0]!));
      else reject(new Error(chain.message));
    });
  });
}

async function get(port: number, show: Shown, more = {}): Promise<string | undefined> {
  const seen = await rawExchange(rawOptions(port, show, "http/1.1", more), http1Get(), http1Done);
  return http1Done(seen.bytes) ? seen.bytes.toString().split("\r\n\r\n")[1] : undefined;
}

/** Puts both files in place, each whole. */
async function write(cert: TestSvid, key: TestSvid = cert): Promise<void> {
  await writeFile(`${certFile}.new`, cert.certPem);
  await writeFile(`${keyFile}.new`, key.keyPem);
  await rename(`${certFile}.new`, certFile);
  await rename(`${keyFile}.new`, keyFile);
}

const opened: TlsListener[] = [];

async function open(options: Partial<ListenOptions>): Promise<TlsListener> {
  const server = await listen(await identityOf(ORDERS, ca), { ...HERE, handler, ...options });
  opened.push(server);
  return server;
}

describe("the certificate of a listener", () => {
  before(async () => {
    folder = await mkdtemp(`${tmpdir()}/spiffe-edge-cert-`);
    certFile = `${folder}/cert.pem`;
    keyFile = `${folder}/key.pem`;
    ca = await TestCa.create();
    web = shown(await ca.issue({ id: WEB }));
  });
  after(async () => {
    for (const server of opened) await server.close({ deadlineMs: 0 });
    await rm(folder, { recursive: true, force: true });
  });

  it("of the Web PKI, with clients by SPIFFE ID, optional and none", async () => {
    const certificate = shown(await issueWeb());
    for (const [clientCertificate, without] of [
      ["require", undefined],
      ["optional", "nobody"],
      ["none", "nobody"],
    ] as const) {
      const server = await open({ certificate, clientCertificate });
      assert.deepEqual((await served(server.port)).dnsSans, ["orders.example"]);
      assert.equal(await get(server.port, web), clientCertificate === "none" ? "nobody" : WEB, clientCertificate);
      assert.equal(await get(server.port, undefined), without, clientCertificate);
      const foreign = shown(await (await TestCa.create()).issue({ id: WEB }));
      assert.equal(await get(server.port, foreign), clientCertificate === "none" ? "nobody" : undefined);
      await server.close({ deadlineMs: 0 });
    }
  });

  it("[S-3] files that change are followed: pieces of two states and foreign keys are not served, controls stay", async () => {
    const first = await issueWeb("first.example");
    await write(first);
    const server = await open({ certificate: { certFile, keyFile } });
    assert.deepEqual((await served(server.port)).dnsSans, ["first.example"]);
    // The certificate alone is new: it does not fit the key that is there.
    const second = await issueWeb("second.example");
    await write(second, first);
    await eventually(() => server.counters.rotationsRefused > 0);
    assert.deepEqual((await served(server.port)).dnsSans, ["first.example"]);
    await writeFile(certFile, "-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n");
    await eventually(() => server.counters.rotationsRefused > 1);
    assert.equal(await get(server.port, web), WEB);
    await write(second);
    await eventually(() => server.counters.rotations > 0);
    assert.deepEqual((await served(server.port)).dnsSans, ["second.example"]);
    assert.equal(await get(server.port, web), WEB);
    assert.equal(await get(server.port, undefined), undefined, "no certificate");
    assert.equal(await get(server.port, web, { minVersion: "TLSv1.2", maxVersion: "TLSv1.2" }), undefined, "TLS 1.2");
    await server.close({ deadlineMs: 0 });
  });

  it("files that do not fit, are missing or hold something else stop the start with their names, and no key", async () => {
    const [one, two] = [await issueWeb(), await issueWeb()];
    const start = (certificate: NonNullable<ListenOptions["certificate"]>) => () => open({ certificate });
    const cases: readonly [string, () => Promise<TlsListener>][] = [
      ["ERR_SPIFFE_KEY", start({ cert: one.certPem, key: two.keyPem })],
      ["ERR_SPIFFE_KEY", start({ cert: "", key: one.keyPem })],
      ["ERR_SPIFFE_KEY", start({ cert: one.keyPem, key: one.keyPem })],
      ["ERR_SPIFFE_KEY", start({ cert: one.certPem, key: one.certPem })],
      ["ERR_SPIFFE_KEY", start({ cert: one.certPem, key: `${one.keyPem.slice(0, 60)}\n-----END PRIVATE KEY-----\n` })],
      ["ERR_SPIFFE_CONFIG", start({ certFile: `${folder}/nowhere.pem`, keyFile })],
    ];
    const secret = one.keyPem.split("\n")[1]!;
    for (const [code, start] of cases) {
      await assert.rejects(start(), (error) => {
        assert.ok(isSpiffeError(error) && error.code === code, String(error));
        assert.ok(!`${error.message}${error.stack}${JSON.stringify(error)}`.includes(secret.slice(0, 20)));
        return true;
      });
    }
    const server = await start(shown(one))();
    await server.close();
  });

  it("[S-9] [S-10] ended certificates of the Web PKI: connections end, new ones are refused", async () => {
    const clock = new ManualClock();
    const certificate = shown(await issueWeb("short.example", { notAfter: new Date(clock.now() + 60_000) }));
    const server = await open({ certificate, clock });
    const socket = dialTls(rawOptions(server.port, web, "http/1.1")).on("error", () => {});
    await eventually(() => server.counters.open === 1);
    await clock.advance(30_000);
    assert.equal(await get(server.port, web), WEB);
    await clock.advance(31_000);
    await eventually(() => server.counters.open === 0);
    assert.equal(server.counters.drained["peer.own-expired"], 1);
    assert.equal(await get(server.port, web), undefined);
    assert.equal(server.counters.reasons["peer.own-identity-lost"], 1);
    socket.destroy();
    await server.close({ deadlineMs: 0 });
  });

  it("an SVID by ID or by hint, through its rotations", async () => {
    const [a, b] = [`${ORDERS}/a`, `${ORDERS}/b`];
    const parse = async (id: string, hint: string) => {
      const { chainDer, privateKeyPkcs8 } = await ca.issue({ id });
      return X509Svid.parse(chainDer, privateKeyPkcs8, { hint });
    };
    const base = await staticIdentity({ svid: await parse(a, "outside"), bundles: ca.x509Bundle() });
    let svids = [base.x509.x509Svid(), await parse(b, "inside")];
    const identity = {
      ...base,
      x509: {
        ...base.x509,
        get current() {
          return { svids };
        },
      },
    };
    for (const svid of [{ id: b }, { hint: "inside" }] as const) {
      const server = await listen(identity, { ...HERE, handler, svid });
      opened.push(server);
      assert.deepEqual((await served(server.port)).uriSans, [b]);
      svids = [svids[0]!, await parse(b, "inside")];
      await base.update({});
      await eventually(() => server.counters.rotations === 1);
      assert.equal((await served(server.port)).serialNumber, svids[1]!.leaf.serialNumber);
      const { socket, peer } = await connect(base, { host: "127.0.0.1", port: server.port, peer: b });
      assert.equal(peer.id.uri, b);
      socket.destroy();
      const whole = svids;
      svids = [svids[0]!];
      await base.update({});
      assert.equal(await get(server.port, web), undefined, "the chosen one is gone; no other takes its place");
      svids = whole;
      assert.equal(await get(server.port, web), WEB);
      await server.close({ deadlineMs: 0 });
    }
    const none = listen(identity, { ...HERE, handler, svid: { hint: "nobody" } });
    await assert.rejects(none, (error) => isSpiffeError(error, "ERR_SPIFFE_NO_IDENTITY") && error.message.includes(a));
    const first = await listen(identity, { ...HERE, handler });
    assert.deepEqual((await served(first.port)).uriSans, [a]);
    await first.close({ deadlineMs: 0 });
  });
});
