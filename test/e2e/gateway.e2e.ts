/** Against a real SPIRE: an application behind `serve()`, by certificate and by token. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { Hono } from "hono";
import { authorize, type SpiffeEnv, serve, spiffe } from "../../src/gateway/index.ts";
import { createFetch } from "../../src/tls/index.ts";
import { Workload } from "../../src/workload/index.ts";
import { skipMissing } from "../support/skip.ts";
import { type Spire, spireMissing, startSpire } from "../support/spire.ts";

const TRUST_DOMAIN = "x0tta6bl4.local";
const ORDERS = `spiffe://${TRUST_DOMAIN}/orders`;
const WEB = `spiffe://${TRUST_DOMAIN}/web`;
const GUEST = `spiffe://${TRUST_DOMAIN}/guest`;

const missing = spireMissing();
/** A test that needs SPIRE. */
function spireTest(title: string, run: () => Promise<void>): void {
  it(title, skipMissing(title, missing), run);
}

describe("an application behind serve() with a real SPIRE", () => {
  let spire: Spire;
  let orders: Workload;
  let web: Workload;
  let guest: Workload;
  let mesh: Awaited<ReturnType<typeof serve>>;
  let edge: Awaited<ReturnType<typeof serve>>;
  let handled: number;

  const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
  const callMesh = (workload: Workload, init?: RequestInit) =>
    createFetch(workload, { peer: ORDERS })(`https://127.0.0.1:${mesh.port}/orders`, init);
  const callEdge = (init?: RequestInit) =>
    createFetch(web, { peer: ORDERS })(`https://127.0.0.1:${edge.port}/orders`, init);

  /** Requires this status, and that no handler ran. */
  const refuses = async (status: number, response: Promise<Response>) => {
    const { status: came } = await response;
    assert.equal(came, status);
    assert.equal(handled, 0);
  };
  const accepts = async (response: Promise<Response>, you: string, via: "x509" | "jwt") => {
    const answer = await response;
    assert.equal(answer.status, 200);
    assert.deepEqual(await answer.json(), { you, via });
    assert.equal(handled, 1);
  };

  before(async () => {
    if (missing !== undefined) return;
    const entries = ["orders", "web", "guest"].map((name) => ({ path: `/${name}`, hint: name }));
    spire = await startSpire({ entries });
    const open = (hint: string) => Workload.open({ socket: spire.endpoint, hint });
    [orders, web, guest] = (await Promise.all(entries.map(({ hint }) => open(hint)))) as [Workload, Workload, Workload];
    const app = new Hono<SpiffeEnv>()
      .use(spiffe(orders, { jwt: { audience: ORDERS } }))
      .get("/orders", authorize({ ids: [WEB] }), (c) => {
        handled += 1;
        return c.json({ you: c.var.peer.id, via: c.var.peer.via });
      });
    mesh = await serve(app, { workload: orders, port: 0, address: "127.0.0.1" });
    edge = await serve(app, { workload: orders, port: 0, address: "127.0.0.1", clientCertificate: "none" });
  });

  beforeEach(() => {
    handled = 0;
  });

  after(async () => {
    for (const server of [mesh, edge]) await server?.close({ deadlineMs: 1_000 });
    for (const workload of [orders, web, guest]) await workload?.close();
    await spire?.stop();
  });

  spireTest("answers an allowed SVID, and denies one that no rule allows", async () => {
    await refuses(403, callMesh(guest));
    await accepts(callMesh(web), WEB, "x509");
  });

  spireTest("answers an allowed token without certificate, and denies one that no rule allows", async () => {
    const [denied, allowed] = await Promise.all(
      [guest, web].map((workload) => workload.jwt.fetch({ audience: ORDERS })),
    );
    await refuses(403, callEdge(bearer(denied!.token)));
    await accepts(callEdge(bearer(allowed!.token)), WEB, "jwt");
  });

  spireTest("answers 401 without certificate and token", async () => {
    await refuses(401, callEdge());
    const { token } = await web.jwt.fetch({ audience: ORDERS });
    await accepts(callEdge(bearer(token)), WEB, "jwt");
  });

  spireTest("answers 401 to a token for another audience", async () => {
    const other = await web.jwt.fetch({ audience: GUEST });
    await refuses(401, callEdge(bearer(other.token)));
    const right = await web.jwt.fetch({ audience: ORDERS });
    await accepts(callEdge(bearer(right.token)), WEB, "jwt");
  });

  spireTest("answers 401 to a token with one character of its signature changed", async () => {
    const { token } = await web.jwt.fetch({ audience: ORDERS });
    const at = token.lastIndexOf(".") + 20;
    const tampered = token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
    await refuses(401, callEdge(bearer(tampered)));
    await accepts(callEdge(bearer(token)), WEB, "jwt");
  });

  spireTest("[S-18] answers 401 to a bad token also over a good certificate", async () => {
    const other = await web.jwt.fetch({ audience: GUEST });
    await refuses(401, callMesh(web, bearer(other.token)));
    const right = await web.jwt.fetch({ audience: ORDERS });
    await accepts(callMesh(web, bearer(right.token)), WEB, "x509");
  });
});
