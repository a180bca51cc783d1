/** go-spiffe at the other end, in both directions: who is right is served, who is wrong in one thing reaches no handler. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { goPeers } from "../../bench/lib/go-peers.ts";
import { Authority } from "../../src/authority/index.ts";
import { TestCa } from "../../src/authority/testing.ts";
import { isSpiffeError } from "../../src/base/errors.ts";
import { authorizeOneOf, listen, peerOf, type TlsIdentity, type TlsListener } from "../../src/tls/index.ts";
import { Workload, X509Source } from "../../src/workload/index.ts";
import { eventually } from "../support/eventually.ts";
import { serveSvid } from "../support/given-svid.ts";
import { skipMissing } from "../support/skip.ts";
import type { WorkloadServer } from "../support/workload-server.ts";
import { GoServer, goGet } from "./go.ts";
import { WAYS } from "./ways.ts";

const DOMAIN = "example.org";
const ORDERS = `spiffe://${DOMAIN}/orders`;
const WEB = `spiffe://${DOMAIN}/web`;
const GUEST = `spiffe://${DOMAIN}/guest`;
const REQUESTS = 20;

const peers = await goPeers();
const missing = "missing" in peers ? peers.missing : undefined;
const program = "path" in peers ? peers.path : "";

function goTest(title: string, run: () => Promise<void>): void {
  it(title, skipMissing(title, missing), run);
}

function startAuthority(): Promise<Authority> {
  const entries = ["orders", "web", "guest"].map((name) => ({ id: `spiffe://${DOMAIN}/${name}`, socket: name }));
  return Authority.start({ trustDomain: DOMAIN, entries, prepareMs: 300 });
}

/** A Workload API with an SVID of another authority of that name, and the bundle of the first one as it is now. */
async function foreignApi(name: string): Promise<WorkloadServer> {
  await using foreign = await startAuthority();
  await using source = await X509Source.open({ socket: foreign.socketFor(name) });
  const svid = source.x509Svid();
  const chainDer = Buffer.concat(svid.certificates.map(({ der }) => der));
  const given = { chainDer, privateKeyPkcs8: svid.privateKeyPkcs8() };
  return serveSvid(svid.id.uri, given, authority.x509Bundle());
}

/** A listener that welcomes /web, and counts. */
async function startListener(identity: TlsIdentity): Promise<{ listener: TlsListener; handled: string[] }> {
  const handled: string[] = [];
  const listener = await listen(identity, {
    port: 0,
    address: "127.0.0.1",
    throttle: false,
    authorize: authorizeOneOf(WEB),
    handler: (request, response) => {
      handled.push(peerOf(request).id.uri);
      response.end(`for ${peerOf(request).id}`);
    },
  });
  return { listener, handled };
}

/** Calls the Go server by every way, some times each; gives what was thrown. */
async function callAll(identity: TlsIdentity, port: number, peer: string): Promise<unknown[]> {
  const thrown: unknown[] = [];
  for (const { name, get } of WAYS) {
    for (let i = 0; i < REQUESTS; i++) {
      const said = await get(identity, port, peer, `/${name}`).catch((error: unknown) => void thrown.push(error));
      if (said !== undefined) assert.equal(said, `for ${WEB}`);
    }
  }
  return thrown;
}

const ALL = WAYS.length * REQUESTS;
const EXPECTED = WAYS.flatMap(({ name, protocol }) => Array(REQUESTS).fill(`/${name} ${protocol} ${WEB}`));

let authority: Authority;
let orders: Workload;
let web: Workload;

before(async () => {
  authority = await startAuthority();
  orders = await Workload.open({ socket: authority.socketFor("orders") });
  web = await Workload.open({ socket: authority.socketFor("web") });
});

after(async () => {
  await Promise.all([orders.close(), web.close()]);
  await authority.close();
});

