import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { Hono } from "hono";
import { isSpiffeError } from "../../base/index.ts";
import { type Peer, SpiffeId, type X509Peer } from "../../id/index.ts";
import { markConnection } from "../../tls/peer.ts";
import { GATEWAY, idOf, World } from "../world.testing.ts";
import { noteClaims } from "./forwarded.ts";
import { authorize, type ForwardedEnv, type ForwardedOptions, type SpiffeX509Env, spiffe } from "./index.ts";
import { asPeer } from "./peer-env.ts";

const WEB = idOf("web");
const expiresAt = new Date(2 ** 42);
const gatewayByCertificate: X509Peer = { via: "x509", id: SpiffeId.parse(GATEWAY), expiresAt };
const token = { id: SpiffeId.parse(GATEWAY), expiresAt, audience: [GATEWAY], claims: {} };
const gatewayByToken: Peer = { via: "jwt", id: token.id, expiresAt, token };

let workload: Awaited<ReturnType<World["identity"]>>;
before(async () => {
  workload = await (await World.create()).identity("orders");
});

/** Where the faults of the wiring go. */
let faults: string[] = [];
const app = (from: ForwardedOptions["from"] = [GATEWAY]) =>
  new Hono()
    .use(
      spiffe(workload, {
        jwt: { audience: GATEWAY },
        forwarded: { from },
        logger: { error: (line) => void faults.push(line) },
      }),
    )
    .get("/", (c) => c.text(`${c.var.peer.id} for ${c.var.caller}`))
    .get("/web", authorize({ ids: [WEB] }), (c) => c.text(`${c.var.caller}`))
    .get("/gateway", authorize({ ids: [GATEWAY] }), (c) => c.text(`${c.var.caller}`));

const outcome = async (answer: Response | Promise<Response>) => {
  const { status } = await answer;
  const text = await (await answer).text();
  return status === 200 ? text : `${status} ${(JSON.parse(text) as { code: string }).code}`;
};

