/** Nothing that a program can print shows a private key or a token; what a person needs, ID and expiry, is shown. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { inspect } from "node:util";
import { Hono } from "hono";
import * as core from "spiffe-edge";
import * as crypto_ from "spiffe-edge/crypto";
import * as gateway_ from "spiffe-edge/gateway";
import * as policy_ from "spiffe-edge/policy";
import * as testing from "spiffe-edge/testing";
import * as tls from "spiffe-edge/tls";
import * as workload_ from "spiffe-edge/workload";
import { COPIES, printed, Secret } from "./support/print.ts";

const { BundleMap, BundleSet, JwtBundle, JwtSvid, SpiffeBundle, SpiffeError, SpiffeId, TrustDomain, X509Svid } = core;
const { Authority, ManualClock, TestCa } = testing;
const { Workload, WorkloadApiClient } = workload_;

const DOMAIN = "example.org";
const [ORDERS, WEB] = [`spiffe://${DOMAIN}/orders`, `spiffe://${DOMAIN}/web`];
const P256 = { name: "ECDSA", namedCurve: "P-256" };
const NAMESPACES = { core, workload: workload_, tls, policy: policy_, gateway: gateway_, crypto: crypto_, testing };

/** Everything that is public and lives, by name, with the secrets that are somewhere inside of it or of its neighbours. */
const objects: Record<string, unknown> = {};
const secrets: Secret[] = [];
const closing: (() => unknown)[] = [];
/** Keys and tokens in the open, for the tests that hand them to the wrong function. */
let keyPem: string;
let pkcs8: Uint8Array;
let svidPem: string;
let token: string;
let privateJwk: Record<string, unknown>;

