import assert from "node:assert/strict";
import { chmod } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import { eventually } from "../../test/support/eventually.ts";
import { onThisRuntime, root, runProgram } from "../../test/support/programs.ts";
import { skipWhen } from "../../test/support/skip.ts";
import { sayAndStay, WorkloadServer, type X509Answer } from "../../test/support/workload-server.ts";
import { Authority, ManualClock, TestCa } from "../authority/testing.ts";
import { SpiffeError } from "../base/errors.ts";
import { TrustDomain } from "../id/index.ts";
import { validateJwtSvid } from "../jwt/index.ts";
import { runtime } from "../runtime/detect.ts";
import { verifyX509Svid } from "../x509/index.ts";
import { BundleSource } from "./bundle-source.ts";
import { WorkloadApiClient } from "./client.ts";
import { Workload } from "./workload.ts";

const WEB = { id: "spiffe://example.org/web", socket: "web" };
const OWN = TrustDomain.parse("example.org");
const PARTNER = TrustDomain.parse("partner.example");
const OPEN_AND_CLOSE = "test/support/open-and-close.ts";

async function failure(promise: Promise<unknown>): Promise<SpiffeError> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof SpiffeError, String(error));
    return error;
  }
  throw new assert.AssertionError({ message: "it was accepted" });
}

