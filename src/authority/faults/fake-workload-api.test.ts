import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { dirname } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { Code } from "@connectrpc/connect";
import { eventually } from "../../../test/support/eventually.ts";
import {
  JWTBundlesRequestSchema,
  JWTBundlesResponseSchema,
  JWTSVIDRequestSchema,
  JWTSVIDResponseSchema,
  ValidateJWTSVIDRequestSchema,
  ValidateJWTSVIDResponseSchema,
  X509BundlesRequestSchema,
  X509BundlesResponseSchema,
  X509SVIDRequestSchema,
  X509SVIDResponseSchema,
} from "../../gen/workload/workload_pb.js";
import { JwtBundle, validateJwtSvid } from "../../jwt/index.ts";
import { verifyX509Svid, X509Bundle, X509Svid } from "../../x509/index.ts";
import { call, callRaw, first, framed, SECURITY } from "../grpc-call.testing.ts";
import { FakeWorkloadApi, type GrpcCode, ManualClock, TestCa } from "../testing.ts";

const X509 = { input: X509SVIDRequestSchema, output: X509SVIDResponseSchema };
const X509_BUNDLES = { input: X509BundlesRequestSchema, output: X509BundlesResponseSchema };
const JWT = { input: JWTSVIDRequestSchema, output: JWTSVIDResponseSchema };
const JWT_BUNDLES = { input: JWTBundlesRequestSchema, output: JWTBundlesResponseSchema };
const VALIDATE = { input: ValidateJWTSVIDRequestSchema, output: ValidateJWTSVIDResponseSchema };

const WEB = { id: "spiffe://example.org/web", hint: "web" };
const API = { id: "spiffe://example.org/api" };

let fake: FakeWorkloadApi;

beforeEach(async () => {
  fake = await FakeWorkloadApi.start({ identities: [WEB, API] });
});
afterEach(() => fake.close());

const x509 = () => call(fake.socket, "FetchX509SVID", X509, {});

/** The bytes of the messages of a call, as they came, and its status if it had one. */
async function raw(method: string): Promise<{ messages: Uint8Array[]; status: number | undefined }> {
  const messages: Uint8Array[] = [];
  const body = framed(new Uint8Array());
  const stream = callRaw(fake.socket, { path: `/SpiffeWorkloadAPI/${method}`, body, headers: SECURITY }, (message) => {
    messages.push(Uint8Array.from(message));
    stream.cancel();
    return message;
  });
  const status = await stream.end.then(
    (answer) => answer.status,
    () => undefined,
  );
  await left();
  return { messages, status };
}

/** A spoilt message goes to streams that are open; this one is for the next. */
const left = () => eventually(() => fake.openStreams() === 0, "the stream was left");

