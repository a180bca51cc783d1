/** Every sub-path of the installed package: an identity, a server, a client and a policy, end to end. */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import "./core.mjs";
import { Hono } from "hono";
import { chooseVerifier } from "spiffe-edge/crypto";
import { authorize, serve, spiffe } from "spiffe-edge/gateway";
import { Policy } from "spiffe-edge/policy";
import { Authority, asPeer } from "spiffe-edge/testing";
import { createFetch, peerOf } from "spiffe-edge/tls";
import { Workload } from "spiffe-edge/workload";

const require = createRequire(import.meta.url);
const { exports: subPaths } = require("spiffe-edge/package.json");
for (const path of Object.keys(subPaths)) {
  const name = `spiffe-edge${path.slice(1)}`;
  const names = Object.keys(path.endsWith(".json") ? require(name) : await import(name));
  assert.ok(names.length > 0, path);
  console.log(`ok ${path} exports ${names.length} names`);
}

assert.equal(typeof chooseVerifier().name, "string");
assert.equal(Policy.compile([]).decide(undefined, { method: "GET", path: "/" }).verdict, "deny");
console.log("ok an empty policy denies");

const TRUST_DOMAIN = "x0tta6bl4.local";
const ORDERS = `spiffe://${TRUST_DOMAIN}/orders`;
const WEB = `spiffe://${TRUST_DOMAIN}/web`;
const authority = await Authority.start({
  trustDomain: TRUST_DOMAIN,
  entries: [
    { id: ORDERS, socket: "orders" },
    { id: WEB, socket: "web" },
  ],
});
const orders = await Workload.open({ socket: authority.socketFor("orders") });
const web = await Workload.open({ socket: authority.socketFor("web") });
const app = new Hono()
  .use(spiffe(orders, { jwt: { audience: ORDERS } }))
  .get("/orders", authorize({ ids: [WEB] }), (c) => c.json({ you: c.var.peer.id }));
const server = await serve(app, { workload: orders, port: 0, address: "127.0.0.1" });
try {
  const url = `https://127.0.0.1:${server.port}/orders`;
  const answer = await createFetch(web, { peer: ORDERS })(url);
  assert.deepEqual([answer.status, await answer.json()], [200, { you: WEB }]);
  assert.equal(peerOf(answer).id.uri, ORDERS);
  console.log("ok an allowed caller is answered over mTLS");

  assert.equal((await createFetch(orders, { peer: ORDERS })(url)).status, 403);
  console.log("ok another caller is denied");

  await assert.rejects(createFetch(web, { peer: WEB })(url), { code: "ERR_SPIFFE_PEER_REFUSED" });
  console.log("ok a server with another ID is not answered");

  assert.equal((await app.request("/orders", {}, asPeer(WEB))).status, 200);
  assert.equal((await app.request("/orders", {}, asPeer(ORDERS))).status, 403);
  console.log("ok a test without a socket says who calls");
} finally {
  await server.close({ deadlineMs: 1_000 });
  await Promise.all([orders.close(), web.close()]);
  await authority.close();
}
