/** Bundles by URL inside workerd, where timers end with their request: `fetch` is all that is there. */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { signTestJwt, TestCa, type TestJwtKey, testJwtKey } from "../../src/authority/testing.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const exec = promisify(execFile);

const config = (date: string, url: string, ca: string): string => `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "worker", esModule = embed "worker.js")],
      compatibilityDate = "${date}",
      bindings = [(name = "BUNDLE_URL", text = "${url}")],
    )),
    (name = "internet", network = (
      allow = ["private", "public"],
      tlsOptions = (trustedCertificates = [${JSON.stringify(ca)}]),
    )),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
`;

/** Resolves with the port as soon as workerd says that it listens. */
async function listening(child: ChildProcess): Promise<number> {
  for await (const line of createInterface({ input: child.stdio[3] as Readable })) {
    const message = JSON.parse(line) as { event: string; port?: number };
    if (message.event === "listen" && message.port !== undefined) return message.port;
  }
  throw new Error("workerd ended");
}

for (const date of ["2024-01-01", "2026-10-01"]) {
  describe(`bundles by URL in workerd as of ${date}`, () => {
    let directory: string;
    let child: ChildProcess | undefined;
    let endpoint: Server;
    let port: number;
    let key: TestJwtKey;
    let status = 500;
    const ask = async (token: string) => {
      const answer = await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: token });
      return (await answer.json()) as { judged?: string; state?: string; fetches?: number; code?: string };
    };
    const sign = (signer: TestJwtKey, aud = "orders") =>
      signTestJwt({ key: signer, claims: { sub: "spiffe://example.org/web", aud: [aud] } });

    before(async () => {
      directory = await mkdtemp(`${tmpdir()}/spiffe-edge-workerd-`);
      key = await testJwtKey("ES256");
      const ca = await TestCa.create({ trustDomain: "web.example", subject: { CN: "Web CA" } });
      const web = await ca.issue({ uriSans: [], ipSans: [new Uint8Array([127, 0, 0, 1])] });
      const document = JSON.stringify({ keys: [{ ...key.jwk, use: "jwt-svid" }] });
      endpoint = createServer({ key: web.keyPem, cert: web.certPem }, (_, response) => {
        response.writeHead(status).end(document);
      });
      await new Promise<void>((resolve) => endpoint.listen(0, "127.0.0.1", resolve));
      const url = `https://127.0.0.1:${(endpoint.address() as AddressInfo).port}/bundle`;
      const bundle = ["build", "test/workerd/bundle-worker.ts", "--target=browser", "--format=esm"];
      const args = [...bundle, "--conditions=spiffe-edge-source", `--outfile=${directory}/worker.js`];
      await exec(`${root}node_modules/.bin/bun`, args, { cwd: root });
      await writeFile(`${directory}/config.capnp`, config(date, url, ca.certPem));
      child = spawn(`${root}node_modules/.bin/workerd`, ["serve", "--control-fd=3", `${directory}/config.capnp`], {
        stdio: ["ignore", "ignore", "inherit", "pipe"],
      });
      port = await listening(child);
    });

    after(async () => {
      child?.kill("SIGKILL");
      endpoint.close().closeAllConnections();
      await rm(directory, { recursive: true, force: true });
    });

    it("what is bundled names no module of a runtime", async () => {
      assert.doesNotMatch(await readFile(`${directory}/worker.js`, "utf8"), /^import /m);
    });

    it("judges tokens by the fetched bundle, which serves the requests after it", async () => {
      status = 200;
      const [good, forged, misdirected] = [
        await sign(key),
        await sign(await testJwtKey("ES256", key.kid)),
        await sign(key, "x"),
      ];
      for (let n = 0; n < 3; n++) {
        assert.deepEqual(await ask(good), { judged: "spiffe://example.org/web", state: "ready", fetches: 1 });
        assert.deepEqual(await ask(forged), { judged: "jwt.signature", state: "ready", fetches: 1 });
        assert.deepEqual(await ask(misdirected), { judged: "jwt.audience", state: "ready", fetches: 1 });
      }
    });

    it("says that files are not to be had there", async () => {
      const answer = await fetch(`http://127.0.0.1:${port}/`);
      assert.deepEqual(await answer.json(), { code: "ERR_SPIFFE_BACKEND" });
    });
  });
}