describe("the fake Workload API without a fault", () => {
  it("hands out SVIDs of its CA that verify, in order, with hints", async () => {
    const { svids } = await first(x509());
    assert.deepEqual(
      svids.map(({ spiffeId, hint }) => [spiffeId, hint]),
      [
        [WEB.id, "web"],
        [API.id, ""],
      ],
    );
    for (const [index, { spiffeId, x509Svid, x509SvidKey, bundle }] of svids.entries()) {
      const svid = await X509Svid.parse(x509Svid, x509SvidKey);
      const bundles = X509Bundle.fromDer(fake.ca.trustDomain, bundle);
      assert.equal((await verifyX509Svid(svid.certificates, { x509BundleFor: () => bundles })).id.uri, spiffeId);
      assert.equal(svid.leaf.serialNumber, fake.serials[index]);
      const foreign = (await TestCa.create()).x509Bundle();
      await assert.rejects(verifyX509Svid(svid.certificates, { x509BundleFor: () => foreign }));
    }
  });

  it("issues and validates tokens", async () => {
    const tokens = await first(call(fake.socket, "FetchJWTSVID", JWT, { audience: ["a"], spiffeId: API.id }));
    assert.deepEqual(
      tokens.svids.map(({ spiffeId }) => spiffeId),
      [API.id],
    );
    const svid = tokens.svids[0]?.svid ?? "";
    const { bundles } = await first(call(fake.socket, "FetchJWTBundles", JWT_BUNDLES, {}));
    const bundle = JwtBundle.fromJwks(fake.ca.trustDomain, bundles["spiffe://example.org"]!, "workload-api");
    assert.equal((await validateJwtSvid(svid, { jwtBundleFor: () => bundle }, { audience: "a" })).id.uri, API.id);
    const good = await first(call(fake.socket, "ValidateJWTSVID", VALIDATE, { audience: "a", svid }));
    assert.equal(good.spiffeId, API.id);
    const status = async (method: string, request: object) => {
      const schemas = method === "FetchJWTSVID" ? JWT : VALIDATE;
      return (await call(fake.socket, method, schemas as typeof JWT, request).end).status;
    };
    assert.equal(await status("ValidateJWTSVID", { audience: "b", svid }), Code.InvalidArgument);
    assert.equal(await status("FetchJWTSVID", { audience: [] }), Code.InvalidArgument);
    assert.equal(await status("FetchJWTSVID", { audience: ["a"], spiffeId: `${API.id}2` }), Code.PermissionDenied);
  });

  it("requires the header, and offers nothing else", async () => {
    assert.equal((await call(fake.socket, "FetchX509SVID", X509, {}, {}).end).status, Code.InvalidArgument);
    assert.equal((await call(fake.socket, "FetchWITSVID", X509, {}).end).status, Code.Unimplemented);
    await first(x509());
    assert.deepEqual(
      fake.calls("FetchX509SVID").map(({ number, metadata }) => [number, metadata["workload.spiffe.io"]]),
      [
        [1, undefined],
        [3, "true"],
      ],
    );
  });

  it("keeps streams open and sends each new state: rotations, identities, federated bundles", async () => {
    const stream = x509();
    const bundles = call(fake.socket, "FetchX509Bundles", X509_BUNDLES, {});
    await Promise.all([stream.next(), bundles.next()]);
    assert.deepEqual([fake.openStreams(), fake.openStreams("FetchX509SVID")], [2, 1]);
    const before = fake.serials;
    const after = await fake.rotate();
    assert.ok(after.every((serial) => !before.includes(serial)));
    const { svids } = await stream.next();
    assert.equal((await X509Svid.parse(svids[0]!.x509Svid, svids[0]!.x509SvidKey)).leaf.serialNumber, after[0]);
    await fake.setIdentities([API]);
    assert.equal((await stream.next()).svids.length, 1);
    fake.federate(await TestCa.create({ trustDomain: "partner.example" }));
    assert.deepEqual(Object.keys((await stream.next()).federatedBundles), ["spiffe://partner.example"]);
    assert.equal(Object.keys((await bundles.next()).bundles).length, 2);
    fake.unfederate("partner.example");
    assert.equal(Object.keys((await bundles.next()).bundles).length, 1);
    for (const open of [stream, bundles]) {
      open.end.catch(() => {});
      open.cancel();
    }
    await eventually(() => fake.openStreams() === 0, "the streams were left");
  });

  it("rotates every so many milliseconds, by its clock, and says what it sent", async () => {
    const clock = new ManualClock();
    const sent: string[] = [];
    await using timed = await FakeWorkloadApi.start({
      clock,
      rotateEveryMs: 250,
      onSent: ({ serials }) => sent.push(...serials),
    });
    const stream = call(timed.socket, "FetchX509SVID", X509, {});
    await stream.next();
    await clock.advance(1_000);
    for (let rotation = 0; rotation < 4; rotation++) await stream.next();
    assert.deepEqual([timed.rotations, sent.length, new Set(sent).size], [5, 5, 5]);
    timed.rotateEvery(0);
    await clock.advance(1_000);
    assert.equal(timed.rotations, 5);
    stream.end.catch(() => {});
    stream.cancel();
  });

  it("removes its socket and directory when it is closed, also twice", async () => {
    assert.ok(existsSync(fake.path));
    await Promise.all([fake.close(), fake.close()]);
    assert.ok(!existsSync(fake.path) && !existsSync(dirname(fake.path)));
  });

  it("refuses identities and faults that make no sense", async () => {
    await assert.rejects(FakeWorkloadApi.start({ identities: [{ id: "example.org/web" }] }), { code: "ERR_SPIFFE_ID" });
    await assert.rejects(FakeWorkloadApi.start({ trustDomain: "Example.org" }), { code: "ERR_SPIFFE_ID" });
    const stream = x509();
    await stream.next();
    assert.throws(() => fake.spoil({ empty: "nothing" }), { code: "ERR_SPIFFE_USAGE" });
    fake.spoil({ empty: "bundle" });
    await stream.next();
    stream.end.catch(() => {});
    stream.cancel();
  });
});