describe("[S-21] the first caller without a socket", () => {
  const ask = (env: object, path = "/", init: RequestInit = {}) => outcome(app().request(path, init, env));

  it("is what a test says of a peer that is believed, and of nobody else", async () => {
    const caller = WEB;
    assert.equal(await ask(asPeer(GATEWAY, { caller })), `${GATEWAY} for ${WEB}`);
    assert.equal(await ask(asPeer(gatewayByCertificate, { caller: SpiffeId.parse(WEB) })), `${GATEWAY} for ${WEB}`);
    assert.equal(await ask(asPeer(GATEWAY)), `${GATEWAY} for undefined`);
    assert.equal(await ask(asPeer(idOf("guest"), { caller })), `${idOf("guest")} for undefined`);
    assert.equal(await ask(asPeer(idOf("gateway/2"), { caller })), `${idOf("gateway/2")} for undefined`);
    const foreign = idOf("gateway", "partner.example");
    assert.equal(await ask(asPeer(foreign, { caller })), `${foreign} for undefined`);
  });

  it("is never that of a peer that shows a token alone", async () => {
    assert.equal(await ask(asPeer(GATEWAY, { caller: WEB })), `${GATEWAY} for ${WEB}`);
    assert.equal(await ask(asPeer(gatewayByToken, { caller: WEB })), `${GATEWAY} for undefined`);
  });

  it("is not read from a header that no server has taken off", async () => {
    const headers = { "x-spiffe-id": WEB };
    assert.equal(await ask(asPeer(GATEWAY), "/", { headers }), `${GATEWAY} for undefined`);
    assert.equal(
      await ask(asPeer(GATEWAY, { caller: idOf("cron") }), "/", { headers }),
      `${GATEWAY} for ${idOf("cron")}`,
    );
  });

  it("is nobody that authorize() looks at: it decides on the peer", async () => {
    assert.equal(await ask(asPeer(GATEWAY, { caller: WEB }), "/web"), "403 ERR_SPIFFE_DENIED");
    assert.equal(await ask(asPeer(GATEWAY, { caller: WEB }), "/gateway"), WEB);
    assert.equal(await ask(asPeer(WEB, { caller: GATEWAY }), "/gateway"), "403 ERR_SPIFFE_DENIED");
    assert.equal(await ask(asPeer(WEB), "/web"), "undefined");
  });

  it("what an earlier middleware has put in its place does not stay", async () => {
    const forged = SpiffeId.parse(idOf("admin"));
    const sly = new Hono<SpiffeX509Env & ForwardedEnv>()
      .use((c, next) => {
        c.set("caller", forged);
        return next();
      })
      .get("/before", (c) => c.text(`${c.var.caller}`))
      .use(spiffe(workload, { forwarded: { from: [GATEWAY] } }))
      .get("/", (c) => c.text(`${"caller" in c.var} ${c.var.caller}`));
    assert.equal(await outcome(sly.request("/before")), forged.uri);
    assert.equal(await outcome(sly.request("/", {}, asPeer(WEB))), "true undefined");
    assert.equal(await outcome(sly.request("/", {}, asPeer(GATEWAY))), "true undefined");
  });

  it("without `forwarded` there is none", async () => {
    const plain = new Hono().use(spiffe(workload)).get("/", (c) => c.text(String("caller" in c.var)));
    assert.equal(await outcome(plain.request("/", {}, asPeer(GATEWAY, { caller: WEB }))), "false");
  });

  it("faults of what is said are told at once", () => {
    assert.throws(
      () => asPeer(GATEWAY, { caller: "web" }),
      (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_ID"),
    );
    const misspelt = { calller: WEB } as object;
    assert.throws(
      () => asPeer(GATEWAY, misspelt),
      /^SpiffeError: Expected options of asPeer\(\) among caller; got calller$/,
    );
  });
});

describe("[S-21] whose word on the caller is taken", () => {
  const refused = (forwarded: unknown, message: RegExp) =>
    assert.throws(
      () => spiffe(workload, { forwarded } as { forwarded: ForwardedOptions }),
      (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_USAGE") && message.test(error.message),
      String(message),
    );

  it("is said by a list of exact SPIFFE IDs", () => {
    assert.ok(spiffe(workload, { forwarded: { from: [GATEWAY, SpiffeId.parse(idOf("edge"))] } }));
    const list = /^Expected forwarded\.from to be a list of at least one SPIFFE ID; got /;
    for (const from of [undefined, null, [], GATEWAY, {}, new Set([GATEWAY])]) refused({ from }, list);
    refused({ from: [] }, /; got none$/);
    refused({ from: GATEWAY }, /; got spiffe:\/\/example\.org\/gateway$/);
    const exact = /^Expected forwarded\.from to hold exact SPIFFE IDs such as spiffe:\/\/example\.org\/gateway; got /;
    for (const odd of [
      "spiffe://example.org/*",
      "spiffe://example.org/**",
      "spiffe://example.org/{name}",
      "spiffe://*/gateway",
      "spiffe://example.org",
      "spiffe://example.org/",
      "spiffe://Example.org/gateway",
      "example.org/gateway",
      "*",
      "",
      /gateway/,
      () => true,
      [GATEWAY],
      { trustDomain: "example.org" },
      undefined,
      null,
      1,
    ]) {
      refused({ from: [odd] }, exact);
      refused({ from: [GATEWAY, odd] }, exact);
    }
    refused({ from: ["spiffe://example.org/*"] }, /; got spiffe:\/\/example\.org\/\*$/);
    refused({ from: [SpiffeId.parse("spiffe://example.org")] }, exact);
    refused({ from: [GATEWAY], ids: [] }, /^Expected options of spiffe\(\{ forwarded \}\) among from; got ids$/);
    refused({}, list);
    refused(null, /^Expected an object of options for spiffe\(\{ forwarded \}\); got /);
    refused(true, /^Expected an object of options for spiffe\(\{ forwarded \}\); got /);
  });

  it("stays as it was said, whatever becomes of the list", async () => {
    const from = [GATEWAY];
    const made = app(from);
    from[0] = idOf("guest");
    from.push(idOf("other"));
    const ask = (peer: string) => outcome(made.request("/", {}, asPeer(peer, { caller: WEB })));
    assert.equal(await ask(GATEWAY), `${GATEWAY} for ${WEB}`);
    assert.equal(await ask(idOf("guest")), `${idOf("guest")} for undefined`);
    assert.equal(await ask(idOf("other")), `${idOf("other")} for undefined`);
  });
});

describe("[S-21] a server that leaves the field on a request", () => {
  /** A request of a server, over a connection whose peer is the gateway. */
  const request = (rawHeaders?: readonly string[], alpnProtocol: unknown = "http/1.1") => {
    const socket = { alpnProtocol };
    markConnection(socket, { accepted: true, peer: gatewayByCertificate });
    return { socket, ...(rawHeaders === undefined ? {} : { rawHeaders }) };
  };
  const ask = (incoming: object, made = app()) => outcome(made.request("/", {}, { incoming }));

  it("is no server for this: 500, told once, and what it says counts for nothing", async () => {
    faults = [];
    const made = app();
    for (const name of ["x-spiffe-id", "X-Spiffe-Id", "X_Spiffe_Id", "X-Forwarded-Client-Cert"]) {
      assert.equal(await ask(request(["Host", "a", name, WEB]), made), "500 ERR_SPIFFE_NO_LISTENER", name);
    }
    assert.equal(faults.length, 1);
    assert.match(faults[0]!, /leaves fields on requests that claim an identity\. Start the app with serve\(/);
    assert.equal(await ask(request(["Host", "a"]), made), `${GATEWAY} for undefined`);
    assert.equal(await ask(request(["x-spiffe-identity", WEB]), made), `${GATEWAY} for undefined`);
    assert.equal(await ask(request(), made), `${GATEWAY} for undefined`);
  });

  it("a name in place of a value is none", async () => {
    assert.equal(await ask(request(["x-note", "x-spiffe-id"])), `${GATEWAY} for undefined`);
  });

  it("what was taken off one request is said by no other, and by no object that looks like it", async () => {
    const stripped = request(["Host", "a"]);
    noteClaims(stripped, [WEB]);
    assert.equal(await ask(stripped), `${GATEWAY} for ${WEB}`);
    assert.equal(await ask({ ...stripped }), `${GATEWAY} for undefined`);
    assert.equal(await ask(Object.create(stripped)), `${GATEWAY} for undefined`);
    assert.equal(await ask(request(["Host", "a"])), `${GATEWAY} for undefined`);
  });
});

it("[S-21] a connection that did not agree on HTTP is one of bytes, whoever has opened it", async () => {
  const over = (...alpn: unknown[]) => {
    const socket = { alpnProtocol: alpn[0] };
    markConnection(socket, { accepted: true, peer: gatewayByCertificate });
    const incoming = { socket, rawHeaders: ["Host", "a"] };
    noteClaims(incoming, [WEB]);
    return outcome(app().request("/", {}, { incoming }));
  };
  for (const agreed of ["http/1.1", "h2"]) assert.equal(await over(agreed), `${GATEWAY} for ${WEB}`);
  for (const none of [false, null, undefined, "", "postgresql", "h3", true])
    assert.equal(await over(none), "400 ERR_SPIFFE_REQUEST", String(none));
});

it("types: the caller is there where `forwarded` is given", () => {
  const forwarded = { from: [GATEWAY] };
  const certificates = new Hono().use(spiffe(workload, { forwarded })).get("/", authorize({ ids: [GATEWAY] }), (c) => {
    const caller: SpiffeId | undefined = c.var.caller;
    // @ts-expect-error it is not there for certain
    const certain: SpiffeId = c.var.caller;
    const peer: X509Peer = c.var.peer;
    return c.json({ caller, certain, peer });
  });
  const tokens = new Hono().use(spiffe(workload, { forwarded, jwt: { audience: GATEWAY } })).get("/", (c) => {
    const caller: SpiffeId | undefined = c.var.caller;
    const peer: Peer = c.var.peer;
    // @ts-expect-error it may be a token's
    const certificate: X509Peer = c.var.peer;
    return c.json({ caller, peer, certificate });
  });
  const without = new Hono().use(spiffe(workload, { jwt: { audience: GATEWAY } })).get("/", (c) => {
    // @ts-expect-error nobody is asked
    return c.json({ caller: c.var.caller });
  });
  assert.ok(certificates !== undefined && tokens !== undefined && without !== undefined);
});
