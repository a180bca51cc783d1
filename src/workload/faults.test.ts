import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { eventually } from "../../test/support/eventually.ts";
import { FakeWorkloadApi, type GrpcCode, type MessageFault } from "../authority/testing.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import type { ErrorCode, Reason } from "../base/codes.ts";
import { isSpiffeError, type SpiffeError } from "../base/errors.ts";
import { WorkloadApiClient } from "./client.ts";
import { X509Source } from "./x509-source.ts";

const ID = "spiffe://example.org/web";

let fake: FakeWorkloadApi;
let source: X509Source;
let client: WorkloadApiClient;

beforeEach(async () => {
  fake = await FakeWorkloadApi.start({ identities: [{ id: ID }] });
  source = await X509Source.open({ socket: fake.socket, keepaliveMs: 200 });
  client = new WorkloadApiClient({ socket: fake.socket, keepaliveMs: 200 });
});

afterEach(async () => {
  await source.close();
  await client.close();
  await fake.close();
});

/** The source has what the agent has now. */
async function recovered(): Promise<void> {
  await eventually(
    () => source.state === "ready" && source.x509Svid().leaf.serialNumber === fake.serials[0],
    "the newest SVID",
  );
}

/** Requires that an error names the socket, says in which phase and by which code, and repeats no secret. */
function assertTells(error: SpiffeError | undefined, says: RegExp): void {
  assert.ok(isSpiffeError(error), String(error));
  assert.ok(error.message.includes(fake.path), error.message);
  assert.match(error.message, says);
  assert.match(String(error.phase), /^(?:connect|watch-x509|fetch-x509)$/);
  assert.equal(error.retryable, true);
}

describe("faults of one message", () => {
  const dropped: [MessageFault, Reason][] = [
    [{ empty: "svids" }, "workload.no-svid"],
    [{ empty: "spiffe_id" }, "workload.field-missing"],
    [{ empty: "x509_svid" }, "workload.field-missing"],
    [{ empty: "x509_svid_key" }, "workload.field-missing"],
    [{ empty: "bundle" }, "workload.field-missing"],
    ["wrong-key", "x509.key-mismatch"],
    ["trailing-byte", "x509.malformed"],
    [{ bytes: new Uint8Array() }, "workload.no-svid"],
  ];
  for (const [fault, reason] of dropped) {
    it(`[WL-11] [S-11] [A-14] drops ${JSON.stringify(fault)}, says so, and stays on the stream`, async () => {
      const held = source.current;
      assert.equal(fake.spoil(fault), 1);
      await eventually(() => source.counters.invalid === 1, "the update was dropped");
      assert.equal(source.current, held);
      assert.equal(source.x509Svid().id.uri, ID);
      assert.equal(source.state, "stale");
      assert.ok(source.lastError?.message.includes(fake.path));
      assert.deepEqual([source.lastError?.reason, source.lastError?.phase], [reason, "watch-x509"]);
      await fake.rotate();
      await recovered();
      assert.equal(source.counters.streams, 1);
    });
  }

  it("[WL-15] takes the first SVID with a hint that came twice", async () => {
    await fake.setIdentities([
      { id: ID, hint: "a" },
      { id: "spiffe://example.org/other", hint: "b" },
    ]);
    await eventually(() => source.current?.svids.length === 2, "both");
    fake.spoil("duplicate-hint");
    await eventually(() => source.current?.svids.length === 1, "one of them");
    assert.deepEqual([source.x509Svid().id.uri, source.x509Svid().hint], [ID, "duplicate"]);
    assert.equal(source.counters.invalid, 0);
  });

  for (const [fault, says, reason] of [
    ["corrupt", /\(Internal\)/, "workload.unavailable"],
    ["truncated", /\(Internal\).*incomplete/, "workload.unavailable"],
    ["oversized", /\(ResourceExhausted\)/, "workload.too-large"],
  ] as const) {
    it(`[WE-16] [WE-15] a ${fault} message ends the stream and not the watch; the state stays`, async () => {
      const held = source.current;
      fake.spoil(fault);
      await eventually(() => source.lastError !== undefined, "the loss of the stream");
      assertTells(source.lastError, says);
      assert.equal(source.lastError?.reason, reason);
      assert.equal(source.current, held);
      await fake.rotate();
      await recovered();
      assert.ok(source.counters.streams >= 2);
    });
  }

  it("the same faults in single calls are errors of these calls, and the next call passes", async () => {
    const faults: [MessageFault, Reason | undefined][] = [
      ["corrupt", "workload.unavailable"],
      ["truncated", "workload.unavailable"],
      ["oversized", "workload.too-large"],
      [{ empty: "spiffe_id" }, "workload.field-missing"],
      [{ empty: "svid" }, "workload.field-missing"],
      [{ empty: "svids" }, "workload.no-svid"],
    ];
    for (const [fault, reason] of faults) {
      fake.spoil(fault, "FetchJWTSVID");
      await assert.rejects(client.fetchJwtSvid({ audience: "a" }), (error: SpiffeError) => {
        assert.deepEqual([error.code, error.reason, error.phase], ["ERR_SPIFFE_WORKLOAD_API", reason, "fetch-jwt"]);
        return error.message.includes(fake.path);
      });
      const { token } = await client.fetchJwtSvid({ audience: "a" });
      for (const field of ["spiffe_id", "claims"]) {
        fake.spoil({ empty: field }, "ValidateJWTSVID");
        await assert.rejects(client.validateJwtSvid({ token, audience: "a" }), { reason: "workload.field-missing" });
      }
      assert.equal((await client.validateJwtSvid({ token, audience: "a" })).id.uri, ID);
    }
    fake.spoil({ empty: "bundle" }, "FetchX509Bundles");
    await assert.rejects(client.fetchX509Bundles(), { reason: "workload.field-missing", phase: "fetch-x509-bundles" });
    fake.spoil({ empty: "bundles" }, "FetchJWTBundles");
    await assert.rejects(client.fetchJwtBundles(), { reason: "workload.field-missing", phase: "fetch-jwt-bundles" });
    assert.equal((await client.fetchX509Bundles()).bundles.size, 1);
    assert.equal((await client.fetchJwtBundles()).bundles.size, 1);
  });
});