describe("Workload on the embedded authority", () => {
  let authority: Authority;
  let partner: Authority;

  before(async () => {
    authority = await Authority.start({
      trustDomain: "example.org",
      prepareMs: 0,
      entries: [
        { ...WEB, federatesWith: ["partner.example"] },
        { id: "spiffe://example.org/several/a", socket: "several", hint: "a" },
        { id: "spiffe://example.org/several/b", socket: "several", hint: "b" },
        { id: "spiffe://example.org/gone", socket: "gone" },
      ],
    });
    partner = await Authority.start({ trustDomain: "partner.example", entries: [] });
    authority.federate(partner);
  });

  after(async () => {
    await authority.close();
    await partner.close();
  });

  it("[WL-20] [WL-40] [WL-44] [WL-48] fetches identity, tokens and bundles, which verify", async () => {
    const workload = await Workload.open({ socket: authority.socketFor("web") });
    assert.equal(workload.id.uri, WEB.id);
    assert.deepEqual([workload.x509.state, workload.jwt.state, workload.bundles.state], ["ready", "ready", "ready"]);
    const svid = workload.x509.x509Svid();
    assert.equal((await verifyX509Svid(svid.certificates, workload.bundles)).id.uri, WEB.id);
    const { token } = await workload.jwt.fetch({ audience: "orders" });
    assert.equal((await validateJwtSvid(token, workload.bundles, { audience: "orders" })).id.uri, WEB.id);
    await assert.rejects(validateJwtSvid(token, workload.bundles, { audience: "other" }), { reason: "jwt.audience" });
    for (const domain of [OWN, PARTNER]) {
      assert.ok(workload.x509.x509BundleFor(domain) && workload.bundles.x509BundleFor(domain));
      assert.ok(workload.jwt.jwtBundleFor(domain) && workload.bundles.jwtBundleFor(domain));
    }
    assert.deepEqual([...(workload.bundles.current?.x509.keys() ?? [])], ["example.org", "partner.example"]);
    await workload.close();
    assert.deepEqual([workload.x509.state, workload.jwt.state, workload.bundles.state], ["closed", "closed", "closed"]);
    await workload.close();
  });

  it("[WL-51] lets the agent validate a token, and hears its refusal", async () => {
    await using client = new WorkloadApiClient({ socket: authority.socketFor("web") });
    const { token } = await client.fetchJwtSvid({ audience: ["orders", "billing"] });
    const { id, claims } = await client.validateJwtSvid({ token, audience: "billing" });
    assert.equal(id.uri, WEB.id);
    assert.deepEqual(claims.aud, ["orders", "billing"]);
    const error = await failure(client.validateJwtSvid({ token, audience: "elsewhere" }));
    assert.equal(error.code, "ERR_SPIFFE_JWT_VERIFY");
    assert.ok(!error.message.includes(token));
  });

  it("[WL-17] opens with one of several identities by its hint, and its tokens are of that one", async () => {
    const socket = authority.socketFor("several");
    await using b = await Workload.open({ socket, hint: "b" });
    await using first = await Workload.open({ socket });
    assert.deepEqual([b.id.path, first.id.path], ["/several/b", "/several/a"]);
    assert.equal((await b.jwt.fetch({ audience: "x" })).id.path, "/several/b");
    assert.equal((await first.jwt.fetch({ audience: "x" })).id.path, "/several/a");
    const none = await failure(Workload.open({ socket, hint: "c" }));
    assert.equal(none.code, "ERR_SPIFFE_NO_IDENTITY");
  });

  it("[WL-07] follows a rotation: new SVID, new bundles, tokens of the new key", async () => {
    await using workload = await Workload.open({ socket: authority.socketFor("web") });
    const before = workload.x509.x509Svid();
    const token = await workload.jwt.fetch({ audience: "x" });
    const updates = workload.x509.updates();
    await authority.rotate();
    for await (const _ of updates) if (!workload.x509.x509Svid().leaf.equals(before.leaf)) break;
    await eventually(() => workload.x509.x509BundleFor(OWN)?.equals(authority.x509Bundle()) === true, "the bundle");
    await eventually(() => workload.jwt.jwtBundleFor(OWN)?.equals(authority.jwtBundle()) === true, "the JWT bundle");
    assert.equal(workload.x509.counters.streams, 1);
    await verifyX509Svid(workload.x509.x509Svid().certificates, workload.bundles);
    await verifyX509Svid(before.certificates, workload.bundles);
    const fresh = await workload.jwt.fetch({ audience: "x", fresh: true });
    assert.notEqual(fresh.keyId, token.keyId);
    await validateJwtSvid(fresh.token, workload.bundles, { audience: "x" });
  });

  it("[WL-29] drops identity, bundles and tokens when the entry goes, and has them again when it returns", async () => {
    const socket = authority.socketFor("gone");
    const entries = [WEB, { id: "spiffe://example.org/gone", socket: "gone" }];
    await using workload = await Workload.open({ socket });
    await using other = await Workload.open({ socket: authority.socketFor("web") });
    await workload.jwt.fetch({ audience: "x" });
    await authority.setEntries([WEB]);
    await eventually(() => workload.x509.state === "revoked" && workload.jwt.state === "revoked", "the redaction");
    assert.throws(() => workload.x509.x509Svid(), { code: "ERR_SPIFFE_REVOKED" });
    await assert.rejects(workload.jwt.fetch({ audience: "x" }), { code: "ERR_SPIFFE_REVOKED" });
    assert.equal(workload.bundles.x509BundleFor(OWN), undefined);
    assert.equal(workload.bundles.state, "revoked");
    assert.equal(workload.id.path, "/gone");
    assert.equal(other.x509.x509Svid().id.uri, WEB.id);
    await authority.setEntries(entries);
    await workload.bundles.ready();
    assert.equal(workload.x509.x509Svid().id.path, "/gone");
    await workload.jwt.fetch({ audience: "x" });
  });

  it("a token of an identity that the workload has no more is not taken from the cache", async () => {
    const [a, b] = ["a", "b"].map((name) => ({ id: `spiffe://example.org/two/${name}`, socket: "two" }));
    await authority.setEntries([WEB, a!, b!]);
    await using workload = await Workload.open({ socket: authority.socketFor("two") });
    const fetchB = () => workload.jwt.fetch({ audience: "x", id: b!.id });
    const token = await fetchB();
    assert.equal(await fetchB(), token);
    await authority.setEntries([WEB, a!]);
    await eventually(() => workload.x509.current?.svids.length === 1, "the loss of one identity");
    await assert.rejects(fetchB(), { code: "ERR_SPIFFE_NO_IDENTITY" });
    await workload.jwt.fetch({ audience: "x" });
  });

  it("watches as a client: states until the signal, then a quiet end", async () => {
    await using client = new WorkloadApiClient({ socket: authority.socketFor("web") });
    const abort = new AbortController();
    const serials = new Set<string>();
    for await (const { svids } of client.watchX509Context({ signal: abort.signal })) {
      serials.add(svids[0]!.leaf.serialNumber);
      if (serials.size === 1) void authority.rotate();
      else abort.abort();
    }
    assert.equal(serials.size, 2);
    for await (const { bundles } of client.watchX509Bundles()) {
      assert.ok(bundles.has("example.org"));
      break;
    }
    for await (const { bundles } of client.watchJwtBundles()) {
      assert.ok(bundles.has("example.org"));
      break;
    }
  });

  it("[WE-16] waits for an agent that comes later, and names socket, phase and code of one that does not", async () => {
    const ca = await TestCa.create();
    const { chainDer, privateKeyPkcs8 } = await ca.issue({ id: WEB.id });
    const svid = { spiffeId: WEB.id, x509Svid: chainDer, x509SvidKey: privateKeyPkcs8, bundle: ca.certificateDer };
    const answer: X509Answer = { svids: [svid] };
    const server = await WorkloadServer.prepare({ fetchX509SVID: (_, context) => sayAndStay(answer, context) });
    const absent = await failure(Workload.open({ socket: server.socket, timeoutMs: 1_000 }));
    assert.equal(absent.code, "ERR_SPIFFE_TIMEOUT");
    assert.equal(absent.phase, "connect");
    assert.ok(absent.message.includes(`${server.path} gave no identity within 1000 ms`), absent.message);
    assert.match(absent.message, /ENOENT/);
    const clock = new ManualClock();
    const opening = Workload.open({ socket: server.socket, clock });
    await clock.advance(100);
    await server.listen();
    await clock.advance(10_000);
    const workload = await opening;
    assert.equal(workload.id.uri, WEB.id, "[WL-01] an agent without the JWT profile will do");
    assert.equal(workload.bundles.state, "ready");
    assert.equal(workload.bundles.jwtBundleFor(OWN), undefined);
    await workload.close();
    await server.close();
  });

  it("open ends with its signal, and refuses times that are none and addresses that are wrong", async () => {
    const socket = authority.socketFor("web");
    assert.equal((await failure(Workload.open({ socket, signal: AbortSignal.abort() }))).code, "ERR_SPIFFE_ABORTED");
    for (const timeoutMs of [0, -1, Number.NaN]) {
      assert.equal((await failure(Workload.open({ socket, timeoutMs }))).code, "ERR_SPIFFE_USAGE");
    }
    assert.equal((await failure(Workload.open({ socket: "/a.sock" }))).code, "ERR_SPIFFE_ENDPOINT");
    await using workload = await Workload.open({ socket, timeoutMs: Number.POSITIVE_INFINITY });
    assert.equal(workload.id.uri, WEB.id);
  });

  it("a bundle source needs no SVID, and tells of changes of either kind", async () => {
    await using source = await BundleSource.open({ socket: authority.socketFor("web") });
    assert.equal(source.state, "ready");
    const first = source.current;
    assert.ok(first?.x509.has("example.org") && first.jwt.has("example.org"));
    const rotated = authority.rotate();
    for await (const { x509, jwt } of source.updates()) {
      const newX509 = !x509.get("example.org")?.equals(first!.x509.get("example.org")!);
      const newJwt = !jwt.get("example.org")?.equals(first!.jwt.get("example.org")!);
      if (newX509 && newJwt) break;
    }
    await rotated;
    await source.close();
    assert.equal(source.state, "closed");
    assert.equal(source.x509BundleFor(OWN), undefined);
  });

  it("a closed workload leaves nothing behind: the program ends by itself", async () => {
    const env = { SPIFFE_ENDPOINT_SOCKET: authority.socketFor("web") };
    const ended = await runProgram(onThisRuntime(OPEN_AND_CLOSE), { env });
    assert.deepEqual([ended.code, ended.stdout.trim()], [0, `closed ${WEB.id}`], ended.stderr);
  });

  const permissions = "[WE-08] Deno's missing permissions are named, each is needed, and together they suffice";
  it(permissions, skipWhen(permissions, runtime.name === "deno" ? undefined : "only Deno has them"), async () => {
    const socket = authority.socketFor("web");
    const path = socket.slice("unix://".length);
    const flags = [
      `--allow-read=${path}`,
      `--allow-write=${path}`,
      `--allow-net=unix:${path}`,
      "--allow-env=SPIFFE_ENDPOINT_SOCKET",
    ];
    const run = (given: string[]) => {
      const args = ["run", "--no-prompt", "--no-check", "--conditions=spiffe-edge-source", ...given];
      return runProgram([`${root}node_modules/.bin/deno`, [...args, `${root}${OPEN_AND_CLOSE}`]], {
        env: { SPIFFE_ENDPOINT_SOCKET: socket },
      });
    };
    assert.equal((await run(flags)).stdout.trim(), `closed ${WEB.id}`);
    for (const missing of flags) {
      const { stdout } = await run(flags.filter((flag) => flag !== missing));
      assert.match(stdout, /^ERR_SPIFFE_PERMISSION /, missing);
      const named = missing.includes("env") ? ["--allow-env=SPIFFE_ENDPOINT_SOCKET"] : flags;
      for (const flag of named) assert.ok(stdout.includes(flag), `${stdout} names ${flag}`);
    }
  });

  const foreign = "[WE-16] a socket that this user may not open is told from one that is not there";
  it(
    foreign,
    skipWhen(foreign, process.getuid?.() === 0 ? undefined : "only root can become another user"),
    async () => {
      const path = authority.socketFor("web").slice("unix://".length);
      await chmod(authority.directory, 0o711);
      const env = { SPIFFE_ENDPOINT_SOCKET: authority.socketFor("web"), DENO_DIR: process.env.DENO_DIR };
      const stranger = await runProgram(onThisRuntime(OPEN_AND_CLOSE, ["300"]), { env, uid: 65_534 });
      assert.match(stranger.stdout, /^ERR_SPIFFE_TIMEOUT .*permission denied \(Unavailable, EACCES\)/, stranger.stderr);
      await chmod(path, 0o666);
      const friend = await runProgram(onThisRuntime(OPEN_AND_CLOSE), { env, uid: 65_534 });
      assert.equal(friend.stdout.trim(), `closed ${WEB.id}`, friend.stderr);
      await chmod(authority.directory, 0o700);
    },
  );
});
