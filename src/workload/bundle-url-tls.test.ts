import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { onThisRuntime, runProgram } from "../../test/support/programs.ts";
import { TestCa, testJwtKey } from "../authority/testing.ts";

describe("BundleSource.fromUrl over TLS", () => {
  const servers: Server[] = [];
  let folder: string;
  let trusted: TestCa;
  let document: string;
  /** Where each server's requests with another path than /bundle are sent on to. */
  let onward = "";
  let requests = 0;

  /** A server at this host, with a certificate for that one. */
  async function serve(ca: TestCa, host: "127.0.0.1" | "localhost", named: string = host): Promise<string> {
    const names =
      named === "localhost" ? { dnsSans: [named] } : { ipSans: [Uint8Array.from(named.split("."), Number)] };
    const web = await ca.issue({ uriSans: [], ...names });
    const server = createServer({ key: web.keyPem, cert: web.certPem }, (request, response) => {
      requests++;
      if (request.url === "/bundle") response.end(document);
      else response.writeHead(302, { location: onward }).end();
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return `https://${host}:${(server.address() as AddressInfo).port}`;
  }

  /** The machine's trusted authorities, and this one. */
  const fetchBundle = async (url: string) => {
    const file = join(folder, "trusted.pem");
    const env = { NODE_EXTRA_CA_CERTS: file, DENO_CERT: file };
    return (await runProgram(onThisRuntime("test/support/fetch-bundle.ts", [url, "example.org"]), { env })).stdout;
  };

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "web-"));
    trusted = await TestCa.create({ trustDomain: "web.example", subject: { CN: "Web CA" } });
    writeFileSync(join(folder, "trusted.pem"), trusted.certPem);
    const key = await testJwtKey("ES256");
    document = JSON.stringify({ keys: [{ ...key.jwk, use: "jwt-svid" }] });
  });

  after(() => {
    for (const server of servers) server.close().closeAllConnections();
    rmSync(folder, { recursive: true, force: true });
  });

  it("[FED-17] [FED-20] takes a trusted server with the right name, also by redirect, and no other", async () => {
    const unknown = await TestCa.create({ trustDomain: "web.example", subject: { CN: "Unknown CA" } });
    const good = await serve(trusted, "127.0.0.1");
    // Another host: Deno's servers of one process share the tickets by which its clients resume sessions by host.
    const foreign = await serve(unknown, "localhost");
    const misnamed = await serve(trusted, "localhost", "127.0.0.1");
    const named = await serve(trusted, "localhost");
    for (const origin of [good, named]) assert.equal(await fetchBundle(`${origin}/bundle`), "keys 1\n");
    onward = `${good}/bundle`;
    assert.equal(await fetchBundle(`${good}/elsewhere`), "keys 1\n");
    requests = 0;
    for (const bad of [foreign, misnamed]) {
      assert.match(await fetchBundle(`${bad}/bundle`), /^Expected a bundle from .* could not be reached/);
      assert.equal(requests, 0, "nothing was sent to it");
    }
    onward = `${foreign}/bundle`;
    assert.match(await fetchBundle(`${good}/elsewhere`), /could not be reached/);
    onward = `${good.replace("https:", "http:")}/bundle`;
    assert.match(await fetchBundle(`${good}/elsewhere`), /redirected to a URL that is http:/);
  });
});
