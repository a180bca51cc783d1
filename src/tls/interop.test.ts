import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { eventually } from "../../test/support/eventually.ts";
import { skipMissing } from "../../test/support/skip.ts";
import { ManualClock } from "../authority/manual-clock.ts";
import type { StaticIdentity } from "../authority/static-identity.ts";
import { TestCa } from "../authority/test-ca.ts";
import { accept, refuse } from "../base/verdict.ts";
import { capabilities } from "../runtime/capabilities.ts";
import { listen, type TlsListener } from "./listen.ts";
import { peerOf } from "./peer.ts";
import { http1Done, http1Get, identityOf, many, Opened, rawExchange, rawOptions, shown } from "./wire.testing.ts";

const OPENSSL = "/usr/bin/openssl";
const CURL = "/usr/bin/curl";
const ORDERS = "spiffe://example.org/orders";
const WEB = "spiffe://example.org/web";

let ca: TestCa;
let orders: StaticIdentity;
let server: TlsListener;
let directory: string;
let handled = 0;
const opened = new Opened();

function needs(title: string, program: string) {
  return skipMissing(title, existsSync(program) ? undefined : `${program} is not installed`);
}

/** One GET by `openssl s_client`; everything it printed. */
function openssl(...args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const fixed = ["s_client", "-connect", `127.0.0.1:${server.port}`, "-alpn", "http/1.1", "-ign_eof", "-nocommands"];
    const child = spawn(OPENSSL, [...fixed, ...args], { cwd: directory });
    let out = "";
    child.stdout.on("data", (chunk) => (out += chunk));
    child.stderr.on("data", (chunk) => (out += chunk));
    child.stdin.on("error", () => {});
    child.stdin.end("GET / HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n\r\n");
    child.once("error", reject);
    child.once("close", () => resolve(out));
  });
}

function curl(...args: string[]): Promise<{ code: number; out: string }> {
  return new Promise((resolve) => {
    const url = `https://127.0.0.1:${server.port}/`;
    execFile(CURL, ["-sk", "-w", " %{http_version} %{http_code}", ...args, url], { cwd: directory }, (error, out) =>
      resolve({ code: Number(error?.code ?? 0), out: String(out) }),
    );
  });
}

const OWN = ["-cert", "web.pem", "-key", "web.key"];

