/** OpenSSL and curl at the other end, with SVIDs that have intermediates: right peers are served, wrong ones reach nothing. */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";
import { type StaticIdentity, staticIdentity, TestCa, type TestSvid } from "../../src/authority/testing.ts";
import { isSpiffeError } from "../../src/base/errors.ts";
import { authorizeOneOf, listen, peerOf, type TlsListener } from "../../src/tls/index.ts";
import { eventually } from "../support/eventually.ts";
import { skipMissing } from "../support/skip.ts";
import { WAYS } from "./ways.ts";

const OPENSSL = "/usr/bin/openssl";
const CURL = "/usr/bin/curl";
const ORDERS = "spiffe://example.org/orders";
const WEB = "spiffe://example.org/web";
const GUEST = "spiffe://example.org/guest";
const TIMES = 10;
const END = "-----END CERTIFICATE-----\n";
/** What s_server can speak. */
const HTTP1_WAYS = WAYS.filter(({ protocol }) => protocol === "HTTP/1.1");

let folder: string;
let root: TestCa;
let web: StaticIdentity;
let guest: StaticIdentity;

function programTest(title: string, program: string, run: () => Promise<void>): void {
  it(title, skipMissing(title, existsSync(program) ? undefined : `${program} is not installed`), run);
}

async function nested(id: string, by: TestCa = root): Promise<TestSvid> {
  return (await (await by.intermediate()).intermediate()).issue({ id });
}

async function write(name: string, { certPem, keyPem }: TestSvid): Promise<void> {
  await writeFile(join(folder, `${name}.pem`), certPem);
  await writeFile(join(folder, `${name}-leaf.pem`), `${certPem.split(END)[0]}${END}`);
  await writeFile(join(folder, `${name}.key`), keyPem, { mode: 0o600 });
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "spiffe-edge-"));
  root = await TestCa.create();
  const foreign = await TestCa.create();
  await writeFile(join(folder, "root.pem"), root.certPem);
  for (const [name, svid] of [
    ["orders", await nested(ORDERS)],
    ["web", await nested(WEB)],
    ["guest", await nested(GUEST)],
    ["foreign-orders", await nested(ORDERS, foreign)],
    ["foreign-web", await nested(WEB, foreign)],
  ] as const) {
    await write(name, svid);
  }
  web = await staticIdentity({ svid: await nested(WEB), bundles: root.x509Bundle() });
  guest = await staticIdentity({ svid: await nested(GUEST, foreign), bundles: root.x509Bundle() });
});

after(() => rm(folder, { recursive: true }));