describe("faults of streams and connections", () => {
  const transient: [string, () => unknown, RegExp][] = [
    ["a reset stream", () => fake.reset(), /\(Internal\)/],
    ["a connection that breaks off", () => fake.cut(), /\((?:Canceled|Aborted|Internal)\)/],
    ["GOAWAY with an error", () => fake.goAway("INTERNAL_ERROR"), /\(Internal\)/],
    ["GOAWAY for too many calls", () => fake.goAway("ENHANCE_YOUR_CALM"), /\((?:Internal|ResourceExhausted)\)/],
    ["a silent connection", () => fake.halfOpen(), /no answer to a PING \(Unavailable\)/],
    ["an agent that ends", () => fake.stop(), /\((?:Canceled|Aborted|Internal|Unavailable, (?:ENOENT|ECONNREFUSED))\)/],
  ];
  for (const [what, cause, says] of transient) {
    it(`[WE-16] survives ${what}: typed error, the state stays, and comes up to date again`, async () => {
      const held = source.current;
      await cause();
      await eventually(() => source.lastError !== undefined, "the loss of the stream");
      assertTells(source.lastError, says);
      assert.equal(source.current, held);
      await fake.heal();
      await fake.rotate();
      await recovered();
    });
  }

  it("[WL-04] a clean end is no error, and the next stream follows", async () => {
    fake.end();
    await eventually(() => source.counters.streams === 2, "the next stream");
    assert.equal(source.lastError, undefined);
    await fake.rotate();
    await recovered();
  });

  it("[WE-16] a delayed answer is waited for", async () => {
    fake.delay(300);
    fake.cut();
    await fake.rotate();
    await recovered();
    assert.equal(source.counters.streams, 2);
  });

  it("a call over a silent connection fails in its time, and the next one dials anew", async () => {
    await client.fetchX509Context();
    fake.halfOpen();
    await assert.rejects(client.fetchJwtSvid({ audience: "a", timeoutMs: 50 }), (error: SpiffeError) => {
      assert.deepEqual([error.code, error.phase], ["ERR_SPIFFE_TIMEOUT", "fetch-jwt"]);
      return error.message.includes(fake.path) && /DeadlineExceeded/.test(error.message);
    });
    await fake.heal();
    // The doubt about the connection was cleared up by a PING.
    assert.ok(await client.fetchJwtSvid({ audience: "a", timeoutMs: 5_000 }).catch(() => client.fetchX509Context()));
    assert.ok(await client.fetchJwtSvid({ audience: "a" }));
  });

  it("a new socket at the same path is dialled although the old connection still works", async () => {
    const { accepted } = fake.connections;
    await fake.replace();
    await eventually(() => fake.connections.accepted > accepted, "a connection to the new socket");
    await eventually(() => source.counters.streams === 2 && source.state === "ready", "a stream on it");
    assert.match(String(source.lastError?.message), new RegExp(`${fake.path} was replaced`));
    await fake.rotate();
    await recovered();
  });
});