before(async () => {
  const entries = ["orders", "web"].map((name) => ({ id: `spiffe://${DOMAIN}/${name}`, socket: name }));
  const authority = await Authority.start({ trustDomain: DOMAIN, entries });
  closing.push(() => authority.close());
  const [orders, web] = await Promise.all(
    ["orders", "web"].map((socket) => Workload.open({ socket: authority.socketFor(socket) })),
  );
  assert.ok(orders !== undefined && web !== undefined);
  closing.push(
    () => orders.close(),
    () => web.close(),
  );
  const client = new WorkloadApiClient({ socket: authority.socketFor("web") });
  closing.push(() => client.close());
  const svid = web.x509.x509Svid();
  const jwt = await web.jwt.fetch({ audience: ORDERS });
  const ca = await TestCa.create({ trustDomain: DOMAIN });
  const testSvid = await ca.issue({ id: WEB });
  const own = await X509Svid.parse(testSvid.chainDer, testSvid.privateKeyPkcs8, { hint: "internal" });
  const jwtKey = await testing.testJwtKey("ES256");
  const testKeys = await testing.generateKeys("ec-p256", true);
  const claims = { sub: WEB, aud: [ORDERS], private: "claim" };
  token = await testing.signTestJwt({ key: jwtKey, claims });
  [keyPem, svidPem, pkcs8] = [own.toPem().privateKey, own.toPem().certificates, own.privateKeyPkcs8()];
  const exported = await crypto.subtle.exportKey("jwk", jwtKey.privateKey);
  privateJwk = { ...exported, use: "jwt-svid", kid: "private", key_ops: undefined };
  const pkcs8Of = async (key: CryptoKey) => new Uint8Array(await crypto.subtle.exportKey("pkcs8", key));
  secrets.push(
    await Secret.key("key of the agent's SVID", svid.privateKeyPkcs8(), P256),
    await Secret.key("key of the server's SVID", orders.x509.x509Svid().privateKeyPkcs8(), P256),
    await Secret.key("key of the test SVID", pkcs8, P256),
    await Secret.key("key of the test CA", await pkcs8Of(ca.keys.privateKey), P256),
    await Secret.key("key of test keys", await pkcs8Of(testKeys.privateKey), P256),
    await Secret.key("key of tokens", await pkcs8Of(jwtKey.privateKey), P256),
    ...[jwt.token, token].flatMap((text) =>
      text
        .split(".")
        .slice(1)
        .map((part) => Secret.text("token", part)),
    ),
  );

  const folder = await mkdtemp(join(tmpdir(), "print-"));
  closing.push(() => rm(folder, { recursive: true }));
  const [certificates, privateKey, bundle] = ["svid.pem", "key.pem", "bundle.pem"].map((name) => join(folder, name));
  await own.save(certificates!, privateKey!);
  await ca.x509Bundle().save(bundle!);
  const files = await workload_.FileSource.open({
    certificates: certificates!,
    privateKey: privateKey!,
    bundles: { [DOMAIN]: bundle! },
  });
  closing.push(() => files.close());
  const fake = await testing.FakeWorkloadApi.start({ trustDomain: DOMAIN, identities: [{ id: WEB }] });
  closing.push(() => fake.close());
  const jwtBundle = testing.testJwtBundle(TrustDomain.parse(DOMAIN), jwtKey);
  const spiffeBundle = SpiffeBundle.of(DOMAIN, { x509: ca.x509Bundle(), jwt: jwtBundle, sequence: 7n });
  const validated = await core.validateJwtSvid(token, jwtBundle, { audience: ORDERS });
  const verified = await core.verifyX509Svid(own.certificates, { x509BundleFor: () => ca.x509Bundle() });
  const identity = await testing.staticIdentity({ svid: testSvid, bundles: ca.x509Bundle() });
  const tokens = new core.VerifiedTokens();
  assert.ok((await tokens.judge({ audience: ORDERS })(token, jwtBundle)).ok);
  Object.assign(objects, {
    VerifiedTokens: tokens,
    SpiffeId: own.id,
    TrustDomain: own.id.trustDomain,
    Certificate: own.leaf,
    "X509Svid of the agent": svid,
    X509Svid: own,
    "verdict with an X509Svid": await X509Svid.safeFromPem(svidPem, keyPem),
    X509Bundle: ca.x509Bundle(),
    "JwtSvid of the agent": jwt,
    JwtSvid: validated,
    "verdict with a JwtSvid": JwtSvid.safeParseUnverified(token),
    "identity of a token": validated.identity,
    JwtBundle: jwtBundle,
    SpiffeBundle: spiffeBundle,
    "bundle with warnings": SpiffeBundle.parse(
      DOMAIN,
      JSON.stringify({ keys: [privateJwk, { ...privateJwk, use: "x" }] }),
    ),
    BundleMap: BundleMap.of(spiffeBundle),
    BundleSet: BundleSet.of(spiffeBundle),
    VerifiedX509Svid: verified,
    "key function for jose": core.jwksFor(jwtBundle),
    Workload: web,
    X509Source: web.x509,
    "X.509 context": web.x509.current,
    JwtSource: web.jwt,
    "JWT bundles": web.jwt.current,
    BundleSource: web.bundles,
    "bundle state": web.bundles.current,
    WorkloadApiClient: client,
    "fetched context": await client.fetchX509Context(),
    FileSource: files,
    "identity of files": files.current,
    FakeWorkloadApi: fake,
    ExchangedToken: new workload_.ExchangedToken(token, {
      tokenType: "Bearer",
      issuedTokenType: "urn:ietf:params:oauth:token-type:jwt",
      expiresInMs: 60_000,
      scope: undefined,
    }),
    "token fetch": workload_.createJwtFetch(web, { audience: ORDERS, origin: "https://orders.example" }),
    "token checked by the agent": await client.validateJwtSvid({ token: jwt.token, audience: ORDERS }),
    interceptor: workload_.jwtSvid(web, { audience: ORDERS }),
    PublicKey: own.leaf.publicKey,
    Authority: authority,
    ManualClock: new ManualClock(),
    TestCa: ca,
    TestSvid: testSvid,
    "test key pair": testKeys,
    "test token key": jwtKey,
    StaticIdentity: identity,
    asPeer: testing.asPeer(WEB),
  });
  await overTls({ orders, web });
});

