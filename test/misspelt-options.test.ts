/** What a misspelt name would have meant where identity hangs on it: each beside the right name, which is obeyed. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { BundleSet, isSpiffeError, JwtSvid, validateJwtSvid, verifyX509Svid, X509Svid } from "spiffe-edge";
import { serve } from "spiffe-edge/gateway";
import { parsePolicy } from "spiffe-edge/policy";
import {
  Authority,
  type StaticIdentity,
  signTestJwt,
  staticIdentity,
  TestCa,
  testJwtBundle,
  testJwtKey,
} from "spiffe-edge/testing";
import { authorizeId, connect, createFetch, listen } from "spiffe-edge/tls";
import { Workload, X509Source } from "spiffe-edge/workload";

const [ORDERS, WEB] = ["spiffe://example.org/orders", "spiffe://example.org/web"] as const;
const LOOPBACK = { address: "127.0.0.1", port: 0 } as const;
const USAGE = { code: "ERR_SPIFFE_USAGE" };
const handler = (_: unknown, response: { end(): void }): void => response.end();
const app = { fetch: () => new Response("hello") };

let authority: Authority;
let ca: TestCa;
let identity: StaticIdentity;

before(async () => {
  const entries = [
    { id: WEB, socket: "web", hint: "external" },
    { id: ORDERS, socket: "web", hint: "internal" },
  ];
  authority = await Authority.start({ trustDomain: "example.org", entries });
  ca = await TestCa.create();
  identity = await staticIdentity({ svid: await ca.issue({ id: WEB }), bundles: ca.x509Bundle() });
});

after(() => authority?.close());

const socket = (): string => authority.socketFor("web");

/** What a program might give that reads its settings from elsewhere: names of a class, with and without a typing error. */
class Settings {
  get hint(): string {
    return "internal";
  }
  get socket(): string {
    return socket();
  }
}

describe("a misspelt option never means the default", () => {
  it("hint: the identity is the wanted one or none, whatever object brings it", async () => {
    const opened = async (options: object) => {
      await using other = await Workload.open(options);
      return other.id.uri;
    };
    assert.equal(await opened({ socket: socket() }), WEB);
    await assert.rejects(opened({ socket: socket(), hints: "internal" }), USAGE);
    assert.equal(await opened({ socket: socket(), hint: "internal" }), ORDERS);
    assert.equal(await opened(new Settings()), ORDERS);
    assert.equal(await opened(Object.create({ socket: socket(), hint: "internal" })), ORDERS);
    await using source = await X509Source.open(new Settings());
    assert.equal(source.x509Svid().id.uri, ORDERS);
  });

  it("audience: a token for somebody else is refused, and without the right name none is judged", async () => {
    const jwtKey = await testJwtKey();
    const token = await signTestJwt({ key: jwtKey, claims: { sub: WEB, aud: [ORDERS] } });
    const bundle = testJwtBundle(ca.trustDomain, jwtKey);
    const judged = async (options: object) => (await validateJwtSvid(token, bundle, options as never)).id.uri;
    assert.equal(await judged({ audience: ORDERS }), WEB);
    await assert.rejects(judged({ audience: WEB }), { reason: "jwt.audience" });
    await assert.rejects(judged({ audience: ORDERS, audiences: [WEB] }), USAGE);
    await assert.rejects(judged({ audience: ORDERS, requireKeyID: true }), USAGE);
  });

  it("leniency: a leaf is taken or refused by the right name alone", async () => {
    const { certificatesDer } = await ca.issue({ id: WEB, keyUsage: null });
    const bundles = BundleSet.of(ca.x509Bundle());
    const judged = async (options?: object) => (await verifyX509Svid(certificatesDer, bundles, options)).id.uri;
    await assert.rejects(judged(), { reason: "x509.leaf-key-usage" });
    await assert.rejects(judged({ lenientKeyUsage: true }), USAGE);
    assert.equal(await judged({ lenientPeerKeyUsage: true }), WEB);
  });

  it("authorize: a listener that was to choose its peers does not open without", async () => {
    const nobody = authorizeId("spiffe://example.org/nobody");
    const listening = async (options: object) => {
      await using server = await listen(identity, { ...LOOPBACK, handler, ...options });
      const { socket } = await connect(identity, { host: server.address, port: server.port, peer: WEB });
      const end = await new Promise((resolve) => {
        socket.once("error", resolve).once("close", () => resolve("closed"));
        socket.on("data", resolve).resume().write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
      });
      socket.destroy();
      return String(end).includes("200") ? "served" : "refused";
    };
    assert.equal(await listening({}), "served");
    assert.equal(await listening({ authorize: nobody }), "refused");
    await assert.rejects(listening({ authorise: nobody }), USAGE);
    await assert.rejects(serve(app, { workload: identity, ...LOOPBACK, authorise: nobody } as never), USAGE);
  });

  it("peer: a path beside a trust domain narrows nothing, so it is refused", () => {
    const dial = (peer: object) => createFetch(identity, { peer: peer as { trustDomain: string } });
    assert.equal(typeof dial({ trustDomain: "example.org" }), "function");
    assert.throws(() => dial({ trustDomain: "example.org", path: "/orders" }), USAGE);
  });

  it("idPrefixes: a policy file speaks for its part, or is not read", () => {
    const text = `[{ rule: web, allow: { ids: ["${WEB}"] } }]`;
    const read = (more: object) => parsePolicy([{ file: "shop.yaml", text, ...more }]).rules;
    assert.deepEqual(read({ idPrefixes: [WEB] }), ["web"]);
    assert.throws(() => read({ idPrefixes: [ORDERS] }), { code: "ERR_SPIFFE_CONFIG" });
    assert.throws(() => read({ idPrefix: [ORDERS] }), USAGE);
  });

  it("a token or a key in the place of options is not told again", async () => {
    for (const secret of ["eyJhbGciOiJFUzI1NiJ9.secret.secret", ["secret"]]) {
      for (const call of [
        () => JwtSvid.parseUnverified("e30.e30.AA", secret as never),
        () => X509Svid.fromPem("", "", secret as never),
        () => validateJwtSvid("e30.e30.AA", { jwtBundleFor: () => undefined }, secret as never),
      ]) {
        await assert.rejects(
          async () => call(),
          (error: Error) =>
            isSpiffeError(error, "ERR_SPIFFE_USAGE") && !JSON.stringify([error.message, error]).includes("secret"),
        );
      }
    }
  });
});