describe("statuses", () => {
  const codes: [GrpcCode, ErrorCode][] = [
    ["Canceled", "ERR_SPIFFE_WORKLOAD_API"],
    ["Unknown", "ERR_SPIFFE_WORKLOAD_API"],
    ["DeadlineExceeded", "ERR_SPIFFE_TIMEOUT"],
    ["NotFound", "ERR_SPIFFE_WORKLOAD_API"],
    ["AlreadyExists", "ERR_SPIFFE_WORKLOAD_API"],
    ["ResourceExhausted", "ERR_SPIFFE_WORKLOAD_API"],
    ["FailedPrecondition", "ERR_SPIFFE_WORKLOAD_API"],
    ["Aborted", "ERR_SPIFFE_WORKLOAD_API"],
    ["OutOfRange", "ERR_SPIFFE_WORKLOAD_API"],
    ["Internal", "ERR_SPIFFE_WORKLOAD_API"],
    ["Unavailable", "ERR_SPIFFE_WORKLOAD_API"],
    ["DataLoss", "ERR_SPIFFE_WORKLOAD_API"],
    ["Unauthenticated", "ERR_SPIFFE_WORKLOAD_API"],
  ];
  for (const [code, expected] of codes) {
    it(`[WE-16] ${code} on a live stream leaves the state in use, and the next stream follows`, async () => {
      const held = source.current;
      fake.fail(code, { message: "scripted", calls: 0 });
      await eventually(() => source.counters.streams >= 2, "the next stream");
      assertTells(source.lastError, new RegExp(`\\(${code}\\): scripted`));
      assert.equal(source.lastError?.code, expected);
      assert.equal(source.current, held);
      await fake.rotate();
      await recovered();
    });
  }

  for (const [id, code] of [
    ["WE-15", "InvalidArgument"],
    ["WE-19", "Unimplemented"],
  ] as const) {
    it(`[${id}] after ${code} on a live stream no call of that RPC follows, those of others do`, async () => {
      const held = source.current;
      await client.fetchX509Bundles();
      fake.fail(code, { method: "FetchX509SVID" });
      await eventually(() => source.lastError !== undefined, "the end of the watch");
      assert.equal(source.lastError?.retryable, false);
      assert.match(String(source.lastError?.message), new RegExp(`${fake.path}.*\\(${code}\\)`));
      const updates = source.updates();
      assert.equal((await updates.next()).value, held);
      await assert.rejects(updates.next(), { code: "ERR_SPIFFE_WORKLOAD_API", retryable: false });
      // A connection that breaks and a socket that is replaced start nothing either.
      fake.cut();
      await fake.replace();
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      assert.equal(fake.calls("FetchX509SVID").length, 1);
      assert.equal(source.current, held);
      await client.fetchX509Bundles();
    });
  }
});

describe("the pace of calls", () => {
  /** Real time, but so much faster: what takes 5 s takes a tenth. */
  const swift: Clock = {
    now: systemClock.now,
    monotonic: () => systemClock.monotonic() * 10,
    sleep: (ms, signal) => systemClock.sleep(ms / 10, signal),
  };

  it("[A-18] [WL-04] makes at most 20 calls in 5 s to a server that ends every stream after a valid message", async () => {
    await source.close();
    fake.endAfterAnswer();
    const before = fake.calls("FetchX509SVID").length;
    const begun = swift.monotonic();
    const watched = new X509Source({ socket: fake.socket, clock: swift });
    const calls = () => fake.calls("FetchX509SVID").length - before;
    await new Promise((resolve) => setTimeout(resolve, 500));
    await eventually(() => calls() >= 3, "a third call");
    await watched.close();
    const spans = Math.ceil((swift.monotonic() - begun) / 5_000);
    assert.ok(calls() <= 20 * spans, `${calls()} calls in ${5 * spans} s`);
    assert.equal(watched.counters.invalid, 0);
  });

  it("[WE-16] the mean gap between calls to a server that fails is at least 50 ms", async () => {
    fake.fail("Unavailable");
    const watched = new X509Source({ socket: fake.socket });
    await eventually(() => fake.calls("FetchX509SVID").length >= 8, "some calls");
    await watched.close();
    const at = fake.calls("FetchX509SVID").map((call) => call.at);
    assert.ok((at.at(-1)! - at[1]!) / (at.length - 2) >= 50, at.join(" "));
  });

  it("[A-18] a flood of 5,000 updates is followed, and the newest wins", async () => {
    await fake.flood(5_000, 5_000);
    await recovered();
    assert.equal(source.counters.invalid, 0);
    assert.ok(source.counters.updates < 1_000, `${source.counters.updates} were judged`);
    assert.equal(source.counters.streams, 1);
  });
});