/** What only exists while connections are open. */
async function overTls({ orders, web }: Record<"orders" | "web", workload_.Workload>): Promise<void> {
  const fields = { port: 0, address: "127.0.0.1" };
  const refused: unknown[] = [];
  const listener = await tls.listen(orders, {
    ...fields,
    authorize: tls.authorizeId(WEB),
    onRefused: (connection) => refused.push(connection),
    // shown while they live: a request knows its socket, and that the server with its options
    handler: (request, response) => {
      Object.assign(objects, { "HTTP request": request, "HTTP response": response });
      response.end("hello");
    },
  });
  closing.push(() => listener.close({ deadlineMs: 0 }));
  const dial = { host: "127.0.0.1", port: listener.port, peer: ORDERS };
  const connection = await tls.connect(web, dial);
  closing.push(() => connection.socket.destroy());
  await assert.rejects(tls.createFetch(orders, { peer: ORDERS })(`https://127.0.0.1:${listener.port}/`));
  const call = tls.createFetch(web, { peer: ORDERS });
  const answer = await call(`https://127.0.0.1:${listener.port}/`);
  const app = new Hono()
    .use(gateway_.spiffe(orders, { jwt: { audience: ORDERS } }))
    .get("/*", gateway_.authorize({ ids: [WEB] }), (c) => {
      Object.assign(objects, { "X509Peer of an app": c.var.peer });
      return c.text("hello");
    });
  const server = await gateway_.serve(app, { ...fields, workload: orders });
  const plain = await gateway_.servePlain(app, { port: 0, signals: [] });
  closing.push(() => plain.close());
  closing.push(() => server.close({ deadlineMs: 0 }));
  const bearer = { authorization: `Bearer ${(await web.jwt.fetch({ audience: ORDERS })).token}` };
  const greeted = await call(`https://127.0.0.1:${server.port}/`, { headers: bearer });
  assert.equal(greeted.status, 200);
  const policy = policy_.Policy.compile([{ rule: "web", allow: { ids: [WEB] } }]);
  const decision = policy.decide(connection.peer, { method: "GET", path: "/" });
  const input = {
    status: { port: 0 },
    listen: fields,
    upstreams: { hello: { url: "http://127.0.0.1:9" } },
    routes: [{ name: "hello", path: "/**", upstream: "hello" }],
    policy: [{ rule: "web", allow: { ids: [WEB] } }],
  };
  const gateway = await gateway_.createGateway(input, { workload: orders });
  closing.push(() => gateway.close({ deadlineMs: 0 }));
  Object.assign(objects, {
    TlsListener: listener,
    "listener's counters": listener.counters,
    VerifiedConnection: connection,
    "dialled socket": connection.socket,
    X509Peer: connection.peer,
    verdict: tls.connectionPeer({ socket: connection.socket }),
    RefusedConnection: refused[0],
    fetch: call,
    Response: answer,
    http2Options: tls.http2Options(web, { baseUrl: `https://127.0.0.1:${listener.port}`, peer: ORDERS }),
    authorizer: tls.authorizeId(WEB),
    SpiffeServer: server,
    PlainServer: plain,
    middleware: gateway_.spiffe(orders),
    Policy: policy,
    Decision: decision,
    Shadow: new policy_.Shadow(policy),
    "external authorizer": policy_.createAuthorizer({ url: "http://127.0.0.1:9/" }),
    trace: policy_.trace(policy, connection.peer, { method: "GET", path: "/" }),
    explanation: policy_.explain(decision, connection.peer),
    GatewayConfig: gateway_.parseGatewayConfig({ ...input, identity: { socket: "unix:///run/agent.sock" } }),
    Gateway: gateway,
    proxy: gateway_.proxy(web, { url: "https://127.0.0.1:9", id: ORDERS }),
  });
}

after(async () => {
  for (const close of closing.reverse()) await close();
});

/** Fails with the ways in which a value shows a secret. */
function assertSilent(name: string, value: unknown): void {
  for (const [way, text] of printed(value)) {
    // its fields are the key, for tests to use, so a copy of them has it
    if (value === objects.TestSvid && COPIES.includes(way)) continue;
    for (const secret of secrets) assert.ok(!secret.isIn(text), `${name} by ${way} shows the ${secret.name}`);
  }
}

