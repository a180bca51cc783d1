import assert from "node:assert/strict";
import { afterEach, before, beforeEach, describe, it } from "node:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { eventually } from "../../test/support/eventually.ts";
import { Feed, WorkloadServer, type X509Answer } from "../../test/support/workload-server.ts";
import { ManualClock, signTestJwt, TestCa, type TestJwtKey, testJwtKey } from "../authority/testing.ts";
import type { JWTBundlesResponseSchema, JWTSVIDRequest, JWTSVIDResponseSchema } from "../gen/workload/workload_pb.js";
import { TrustDomain } from "../id/index.ts";
import type { JwtSvid } from "../jwt/index.ts";
import { WorkloadApiClient } from "./client.ts";
import { cacheKey, JwtCache } from "./jwt-cache.ts";
import { JwtSource } from "./jwt-source.ts";
import { X509Source } from "./x509-source.ts";

const ID = "spiffe://example.org/web";
const OWN = TrustDomain.parse("example.org");
const LIFE_S = 60;

type Answer = MessageInitShape<typeof JWTSVIDResponseSchema>;
type Bundles = MessageInitShape<typeof JWTBundlesResponseSchema>;

let key: TestJwtKey;
let clock: ManualClock;
let server: WorkloadServer;
let feed: Feed<Bundles>;
let calls: JWTSVIDRequest[];
let answer: (request: JWTSVIDRequest) => Promise<Answer>;
let source: JwtSource;

const jwks = (...keys: TestJwtKey[]): Bundles => {
  const document = JSON.stringify({ keys: keys.map(({ jwk }) => jwk) });
  return { bundles: { "spiffe://example.org": new TextEncoder().encode(document) } };
};

function token(request: Pick<JWTSVIDRequest, "audience">, claims: Record<string, unknown> = {}, signer = key) {
  const iat = Math.floor(clock.now() / 1000);
  const all = { sub: ID, aud: request.audience, iat, exp: iat + LIFE_S, jti: crypto.randomUUID(), ...claims };
  return signTestJwt({ key: signer, claims: all });
}

const answerFor = async (request: JWTSVIDRequest): Promise<Answer> => {
  const sub = request.spiffeId || ID;
  return { svids: [{ spiffeId: sub, svid: await token(request, { sub }) }] };
};

/** The first token of audience `a` that is not this one. */
async function other(than: JwtSvid): Promise<JwtSvid> {
  for (;;) {
    const svid = await source.fetch({ audience: "a" });
    if (svid !== than) return svid;
    await clock.advance(0);
  }
}

before(async () => {
  key = await testJwtKey("ES256", "first");
});

beforeEach(async () => {
  clock = new ManualClock(Math.floor(Date.now() / 1000) * 1000);
  feed = new Feed();
  calls = [];
  answer = answerFor;
  server = await WorkloadServer.start({
    fetchJWTBundles: (_, context) => feed.stream(context),
    fetchJWTSVID(request) {
      calls.push(request);
      return answer(request);
    },
  });
  feed.push(jwks(key));
  source = await JwtSource.open({ socket: server.socket, clock });
});

afterEach(async () => {
  await source.close();
  await server.close();
});

