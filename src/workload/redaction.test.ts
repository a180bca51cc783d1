import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { eventually } from "../../test/support/eventually.ts";
import { FakeWorkloadApi, ManualClock } from "../authority/testing.ts";
import { TrustDomain } from "../id/index.ts";
import { connect, createFetch, listen, type TlsListener } from "../tls/index.ts";
import { JwtSource } from "./jwt-source.ts";
import { X509Source, type X509SourceOptions } from "./x509-source.ts";

const ORDERS = "spiffe://orders.example/orders";
const WEB = "spiffe://web.example/web";
const OTHER = "spiffe://orders.example/other";

/** The agents of a listener and of its caller, which trust each other. */
let ordersAgent: FakeWorkloadApi;
let webAgent: FakeWorkloadApi;
let orders: { x509: X509Source };
let web: { x509: X509Source };
let closing: (() => unknown)[];

async function agent(id: string): Promise<FakeWorkloadApi> {
  const identities = [{ id, hint: "wanted" }];
  const fake = await FakeWorkloadApi.start({ trustDomain: new URL(id).hostname, identities });
  closing.push(() => fake.close());
  return fake;
}

async function open(fake: FakeWorkloadApi, options: X509SourceOptions = {}): Promise<{ x509: X509Source }> {
  const x509 = await X509Source.open({ socket: fake.socket, ...options });
  closing.push(() => x509.close());
  return { x509 };
}

beforeEach(async () => {
  closing = [];
  [ordersAgent, webAgent] = [await agent(ORDERS), await agent(WEB)];
  ordersAgent.federate(webAgent.ca);
  webAgent.federate(ordersAgent.ca);
  orders = await open(ordersAgent, { hint: "wanted" });
  web = await open(webAgent);
});

afterEach(async () => {
  for (const close of closing.reverse()) await close();
});

/** What holds an identity: a listener, a dialled connection, an answer that streams, the handler that sends it. */
interface Holders {
  readonly server: TlsListener;
  /** What has ended. */
  readonly ended: string[];
  /** Calls the listener once more. */
  call(): Promise<number>;
}

async function hold(): Promise<Holders> {
  const ended: string[] = [];
  const server = await listen(orders, {
    port: 0,
    address: "127.0.0.1",
    throttle: false,
    handler(request, response) {
      if (request.url === "/once") return void response.end("once");
      response.writeHead(200);
      response.write("first");
      response.once("close", () => ended.push("handler"));
    },
  });
  closing.push(() => server.close({ deadlineMs: 0 }));
  const url = `https://127.0.0.1:${server.port}`;
  const call = createFetch(web, { peer: ORDERS });
  const stream = await call(`${url}/stream`);
  const note = () => ended.push("answer");
  const reading = stream.text().then(note, note);
  const { socket } = await connect(web, { host: "127.0.0.1", port: server.port, peer: ORDERS });
  socket.once("close", () => ended.push("socket"));
  socket.resume();
  closing.push(async () => {
    socket.destroy();
    await server.close({ deadlineMs: 0 });
    await reading;
  });
  await eventually(() => server.counters.open === 2, "both connections");
  return { server, ended, call: async () => (await call(`${url}/once`)).status };
}

describe("redaction reaches every holder", () => {
  const ways: [string, () => unknown, () => unknown][] = [
    ["[WL-29] PermissionDenied for the listener's side", () => ordersAgent.redact(), () => ordersAgent.heal()],
    ["[WL-29] PermissionDenied for the caller's side", () => webAgent.redact(), () => webAgent.heal()],
    [
      "[WL-09] an SVID that is absent from the listener's newest state",
      () => ordersAgent.setIdentities([{ id: OTHER, hint: "other" }]),
      () => ordersAgent.setIdentities([{ id: ORDERS, hint: "wanted" }]),
    ],
    [
      "[WL-09] the caller's bundle that is absent from the listener's newest state",
      () => ordersAgent.unfederate("web.example"),
      () => ordersAgent.federate(webAgent.ca),
    ],
    [
      "[WL-09] the listener's bundle that is absent from the caller's newest state",
      () => webAgent.unfederate("orders.example"),
      () => webAgent.federate(ordersAgent.ca),
    ],
  ];
  for (const [what, withdraw, restore] of ways) {
    it(`${what} ends connections, answers and handlers, and what is restored works again [S-9] [S-10] [A-15]`, async () => {
      const { server, ended, call } = await hold();
      assert.equal(await call(), 200);
      assert.deepEqual(ended, []);
      await withdraw();
      await eventually(() => server.counters.open === 0, "the end of both connections");
      await eventually(() => ended.length === 3, "the end of handler, answer and socket");
      await assert.rejects(call());
      await restore();
      await eventually(() => orders.x509.state === "ready" && web.x509.state === "ready", "both identities");
      const domains = [...(orders.x509.current?.bundles.keys() ?? []), ...(web.x509.current?.bundles.keys() ?? [])];
      if (domains.length < 4) await eventually(() => web.x509.current?.bundles.size === 2, "both bundles");
      await eventually(() => orders.x509.current?.bundles.size === 2, "both bundles");
      assert.equal(await call(), 200);
    });
  }
});