describe("other TLS stacks", () => {
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "spiffe-edge-"));
    ca = await TestCa.create();
    orders = await identityOf("spiffe://example.org/orders", ca);
    for (const [name, authority] of [
      ["web", ca],
      ["foreign", await TestCa.create()],
    ] as const) {
      const svid = await authority.issue({ id: WEB });
      await writeFile(join(directory, `${name}.pem`), svid.certPem);
      await writeFile(join(directory, `${name}.key`), svid.keyPem, { mode: 0o600 });
    }
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
  after(async () => {
    await opened.close();
    await server.close();
    await rm(directory, { recursive: true });
  });

  const curlTitle = "curl over HTTP/1.1 and HTTP/2: served with an SVID, cut without and with a foreign one";
  it(curlTitle, needs(curlTitle, CURL), async () => {
    for (const [flag, version] of [
      ["--http1.1", "1.1"],
      ["--http2", "2"],
    ] as const) {
      handled = 0;
      assert.notEqual((await curl(flag)).code, 0);
      assert.notEqual((await curl(flag, "--cert", "foreign.pem", "--key", "foreign.key")).code, 0);
      assert.equal(handled, 0);
      const good = await curl(flag, "--cert", "web.pem", "--key", "web.key");
      assert.deepEqual(good, { code: 0, out: `for ${WEB} ${version} 200` });
    }
  });

  const oldTitle =
    "[S-2] [S-3] [A-2] openssl with TLS 1.2, and so any renegotiation, is refused before and after a rotation";
  it(oldTitle, needs(oldTitle, OPENSSL), async () => {
    for (const rotate of [false, true]) {
      if (rotate) await rotated();
      handled = 0;
      assert.doesNotMatch(await openssl(...OWN, "-tls1_2"), /HTTP\/1\.1/);
      assert.equal(handled, 0);
      assert.match(await openssl(...OWN, "-tls1_3"), /HTTP\/1\.1 200/);
    }
  });

  const savedTitle = "[S-4] [A-4] a saved session is not resumed, or verified anew where that can not be switched off";
  it(savedTitle, needs(savedTitle, OPENSSL), async () => {
    for (const rotate of [false, true]) {
      if (rotate) await rotated();
      assert.match(await openssl(...OWN, "-sess_out", "saved"), /HTTP\/1\.1 200/);
      if (!existsSync(join(directory, "saved"))) {
        assert.equal(capabilities.resumptionOff.value, true, "no ticket was given");
        continue;
      }
      const again = await openssl(...OWN, "-sess_in", "saved", "-sess_out", "saved");
      assert.match(again, /HTTP\/1\.1 200/);
      assert.equal(/^Reused, /m.test(again), !capabilities.resumptionOff.value);
      await orders.update({ bundles: [] });
      handled = 0;
      assert.doesNotMatch(await openssl(...OWN, "-sess_in", "saved"), /HTTP\/1\.1/);
      assert.equal(handled, 0, "a session outlived its bundle");
      await orders.update({ bundles: ca.x509Bundle() });
      assert.match(await openssl(...OWN, "-sess_in", "saved"), /HTTP\/1\.1 200/);
    }
  });

  const replayTitle = "[S-4] [A-4] a saved session replayed after everything changed is refused, as a new handshake is";
  it(replayTitle, needs(replayTitle, OPENSSL), async () => {
    const session = (name: string) => (existsSync(join(directory, name)) ? ["-sess_in", name] : []);
    const replay = async (port: number) =>
      (await openssl(...OWN, ...session("kept"), "-connect", `127.0.0.1:${port}`)).includes("HTTP/1.1 200");
    const clock = new ManualClock();
    let welcome = WEB;
    const changes: readonly {
      name: string;
      change(own: StaticIdentity): unknown;
      back(own: StaticIdentity): unknown;
    }[] = [
      {
        name: "bundle removed",
        change: (own) => own.update({ bundles: [] }),
        back: (own) => own.update({ bundles: ca.x509Bundle() }),
      },
      {
        name: "own redaction",
        change: (own) => own.update({ svid: null }),
        back: async (own) => own.update({ svid: await ca.issue({ id: ORDERS }) }),
      },
      { name: "another expected peer", change: () => (welcome = `${WEB}2`), back: () => (welcome = WEB) },
      { name: "expiry", change: () => clock.step(2 * 3_600_000), back: () => clock.step(-2 * 3_600_000) },
    ];
    for (const { name, change, back } of changes) {
      const own = await identityOf(ORDERS, ca);
      handled = 0;
      const replayed = opened.add(
        await listen(own, {
          port: 0,
          address: "127.0.0.1",
          throttle: false,
          clock,
          authorize: (peer) =>
            peer.id.uri === welcome ? accept(peer.id) : refuse("peer.not-authorized", "not expected"),
          handler: (_request, response) => {
            handled++;
            response.end("ok");
          },
        }),
      );
      await rm(join(directory, "kept"), { force: true });
      assert.match(
        await openssl(...OWN, "-connect", `127.0.0.1:${replayed.port}`, "-sess_out", "kept"),
        /HTTP\/1\.1 200/,
      );
      assert.equal(await replay(replayed.port), true, name);
      handled = 0;
      await change(own);
      assert.equal(await replay(replayed.port), false, name);
      assert.equal(handled, 0, name);
      await back(own);
      assert.equal(await replay(replayed.port), true, `${name}, taken back`);
      await replayed.close({ deadlineMs: 0 });
    }
  });

  it("[A-4] valid chains with intermediates are accepted 100 of 100, through key swaps", async () => {
    const middle = await (await ca.intermediate()).intermediate();
    const show = shown(await middle.issue({ id: WEB }));
    let accepted = 0;
    await many(100, 4, async (i) => {
      if (i % 10 === 0) await orders.update({ svid: await ca.issue({ id: ORDERS }) });
      const seen = await rawExchange(rawOptions(server.port, show, "http/1.1"), http1Get(), http1Done);
      if (http1Done(seen.bytes)) accepted++;
    });
    assert.equal(accepted, 100);
  });
});

async function rotated(): Promise<void> {
  const wanted = server.counters.rotations + 1;
  await orders.update({ svid: await ca.issue({ id: "spiffe://example.org/orders" }) });
  await eventually(() => server.counters.rotations >= wanted);
}
