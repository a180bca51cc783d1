/** The doctor on agents of every kind: each thing that is wrong with one has its line, and the same without it has not. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer as http2Server, type ServerHttp2Stream } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { FakeWorkloadApi, TestCa, type TestCertificateOptions, testJwtKey } from "../src/authority/testing.ts";
import { Agent, type Content, jwkSet, wire } from "./conformance/agent.ts";
import { look, type Report } from "./support/doctor.ts";
import { eventually } from "./support/eventually.ts";
import { onThisRuntime, Program } from "./support/programs.ts";

const HOME = "home.example";
const WEB = `spiffe://${HOME}/web`;
const HOUR_MS = 3_600_000;

let folder: string;
let fake: FakeWorkloadApi;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "da-"));
  fake = await FakeWorkloadApi.start({ trustDomain: HOME, identities: [{ id: WEB }] });
});

after(async () => {
  await fake.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("spiffe-edge doctor: header and health", () => {
  /** A gRPC server that answers every method with a status, and the health service with a state. */
  const serve = async (status: number, state: number) => {
    const server = http2Server();
    let open = 0;
    server.on("session", (session) => {
      open++;
      session.on("error", () => {});
      session.once("close", () => open--);
    });
    server.on("stream", (stream: ServerHttp2Stream, { ":path": path }) => {
      stream.on("error", () => {});
      const health = path === "/grpc.health.v1.Health/Check";
      if (!health) return stream.respond({ ":status": 200, "grpc-status": String(status) }, { endStream: true });
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(Buffer.from([0, 0, 0, 0, 2, 8, state]));
    });
    const path = join(folder, `h${status}-${state}.sock`);
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const seen = await look(`unix://${path}`);
    // Closing a server before its clients have left ends the process on Deno 2.9.5.
    await eventually(() => open === 0, "the end of the connections");
    server.close();
    return seen;
  };

  it("[WE-06] a call without the header has to be refused with InvalidArgument", async () => {
    const refusing = await serve(3, 1);
    assert.deepEqual([refusing.found("header").status, refusing.found("health").status], ["ok", "ok"]);
    const other = await serve(12, 1);
    assert.match(other.found("header").detail, /offers no Workload API/);
    const denying = await serve(7, 1);
    assert.match(denying.found("header").detail, /answered with PermissionDenied, not refused with InvalidArgument/);
    // The agent of the tests answers whoever comes.
    const agent = await content();
    const served = await look(agent.socket);
    assert.match(served.found("header").detail, /answered with OK/);
    assert.deepEqual(served.failed, ["header"]);
    await agent.close();
  });

  it("an agent that says it does not serve", async () => {
    const ill = await serve(3, 2);
    assert.equal(ill.found("health").status, "failed");
    assert.equal((await look(fake.socket)).found("health").status, "skipped");
  });
});

/** An agent with this content, and for the rest what is in order. Its answers need no header. */
async function content(more: Partial<Content> = {}, tokens = true, keyless = false): Promise<Agent> {
  const [ca, key] = await Promise.all([TestCa.create({ trustDomain: HOME }), testJwtKey()]);
  const svids = [wire(WEB, await ca.issue({ id: WEB }), ca)];
  const jwks = { [HOME]: jwkSet(keyless ? await testJwtKey() : key) };
  return Agent.start({ x509: { svids }, jwks, ...more }, tokens ? { key, ids: [WEB] } : undefined);
}