describe("redaction of a source", () => {
  it("[WL-29] reads throw ERR_SPIFFE_REVOKED, no token comes from the cache, and the entry's return ends that", async () => {
    const jwt = await JwtSource.open({ socket: webAgent.socket, identity: web.x509 });
    closing.push(() => jwt.close());
    await jwt.fetch({ audience: "a" });
    webAgent.redact();
    await eventually(() => web.x509.state === "revoked" && jwt.state === "revoked", "the redaction");
    assert.throws(() => web.x509.x509Svid(), { code: "ERR_SPIFFE_REVOKED", reason: "workload.revoked" });
    assert.equal(web.x509.x509BundleFor(TrustDomain.parse("web.example")), undefined);
    await assert.rejects(jwt.fetch({ audience: "a" }), { code: "ERR_SPIFFE_REVOKED" });
    await assert.rejects(jwt.fetch({ audience: "a", id: WEB }), { code: "ERR_SPIFFE_REVOKED" });
    await webAgent.heal();
    await eventually(() => web.x509.state === "ready" && jwt.state === "ready", "the return");
    assert.equal(web.x509.x509Svid().id.uri, WEB);
    await jwt.fetch({ audience: "a" });
  });

  it("[WL-09] an SVID that is gone is revoked, one that never was is unknown", async () => {
    const never = await open(ordersAgent, { hint: "nothing" });
    assert.throws(() => never.x509.x509Svid(), { code: "ERR_SPIFFE_NO_IDENTITY" });
    await ordersAgent.setIdentities([{ id: OTHER, hint: "other" }]);
    await eventually(() => orders.x509.state === "revoked", "the loss of the wanted SVID");
    assert.throws(() => orders.x509.x509Svid(), { code: "ERR_SPIFFE_REVOKED", reason: "workload.revoked" });
    assert.equal(orders.x509.current?.svids.length, 1);
    const other = await open(ordersAgent, { hint: "other" });
    assert.equal(other.x509.x509Svid().id.uri, OTHER);
    await ordersAgent.setIdentities([{ id: ORDERS, hint: "wanted" }]);
    await eventually(() => orders.x509.state === "ready", "the return");
    assert.equal(orders.x509.x509Svid().id.uri, ORDERS);
  });

  it("[WL-29] a grace lets the state live on for its time, and no longer", async () => {
    const clock = new ManualClock();
    const { x509 } = await open(webAgent, { redactionGraceMs: 5_000, clock });
    const held = x509.current;
    webAgent.redact();
    await eventually(() => x509.counters.denied === 1, "the refusal");
    assert.deepEqual([x509.state, x509.current], ["stale", held]);
    assert.equal(x509.lastError?.code, "ERR_SPIFFE_NO_IDENTITY");
    await clock.advance(4_000);
    assert.equal(x509.x509Svid().id.uri, WEB);
    // Asking again in between does not begin a new grace.
    assert.ok(x509.counters.denied > 1);
    await clock.advance(1_000);
    assert.equal(x509.state, "revoked");
    assert.throws(() => x509.x509Svid(), { code: "ERR_SPIFFE_REVOKED" });
  });

  it("[WL-29] a refusal that is taken back within the grace redacts nothing", async () => {
    const clock = new ManualClock();
    const { x509 } = await open(webAgent, { redactionGraceMs: 60_000, clock });
    const held = x509.current;
    webAgent.redact();
    await eventually(() => x509.counters.denied === 1, "the refusal");
    // Each further refusal is within the same grace, which one return ends.
    await clock.advance(4_000);
    await eventually(() => x509.counters.denied > 1, "another refusal");
    await webAgent.heal();
    await clock.advance(10_000);
    await eventually(() => x509.state === "ready", "the return");
    await clock.advance(70_000);
    assert.equal(x509.current, held);
    assert.equal(x509.state, "ready");
  });

  it("a grace is a finite number of milliseconds from 0", async () => {
    for (const redactionGraceMs of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => new X509Source({ socket: webAgent.socket, redactionGraceMs }), { code: "ERR_SPIFFE_USAGE" });
    }
    await open(webAgent, { redactionGraceMs: 0 });
  });
});