describe("what can be printed", () => {
  it("the search finds keys and tokens wherever they are shown, so it has teeth", () => {
    const [key, text] = [secrets.find(({ name }) => name === "key of the test SVID"), secrets.at(-1)];
    const open: Record<string, unknown> = {
      bytes: pkcs8,
      Buffer: Buffer.from(pkcs8),
      PEM: keyPem,
      "PEM in an object": { deep: [{ er: keyPem }] },
      hexadecimal: Buffer.from(pkcs8).toString("hex"),
      base64url: Buffer.from(pkcs8).toString("base64url"),
      error: new Error(keyPem),
    };
    for (const [name, value] of Object.entries(open)) {
      const ways = [...printed(value)].filter(([, shown]) => key!.isIn(shown));
      assert.ok(ways.length > 0, name);
    }
    assert.ok([...printed(pkcs8)].some(([way, shown]) => way === "JSON.stringify" && key!.isIn(shown)));
    assert.ok(text!.isIn(inspect({ authorization: `Bearer ${token}` })));
    assert.ok(!key!.isIn(svidPem) && !text!.isIn(svidPem));
  });

  it("every public class has an object here", () => {
    const instances = Object.values(objects);
    for (const [path, names] of Object.entries(NAMESPACES)) {
      for (const [name, value] of Object.entries(names)) {
        if (typeof value !== "function" || !/^class\b/.test(Function.prototype.toString.call(value))) continue;
        if ((value as unknown) === SpiffeError) continue; // below, with what is wrong
        const there = instances.some((object) => object instanceof (value as unknown as new () => object));
        assert.ok(there, `${path} exports ${name}, and no object of it is printed`);
      }
    }
    for (const [name, value] of Object.entries(objects)) assert.notEqual(value, undefined, name);
  });

  it("[JWT-19] no object shows a private key or a token, in whatever way it is printed", () => {
    for (const [name, value] of Object.entries(objects)) assertSilent(name, value);
    for (const [path, names] of Object.entries(NAMESPACES)) assertSilent(path, { ...names });
  });

  it("identities show ID and expiry", () => {
    for (const name of ["X509Svid", "X509Svid of the agent", "JwtSvid", "JwtSvid of the agent", "X509Peer"]) {
      const value = objects[name] as { id: core.SpiffeId; expiresAt: Date };
      const ways = printed(value);
      for (const way of ["JSON.stringify", "inspect", "console.log", "Bun.inspect", "Deno.inspect"]) {
        const text = ways.get(way);
        if (text === undefined) continue; // another runtime's
        assert.ok(text.includes(value.id.uri), `${name} by ${way} has no ID: ${text}`);
        assert.ok(
          text.includes(value.expiresAt.toISOString().slice(0, 19)),
          `${name} by ${way} has no expiry: ${text}`,
        );
      }
    }
  });
});

