/** Against a real SPIRE: identity from the agent, and mTLS that lets in whom it shall and nobody else. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, beforeEach, describe, it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { staticIdentity, TestCa } from "../../src/authority/testing.ts";
import { isSpiffeError } from "../../src/base/errors.ts";
import { validateJwtSvid } from "../../src/jwt/index.ts";
import { runtime } from "../../src/runtime/detect.ts";
import {
  authorizeOneOf,
  createFetch,
  listen,
  peerOf,
  type RefusedConnection,
  type TlsListener,
} from "../../src/tls/index.ts";
import { Workload, WorkloadApiClient } from "../../src/workload/index.ts";
import { verifyX509Svid } from "../../src/x509/index.ts";
import { credentialsOf, rawRequest } from "../support/raw-client.ts";
import { skipMissing } from "../support/skip.ts";
import { type Spire, spireMissing, startSpire } from "../support/spire.ts";

const TRUST_DOMAIN = "x0tta6bl4.local";
const ORDERS = `spiffe://${TRUST_DOMAIN}/orders`;
const WEB = `spiffe://${TRUST_DOMAIN}/web`;
const GUEST = `spiffe://${TRUST_DOMAIN}/guest`;
const SHORT = `spiffe://${TRUST_DOMAIN}/short`;
/** Long enough to be used once, short enough to wait for its end. */
const SHORT_SECONDS = 5;

const missing = spireMissing();
/** A test that needs SPIRE. */
function spireTest(title: string, run: () => Promise<void>): void {
  it(title, skipMissing(title, missing), run);
}

