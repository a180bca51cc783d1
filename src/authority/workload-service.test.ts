import assert from "node:assert/strict";
import type { OutgoingHttpHeaders } from "node:http2";
import { after, before, describe, it } from "node:test";
import {
  JWTBundlesRequestSchema,
  JWTBundlesResponseSchema,
  JWTSVIDRequestSchema,
  JWTSVIDResponseSchema,
  ValidateJWTSVIDRequestSchema,
  ValidateJWTSVIDResponseSchema,
  WITBundlesRequestSchema,
  WITSVIDRequestSchema,
  X509BundlesRequestSchema,
  X509BundlesResponseSchema,
  X509SVIDRequestSchema,
  type X509SVIDResponse,
  X509SVIDResponseSchema,
} from "../gen/workload/workload_pb.js";
import { TrustDomain } from "../id/index.ts";
import { JwtBundle, validateJwtSvid } from "../jwt/index.ts";
import { verifyX509Svid, X509Bundle, X509Svid } from "../x509/index.ts";
import { call, first, type Stream } from "./grpc-call.testing.ts";
import { Authority, signTestJwt, testJwtKey } from "./testing.ts";

const OK = 0;
const INVALID_ARGUMENT = 3;
const PERMISSION_DENIED = 7;
const UNIMPLEMENTED = 12;
const UNAVAILABLE = 14;

const ORG = TrustDomain.parse("example.org");

const X509 = { input: X509SVIDRequestSchema, output: X509SVIDResponseSchema };
const X509_BUNDLES = { input: X509BundlesRequestSchema, output: X509BundlesResponseSchema };
const JWT = { input: JWTSVIDRequestSchema, output: JWTSVIDResponseSchema };
const JWT_BUNDLES = { input: JWTBundlesRequestSchema, output: JWTBundlesResponseSchema };
const VALIDATE = { input: ValidateJWTSVIDRequestSchema, output: ValidateJWTSVIDResponseSchema };
const WIT = { input: WITSVIDRequestSchema, output: JWTSVIDResponseSchema };
const WIT_BUNDLES = { input: WITBundlesRequestSchema, output: JWTBundlesResponseSchema };

/** Every method with a request that is answered, and the status of that answer. */
function everyMethod(endpoint: string, token: string, headers?: OutgoingHttpHeaders): Record<string, Stream<unknown>> {
  return {
    FetchX509SVID: call(endpoint, "FetchX509SVID", X509, {}, headers),
    FetchX509Bundles: call(endpoint, "FetchX509Bundles", X509_BUNDLES, {}, headers),
    FetchJWTBundles: call(endpoint, "FetchJWTBundles", JWT_BUNDLES, {}, headers),
    FetchJWTSVID: call(endpoint, "FetchJWTSVID", JWT, { audience: ["orders"] }, headers),
    ValidateJWTSVID: call(endpoint, "ValidateJWTSVID", VALIDATE, { audience: "orders", svid: token }, headers),
    FetchWITSVID: call(endpoint, "FetchWITSVID", WIT, {}, headers),
    FetchWITBundles: call(endpoint, "FetchWITBundles", WIT_BUNDLES, {}, headers),
  };
}

function idsOf(response: X509SVIDResponse): string[] {
  return response.svids.map((svid) => svid.spiffeId);
}

const web = { id: "spiffe://example.org/web", socket: "web" };
const api = { id: "spiffe://example.org/api", socket: "api" };
const job = { id: "spiffe://example.org/job", socket: "two", hint: "internal", federatesWith: ["other.test"] };
const run = { id: "spiffe://example.org/run", socket: "two", hint: "external" };