describe("a client of go-spiffe", () => {
  let listener: TlsListener;
  let handled: string[];

  before(async () => {
    ({ listener, handled } = await startListener(orders));
  });
  beforeEach(() => {
    handled.length = 0;
  });
  after(() => listener.close({ deadlineMs: 0 }));

  const call = (socket: string, peer: string, http2: boolean) =>
    goGet(program, socket, { port: listener.port, peer, requests: REQUESTS, http2 });

  goTest("[S-1] [G-2] is served by listen over HTTP/1.1 and HTTP/2, and again under the next CA", async () => {
    for (const rotate of [false, true]) {
      if (rotate) await authority.rotate();
      for (const http2 of [false, true]) {
        handled.length = 0;
        const { bodies, protocols, errors } = await call(authority.socketFor("web"), ORDERS, http2);
        assert.deepEqual(errors, []);
        assert.deepEqual(bodies, Array(REQUESTS).fill(`for ${WEB}`));
        assert.deepEqual([...new Set(protocols)], [http2 ? "HTTP/2.0" : "HTTP/1.1"]);
        assert.deepEqual(handled, Array(REQUESTS).fill(WEB));
      }
    }
  });

  goTest("[S-1] [A-7] [G-2] reaches no handler with another ID, or with the right ID by another CA", async () => {
    const foreign = await foreignApi("web");
    for (const [socket, reason] of [
      [authority.socketFor("guest"), "peer.not-authorized"],
      [foreign.socket, "x509.no-path"],
    ] as const) {
      for (const http2 of [false, true]) {
        const before = listener.counters.reasons[reason] ?? 0;
        const { bodies, errors } = await call(socket, ORDERS, http2);
        assert.deepEqual([bodies.length, errors.length], [0, REQUESTS]);
        assert.equal(listener.counters.reasons[reason]! - before, REQUESTS);
      }
    }
    await foreign.close();
    assert.deepEqual(handled, []);
    assert.equal((await call(authority.socketFor("web"), ORDERS, false)).bodies.length, REQUESTS);
    assert.equal(handled.length, REQUESTS);
  });

  goTest("sends nothing to listen when it expects another ID", async () => {
    const { bodies, errors } = await call(authority.socketFor("web"), GUEST, false);
    assert.deepEqual([bodies.length, errors.length, handled.length], [0, REQUESTS, 0]);
    assert.match(errors[0]!, /unexpected ID/);
    assert.equal((await call(authority.socketFor("web"), ORDERS, false)).bodies.length, REQUESTS);
  });
});

describe("a server of go-spiffe", () => {
  goTest("[S-5] [G-2] serves connect, createFetch and http2Options, and again under the next CA", async () => {
    for (const rotate of [false, true]) {
      if (rotate) await authority.rotate();
      const server = await GoServer.start(program, authority.socketFor("orders"), WEB);
      try {
        assert.deepEqual(await callAll(web, server.port, ORDERS), []);
        await eventually(() => server.handled.length === ALL, "all requests handled");
        assert.deepEqual(server.handled, EXPECTED);
        assert.deepEqual(server.refused, []);
      } finally {
        await server.stop();
      }
    }
  });

  goTest(
    "[S-5] [A-5] [G-2] gets no request when it is another than expected, or the right one by another CA",
    async () => {
      const foreign = await foreignApi("orders");
      for (const [socket, peer, reason] of [
        [authority.socketFor("orders"), GUEST, "peer.not-authorized"],
        [authority.socketFor("guest"), ORDERS, "peer.not-authorized"],
        [foreign.socket, ORDERS, "x509.no-path"],
      ] as const) {
        const server = await GoServer.start(program, socket, `spiffe://${DOMAIN}`);
        try {
          const thrown = await callAll(web, server.port, peer);
          assert.equal(thrown.length, ALL);
          for (const error of thrown) {
            assert.ok(isSpiffeError(error, "ERR_SPIFFE_PEER_REFUSED"), String(error));
            assert.equal(error.reason, reason);
          }
          assert.deepEqual(server.handled, []);
        } finally {
          await server.stop();
        }
      }
      await foreign.close();
    },
  );

  goTest("handles no request of a caller that it does not welcome", async () => {
    for (const peer of [GUEST, WEB]) {
      const server = await GoServer.start(program, authority.socketFor("orders"), peer);
      try {
        const thrown = await callAll(web, server.port, ORDERS);
        assert.equal(thrown.length, peer === WEB ? 0 : ALL);
        await eventually(() => server.handled.length + server.refused.length === ALL, "all counted");
        assert.equal(server.refused.length, peer === WEB ? 0 : ALL);
      } finally {
        await server.stop();
      }
    }
  });
});

