import assert from "node:assert/strict";
import { createServer } from "node:http";
import { connect as connectTcp } from "node:net";
import { after, before, describe, it } from "node:test";
import { freePort, takenPort } from "../../test/support/ports.ts";
import { Authority } from "../authority/testing.ts";
import { isSpiffeError } from "../base/index.ts";
import { createFetch, listen } from "../tls/index.ts";
import { Opened } from "../tls/wire.testing.ts";
import { Workload } from "../workload/index.ts";
import type { GatewayInput } from "./config-types.ts";
import { createGateway } from "./gateway.ts";
import { openStatus } from "./status.ts";
import {
  type Changeable,
  type CountingUpstream,
  countingUpstream,
  GATEWAY,
  idOf,
  until,
  World,
} from "./world.testing.ts";

let world: World;
let upstream: CountingUpstream;
let web: Changeable;
/** Closed at the end, also after a failure. */
const opened = new Opened();
/** The answer of the upstream's open exchange. */
let finish: (() => void) | undefined;

before(async () => {
  world = await World.create();
  web = await world.identity("web");
  upstream = await countingUpstream((request, response) => {
    if (request.url !== "/slow") return void response.end("ok");
    response.write("begun ");
    finish = () => response.end("done");
  });
});
after(async () => {
  await opened.close();
  await upstream?.close();
});

