import assert from "node:assert/strict";
import { execFile, spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { skipMissing } from "../../test/support/skip.ts";
import { TestCa } from "../authority/test-ca.ts";
import { isSpiffeError } from "../base/errors.ts";
import { connect } from "./connect.ts";
import { listen } from "./listen.ts";
import { peerOf } from "./peer.ts";
import { identityOf } from "./wire.testing.ts";

const ORDERS = "spiffe://example.org/orders";
const WEB = "spiffe://example.org/web";
const KEYS = ["ec-p256", "rsa-2048", "ed25519"] as const;

const source = fileURLToPath(new URL("../../test/support/forger/main.go", import.meta.url));
const missing = spawnSync("go", ["version"]).status === 0 ? undefined : "go is not installed";

describe("peers that prove a certificate with another key", () => {
  let folder: string;
  let program: string;
  let ca: TestCa;

  before(async () => {
    if (missing !== undefined) return;
    folder = await mkdtemp(`${tmpdir()}/spiffe-edge-forger-`);
    program = `${folder}/forger`;
    await promisify(execFile)("go", ["build", "-o", program, source], { timeout: 120_000 });
    ca = await TestCa.create();
  });
  after(() => (folder === undefined ? undefined : rm(folder, { recursive: true, force: true })));

  /** Files of a certificate for the ID with its own key, and with the key of another certificate of the same kind. */
  async function files(
    id: string,
    keyType: (typeof KEYS)[number],
  ): Promise<{ cert: string; own: string; other: string }> {
    const [svid, other] = [await ca.issue({ id, keyType }), await ca.issue({ id, keyType })];
    const paths = { cert: `${folder}/cert.pem`, own: `${folder}/own.pem`, other: `${folder}/other.pem` };
    await writeFile(paths.cert, svid.certPem);
    await writeFile(paths.own, svid.keyPem);
    await writeFile(paths.other, other.keyPem);
    return paths;
  }

  const asClient = "[A-3] as a client: never reaches the handler; with its own key it does";
  it(asClient, skipMissing(asClient, missing), async () => {
    let handled = 0;
    const server = await listen(await identityOf(ORDERS, ca), {
      address: "127.0.0.1",
      port: 0,
      throttle: false,
      handler: (request, response) => {
        handled++;
        response.end(`for ${peerOf(request).id}`);
      },
    });
    for (const keyType of KEYS) {
      const { cert, own, other } = await files(WEB, keyType);
      const dial = async (key: string) =>
        (await promisify(execFile)(program, ["dial", `127.0.0.1:${server.port}`, cert, key])).stdout;
      handled = 0;
      for (let i = 0; i < 10; i++) assert.doesNotMatch(await dial(other), /for spiffe/, keyType);
      assert.equal(handled, 0, keyType);
      assert.match(await dial(own), new RegExp(`for ${WEB}`), keyType);
      assert.equal(handled, 1);
    }
    assert.equal(server.counters.accepted, KEYS.length);
    await server.close({ deadlineMs: 0 });
  });

  const asServer = "[A-3] as a server: is sent no byte; with its own key it is talked to";
  it(asServer, skipMissing(asServer, missing), async () => {
    const web = await identityOf(WEB, ca);
    for (const keyType of KEYS) {
      const { cert, own, other } = await files(ORDERS, keyType);
      for (const key of [other, own]) {
        const child = spawn(program, ["serve", cert, key], { stdio: ["ignore", "pipe", "inherit"] });
        const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
        const port = Number((await lines.next()).value);
        const dial = async () => {
          const { socket } = await connect(web, { host: "127.0.0.1", port, peer: ORDERS, alpn: ["http/1.1"] });
          socket.end("hello");
          return socket;
        };
        if (key === other) {
          for (let i = 0; i < 10; i++) {
            await assert.rejects(
              dial(),
              (error) => isSpiffeError(error, "ERR_SPIFFE_TLS") && error.phase === "handshake",
              keyType,
            );
            assert.equal((await lines.next()).value, "bytes 0", keyType);
          }
        } else {
          const socket = await dial();
          assert.equal((await lines.next()).value, "bytes 5", keyType);
          socket.destroy();
        }
        child.kill();
      }
    }
  });
});
