/** From outside: which X.509-SVID the harness presents, and which peers it takes, as server and as client. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { TestCa, type TestCertificateOptions, type TestSvid } from "../../src/authority/testing.ts";
import { HOME, makeWorld, PARTNER, type World } from "../../src/tls/wrong-peers.testing.ts";
import { Certificate } from "../../src/x509/index.ts";
import { eventually } from "../support/eventually.ts";
import { Agent, wire } from "./agent.ts";
import { type Answer, endHarnesses, Harness, type Shown } from "./harness-process.ts";

const ORDERS = `spiffe://${HOME}/orders`;
const CLIENT = `spiffe://${HOME}/client`;
/** For so long it is watched whether something that must not be taken is. */
const LOOK_MS = 150;

function shown(svid: TestSvid): NonNullable<Shown> {
  return { cert: svid.certPem, key: svid.keyPem };
}

let home: TestCa;
let partner: TestCa;
let agent: Agent;
let harness: Harness;
let client: NonNullable<Shown>;
/** The harness's own SVID while a test says nothing else. */
let own: TestSvid;

const ownWire = () => wire(ORDERS, own, home);

before(async () => {
  home = await TestCa.create({ trustDomain: HOME });
  partner = await TestCa.create({ trustDomain: PARTNER });
  own = await home.issue({ id: ORDERS });
  client = shown(await home.issue({ id: CLIENT }));
  agent = await Agent.start({ x509: { svids: [ownWire()] }, jwks: {} });
  harness = await Harness.start(agent.socket);
});

after(async () => {
  await harness.end();
  await agent.close();
  await endHarnesses();
});

/** Issues an SVID for this ID, lets the agent say it with these parts, and waits until it is presented. */
async function serve(id: string, more: { anchors?: TestCa[]; federated?: TestCa[] } = {}): Promise<void> {
  const { anchors = [home], federated = [] } = more;
  const bundles = federated.map((ca) => [ca.trustDomain.id.uri, ca.rootDer]);
  const svid = wire(id, await home.issue({ id }), ...anchors);
  await agent.say({ x509: { svids: [svid], federatedBundles: Object.fromEntries(bundles) } });
  await eventually(async () => (await harness.presents(client)) === id);
}

describe("harness: the X.509-SVID that is presented", () => {
  it("[WL-13] the first of an answer is the default, in the newest order", async () => {
    const [a, b] = [`spiffe://${HOME}/a`, `spiffe://${HOME}/b`];
    const [first, second] = [wire(a, await home.issue({ id: a }), home), wire(b, await home.issue({ id: b }), home)];
    await agent.say({ x509: { svids: [first, second] } });
    await eventually(async () => (await harness.presents(client)) === a);
    await agent.say({ x509: { svids: [second, first] } });
    await eventually(async () => (await harness.presents(client)) === b);
  });

  it("[WL-23] leaf first, with intermediates and without the root", async () => {
    const middle = await home.intermediate();
    const svid = await middle.issue({ id: ORDERS });
    await agent.say({ x509: { svids: [wire(ORDERS, svid, home)] } });
    await eventually(async () => (await harness.probe(client)).chain.length === 2);
    const { chain, line } = await harness.probe(client);
    assert.deepEqual(
      chain.map(({ der }) => Buffer.from(der).toString("hex")),
      svid.certificatesDer.map((der) => Buffer.from(der).toString("hex")),
    );
    assert.equal(line, `${CLIENT}\n`);
  });

  it("[WL-08] a rotation holds for new connections, without a restart", async () => {
    const serials = new Set<string | undefined>();
    for (let i = 0; i < 5; i++) {
      await serve(`${ORDERS}/${i}`);
      serials.add((await harness.probe(client)).chain[0]?.serialNumber);
    }
    assert.equal(serials.size, 5);
  });

  const FOREIGN = "the signature of another CA";
  const broken: [name: string, options: TestCertificateOptions][] = [
    ["a spoilt signature", { tamper: "signature" }],
    ["an end in the past", { notAfter: new Date(Date.now() - 60_000) }],
    ["a begin in the future", { notBefore: new Date(Date.now() + 600_000) }],
    ["the rights of a CA", { ca: true }],
    ["the right to sign certificates", { keyUsage: ["digitalSignature", "keyCertSign"] }],
    ["two URI names", { uriSans: [ORDERS, `${ORDERS}/2`] }],
    ["a URI name that is no SPIFFE ID", { uriSans: [`https://${HOME}/orders`] }],
    ["another ID than the answer says", { id: `${ORDERS}/other` }],
  ];
  it("[S-11] an answer whose SVID breaks a rule is dropped, and the old one stays", async () => {
    const foreign = await TestCa.create({ trustDomain: HOME });
    for (const [index, [name, options]] of [...broken, [FOREIGN, {}] as const].entries()) {
      const issuer = name === FOREIGN ? foreign : home;
      const bad = await issuer.issue({ id: ORDERS, ...options });
      const serial = Certificate.parse(bad.certificatesDer[0]!).serialNumber;
      const presented = async () => {
        const { chain, line } = await harness.probe(client);
        assert.notEqual(chain[0]?.serialNumber, serial, name);
        assert.equal(line, `${CLIENT}\n`, name);
        return chain[0]?.uriSans[0];
      };
      await agent.say({ x509: { svids: [wire(ORDERS, bad, home)] } });
      const end = performance.now() + LOOK_MS;
      while (performance.now() < end) await presented();
      // The barrier: streams keep order, so when what is said next is taken, this one was judged.
      const next = `${ORDERS}/${index}`;
      await agent.say({ x509: { svids: [wire(next, await home.issue({ id: next }), home)] } });
      await eventually(async () => (await presented()) === next);
    }
  });
});