describe("JwtSource", () => {
  it("[WL-40] [WL-41] asks for the audiences given, and for an identity only when one is named", async () => {
    const svid = await source.fetch({ audience: ["a", "b"] });
    assert.deepEqual(svid.audience, ["a", "b"]);
    assert.equal(svid.id.uri, ID);
    const other = await source.fetch({ audience: "a", id: "spiffe://example.org/other" });
    assert.equal(other.id.path, "/other");
    assert.deepEqual(
      calls.map(({ audience, spiffeId }) => [audience, spiffeId]),
      [
        [["a", "b"], ""],
        [["a"], "spiffe://example.org/other"],
      ],
    );
    for (const audience of ["", [], ["a", ""]]) {
      await assert.rejects(source.fetch({ audience }), { code: "ERR_SPIFFE_USAGE" });
    }
    assert.equal(calls.length, 2);
  });

  for (const [what, spoil, reason] of [
    ["no SVID", () => ({ svids: [] }), "workload.no-svid"],
    ["no spiffe_id", async (svid: string) => ({ svids: [{ spiffeId: "", svid }] }), "workload.field-missing"],
    ["no token", () => ({ svids: [{ spiffeId: ID, svid: "" }] }), "workload.field-missing"],
    ["garbage", () => ({ svids: [{ spiffeId: ID, svid: "a.b" }] }), "jwt.malformed"],
    ["another subject", (svid: string) => ({ svids: [{ spiffeId: `${ID}2`, svid }] }), "jwt.subject"],
    [
      "an identity that was not asked for",
      async () => ({ svids: [{ spiffeId: `${ID}2`, svid: await token({ audience: ["a"] }, { sub: `${ID}2` }) }] }),
      "jwt.subject",
    ],
    [
      "too few audiences",
      async () => ({ svids: [{ spiffeId: ID, svid: await token({ audience: ["b"] }) }] }),
      "jwt.audience",
    ],
    [
      "an expired token",
      async () => ({ svids: [{ spiffeId: ID, svid: await token({ audience: ["a"] }, { exp: clock.now() / 1000 }) }] }),
      "jwt.expired",
    ],
  ] as [string, (svid: string) => Answer | Promise<Answer>, string][]) {
    it(`[WL-42] [WL-50] refuses an answer with ${what}, and takes the right one after it`, async () => {
      answer = async (request) => spoil(await token(request));
      await assert.rejects(source.fetch({ audience: "a", id: ID }), { code: "ERR_SPIFFE_WORKLOAD_API", reason });
      answer = answerFor;
      assert.equal((await source.fetch({ audience: "a", id: ID })).id.uri, ID);
    });
  }

  it("[WL-15] takes the first token with a hint", async () => {
    const hinted = async (request: JWTSVIDRequest, path: string, hint: string) => {
      const sub = `spiffe://example.org/${path}`;
      return { spiffeId: sub, svid: await token(request, { sub }), hint };
    };
    answer = async (request) => ({
      svids: [await hinted(request, "a", "x"), await hinted(request, "b", "x"), await hinted(request, "c", "y")],
    });
    await using client = new WorkloadApiClient({ socket: server.socket, clock });
    const svids = await client.fetchJwtSvids({ audience: "a" });
    assert.deepEqual(
      svids.map(({ id, hint }) => id.path + hint),
      ["/ax", "/cy"],
    );
  });

  it("[S-20] [A-12] caches by identity and by the set of audiences, whatever their order", async () => {
    const first = await source.fetch({ audience: ["a", "b"] });
    assert.equal(await source.fetch({ audience: ["b", "a", "b"] }), first);
    assert.equal(calls.length, 1);
    await source.fetch({ audience: ["a"] });
    await source.fetch({ audience: ["a", "b"], id: "spiffe://example.org/other" });
    await source.fetch({ audience: ["a", "b"], fresh: true });
    assert.equal(calls.length, 4);
  });

  it("[S-20] no two requests share a key", () => {
    const keys = [
      cacheKey("", ["ab", "c"]),
      cacheKey("", ["a", "bc"]),
      cacheKey("", ["abc"]),
      cacheKey("a", ["bc"]),
      cacheKey("", ["1:a"]),
      cacheKey("", ["", "1:a"]),
      cacheKey("", ["a,b"]),
      cacheKey("", ["a", "b"]),
    ];
    assert.equal(new Set(keys).size, keys.length);
    assert.equal(cacheKey("i", ["b", "a"]), cacheKey("i", ["a", "b"]));
  });

  it("[S-20] [A-12] hands out nothing within 5 s of exp", async () => {
    const first = await source.fetch({ audience: "a" });
    answer = () => Promise.reject(new ConnectError("no renewal yet", Code.Unavailable));
    clock.step(LIFE_S * 1000 - 5_001);
    assert.equal(await source.fetch({ audience: "a" }), first);
    clock.step(1);
    await assert.rejects(source.fetch({ audience: "a" }), { code: "ERR_SPIFFE_WORKLOAD_API" });
    answer = answerFor;
    assert.notEqual((await source.fetch({ audience: "a" })).token, first.token);
  });

  it("[A-17] a wall clock that is set back makes no token live longer", async () => {
    const first = await source.fetch({ audience: "a" });
    answer = () => Promise.reject(new ConnectError("no renewal yet", Code.Unavailable));
    await clock.advance(LIFE_S * 1000 - 6_000);
    clock.step(-3_600_000);
    assert.equal(await source.fetch({ audience: "a" }), first);
    await clock.advance(1_000);
    await assert.rejects(source.fetch({ audience: "a" }), { code: "ERR_SPIFFE_WORKLOAD_API" });
  });

  it("renews a used token by itself at half of its life since the receipt, and not before", async () => {
    const first = await source.fetch({ audience: "a" });
    await clock.advance((LIFE_S * 1000) / 2 - 1);
    assert.equal(await source.fetch({ audience: "a" }), first);
    assert.equal(calls.length, 1);
    await clock.advance(1);
    await eventually(() => calls.length === 2, "the renewal, which nobody asked for");
    const second = await other(first);
    assert.ok(second.expiresAt > first.expiresAt);
    assert.equal(calls.length, 2);
  });

  it("counts a token's life from its receipt, not by the agent's clock", async () => {
    // Issued long ago by an agent whose clock is behind; 20 s are left.
    const now = Math.floor(clock.now() / 1000);
    answer = async (request) => {
      const svid = await token(request, { iat: now - 3_600, exp: now + 20 });
      return { svids: [{ spiffeId: ID, svid }] };
    };
    await source.fetch({ audience: "a" });
    await clock.advance(9_999);
    assert.equal(calls.length, 1);
    await clock.advance(1);
    await eventually(() => calls.length === 2, "the renewal at half of 20 s");
  });

  it("serves the old token while renewing fails, and asks again with growing pauses", async () => {
    const first = await source.fetch({ audience: "a" });
    answer = () => Promise.reject(new ConnectError("scripted", Code.Unavailable));
    await clock.advance((LIFE_S * 1000) / 2);
    await eventually(() => calls.length === 2, "the first try");
    for (let n = 0; n < 50; n++) assert.equal(await source.fetch({ audience: "a" }), first);
    assert.equal(calls.length, 2, "callers cause no further try");
    for (const [pause, count] of [
      [1_000, 3],
      [2_000, 4],
      [4_000, 5],
    ] as const) {
      await clock.advance(pause - 1);
      assert.equal(calls.length, count - 1);
      await clock.advance(1);
      await eventually(() => calls.length === count, `try ${count}`);
      assert.equal(await source.fetch({ audience: "a" }), first);
    }
    answer = answerFor;
    await clock.advance(8_000);
    await eventually(() => calls.length === 6, "the try that succeeds");
    await other(first);
    assert.equal(calls.length, 6);
  });

  it("drops a token that nobody asked for during a whole life", async () => {
    await source.fetch({ audience: "a" });
    await source.fetch({ audience: "b" });
    await clock.advance((LIFE_S * 1000) / 2);
    await eventually(() => calls.length === 4, "both renewals");
    await clock.advance(1);
    await source.fetch({ audience: "b" });
    await clock.advance((LIFE_S * 1000) / 2 - 1);
    await eventually(() => calls.length === 5, "one more renewal");
    assert.deepEqual(calls[4]?.audience, ["b"]);
    await clock.advance(LIFE_S * 10_000);
    assert.ok(calls.length <= 7, `${calls.length} calls although nobody asks any more`);
    const before = calls.length;
    await source.fetch({ audience: "a" });
    assert.equal(calls.length, before + 1);
  });

  it("10,000 concurrent calls for 10 audiences make 10 calls of the agent", async () => {
    const wanted = Array.from({ length: 10_000 }, (_, n) => source.fetch({ audience: `audience-${n % 10}` }));
    const tokens = new Set((await Promise.all(wanted)).map((svid) => svid.token));
    assert.equal(tokens.size, 10);
    assert.equal(calls.length, 10);
  });

  it("[S-20] callers of one key share one fetch, which outlives the one that gives up", async () => {
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    answer = async (request) => {
      await gate;
      return answerFor(request);
    };
    const abort = new AbortController();
    const impatient = source.fetch({ audience: "a", signal: abort.signal });
    const others = Array.from({ length: 20 }, () => source.fetch({ audience: "a" }));
    abort.abort();
    await assert.rejects(impatient, { code: "ERR_SPIFFE_ABORTED" });
    release();
    const tokens = new Set((await Promise.all(others)).map((svid) => svid.token));
    assert.equal(tokens.size, 1);
    assert.equal(calls.length, 1);
    const late = source.fetch({ audience: "a", signal: abort.signal });
    await assert.rejects(late, { code: "ERR_SPIFFE_ABORTED" }, "though a token is held");
  });

  it("a fetch that failed is not remembered", async () => {
    answer = () => Promise.reject(new ConnectError("scripted", Code.Unavailable));
    await assert.rejects(source.fetch({ audience: "a" }), { code: "ERR_SPIFFE_WORKLOAD_API", retryable: true });
    answer = answerFor;
    await source.fetch({ audience: "a" });
    assert.equal(calls.length, 2);
  });

  it("[S-20] [WL-29] forgets every token when the agent withdraws the identity", async () => {
    const first = await source.fetch({ audience: "a" });
    feed.push(new ConnectError("no identity", Code.PermissionDenied));
    await eventually(() => source.state === "revoked", "the redaction");
    await assert.rejects(source.fetch({ audience: "a" }), { code: "ERR_SPIFFE_REVOKED" });
    assert.equal(source.jwtBundleFor(OWN), undefined);
    assert.equal(calls.length, 1);
    feed.push(jwks(key));
    await clock.advance(1_000);
    await source.ready();
    assert.notEqual(await source.fetch({ audience: "a" }), first);
    assert.equal(calls.length, 2);
  });

  it("[S-20] a token that was under way during a redaction is not handed out", async () => {
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    answer = async (request) => {
      await gate;
      return answerFor(request);
    };
    const underWay = assert.rejects(source.fetch({ audience: "a" }), { code: "ERR_SPIFFE_REVOKED" });
    await eventually(() => calls.length === 1, "the fetch");
    feed.push(new ConnectError("no identity", Code.PermissionDenied), jwks(key));
    await eventually(() => source.state === "revoked", "the redaction");
    await clock.advance(1_000);
    await source.ready();
    // who asks now does not get what was asked for before
    const anew = source.fetch({ audience: "a" });
    // awaited below; until then it is the number of calls that tells
    anew.catch(() => {});
    await eventually(() => calls.length === 2, "a fetch of its own");
    release();
    await underWay;
    await anew;
  });

  it("[S-20] [A-12] fetches anew when the token's key has left the bundle", async () => {
    const [first, second] = [await source.fetch({ audience: "a" }), await testJwtKey("ES256", "second")];
    feed.push(jwks(key, second));
    await eventually(() => source.counters.updates === 2, "the prepared key");
    assert.equal(await source.fetch({ audience: "a" }), first);
    feed.push(jwks(second));
    await eventually(() => source.counters.updates === 3, "the old key's end");
    answer = async (request) => ({ svids: [{ spiffeId: ID, svid: await token(request, {}, second) }] });
    assert.equal((await source.fetch({ audience: "a" })).keyId, "second");
    assert.equal(calls.length, 2);
  });

  it("[S-20] holds at most 1000 tokens and forgets the least recently used", async () => {
    const cache = new JwtCache(clock, () => true);
    const svid = await source.fetch({ audience: "a" });
    const isCached = async (name: string) => {
      await clock.advance(1);
      if (cache.held(name) !== undefined) return true;
      await cache.fetch(name, async () => svid);
      return false;
    };
    for (let n = 0; n < 1_000; n++) await cache.fetch(`${n}`, async () => svid);
    assert.ok(await isCached("0"), "all fit, and 0 is used again");
    assert.ok(!(await isCached("one more")));
    assert.ok(await isCached("0"));
    assert.ok(!(await isCached("1")), "1 was the least recently used");
    cache.clear();
  });

  it("[WL-46] [WL-11] drops broken bundles and keeps the old; an empty key set is a valid answer", async () => {
    const held = source.current;
    const document = (text: string) => ({ bundles: { "spiffe://example.org": new TextEncoder().encode(text) } });
    const bad: [Bundles, string][] = [
      [{ bundles: {} }, "workload.field-missing"],
      [document(""), "workload.field-missing"],
      [document("{}"), "bundle.malformed"],
      [document('{"keys":[],"keys":[]}'), "bundle.malformed"],
      [{ bundles: { "example.org": new Uint8Array(1) } }, "bundle.trust-domain"],
    ];
    for (const [index, [message, reason]] of bad.entries()) {
      feed.push(message);
      await eventually(() => source.counters.invalid === index + 1, `answer ${index} was dropped`);
      assert.equal(source.lastError?.reason, reason);
      assert.equal(source.current, held);
    }
    feed.push(document('{"keys":[]}'));
    await eventually(() => source.jwtBundleFor(OWN)?.isEmpty === true, "the empty key set");
  });

  it("takes 100 tokens and refuses 101", async () => {
    await using client = new WorkloadApiClient({ socket: server.socket, clock });
    const many = (count: number) => {
      answer = async (request) => {
        const [svid] = (await answerFor(request)).svids!;
        return { svids: Array.from({ length: count }, () => svid!) };
      };
    };
    many(101);
    const wanted = { code: "ERR_SPIFFE_WORKLOAD_API", reason: "workload.too-large" };
    await assert.rejects(client.fetchJwtSvids({ audience: "a" }), wanted);
    many(100);
    assert.equal((await client.fetchJwtSvids({ audience: "a" })).length, 100);
  });

  it("[S-20] caches a token without key ID, and one of a trust domain whose keys nobody told", async () => {
    const sub = "spiffe://other.org/web";
    answer = async (request) => {
      const claims = { sub: request.spiffeId, aud: request.audience, exp: clock.now() / 1_000 + LIFE_S };
      const header = request.spiffeId === ID ? { kid: undefined } : {};
      return { svids: [{ spiffeId: request.spiffeId, svid: await signTestJwt({ key, header, claims }) }] };
    };
    for (const id of [ID, sub]) {
      const first = await source.fetch({ audience: "a", id });
      assert.equal(first.keyId, id === ID ? undefined : key.kid);
      assert.equal(await source.fetch({ audience: "a", id }), first, id);
    }
    assert.equal(calls.length, 2);
  });

  it("is closed for good", async () => {
    await source.close();
    await assert.rejects(source.fetch({ audience: "a" }), { code: "ERR_SPIFFE_CLOSED" });
  });

  it("gives out nothing once it is closed, though its client goes on", async () => {
    await using client = new WorkloadApiClient({ socket: server.socket, clock });
    const shared = new JwtSource({ client });
    assert.equal((await shared.fetch({ audience: "a" })).id.uri, ID);
    await shared.close();
    await assert.rejects(shared.fetch({ audience: "a" }), { code: "ERR_SPIFFE_CLOSED" });
    assert.equal((await client.fetchJwtSvid({ audience: "a" })).id.uri, ID);
  });
});

