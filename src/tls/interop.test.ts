import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { skipMissing } from "../../test/support/skip.ts";
import type { StaticIdentity } from "../authority/static-identity.ts";
import { TestCa } from "../authority/test-ca.ts";
import { capabilities } from "../runtime/capabilities.ts";
import { listen, type TlsListener } from "./listen.ts";
import { peerOf } from "./peer.ts";
import { identityOf } from "./wire.testing.ts";

const OPENSSL = "/usr/bin/openssl";
const CURL = "/usr/bin/curl";
const WEB = "spiffe://example.org/web";

let ca: TestCa;
let orders: StaticIdentity;
let server: TlsListener;
let directory: string;
let handled = 0;

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
});

async function rotated(): Promise<void> {
  const wanted = server.counters.rotations + 1;
  await orders.update({ svid: await ca.issue({ id: "spiffe://example.org/orders" }) });
  while (server.counters.rotations < wanted) await new Promise((resolve) => setTimeout(resolve, 1));
}