describe("go-spiffe and a nested authority", () => {
  let root: TestCa;
  const apis: WorkloadServer[] = [];

  /** The address of a Workload API with an SVID of root ← I1 ← I2, or of less of it. */
  async function nested(id: string, keep: "all" | "leaf" | "leaf and I1", by = root): Promise<string> {
    const svid = await (await (await by.intermediate()).intermediate()).issue({ id });
    const [leaf, below, above] = svid.certificatesDer as [Uint8Array, Uint8Array, Uint8Array];
    const chain = { all: [leaf, below, above], leaf: [leaf], "leaf and I1": [leaf, above] }[keep];
    const api = await serveSvid(id, svid, root.x509Bundle(), Buffer.concat(chain));
    apis.push(api);
    return api.socket;
  }

  before(async () => {
    root = await TestCa.create({ trustDomain: DOMAIN });
  });
  after(async () => {
    for (const api of apis) await api.close();
  });

  goTest(
    "[S-7] [G-2] its client is served with its intermediates, and not without them or under a foreign root",
    async () => {
      await using own = await X509Source.open({ socket: await nested(ORDERS, "all") });
      const { listener, handled } = await startListener({ x509: own });
      const foreign = await TestCa.create({ trustDomain: DOMAIN });
      try {
        for (const socket of [
          await nested(WEB, "leaf"),
          await nested(WEB, "leaf and I1"),
          await nested(WEB, "all", foreign),
        ]) {
          const { bodies } = await goGet(program, socket, { port: listener.port, peer: ORDERS, requests: REQUESTS });
          assert.deepEqual(bodies, []);
        }
        assert.deepEqual(handled, []);
        assert.equal(listener.counters.reasons["x509.no-path"], 3 * REQUESTS);
        const socket = await nested(WEB, "all");
        const { bodies, errors } = await goGet(program, socket, {
          port: listener.port,
          peer: ORDERS,
          requests: REQUESTS,
        });
        assert.deepEqual(errors, []);
        assert.equal(bodies.length, REQUESTS);
        assert.equal(handled.length, REQUESTS);
      } finally {
        await listener.close({ deadlineMs: 0 });
      }
    },
  );

  goTest(
    "[S-7] [G-2] its server is called with its intermediates, and not without them or under a foreign root",
    async () => {
      await using own = await X509Source.open({ socket: await nested(WEB, "all") });
      const foreign = await TestCa.create({ trustDomain: DOMAIN });
      for (const [socket, refused] of [
        [await nested(ORDERS, "leaf"), true],
        [await nested(ORDERS, "leaf and I1"), true],
        [await nested(ORDERS, "all", foreign), true],
        [await nested(ORDERS, "all"), false],
      ] as const) {
        const server = await GoServer.start(program, socket, WEB);
        try {
          const thrown = await callAll({ x509: own }, server.port, ORDERS);
          assert.equal(thrown.length, refused ? ALL : 0, String(thrown[0]));
          for (const error of thrown) assert.ok(isSpiffeError(error) && error.reason === "x509.no-path", String(error));
          if (!refused) await eventually(() => server.handled.length === ALL, "all requests handled");
          assert.deepEqual(server.handled, refused ? [] : EXPECTED);
        } finally {
          await server.stop();
        }
      }
    },
  );
});