describe("JwtSource with the identity of an X509Source", () => {
  const OTHER = "spiffe://example.org/other";
  let identity: X509Source;
  let x509: Feed<X509Answer>;
  let agent: WorkloadServer;
  let tokens: JwtSource;
  let svids: Map<string, NonNullable<X509Answer["svids"]>[number]>;

  beforeEach(async () => {
    const ca = await TestCa.create({ trustDomain: "example.org" });
    svids = new Map();
    for (const id of [ID, OTHER]) {
      const { chainDer, privateKeyPkcs8 } = await ca.issue({ id });
      svids.set(id, { spiffeId: id, x509Svid: chainDer, x509SvidKey: privateKeyPkcs8, bundle: ca.rootDer });
    }
    x509 = new Feed();
    const bundles = new Feed<Bundles>();
    agent = await WorkloadServer.start({
      fetchX509SVID: (_, context) => x509.stream(context),
      fetchJWTBundles: (_, context) => bundles.stream(context),
      fetchJWTSVID(request) {
        calls.push(request);
        return answer(request);
      },
    });
    bundles.push(jwks(key));
    x509.push({ svids: [svids.get(ID)!, svids.get(OTHER)!] });
    const client = new WorkloadApiClient({ socket: agent.socket, clock });
    identity = new X509Source({ client });
    tokens = new JwtSource({ client, identity });
    await Promise.all([identity.ready(), tokens.ready()]);
  });

  afterEach(async () => {
    await tokens.close();
    await identity.close();
    await agent.close();
  });

  it("[S-20] the key holds the resolved SPIFFE ID: another default identity gets a token of its own", async () => {
    assert.equal((await tokens.fetch({ audience: "a" })).id.uri, ID);
    assert.equal((await tokens.fetch({ audience: "a", id: ID })).id.uri, ID);
    assert.equal(calls.length, 1);
    x509.push({ svids: [svids.get(OTHER)!, svids.get(ID)!] });
    await eventually(() => identity.counters.updates === 2, "the other order");
    assert.equal((await tokens.fetch({ audience: "a" })).id.uri, OTHER);
    assert.equal((await tokens.fetch({ audience: "a", id: ID })).id.uri, ID);
    assert.equal(calls.length, 2);
  });

  it("[S-20] [WL-09] no token of an identity that is no longer among the SVIDs comes from the cache", async () => {
    await tokens.fetch({ audience: "a", id: OTHER });
    await tokens.fetch({ audience: "a", id: ID });
    x509.push({ svids: [svids.get(ID)!] });
    await eventually(() => identity.counters.updates === 2, "the other one's end");
    answer = () => Promise.reject(new ConnectError("not yours", Code.PermissionDenied));
    await assert.rejects(tokens.fetch({ audience: "a", id: OTHER }), { code: "ERR_SPIFFE_NO_IDENTITY" });
    assert.equal((await tokens.fetch({ audience: "a", id: ID })).id.uri, ID);
    assert.equal(calls.length, 3);
  });

  it("[S-20] [WL-29] a redaction of the X.509 stream alone ends tokens too, held and under way", async () => {
    await tokens.fetch({ audience: "a", id: ID });
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    answer = async (request) => {
      await gate;
      return answerFor(request);
    };
    const underWay = assert.rejects(tokens.fetch({ audience: "b", id: ID }), { code: "ERR_SPIFFE_REVOKED" });
    await eventually(() => calls.length === 2, "the fetch");
    x509.push(new ConnectError("no identity", Code.PermissionDenied));
    await eventually(() => identity.state === "revoked", "the redaction");
    assert.equal(tokens.state, "ready");
    release();
    await underWay;
    await assert.rejects(tokens.fetch({ audience: "a" }), { code: "ERR_SPIFFE_REVOKED" });
    await assert.rejects(tokens.fetch({ audience: "a", id: ID }), { code: "ERR_SPIFFE_REVOKED" });
    x509.push({ svids: [svids.get(ID)!] });
    await eventually(() => {
      void clock.advance(1_000);
      return identity.state === "ready";
    }, "the identity");
    assert.equal((await tokens.fetch({ audience: "a" })).id.uri, ID);
  });
});

describe("validateJwtSvid", () => {
  it("[WL-50] refuses an answer without ID, without claims or with a wrong ID, and takes a whole one", async () => {
    let given: { spiffeId?: string; claims?: { sub: string } } = {};
    const validator = await WorkloadServer.start({ validateJWTSVID: () => given });
    const client = new WorkloadApiClient({ socket: validator.socket });
    const validate = () => client.validateJwtSvid({ token: "a.b.c", audience: "a" });
    const claims = { sub: ID };
    for (const [wrong, reason] of [
      [{ claims }, "workload.field-missing"],
      [{ spiffeId: ID }, "workload.field-missing"],
      [{ spiffeId: "spiffe://EXAMPLE.org/web", claims }, "id.trust-domain-character"],
    ] as const) {
      given = wrong;
      await assert.rejects(validate(), { code: "ERR_SPIFFE_WORKLOAD_API", reason });
    }
    given = { spiffeId: ID, claims };
    const { id, claims: found } = await validate();
    assert.equal(id.uri, ID);
    assert.equal(found.sub, ID);
    await assert.rejects(client.validateJwtSvid({ token: "a.b.c", audience: "" }), { code: "ERR_SPIFFE_USAGE" });
    await client.close();
    await validator.close();
  });
});