describe("Workload API server", () => {
  let authority: Authority;
  let other: Authority;
  let endpoint: string;
  let token: string;

  before(async () => {
    authority = await Authority.start({ trustDomain: "example.org", entries: [web, api, job, run] });
    other = await Authority.start({
      trustDomain: "other.test",
      entries: [{ id: "spiffe://other.test/peer", socket: "peer" }],
    });
    authority.federate(other);
    endpoint = authority.socketFor("web");
    const issued = await first(call(endpoint, "FetchJWTSVID", JWT, { audience: ["orders"] }));
    token = issued.svids[0]?.svid ?? "";
  });
  after(async () => {
    await authority.close();
    await other.close();
  });

  const wrongHeaders: [string, OutgoingHttpHeaders][] = [
    ["without the header", {}],
    ["with True", { "workload.spiffe.io": "True" }],
    ["with TRUE", { "workload.spiffe.io": "TRUE" }],
    ["with 1", { "workload.spiffe.io": "1" }],
    ["with an empty value", { "workload.spiffe.io": "" }],
    ["with the header twice", { "workload.spiffe.io": ["true", "true"] }],
    ["with another header", { "workload-spiffe-io": "true" }],
  ];
  for (const [title, headers] of wrongHeaders) {
    it(`[WE-06] refuses every method ${title} with InvalidArgument`, async () => {
      for (const [method, stream] of Object.entries(everyMethod(endpoint, token, headers))) {
        const { status, messages } = await stream.end;
        assert.equal(status, INVALID_ARGUMENT, method);
        assert.equal(messages.length, 0, method);
      }
    });
  }

  it("[WE-06] [WL-60] answers every method with the header; WIT methods with Unimplemented", async () => {
    for (const [method, stream] of Object.entries(everyMethod(endpoint, token))) {
      if (method.startsWith("FetchWIT")) {
        const { status, messages } = await stream.end;
        assert.equal(status, UNIMPLEMENTED, method);
        assert.equal(messages.length, 0, method);
      } else {
        assert.ok(await first(stream), method);
      }
    }
  });

  it("[WE-20] has no other methods", async () => {
    const stream = call(endpoint, "FetchEverything", X509, {});
    // an HTTP 404 without a gRPC status stands for Unimplemented
    const status = await stream.end.then(
      (answer) => answer.status,
      (error: Error) => error.message,
    );
    assert.ok(status === UNIMPLEMENTED || /without a status, HTTP 404/.test(String(status)), String(status));
  });

  it("[WE-17] [WL-27] [WL-43] answers PermissionDenied to a workload without an entry, on every method", async () => {
    await authority.setEntries([web, job, run]);
    const refused = everyMethod(authority.socketFor("api"), token);
    for (const [method, stream] of Object.entries(refused).filter(([name]) => !name.startsWith("FetchWIT"))) {
      const { status, messages } = await stream.end;
      assert.equal(status, PERMISSION_DENIED, method);
      assert.equal(messages.length, 0, method);
    }
    await authority.setEntries([web, api, job, run]);
    for (const [method, stream] of Object.entries(everyMethod(authority.socketFor("api"), token))) {
      if (!method.startsWith("FetchWIT")) assert.ok(await first(stream), method);
      else await stream.end;
    }
  });

  it("[WE-17] ends live streams with PermissionDenied when the entry goes, and no others", async () => {
    const gone = [
      call(authority.socketFor("api"), "FetchX509SVID", X509, {}),
      call(authority.socketFor("api"), "FetchX509Bundles", X509_BUNDLES, {}),
      call(authority.socketFor("api"), "FetchJWTBundles", JWT_BUNDLES, {}),
    ];
    const stays = call(authority.socketFor("two"), "FetchX509SVID", X509, {});
    for (const stream of gone) assert.ok(await stream.next());
    assert.equal((await stays.next()).svids.length, 2);
    await authority.setEntries([web, job]);
    for (const stream of gone) assert.equal((await stream.end).status, PERMISSION_DENIED);
    assert.equal((await stays.next()).svids.length, 1);
    stays.end.catch(() => {});
    stays.cancel();
    await authority.setEntries([web, api, job, run]);
  });

  it("[WL-05] [WL-06] [WL-07] sends the full state at once, and again on change only", async () => {
    const stream = call(authority.socketFor("two"), "FetchX509SVID", X509, {});
    const before = await stream.next();
    assert.deepEqual(idsOf(before), [job.id, run.id]);
    await authority.setEntries([web, api, job, run]);
    const extra = { id: "spiffe://example.org/extra", socket: "two" };
    await authority.setEntries([web, api, job, run, extra]);
    const changed = await stream.next();
    assert.deepEqual(idsOf(changed), [job.id, run.id, extra.id]);
    // what did not change is sent again, byte by byte
    assert.deepEqual(changed.svids.slice(0, 2), before.svids);
    assert.deepEqual(changed.federatedBundles, before.federatedBundles);
    await authority.setEntries([web, api, job, run]);
    assert.deepEqual(await first(stream), before);
  });

  it("[WL-21] [WL-22] [WL-23] [WL-24] [S-28] issues X.509-SVIDs that our own strict validator accepts", async () => {
    const { svids, crl } = await first(call(authority.socketFor("two"), "FetchX509SVID", X509, {}));
    assert.deepEqual(crl, []);
    assert.equal(svids.length, 2);
    for (const { spiffeId, x509Svid, x509SvidKey, bundle } of svids) {
      const svid = await X509Svid.parse(x509Svid, x509SvidKey);
      assert.equal(svid.id.uri, spiffeId);
      const parsed = X509Bundle.fromDer(ORG, bundle);
      const verified = await verifyX509Svid(svid.certificates, { x509BundleFor: () => parsed });
      assert.equal(verified.id.uri, spiffeId);
      assert.ok(parsed.equals(authority.x509Bundle()));
      const foreign = other.x509Bundle();
      await assert.rejects(verifyX509Svid(svid.certificates, { x509BundleFor: () => foreign }));
    }
  });

  it("[WL-14] [WL-16] hands out the hints, and refuses entries with a doubled or too long one", async () => {
    const { svids } = await first(call(authority.socketFor("two"), "FetchX509SVID", X509, {}));
    assert.deepEqual(
      svids.map((svid) => svid.hint),
      ["internal", "external"],
    );
    const tokens = await first(call(authority.socketFor("two"), "FetchJWTSVID", JWT, { audience: ["a"] }));
    assert.deepEqual(
      tokens.svids.map((svid) => svid.hint),
      ["internal", "external"],
    );
    const wrong = [[web, job, { ...run, hint: "internal" }], [{ ...web, hint: "é".repeat(513) }]];
    for (const entries of wrong) {
      await assert.rejects(authority.setEntries(entries), { code: "ERR_SPIFFE_CONFIG" });
    }
    // on another socket the same hint is no conflict, and 1,024 bytes are few enough
    await authority.setEntries([{ ...web, hint: "internal" }, { ...api, hint: "é".repeat(512) }, job, run]);
    await authority.setEntries([web, api, job, run]);
  });

  it("[WL-25] [WL-30] [WL-45] gives the own bundle first and federated ones to the entries that ask for them", async () => {
    const two = authority.socketFor("two");
    const bundles = await first(call(two, "FetchX509Bundles", X509_BUNDLES, {}));
    assert.deepEqual(Object.keys(bundles.bundles), ["spiffe://example.org", "spiffe://other.test"]);
    const foreign = X509Bundle.fromDer(other.trustDomain, bundles.bundles["spiffe://other.test"] as Uint8Array);
    assert.ok(foreign.equals(other.x509Bundle()));
    const svids = await first(call(two, "FetchX509SVID", X509, {}));
    assert.deepEqual(svids.federatedBundles, { "spiffe://other.test": bundles.bundles["spiffe://other.test"] });
    const jwt = await first(call(two, "FetchJWTBundles", JWT_BUNDLES, {}));
    assert.deepEqual(Object.keys(jwt.bundles), ["spiffe://example.org", "spiffe://other.test"]);

    const alone = await first(call(endpoint, "FetchX509Bundles", X509_BUNDLES, {}));
    assert.deepEqual(Object.keys(alone.bundles), ["spiffe://example.org"]);
    const aloneJwt = await first(call(endpoint, "FetchJWTBundles", JWT_BUNDLES, {}));
    assert.deepEqual(Object.keys(aloneJwt.bundles), ["spiffe://example.org"]);
  });

  it("federates with no other authority of its own trust domain, and with one of another", async () => {
    const twin = await Authority.start({ trustDomain: "example.org", entries: [web] });
    try {
      assert.throws(() => authority.federate(twin), { code: "ERR_SPIFFE_CONFIG" });
      authority.federate(other);
      const { bundles } = await first(call(authority.socketFor("two"), "FetchX509Bundles", X509_BUNDLES, {}));
      assert.deepEqual(Object.keys(bundles), ["spiffe://example.org", "spiffe://other.test"]);
    } finally {
      await twin.close();
    }
  });

  it("takes the bundle away when the federation ends, and brings it back", async () => {
    const stream = call(authority.socketFor("two"), "FetchX509Bundles", X509_BUNDLES, {});
    assert.equal(Object.keys((await stream.next()).bundles).length, 2);
    authority.unfederate("other.test");
    assert.deepEqual(Object.keys((await stream.next()).bundles), ["spiffe://example.org"]);
    authority.federate(other);
    assert.equal(Object.keys((await first(stream)).bundles).length, 2);
  });

  it("[WL-40] refuses to issue JWT-SVIDs without an audience", async () => {
    for (const audience of [[], [""], ["orders", ""]]) {
      const { status } = await call(endpoint, "FetchJWTSVID", JWT, { audience }).end;
      assert.equal(status, INVALID_ARGUMENT, JSON.stringify(audience));
    }
    const long = await call(endpoint, "FetchJWTSVID", JWT, { audience: ["a".repeat(16_384)] }).end;
    assert.equal(long.status, INVALID_ARGUMENT);
    const { status, messages } = await call(endpoint, "FetchJWTSVID", JWT, { audience: ["orders", "bills"] }).end;
    assert.equal(status, OK);
    const svid = await validateJwtSvid(messages[0]?.svids[0]?.svid ?? "", bundleOf(authority), { audience: "bills" });
    assert.deepEqual(svid.audience, ["orders", "bills"]);
  });

  it("[WL-41] [WL-42] [JWT-07] issues for all identities of the caller, or for the one it names", async () => {
    const two = authority.socketFor("two");
    const all = await first(call(two, "FetchJWTSVID", JWT, { audience: ["orders"] }));
    assert.deepEqual(
      all.svids.map((svid) => svid.spiffeId),
      [job.id, run.id],
    );
    const one = await first(call(two, "FetchJWTSVID", JWT, { audience: ["orders"], spiffeId: run.id }));
    assert.deepEqual(
      one.svids.map((svid) => svid.spiffeId),
      [run.id],
    );
    for (const { spiffeId, svid } of [...all.svids, ...one.svids]) {
      const valid = await validateJwtSvid(svid, bundleOf(authority), { audience: "orders" });
      assert.equal(valid.id.uri, spiffeId);
    }
  });

  it("[WL-43] refuses an ID that is not the caller's with PermissionDenied, one that is none with InvalidArgument", async () => {
    const foreign = await call(endpoint, "FetchJWTSVID", JWT, { audience: ["orders"], spiffeId: api.id }).end;
    assert.equal(foreign.status, PERMISSION_DENIED);
    const none = await call(endpoint, "FetchJWTSVID", JWT, { audience: ["orders"], spiffeId: "web" }).end;
    assert.equal(none.status, INVALID_ARGUMENT);
    const own = await call(endpoint, "FetchJWTSVID", JWT, { audience: ["orders"], spiffeId: web.id }).end;
    assert.equal(own.status, OK);
  });

  it("[JWT-02] [JWT-03] [JWT-08] [JWT-10] [JWT-11] writes alg, kid, typ and sub, aud, exp, iat, nothing else", () => {
    const [header, claims] = token
      .split(".")
      .slice(0, 2)
      .map((part) => JSON.parse(Buffer.from(part, "base64url").toString()));
    assert.deepEqual(Object.keys(header).sort(), ["alg", "kid", "typ"]);
    assert.equal(header.alg, "ES256");
    assert.equal(header.typ, "JWT");
    assert.deepEqual(Object.keys(claims).sort(), ["aud", "exp", "iat", "sub"]);
    assert.deepEqual(claims.aud, ["orders"]);
    // iat is rounded down and exp up
    assert.ok([300, 301].includes(claims.exp - claims.iat), String(claims.exp - claims.iat));
  });

  it("[WL-46] [WL-47] gives plain JWK Sets without X.509 keys and without private parts", async () => {
    const { bundles } = await first(call(endpoint, "FetchJWTBundles", JWT_BUNDLES, {}));
    const jwks = bundles["spiffe://example.org"] as Uint8Array;
    const { keys } = JSON.parse(new TextDecoder().decode(jwks));
    assert.equal(keys.length, 1);
    assert.deepEqual(Object.keys(keys[0]).sort(), ["crv", "kid", "kty", "x", "y"]);
    assert.ok(JwtBundle.fromJwks(ORG, jwks, "workload-api").equals(authority.jwtBundle()));
  });

  it("[WL-48] [WL-49] [WL-50] validates tokens fully and returns ID and claims", async () => {
    const good = await call(endpoint, "ValidateJWTSVID", VALIDATE, { audience: "orders", svid: token }).end;
    assert.equal(good.status, OK);
    assert.equal(good.messages[0]?.spiffeId, web.id);
    assert.equal(good.messages[0]?.claims?.sub, web.id);
    assert.deepEqual(good.messages[0]?.claims?.aud, ["orders"]);

    const foreignKey = await testJwtKey();
    const claims = { sub: web.id, aud: ["orders"] };
    const flipped = token.slice(0, -6) + (token.at(-6) === "A" ? "B" : "A") + token.slice(-5);
    const wrong: Record<string, { audience: string; svid: string }> = {
      "no audience": { audience: "", svid: token },
      "no token": { audience: "orders", svid: "" },
      "other audience": { audience: "Orders", svid: token },
      "no token at all": { audience: "orders", svid: "a.b.c" },
      "a flipped bit": { audience: "orders", svid: flipped },
      "a foreign key": { audience: "orders", svid: await signTestJwt({ key: foreignKey, claims }) },
    };
    for (const [title, request] of Object.entries(wrong)) {
      const { status, messages } = await call(endpoint, "ValidateJWTSVID", VALIDATE, request).end;
      assert.equal(status, INVALID_ARGUMENT, title);
      assert.equal(messages.length, 0, title);
    }
  });

  it("[WL-48] [JWT-20] validates a federated token only for workloads that federate with its trust domain", async () => {
    const peer = other.socketFor("peer");
    const svid = (await first(call(peer, "FetchJWTSVID", JWT, { audience: ["orders"] }))).svids[0]?.svid ?? "";
    const refused = await call(endpoint, "ValidateJWTSVID", VALIDATE, { audience: "orders", svid }).end;
    assert.equal(refused.status, INVALID_ARGUMENT);
    const two = authority.socketFor("two");
    const accepted = await call(two, "ValidateJWTSVID", VALIDATE, { audience: "orders", svid }).end;
    assert.equal(accepted.status, OK);
    assert.equal(accepted.messages[0]?.spiffeId, "spiffe://other.test/peer");
  });

  it("ends streams with Unavailable when it closes", async () => {
    const short = await Authority.start({ trustDomain: "example.org", entries: [web] });
    const stream = call(short.socketFor("web"), "FetchX509SVID", X509, {});
    await stream.next();
    await short.close();
    assert.equal((await stream.end).status, UNAVAILABLE);
  });
});

function bundleOf(authority: Authority) {
  return {
    jwtBundleFor: (trustDomain: TrustDomain) =>
      trustDomain.equals(authority.trustDomain) ? authority.jwtBundle() : undefined,
  };
}