/** `openssl s_server` that answers with a file, and says which: its handler. */
class OpensslServer {
  readonly port: number;
  #said: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, said: string) {
    this.#child = child;
    this.#said = said;
    this.port = Number(/ACCEPT \S*:(\d+)/.exec(said)![1]);
    child.stderr!.on("data", (chunk) => (this.#said += chunk));
  }

  /** @param chain whether it sends its intermediates */
  static start(name: string, chain: boolean): Promise<OpensslServer> {
    const args = ["s_server", "-accept", "127.0.0.1:0", "-WWW", "-tls1_3", "-key", `${name}.key`];
    args.push("-cert", chain ? `${name}.pem` : `${name}-leaf.pem`, ...(chain ? ["-cert_chain", `${name}.pem`] : []));
    args.push("-Verify", "5", "-verify_return_error", "-CAfile", "root.pem", ...(chain ? [] : ["-no-CAfile"]));
    const child = spawn(OPENSSL, args, { cwd: folder, stdio: ["pipe", "pipe", "pipe"] });
    return new Promise((resolve, reject) => {
      let said = "";
      // It says on standard output where it listens, and on standard error what it serves.
      const look = (chunk: unknown) => {
        said += chunk;
        if (!/ACCEPT \S*:\d+/.test(said)) return;
        child.stdout.off("data", look);
        resolve(new OpensslServer(child, said));
      };
      child.stdout.on("data", look);
      child.stderr.on("data", (chunk) => (said += chunk));
      child.once("close", () => reject(new Error(`openssl s_server ended: ${said}`)));
    });
  }

  /** Requests it handled. */
  get handled(): number {
    return this.#said.split("FILE:answer").length - 1;
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once("close", resolve));
    process.kill(this.#child.pid!, "SIGKILL");
    await ended;
  }
}

describe("openssl s_server", () => {
  before(() => writeFile(join(folder, "answer"), "from openssl"));

  const callAll = async (identity: StaticIdentity, port: number, peer: string): Promise<unknown[]> => {
    const thrown: unknown[] = [];
    for (const { get } of HTTP1_WAYS) {
      for (let i = 0; i < TIMES; i++) {
        const body = await get(identity, port, peer, "/answer").catch((error: unknown) => void thrown.push(error));
        if (body !== undefined) assert.equal(body, "from openssl");
      }
    }
    return thrown;
  };
  const all = HTTP1_WAYS.length * TIMES;

  programTest(
    "[S-5] [S-7] [A-5] [G-2] is called when it is who is expected, whole chain shown, and else gets no request",
    OPENSSL,
    async () => {
      for (const [name, chain, peer, reason] of [
        ["orders", true, ORDERS, undefined],
        ["orders", true, GUEST, "peer.not-authorized"],
        ["guest", true, ORDERS, "peer.not-authorized"],
        ["foreign-orders", true, ORDERS, "x509.no-path"],
        ["orders", false, ORDERS, "x509.no-path"],
      ] as const) {
        const server = await OpensslServer.start(name, chain);
        try {
          const thrown = await callAll(web, server.port, peer);
          for (const error of thrown) {
            assert.ok(isSpiffeError(error, "ERR_SPIFFE_PEER_REFUSED"), String(error));
            assert.equal(error.reason, reason);
          }
          assert.equal(thrown.length, reason === undefined ? 0 : all);
          if (reason === undefined) await eventually(() => server.handled === all, "all requests handled");
          assert.equal(server.handled, reason === undefined ? all : 0, name);
        } finally {
          await server.stop();
        }
      }
    },
  );

  programTest("handles no request of a caller whose chain it can not verify", OPENSSL, async () => {
    for (const [identity, good] of [
      [guest, false],
      [web, true],
    ] as const) {
      const server = await OpensslServer.start("orders", true);
      try {
        assert.equal((await callAll(identity, server.port, ORDERS)).length, good ? 0 : all);
        if (good) await eventually(() => server.handled === all, "all requests handled");
        assert.equal(server.handled, good ? all : 0);
      } finally {
        await server.stop();
      }
    }
  });
});

describe("openssl s_client and curl with intermediates", () => {
  let server: TlsListener;
  let handled = 0;

  before(async () => {
    const orders = await staticIdentity({ svid: await nested(ORDERS), bundles: root.x509Bundle() });
    server = await listen(orders, {
      port: 0,
      address: "127.0.0.1",
      throttle: false,
      authorize: authorizeOneOf(WEB),
      handler: (request, response) => {
        handled++;
        response.end(`for ${peerOf(request).id}`);
      },
    });
  });
  beforeEach(() => {
    handled = 0;
  });
  after(() => server.close({ deadlineMs: 0 }));

  /** Who calls with what: certificate file, key file, reason of a refusal. */
  const CALLERS = [
    ["web.pem", "web.key", undefined],
    ["web-leaf.pem", "web.key", "x509.no-path"],
    ["foreign-web.pem", "foreign-web.key", "x509.no-path"],
    ["guest.pem", "guest.key", "peer.not-authorized"],
  ] as const;

  const openssl = (cert: string, key: string): Promise<string> => {
    const args = ["s_client", "-connect", `127.0.0.1:${server.port}`, "-alpn", "http/1.1", "-ign_eof", "-nocommands"];
    // It verifies the server's chain, intermediates and all.
    args.push("-quiet", "-CAfile", "root.pem", "-verify_return_error", "-cert", cert, "-cert_chain", cert, "-key", key);
    return new Promise((resolve, reject) => {
      const child = spawn(OPENSSL, args, { cwd: folder, stdio: ["pipe", "pipe", "ignore"] });
      let out = "";
      child.stdout.on("data", (chunk) => (out += chunk));
      child.stdin.on("error", () => {});
      child.stdin.end("GET / HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n\r\n");
      child.once("error", reject);
      child.once("close", () => resolve(out));
    });
  };

  const curl = (cert: string, key: string, version: string): Promise<string> => {
    const args = ["-sk", version, "-w", " %{http_version} %{http_code}", "--cert", cert, "--key", key];
    return new Promise((resolve) => {
      execFile(CURL, [...args, `https://127.0.0.1:${server.port}/`], { cwd: folder }, (_, out) => resolve(String(out)));
    });
  };

  async function judged(call: (cert: string, key: string) => Promise<boolean>): Promise<void> {
    for (const [cert, key, reason] of CALLERS) {
      handled = 0;
      const before = reason === undefined ? 0 : (server.counters.reasons[reason] ?? 0);
      for (let i = 0; i < TIMES; i++) assert.equal(await call(cert, key), reason === undefined, cert);
      assert.equal(handled, reason === undefined ? TIMES : 0, cert);
      if (reason !== undefined) assert.equal(server.counters.reasons[reason]! - before, TIMES);
    }
  }

  programTest("[S-1] [S-7] [G-2] s_client is served with its whole chain, and else reaches no handler", OPENSSL, () =>
    judged(async (cert, key) => (await openssl(cert, key)).includes(`for ${WEB}`)),
  );

  programTest("[S-1] [S-7] [G-2] curl is served with its whole chain, and else reaches no handler", CURL, async () => {
    await judged(async (cert, key) => (await curl(cert, key, "--http1.1")) === `for ${WEB} 1.1 200`);
    await judged(async (cert, key) => (await curl(cert, key, "--http2")) === `for ${WEB} 2 200`);
  });
});
