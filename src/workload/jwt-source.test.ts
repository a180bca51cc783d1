import assert from "node:assert/strict";
import { afterEach, before, beforeEach, describe, it } from "node:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { eventually, Feed, WorkloadServer } from "../../test/support/workload-server.ts";
import { ManualClock, signTestJwt, type TestJwtKey, testJwtKey } from "../authority/testing.ts";
import type { JWTBundlesResponseSchema, JWTSVIDRequest, JWTSVIDResponseSchema } from "../gen/workload/workload_pb.js";
import { TrustDomain } from "../id/index.ts";
import { WorkloadApiClient } from "./client.ts";
import { cacheKey, JwtCache } from "./jwt-cache.ts";
import { JwtSource } from "./jwt-source.ts";

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

  it("[S-20] caches by identity and by the set of audiences, whatever their order", async () => {
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

  it("[S-20] hands out nothing within 5 s of exp", async () => {
    const first = await source.fetch({ audience: "a" });
    clock.step(LIFE_S * 1000 - 5_001);
    answer = () => Promise.reject(new ConnectError("no renewal yet", Code.Unavailable));
    assert.equal(await source.fetch({ audience: "a" }), first);
    await eventually(() => calls.length === 2, "the attempt in the background");
    clock.step(1);
    await assert.rejects(source.fetch({ audience: "a" }), { code: "ERR_SPIFFE_WORKLOAD_API" });
    answer = answerFor;
    assert.notEqual((await source.fetch({ audience: "a" })).token, first.token);
  });

  it("renews in the background once half of a token's life has passed, and not before", async () => {
    const first = await source.fetch({ audience: "a" });
    clock.step((LIFE_S * 1000) / 2 - 1);
    assert.equal(await source.fetch({ audience: "a" }), first);
    assert.equal(calls.length, 1);
    clock.step(1);
    assert.equal(await source.fetch({ audience: "a" }), first);
    await eventually(() => calls.length === 2, "the renewal");
    let newer = first;
    await eventually(() => {
      void source.fetch({ audience: "a" }).then((svid) => {
        newer = svid;
      });
      return newer !== first;
    }, "the newer token");
    assert.ok(newer.expiresAt > first.expiresAt);
    assert.equal(calls.length, 2);
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
    release();
    await underWay;
    await clock.advance(1_000);
    await source.ready();
    await source.fetch({ audience: "a" });
  });

  it("[S-20] fetches anew when the token's key has left the bundle", async () => {
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
    const cache = new JwtCache(clock);
    const svid = await source.fetch({ audience: "a" });
    const isCached = async (name: string) => {
      let fetched = false;
      const fetch = async () => {
        fetched = true;
        return svid;
      };
      await cache.get(name, () => true, fetch);
      return !fetched;
    };
    for (let n = 0; n < 1_000; n++) assert.ok(!(await isCached(`${n}`)));
    assert.ok(await isCached("0"), "all fit, and 0 is used again");
    assert.ok(!(await isCached("one more")));
    assert.ok(await isCached("0"));
    assert.ok(!(await isCached("1")), "1 was the least recently used");
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

  it("is closed for good", async () => {
    await source.close();
    await assert.rejects(source.fetch({ audience: "a" }), { code: "ERR_SPIFFE_CLOSED" });
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