describe("the fake Workload API with a fault", () => {
  it("sends messages that are none, too long, or empty in one field", async () => {
    fake.spoil("corrupt");
    assert.deepEqual((await raw("FetchX509SVID")).messages, [Uint8Array.of(0x0a, 0x7f, 0x00)]);
    fake.spoil("oversized");
    assert.ok((await raw("FetchX509SVID")).messages[0]!.length > 4_194_304);
    fake.spoil("truncated");
    assert.deepEqual(await raw("FetchX509SVID"), { messages: [], status: 0 });
    fake.spoil({ bytes: Uint8Array.of(1, 2, 3) });
    assert.deepEqual((await raw("FetchX509SVID")).messages, [Uint8Array.of(1, 2, 3)]);
    for (const field of ["spiffe_id", "x509_svid", "x509_svid_key", "bundle"] as const) {
      fake.spoil({ empty: field });
      const [svid] = (await first(x509())).svids;
      await left();
      const found = { spiffe_id: svid?.spiffeId, x509_svid: svid?.x509Svid, x509_svid_key: svid?.x509SvidKey };
      assert.equal({ ...found, bundle: svid?.bundle }[field]?.length, 0, field);
    }
    fake.spoil({ empty: "svids" });
    assert.equal((await first(x509())).svids.length, 0);
    await left();
    fake.spoil({ empty: "bundle" }, "FetchX509Bundles");
    const { bundles } = await first(call(fake.socket, "FetchX509Bundles", X509_BUNDLES, {}));
    assert.equal(bundles["spiffe://example.org"]?.length, 0);
    // One answer only.
    assert.equal((await first(x509())).svids[0]?.spiffeId, WEB.id);
  });

  it("sends a hint twice, the key of another, a byte too many, on open streams as well", async () => {
    const stream = x509();
    const [good] = (await stream.next()).svids;
    assert.equal(fake.spoil("duplicate-hint"), 1);
    assert.deepEqual(
      (await stream.next()).svids.map(({ hint }) => hint),
      ["duplicate", "duplicate"],
    );
    fake.spoil("wrong-key");
    const wrong = (await stream.next()).svids[0]!;
    assert.notDeepEqual(wrong.x509SvidKey, good?.x509SvidKey);
    await assert.rejects(X509Svid.parse(wrong.x509Svid, wrong.x509SvidKey), { reason: "x509.key-mismatch" });
    fake.spoil("trailing-byte");
    assert.equal((await stream.next()).svids[0]?.x509Svid.length, good!.x509Svid.length + 1);
    await fake.rotate();
    const fine = (await stream.next()).svids[0]!;
    assert.equal((await X509Svid.parse(fine.x509Svid, fine.x509SvidKey)).id.uri, WEB.id);
    fake.end();
    assert.equal((await stream.end).status, 0);
  });

  it("ends streams and answers calls with each status, so often as it is told", async () => {
    const names = Object.keys(Code).filter((name) => /^[A-Z]/.test(name)) as GrpcCode[];
    assert.equal(names.length, 16);
    for (const name of names) {
      const stream = x509();
      await stream.next();
      fake.fail(name, { method: "FetchX509SVID", message: "50 % of it, in full", calls: 1 });
      for (const ended of [await stream.end, await x509().end]) {
        assert.deepEqual([ended.status, ended.message], [Code[name], "50 % of it, in full"]);
      }
      await first(x509());
    }
  });

  it("takes the identity away until it is healed, from every method", async () => {
    const stream = x509();
    await stream.next();
    fake.redact();
    assert.equal((await stream.end).status, Code.PermissionDenied);
    assert.equal((await call(fake.socket, "FetchJWTSVID", JWT, { audience: ["a"] }).end).status, Code.PermissionDenied);
    assert.equal((await call(fake.socket, "FetchJWTBundles", JWT_BUNDLES, {}).end).status, Code.PermissionDenied);
    await fake.heal();
    await first(x509());
  });

  it("delays answers, resets streams, ends them after an answer", async () => {
    const stream = x509();
    await stream.next();
    fake.reset();
    await assert.rejects(stream.end);
    fake.delay(60);
    const waiting = x509().next();
    await eventually(() => fake.calls().length === 2, "the call");
    assert.equal(fake.openStreams(), 0);
    await waiting;
    fake.endAfterAnswer();
    const { status, messages } = await x509().end;
    assert.deepEqual([status, messages.length], [0, 1]);
    await fake.heal();
    await first(x509());
  });

  it("says GOAWAY, with a code", async () => {
    const session = connectHttp2("http://localhost", { createConnection: () => connect(fake.path) });
    const goaway = new Promise<number>((resolve) => session.once("goaway", resolve));
    session.on("error", () => {});
    await eventually(() => {
      fake.goAway("ENHANCE_YOUR_CALM");
      return session.closed || session.destroyed;
    }, "the end of the session");
    assert.equal(await goaway, 11);
  });

  it("accepts and is silent, on connections of before as well, until it is healed", async () => {
    const old = x509();
    await old.next();
    fake.halfOpen();
    const waiting = x509();
    const answers: string[] = [];
    for (const stream of [old, waiting])
      stream.next().then(
        () => answers.push("message"),
        () => answers.push("end"),
      );
    await eventually(() => fake.connections.accepted === 2, "the connection");
    await fake.rotate();
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.deepEqual(answers, []);
    await fake.heal();
    await first(x509());
    assert.deepEqual(answers, []);
    for (const stream of [old, waiting]) {
      stream.end.catch(() => {});
      stream.cancel();
    }
    await eventually(() => fake.connections.open === 0, "the end of all connections");
  });

  it("breaks connections off, stops and comes back, and is replaced beside a connection that stays", async () => {
    const cut = x509();
    await cut.next();
    fake.cut();
    await assert.rejects(cut.end);
    await fake.stop();
    assert.ok(!existsSync(fake.path));
    await assert.rejects(x509().end, /ENOENT/);
    await fake.heal();
    const stays = x509();
    await stays.next();
    await fake.replace();
    await first(x509());
    await fake.rotate();
    await stays.next();
    assert.ok(existsSync(fake.path));
    stays.end.catch(() => {});
    stays.cancel();
  });

  it("sends so many states so fast, and stays with the last", async () => {
    const stream = x509();
    await stream.next();
    await fake.flood(500, 5_000);
    let last: Uint8Array | undefined;
    for (let n = 0; n < 500; n++) last = (await stream.next()).svids[0]?.x509Svid;
    stream.end.catch(() => {});
    stream.cancel();
    assert.deepEqual((await first(x509())).svids[0]?.x509Svid, last);
  });
});