const config = (more: Partial<GatewayInput> = {}): GatewayInput => ({
  status: { port: 0 },
  listen: { address: "127.0.0.1", port: 0 },
  upstreams: { up: { url: upstream.url } },
  routes: [{ name: "up", path: "/**", audience: [GATEWAY], upstream: "up" }],
  policy: [{ rule: "web", allow: { ids: [idOf("web")] }, methods: ["GET"] }],
  ...more,
});
const get = async (port: number, path: string, method = "GET") => {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method });
  return { status: response.status, type: response.headers.get("content-type") ?? "", text: await response.text() };
};
/** Whether somebody listens. */
const isOpen = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connectTcp({ port, host: "127.0.0.1" }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
const refuses = (code: string, message: RegExp) => (error: unknown) =>
  isSpiffeError(error) && error.code === code && message.test(error.message);

describe("status port", () => {
  it("answers /livez /readyz /metrics /status, and shows no secrets", async () => {
    await using gateway = await createGateway(config(), { workload: await world.identity("gateway") });
    const { port } = gateway.status;
    const call = createFetch(web, { peer: GATEWAY });
    const url = `https://127.0.0.1:${gateway.listeners[0]!.port}/a?q=secretquery`;
    const token = await world.token("web", { secretclaim: "hidden" });
    assert.equal(
      (await call(url, { headers: { authorization: `Bearer ${token}`, "x-private": "secretvalue" } })).status,
      200,
    );
    // Another expectation, so another connection.
    assert.equal((await createFetch(web, { peer: [GATEWAY] })(url, { method: "DELETE" })).status, 403);

    assert.deepEqual(await get(port, "/livez"), { status: 200, type: "text/plain", text: "alive\n" });
    const ready = await get(port, "/readyz");
    assert.equal(ready.status, 200);
    assert.deepEqual(JSON.parse(ready.text), { ready: true, reasons: [], warnings: [] });
    const status = await get(port, "/status");
    const report = JSON.parse(status.text);
    assert.equal(report.identity.id, GATEWAY);
    assert.equal(report.listeners[0].counters.accepted, 2);
    assert.deepEqual(report.rules, ["web"]);
    const metrics = await get(port, "/metrics");
    assert.match(metrics.type, /^text\/plain; version=0\.0\.4/);
    assert.match(
      metrics.text,
      /^spiffe_edge_requests_total\{listener="main",route="up",method="GET",status="200",via="x509"\} 1$/m,
    );
    assert.match(
      metrics.text,
      /^spiffe_edge_requests_total\{listener="main",route="up",method="DELETE",status="403",via="x509"\} 1$/m,
    );
    assert.match(metrics.text, /^spiffe_edge_decisions_total\{verdict="deny",reason="policy.default-deny"\} 1$/m);
    assert.match(metrics.text, /^spiffe_edge_handshakes_total\{listener="main",reason="",result="accepted"\} 2$/m);
    assert.match(metrics.text, /^spiffe_edge_ready 1$/m);
    assert.match(
      metrics.text,
      /^spiffe_edge_svid_expiry_timestamp_seconds 1\.\d+e\+?9$|^spiffe_edge_svid_expiry_timestamp_seconds \d{10}(\.\d+)?$/m,
    );
    for (const { text } of [status, metrics, ready]) {
      assert.doesNotMatch(text, /hidden|secretvalue|secretquery|PRIVATE|\/a\?/);
      assert.ok(!text.includes(token.slice(-20)));
    }
    assert.equal((await get(port, "/readyz", "POST")).status, 405);
    assert.equal((await get(port, "/other")).status, 404);
    assert.deepEqual(await get(port, "/livez", "HEAD"), { status: 200, type: "text/plain", text: "" });
  });

  it("[S-10] /readyz is 503 with the reason while the identity or a bundle is lost, and recovers", async () => {
    const identity = await world.identity("gateway");
    await using gateway = await createGateway(config(), { workload: identity });
    const readyz = async () => {
      const { status, text } = await get(gateway.status.port, "/readyz");
      return `${status} ${JSON.parse(text).reasons}`;
    };
    const svid = await world.ca.issue({ id: GATEWAY });
    assert.equal(await readyz(), "200 ");
    await identity.update({ svid: null });
    assert.match(await readyz(), /^503 ERR_SPIFFE_REVOKED: /);
    await identity.update({ svid });
    assert.equal(await readyz(), "200 ");
    await identity.update({ bundles: world.partnerCa.x509Bundle() });
    assert.equal(await readyz(), "503 no X.509 bundle of example.org");
    await identity.update({ bundles: world.ca.x509Bundle() });
    assert.equal(await readyz(), "200 ");
  });

  it("says when a JWT bundle is missing that a route needs", async () => {
    const identity = await world.identity("gateway");
    const without = { x509: identity.x509, jwt: { jwtBundleFor: () => undefined } };
    await using gateway = await createGateway(config(), { workload: without });
    assert.deepEqual(gateway.readiness().reasons, ["no JWT bundle of example.org"]);
    const routes = [{ name: "up", path: "/**", upstream: "up" }];
    await using twin = await createGateway(config({ routes }), { workload: without });
    assert.deepEqual(twin.readiness().reasons, []);
  });

  it("[S-18] warns of plaintext that leaves the machine", async () => {
    const upstreams = { up: { url: "http://upstream.example:80", unsafePlainUpstream: true as const } };
    await using gateway = await createGateway(config({ upstreams }), { workload: await world.identity("gateway") });
    const { text } = await get(gateway.status.port, "/readyz");
    assert.deepEqual(JSON.parse(text).warnings, ["upstream up is reached in plaintext over a network"]);
    assert.match((await get(gateway.status.port, "/metrics")).text, /^spiffe_edge_unsafe_plain_upstreams 1$/m);
  });

  it("answers 500, not nothing, when the state cannot be read", async () => {
    const broken = () => {
      throw new Error("broken");
    };
    const server = await openStatus("127.0.0.1", 0, { readiness: broken, status: broken, metrics: broken });
    assert.equal((await get(server.port, "/readyz")).status, 500);
    assert.equal((await get(server.port, "/livez")).status, 200);
    await server.close();
  });
});

describe("start", () => {
  it("nothing is started from a configuration with a fault", async () => {
    const [status, listen] = [await freePort(), await freePort()];
    const good = config({ status: { port: status }, listen: { address: "127.0.0.1", port: listen } });
    const bad = { ...good, policy: [{ rule: "web", allow: { ids: ["example.org/ns/a"] } }] };
    await assert.rejects(
      createGateway(bad, { workload: await world.identity("gateway") }),
      refuses("ERR_SPIFFE_CONFIG", /^policy\[0\]\.allow\.ids\[0\]: .*did you mean/),
    );
    assert.deepEqual(await Promise.all([isOpen(status), isOpen(listen)]), [false, false]);
    await using gateway = await createGateway(good, { workload: await world.identity("gateway") });
    assert.equal(gateway.state, "serving");
    assert.deepEqual(await Promise.all([isOpen(status), isOpen(listen)]), [true, true]);
  });

  it("a port that is taken is named, and what was opened before is closed again", async () => {
    const taken = await takenPort();
    const [status, first] = [await freePort(), await freePort()];
    const listen = [
      { name: "a", address: "127.0.0.1", port: first },
      { name: "b", address: "127.0.0.1", port: taken.port },
    ];
    const workload = await world.identity("gateway");
    await assert.rejects(
      createGateway(config({ status: { port: status }, listen }), { workload }),
      refuses("ERR_SPIFFE_PORT_IN_USE", new RegExp(`127\\.0\\.0\\.1:${taken.port}`)),
    );
    assert.deepEqual(await Promise.all([isOpen(status), isOpen(first)]), [false, false]);
    await assert.rejects(
      createGateway(config({ status: { port: taken.port } }), { workload }),
      refuses("ERR_SPIFFE_PORT_IN_USE", /status port/),
    );
    await taken.free();
    await using gateway = await createGateway(config({ status: { port: status }, listen }), { workload });
    assert.equal(gateway.listeners.length, 2);
  });

  it("the identity comes from the Workload API when none is given; its absence closes everything again", async () => {
    const entries = ["gateway", "web"].map((name) => ({ id: idOf(name), socket: name }));
    await using authority = await Authority.start({ trustDomain: "example.org", entries });
    await using caller = await Workload.open({ socket: authority.socketFor("web") });
    const status = await freePort();
    const missing = {
      socket: `${authority.socketFor("web").replace(/web\.sock$/, "none.sock")}`,
      startupTimeout: "300ms",
    };
    await assert.rejects(createGateway(config({ status: { port: status }, identity: missing })), (error: unknown) =>
      isSpiffeError(error),
    );
    assert.equal(await isOpen(status), false);
    const identity = { socket: authority.socketFor("gateway") };
    await using gateway = await createGateway(config({ status: { port: status }, identity }));
    assert.deepEqual(gateway.readiness(), { ready: true, reasons: [], warnings: [] });
    const call = createFetch(caller, { peer: GATEWAY });
    const url = `https://127.0.0.1:${gateway.listeners[0]!.port}/`;
    assert.equal(await (await call(url)).text(), "ok");
    const { token } = await caller.jwt.fetch({ audience: GATEWAY });
    assert.equal(await (await call(url, { headers: { authorization: `Bearer ${token}` } })).text(), "ok");
  });
});

describe("drain", () => {
  it("running requests finish, new connections are refused, and readiness says so", async () => {
    const gateway = opened.add(await createGateway(config(), { workload: await world.identity("gateway") }));
    const call = createFetch(web, { peer: GATEWAY });
    const { port } = gateway.listeners[0]!;
    const slow = await call(`https://127.0.0.1:${port}/slow`);
    const closing = gateway.close({ deadlineMs: 10_000 });
    assert.equal(gateway.state, "draining");
    const ready = await get(gateway.status.port, "/readyz");
    assert.equal(ready.status, 503);
    assert.deepEqual(JSON.parse(ready.text).reasons, ["draining"]);
    await assert.rejects(call(`https://127.0.0.1:${port}/`));
    finish!();
    assert.equal(await slow.text(), "begun done");
    assert.deepEqual(await closing, { cut: 0 });
    await gateway.closed;
    assert.equal(gateway.state, "closed");
    assert.equal(await isOpen(port), false);
  });

  it("what is left at the deadline is cut and counted", async () => {
    const workload = await world.identity("gateway");
    const gateway = opened.add(await createGateway(config({ drain: { deadline: "50ms" } }), { workload }));
    const slow = await createFetch(web, { peer: GATEWAY })(`https://127.0.0.1:${gateway.listeners[0]!.port}/slow`);
    assert.deepEqual(await gateway.close(), { cut: 1 });
    await assert.rejects(slow.text());
    assert.deepEqual(await gateway.close(), { cut: 1 });
  });
});

describe("what else happens to a gateway", () => {
  it("upstream connections of a lost identity are ended", async () => {
    const up = await listen(await world.identity("orders"), {
      address: "127.0.0.1",
      port: 0,
      handler: (_, response) => void response.write("begun"),
    });
    opened.add(up);
    const identity = await world.identity("gateway");
    const upstreams = { up: { url: `https://127.0.0.1:${up.port}`, id: idOf("orders") } };
    await using gateway = await createGateway(config({ upstreams }), { workload: identity });
    const answer = await createFetch(web, { peer: GATEWAY })(`https://127.0.0.1:${gateway.listeners[0]!.port}/`);
    const body = answer.text();
    await until(() => up.counters.open === 1);
    await identity.update({ bundles: world.partnerCa.x509Bundle() });
    await assert.rejects(body);
    await until(() => up.counters.open === 0);
    await up.close({ deadlineMs: 0 });
  });

  it("a plain HTTP server that only looks like an upstream of a mesh gets no request", async () => {
    let requests = 0;
    const plain = createServer((_, response) => {
      requests++;
      response.end();
    });
    await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", resolve));
    opened.add({ close: async () => void plain.close() });
    const upstreams = {
      up: { url: `https://127.0.0.1:${(plain.address() as { port: number }).port}`, id: idOf("orders") },
    };
    await using gateway = await createGateway(config({ upstreams }), { workload: await world.identity("gateway") });
    const answer = await createFetch(web, { peer: GATEWAY })(`https://127.0.0.1:${gateway.listeners[0]!.port}/`);
    assert.equal(answer.status, 502);
    assert.equal(requests, 0);
    plain.close();
  });
});