describe("what errors say", () => {
  const thrown = async (act: () => unknown): Promise<unknown> => {
    try {
      await act();
    } catch (error) {
      return error;
    }
    return assert.fail("it was expected to throw");
  };

  /** The error with everything that hangs on it, as a program shows it. */
  const assertQuiet = async (name: string, act: () => unknown) => {
    const error = await thrown(act);
    assert.ok(core.isSpiffeError(error), `${name}: ${error}`);
    assertSilent(name, error);
    assertSilent(name, { message: error.message, stack: error.stack, hint: error.hint, cause: error.cause });
  };

  it("a key in the wrong place is not repeated", async () => {
    const wrongKey = (await (await TestCa.create()).issue({ id: WEB })).keyPem;
    const folder = mkdtempSync(join(tmpdir(), "print-"));
    const [key, svid, half] = ["key.pem", "svid.pem", "half.pem"].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(key, keyPem);
    writeFileSync(svid, svidPem);
    writeFileSync(half, keyPem.slice(0, -40));
    try {
      const acts: Record<string, () => unknown> = {
        "key for certificates": () => X509Svid.fromPem(keyPem, keyPem),
        "certificates for key": () => X509Svid.fromPem(svidPem, svidPem),
        "two keys": () => X509Svid.fromPem(svidPem, keyPem + keyPem),
        "another key": () => X509Svid.fromPem(svidPem, wrongKey),
        "key without end": () => X509Svid.fromPem(svidPem, keyPem.slice(0, -40)),
        "key with another label": () => X509Svid.fromPem(svidPem, keyPem.replaceAll("PRIVATE KEY", "EC PRIVATE KEY")),
        "key with garbage": () => X509Svid.fromPem(svidPem, keyPem.replace("\n", "\n!")),
        "key as label": () => X509Svid.fromPem(svidPem, `-----BEGIN ${keyPem.split("\n")[1]}-----`),
        "DER of the key for certificates": () => X509Svid.parse(pkcs8, pkcs8),
        "DER of the key, longer": () => X509Svid.parse(new Uint8Array(0), Uint8Array.of(...pkcs8, 0)),
        "key as bundle": () => core.X509Bundle.fromPem(DOMAIN, keyPem),
        "DER of the key as bundle": () => core.X509Bundle.fromDer(DOMAIN, pkcs8),
        "key as certificate": () => core.Certificate.parse(pkcs8),
        "key as SPIFFE bundle": () => SpiffeBundle.parse(DOMAIN, keyPem),
        "key as bundle map": () => BundleMap.parse(keyPem),
        "JWK as JWK set": () => JwtBundle.fromJwks(DOMAIN, JSON.stringify(privateJwk), "workload-api"),
        "key as ID": () => SpiffeId.parse(keyPem),
        "key as trust domain": () => TrustDomain.parse(keyPem),
        "key as configured ID": () => SpiffeId.parseConfig(keyPem),
        "key as token": () => JwtSvid.parseUnverified(keyPem),
        "files changed over": () => X509Svid.load(key, svid),
        "key file as bundle": () => core.X509Bundle.load(DOMAIN, key),
        "half a key file": () => X509Svid.load(svid, half),
      };
      for (const [name, act] of Object.entries(acts)) await assertQuiet(name, act);
      const jwk = crypto_.PublicKey.fromJwk(privateJwk);
      assert.ok(!jwk.ok);
      assertSilent("private JWK as public key", jwk);
      const { warnings } = JwtBundle.fromJwks(DOMAIN, JSON.stringify({ keys: [privateJwk] }), "workload-api");
      assert.equal(warnings.length, 1);
      assertSilent("warnings", warnings);
      assert.equal((await X509Svid.load(svid, key)).id.uri, WEB);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("[JWT-19] a token that is refused, or in the wrong place, is not repeated", async () => {
    const bundle = objects.JwtBundle as core.JwtBundle;
    const [head, body, signature] = token.split(".") as [string, string, string];
    const client = objects.WorkloadApiClient as workload_.WorkloadApiClient;
    const options = { audience: ORDERS };
    const broken: Record<string, string> = {
      "two parts": `${head}.${body}`,
      "four parts": `${token}.${signature}`,
      "parts changed over": `${body}.${head}.${signature}`,
      "payload as header": `${body}.${body}.${body}`,
      "other signature": `${head}.${body}.${signature.slice(0, -4)}AAAA`,
      padding: `${token}=`,
      "white space": `${head} .${body}.${signature}`,
      doubled: token + token,
    };
    for (const [name, text] of Object.entries(broken)) {
      await assertQuiet(name, () => core.validateJwtSvid(text, bundle, options));
      await assertQuiet(`${name}, by the agent`, () => client.validateJwtSvid({ token: text, audience: ORDERS }));
    }
    const acts: Record<string, () => unknown> = {
      "another audience": () => core.validateJwtSvid(token, bundle, { audience: WEB }),
      "no bundle": () => core.validateJwtSvid(token, { jwtBundleFor: () => undefined }, options),
      expired: () =>
        core.validateJwtSvid(token, bundle, { ...options, clock: { ...core.systemClock, now: () => 8e14 } }),
      "token as ID": () => SpiffeId.parse(token),
      "token in an ID": () => SpiffeId.parse(`spiffe://${DOMAIN}/a/${token}/`),
      "token as trust domain": () => TrustDomain.parse(token),
      "token as matcher": () => core.matchId(token),
      "token as JWK set": () => JwtBundle.fromJwks(DOMAIN, token, "workload-api"),
      "token as peer": () => tls.authorizeId(token),
      "token as key": () => X509Svid.fromPem(svidPem, token),
      "token for jose's key": () => core.jwksFor(bundle)({}, { protected: head, payload: head, signature: body }),
    };
    for (const [name, act] of Object.entries(acts)) await assertQuiet(name, act);
    assert.equal((await core.validateJwtSvid(token, bundle, options)).id.uri, WEB);
  });
});