describe("spiffe-edge doctor: SVIDs and bundles", () => {
  it("PermissionDenied is told with this process, and the entry to create", async () => {
    fake.redact();
    const program = new Program(onThisRuntime("src/cli/main.ts", ["doctor", "--json"]), {
      env: { SPIFFE_ENDPOINT_SOCKET: fake.socket },
    });
    const { pid } = program.child;
    const { stdout, code } = await program.ended;
    await fake.heal();
    assert.equal(code, 1);
    const report = JSON.parse(stdout) as Report;
    const { status, fix = "" } = report.checks.find(({ check }) => check === "x509-svid")!;
    assert.equal(status, "failed");
    assert.equal(report.process.pid, pid);
    const { uid, gid, executable } = report.process;
    assert.ok(fix.includes(`pid ${pid}, uid ${uid}, gid ${gid}, executable ${executable}`), fix);
    const entry = `spire-server entry create -parentID spiffe://TRUST_DOMAIN/AGENT -spiffeID spiffe://TRUST_DOMAIN/WORKLOAD -selector unix:uid:${uid} -selector unix:path:${executable}`;
    assert.ok(fix.split("\n").includes(entry), fix);
    assert.equal((await look(fake.socket)).report.ok, true);
  });

  it("[S-11] a key that is another's fails alone", async () => {
    fake.spoil("wrong-key");
    const { failed, found } = await look(fake.socket);
    assert.deepEqual(failed, ["key"]);
    assert.equal(found("key").reason, "x509.key-mismatch");
    fake.spoil({ empty: "bundle" });
    assert.match((await look(fake.socket)).found("x509-svid").detail, /an empty bundle/);
  });

  const svids: [name: string, options: TestCertificateOptions, check: string, words: RegExp][] = [
    ["a chain that does not verify", { tamper: "signature" }, "chain", /web: /],
    ["a leaf with the rights of a CA", { ca: true }, "chain", /web: /],
    [
      "another ID in the certificate",
      { id: `${WEB}2` },
      "chain",
      /the certificate is spiffe:\/\/home\.example\/web2's/,
    ],
    ["a begin in the future", { notBefore: new Date(Date.now() + HOUR_MS / 2) }, "clock", /begins in .*behind/],
    ["an end in the past", { notAfter: new Date(Date.now() - 60_000) }, "clock", /ended \d+ min .*ago/],
  ];
  for (const [name, options, check, words] of svids) {
    it(`${name}: ${check} fails and not the others`, async () => {
      const ca = await TestCa.create({ trustDomain: HOME });
      const bad = wire(WEB, await ca.issue({ id: WEB, ...options }), ca);
      const agent = await content({ x509: { svids: [bad] } });
      const { failed, found } = await look(agent.socket);
      assert.deepEqual(failed, ["header", check]);
      assert.match(found(check).detail, words);
      await agent.close();
    });
  }

  it("an SVID that should have been renewed is worth a note", async () => {
    const ca = await TestCa.create({ trustDomain: HOME });
    const dates = { notBefore: new Date(Date.now() - HOUR_MS), notAfter: new Date(Date.now() + HOUR_MS / 10) };
    const agent = await content({ x509: { svids: [wire(WEB, await ca.issue({ id: WEB, ...dates }), ca)] } });
    assert.equal((await look(agent.socket)).found("clock").status, "noted");
    await agent.close();
  });

  it("[WL-11] a federated bundle for which clients drop the whole answer", async () => {
    const ca = await TestCa.create({ trustDomain: HOME });
    const partner = await TestCa.create({ trustDomain: "partner.example" });
    const svids = [wire(WEB, await ca.issue({ id: WEB }), ca)];
    const lookAt = async (bundle: Uint8Array) => {
      const agent = await content({ x509: { svids, federatedBundles: { "spiffe://partner.example": bundle } } });
      const seen = await look(agent.socket);
      await agent.close();
      return seen;
    };
    const bad = await lookAt(new Uint8Array());
    assert.deepEqual(bad.failed, ["header", "x509-bundles"]);
    assert.match(bad.found("x509-bundles").detail, /drops the agent's answer: the bundle of partner\.example is empty/);
    assert.deepEqual((await lookAt(partner.rootDer)).failed, ["header"]);
  });

  it("JWT bundles and tokens: what is missing, what is odd, and what does not fit together", async () => {
    const lookAt = async (more: Partial<Content>, tokens = true, keyless = false) => {
      const agent = await content(more, tokens, keyless);
      const seen = await look(agent.socket);
      await agent.close();
      return seen;
    };
    const foreign = await lookAt({ jwks: { "other.example": jwkSet() } });
    assert.match(
      foreign.found("jwt-bundles").detail,
      /no bundle of the own trust domain home\.example, only other\.example \(0\)/,
    );
    assert.match(foreign.found("jwt-svid").detail, /^needs jwt-bundles/);
    const empty = await lookAt({ jwks: { [HOME]: jwkSet() } });
    assert.match(empty.found("jwt-bundles").detail, /has no keys/);
    const strange = await lookAt({}, true, true);
    assert.deepEqual(strange.failed, ["header", "jwt-svid"]);
    assert.equal(strange.found("jwt-svid").reason, "jwt.key-not-found");
    const none = await lookAt({}, false);
    assert.match(none.found("jwt-svid").detail, /svids is empty/);
    const good = await lookAt({});
    assert.equal(good.found("jwt-svid").status, "ok");
    assert.match(good.found("jwt-svid").detail, /the agent offers no validation$/);
    assert.equal(good.found("x509-bundles").status, "skipped");
  });
});