describe("a workload of a real SPIRE", () => {
  let spire: Spire;
  let orders: Workload;
  let web: Workload;
  let guest: Workload;
  let server: TlsListener;
  let handled: string[];
  let refused: RefusedConnection[];

  const open = (hint: string) => Workload.open({ socket: spire.endpoint, hint });

  /** Requires that a call is refused by the server: for this reason, and before any handler. */
  const refuses = async (reason: string, call: () => Promise<unknown>) => {
    await call();
    assert.deepEqual(
      refused.map((connection) => connection.reason),
      [reason],
    );
    assert.deepEqual(handled, []);
  };

  before(async () => {
    if (missing !== undefined) return;
    const entries = ["orders", "web", "guest"].map((name) => ({ path: `/${name}`, hint: name }));
    spire = await startSpire({ entries });
    [orders, web, guest] = (await Promise.all(entries.map(({ hint }) => open(hint)))) as [Workload, Workload, Workload];
    server = await listen(orders, {
      port: 0,
      address: "127.0.0.1",
      authorize: authorizeOneOf(WEB, SHORT),
      // Every test here comes from one address and is refused on purpose.
      throttle: false,
      onRefused: (connection) => refused.push(connection),
      handler: (request, response) => {
        handled.push(peerOf(request).id.uri);
        response.end(`hello ${peerOf(request).id}`);
      },
    });
  });

  beforeEach(() => {
    handled = [];
    refused = [];
  });

  after(async () => {
    await server?.close({ deadlineMs: 1_000 });
    for (const workload of [orders, web, guest]) await workload?.close();
    await spire?.stop();
  });

  spireTest("fetches its X.509-SVID and the bundle that verifies it", async () => {
    const svid = orders.x509.x509Svid();
    assert.equal(svid.id.uri, ORDERS);
    assert.equal(svid.hint, "orders");
    assert.equal(orders.id.uri, ORDERS);
    assert.ok(svid.expiresAt.getTime() > Date.now());
    const verified = await verifyX509Svid(svid.certificates, web.x509);
    assert.equal(verified.id.uri, ORDERS);
  });

  spireTest("receives every identity that its entries give it, by one call", async () => {
    const client = new WorkloadApiClient({ socket: spire.endpoint });
    try {
      const { svids, bundles } = await client.fetchX509Context();
      assert.deepEqual(svids.map(({ id }) => id.uri).sort(), [GUEST, ORDERS, WEB]);
      assert.deepEqual([...bundles.keys()], [TRUST_DOMAIN]);
    } finally {
      await client.close();
    }
  });

  spireTest("ends by itself once it has closed what it opened", async () => {
    const program = fileURLToPath(new URL("../support/fetch-once.ts", import.meta.url));
    const args = runtime.name === "deno" ? ["run", "-A", "--no-check"] : runtime.name === "bun" ? ["run"] : [];
    const { stdout } = await promisify(execFile)(process.execPath, [...args, program], {
      env: { ...process.env, SPIFFE_ENDPOINT_SOCKET: spire.endpoint },
      // Far above what it needs; a timer of the product that is left running would last longer.
      timeout: 20_000,
    });
    assert.match(stdout, new RegExp(`^spiffe://${TRUST_DOMAIN}/`));
  });

  spireTest("fetches a JWT-SVID that its peers and the agent itself accept", async () => {
    const { id, token, expiresAt } = await web.jwt.fetch({ audience: ORDERS });
    assert.equal(id.uri, WEB);
    assert.ok(expiresAt.getTime() > Date.now());
    const validated = await validateJwtSvid(token, orders.jwt, { audience: ORDERS });
    assert.equal(validated.id.uri, WEB);
    const byAgent = await spire.agent("api", "validate", "jwt", "-audience", ORDERS, "-svid", token);
    assert.match(byAgent, new RegExp(WEB));
  });

  spireTest("refuses a token for another audience, and accepts it for its own", async () => {
    const { token } = await web.jwt.fetch({ audience: ORDERS });
    await assert.rejects(
      validateJwtSvid(token, orders.jwt, { audience: GUEST }),
      (error) => isSpiffeError(error, "ERR_SPIFFE_JWT_VERIFY") && error.reason === "jwt.audience",
    );
    assert.equal((await validateJwtSvid(token, orders.jwt, { audience: ORDERS })).id.uri, WEB);
  });

  spireTest("refuses a token that was tampered with, and accepts the same before", async () => {
    const { token } = await web.jwt.fetch({ audience: ORDERS });
    const [header, payload, signature] = token.split(".") as [string, string, string];
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as Record<string, unknown>;
    const forged = Buffer.from(JSON.stringify({ ...claims, sub: GUEST })).toString("base64url");
    await assert.rejects(
      validateJwtSvid(`${header}.${forged}.${signature}`, orders.jwt, { audience: ORDERS }),
      (error) => isSpiffeError(error, "ERR_SPIFFE_JWT_VERIFY") && error.reason === "jwt.signature",
    );
    assert.equal((await validateJwtSvid(token, orders.jwt, { audience: ORDERS })).id.uri, WEB);
  });

  spireTest("calls with its own SVID, and both sides know each other by ID", async () => {
    const call = createFetch(web, { peer: ORDERS });
    const response = await call(`https://127.0.0.1:${server.port}/`);
    assert.equal(response.status, 200);
    assert.equal(await response.text(), `hello ${WEB}`);
    assert.equal(peerOf(response).id.uri, ORDERS);
    assert.deepEqual(handled, [WEB]);
    assert.deepEqual(refused, []);
  });

  spireTest("refuses to talk to a server with another ID than expected, before anything is sent", async () => {
    const call = createFetch(web, { peer: GUEST });
    await assert.rejects(call(`https://127.0.0.1:${server.port}/`), (error) =>
      isSpiffeError(error, "ERR_SPIFFE_PEER_REFUSED"),
    );
    assert.deepEqual(handled, []);
  });

  spireTest("refuses a client without certificate, and lets the same client in with one", async () => {
    await refuses("peer.no-certificate", async () => assert.equal(await rawRequest({ port: server.port }), ""));
    const credentials = credentialsOf(web.x509.x509Svid());
    assert.match(await rawRequest({ port: server.port, credentials }), /^HTTP\/1\.1 200 [\s\S]*\/web/);
  });

  spireTest("refuses the right ID from a foreign CA, and lets it in from its own", async () => {
    const foreign = await TestCa.create({ trustDomain: TRUST_DOMAIN });
    const { certPem, keyPem } = await foreign.issue({ id: WEB });
    const forged = { certificates: certPem, privateKey: keyPem };
    await refuses("x509.no-path", async () =>
      assert.equal(await rawRequest({ port: server.port, credentials: forged }), ""),
    );
    const credentials = credentialsOf(web.x509.x509Svid());
    assert.match(await rawRequest({ port: server.port, credentials }), /^HTTP\/1\.1 200 /);
  });

  spireTest("does not answer a server whose SVID is from a foreign CA", async () => {
    const foreign = await TestCa.create({ trustDomain: TRUST_DOMAIN });
    const impostor = await staticIdentity({ svid: await foreign.issue({ id: ORDERS }), bundles: orders.x509 });
    let reached = 0;
    const handler = (_: unknown, response: { end(): unknown }) => {
      reached += 1;
      response.end();
    };
    const trap = await listen(impostor, { port: 0, address: "127.0.0.1", handler });
    try {
      await assert.rejects(createFetch(web, { peer: ORDERS })(`https://127.0.0.1:${trap.port}/`), (error) =>
        isSpiffeError(error, "ERR_SPIFFE_PEER_REFUSED"),
      );
      assert.equal(reached, 0);
    } finally {
      await trap.close({ deadlineMs: 0 });
    }
    assert.equal((await createFetch(web, { peer: ORDERS })(`https://127.0.0.1:${server.port}/`)).status, 200);
  });

  spireTest("refuses an ID that is not on the list, and lets one in that is", async () => {
    const url = `https://127.0.0.1:${server.port}/`;
    await refuses("peer.not-authorized", () => assert.rejects(createFetch(guest, { peer: ORDERS })(url)));
    const response = await createFetch(web, { peer: ORDERS })(url);
    assert.equal(await response.text(), `hello ${WEB}`);
  });

  describe("whose entry gives short lives", () => {
    let entry: string;
    let short: Workload;

    before(async () => {
      if (missing !== undefined) return;
      const ttl = { x509TtlSeconds: SHORT_SECONDS, jwtTtlSeconds: SHORT_SECONDS };
      entry = await spire.createEntry({ path: "/short", hint: "short", ...ttl });
      await spire.waitForIds(["/orders", "/web", "/guest", "/short"]);
      short = await open("short");
    });

    after(async () => {
      await short?.close();
      if (entry !== undefined) await spire.deleteEntry(entry);
    });

    spireTest(
      "is refused with an SVID after its end that was let in before, and welcome with its renewed one",
      async () => {
        const kept = short.x509.x509Svid();
        const credentials = credentialsOf(kept);
        assert.match(await rawRequest({ port: server.port, credentials }), /^HTTP\/1\.1 200 [\s\S]*\/short/);
        assert.deepEqual(handled, [SHORT]);
        handled = [];

        await wait(kept.expiresAt.getTime() - Date.now() + 1_000);
        await refuses("x509.expired", async () =>
          assert.equal(await rawRequest({ port: server.port, credentials }), ""),
        );

        assert.ok(short.x509.x509Svid().expiresAt.getTime() > kept.expiresAt.getTime());
        const response = await createFetch(short, { peer: ORDERS })(`https://127.0.0.1:${server.port}/`);
        assert.equal(await response.text(), `hello ${SHORT}`);
      },
    );

    spireTest("is refused with a token after its end that was accepted before", async () => {
      const { token, expiresAt } = await short.jwt.fetch({ audience: ORDERS });
      const validate = () => validateJwtSvid(token, orders.jwt, { audience: ORDERS, leewayMs: 0 });
      assert.equal((await validate()).id.uri, SHORT);
      await wait(expiresAt.getTime() - Date.now() + 1_000);
      await assert.rejects(
        validate(),
        (error) => isSpiffeError(error, "ERR_SPIFFE_JWT_VERIFY") && error.reason === "jwt.expired",
      );
    });
  });
});
