/** The octets of gateway and policy files on disk. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { loadGatewayConfig } from "./config-file.ts";

describe("the octets of a gateway file and of a policy file", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "policy-files-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const gatewayFile = (policy: unknown) =>
    JSON.stringify({
      listen: { port: 8443 },
      upstreams: { a: { url: "http://127.0.0.1:1" } },
      routes: [{ name: "a", path: "/**", upstream: "a" }],
      policy,
    });

  /** What is said of a policy file, and of a gateway file, with these octets behind a comment sign. */
  async function said(comment: Uint8Array<ArrayBuffer>): Promise<string[]> {
    const file = join(folder, "own.yaml");
    const write = (name: string, text: string, octets = new Uint8Array()) =>
      writeFileSync(join(folder, name), Buffer.concat([Buffer.from(`${text}\n#`), octets]));
    const load = () => loadGatewayConfig(file, { env: {} }).then(() => "accepted", String);
    write("octets.yaml", '- { rule: web, allow: { ids: ["spiffe://example.org/web"] } }', comment);
    write("own.yaml", gatewayFile({ files: [{ glob: "octets.yaml", idPrefixes: ["spiffe://example.org"] }] }));
    const policy = await load();
    write("own.yaml", gatewayFile([{ rule: "web", allow: { ids: ["spiffe://example.org/web"] } }]), comment);
    return [policy, await load()];
  }

  it("are UTF-8", async () => {
    const [policy, gateway] = await said(Buffer.from("caf\u00e9", "latin1"));
    assert.match(policy!, /octets\.yaml: the policy file is not UTF-8/);
    assert.match(gateway!, /own\.yaml: the gateway file is not UTF-8/);
    assert.deepEqual(await said(Buffer.from("caf\u00e9")), ["accepted", "accepted"]);
  });

  it("are a MiB at most, however few characters that is", async () => {
    const [policy, gateway] = await said(Buffer.from("\u00e9".repeat(524_288)));
    assert.match(policy!, /octets\.yaml: is longer than 1 MiB/);
    assert.match(gateway!, /own\.yaml: is longer than 1 MiB/);
    assert.deepEqual(await said(Buffer.from("\u00e9".repeat(524_000))), ["accepted", "accepted"]);
  });
});