describe("harness: peers, as server and as client", () => {
  /** What each role makes of a peer: its ID, or that it was refused. */
  const roles: [role: string, meet: (show: Shown) => Promise<string>][] = [
    ["server", async (show) => (await harness.probe(show)).line.trim() || "refused"],
    [
      "client",
      async (show) => {
        if (show === undefined) return "refused";
        const answer: Answer = await harness.dials(show);
        assert.notEqual(answer.status, "error", answer.message ?? "");
        return answer.status === "ok" ? String(answer.spiffe_id) : "refused";
      },
    ],
  ];
  const worlds: Record<string, World> = {};

  before(async () => {
    worlds.server = await makeWorld("clientAuth");
    worlds.client = await makeWorld("serverAuth");
  });

  for (const [role, meet] of roles) {
    it(`[X509-30] as ${role} refuses every class of wrong peers, and takes the right one in between`, async () => {
      const world = worlds[role]!;
      const id = `spiffe://${HOME}/orders/${role}`;
      const svid = wire(id, await world.home.issue({ id }), world.home);
      const federatedBundles = { [`spiffe://${PARTNER}`]: world.partner.rootDer };
      await agent.say({ x509: { svids: [svid], federatedBundles } });
      const good = shown(world.good);
      await eventually(async () => (await harness.presents(good)) === id);
      assert.ok(world.wrong.length >= 17, `only ${world.wrong.length} classes`);
      for (const { name, show } of world.wrong) {
        assert.equal(await meet(good), `spiffe://${HOME}/web`, `before ${name}`);
        assert.equal(await meet(show), "refused", name);
      }
    });

    const accepted: [name: string, options: TestCertificateOptions][] = [
      ["names for hosts and addresses beside the ID", { dnsSans: ["a.example"], ipSans: [new Uint8Array(4)] }],
      ["an empty subject and a critical ID", { subject: {}, sanCritical: true }],
      ["a subject and an ID that is not critical", { subject: { CN: "x" }, sanCritical: false }],
      ["no extended key usage", { extKeyUsage: null }],
      ["no basic constraints", { ca: null }],
      ["a key of P-384", { keyType: "ec-p384" }],
      ["a key of RSA", { keyType: "rsa-2048" }],
    ];
    it(`[X509-03] [X509-06] as ${role} takes every form of a right peer`, async () => {
      await serve(`${ORDERS}/${role}`);
      const middle = await (await home.intermediate({ keyType: "rsa-2048" })).intermediate({ keyType: "ec-p384" });
      const id = `spiffe://${HOME}/Peer-1_x.y`;
      for (const [name, options] of accepted)
        assert.equal(await meet(shown(await home.issue({ id, ...options }))), id, name);
      assert.equal(await meet(shown(await middle.issue({ id }))), id, "two intermediates");
    });

    it(`[WL-25] as ${role} trusts every CA of a bundle, and one that left it no more`, async () => {
      const second = await TestCa.create({ trustDomain: HOME });
      const peer = shown(await second.issue({ id: CLIENT }));
      await serve(`${ORDERS}/one`);
      assert.equal(await meet(peer), "refused");
      await serve(`${ORDERS}/two`, { anchors: [home, second] });
      assert.equal(await meet(peer), CLIENT);
      assert.equal(await meet(client), CLIENT);
      await serve(`${ORDERS}/three`);
      assert.equal(await meet(peer), "refused");
      assert.equal(await meet(client), CLIENT);
    });

    it(`[WL-12] [X509-36] as ${role} judges a peer by the bundle of its own trust domain alone`, async () => {
      const id = `spiffe://${PARTNER}/web`;
      const peer = shown(await partner.issue({ id }));
      const crossed = shown(await home.issue({ id }));
      const reverse = shown(await partner.issue({ id: CLIENT }));
      await serve(`${ORDERS}/alone`);
      assert.equal(await meet(peer), "refused");
      await serve(`${ORDERS}/federated`, { federated: [partner] });
      assert.equal(await meet(peer), id);
      assert.equal(await meet(crossed), "refused");
      assert.equal(await meet(reverse), "refused");
      assert.equal(await meet(client), CLIENT);
      await serve(`${ORDERS}/again-alone`);
      assert.equal(await meet(peer), "refused");
    });

    it(`[S-11] as ${role} keeps its own bundle when a federated entry has the same name`, async () => {
      const impostor = await TestCa.create({ trustDomain: HOME });
      const peer = shown(await impostor.issue({ id: CLIENT }));
      await serve(`${ORDERS}/impostor-${role}`, { federated: [impostor] });
      assert.equal(await meet(peer), "refused");
      assert.equal(await meet(client), CLIENT);
      await serve(`${ORDERS}/both-${role}`, { anchors: [home, impostor] });
      assert.equal(await meet(peer), CLIENT);
    });
  }

  it("a dialled server that is not there could not be judged", async () => {
    assert.equal((await harness.ask("/v1/x509/dial", { address: "127.0.0.1:1" })).status, "error");
    assert.equal((await harness.dials(client)).status, "ok");
  });
});
