import assert from "node:assert/strict";
import { afterEach, before, beforeEach, describe, it } from "node:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { eventually } from "../../test/support/eventually.ts";
import { Feed, WorkloadServer, type X509Answer } from "../../test/support/workload-server.ts";
import { ManualClock, TestCa, type TestCertificateOptions } from "../authority/testing.ts";
import { systemClock } from "../base/clock.ts";
import { SpiffeId, TrustDomain } from "../id/index.ts";
import { WorkloadApiClient } from "./client.ts";
import type { X509Context } from "./snapshot.ts";
import { X509Source, type X509SourceOptions } from "./x509-source.ts";

const ID = "spiffe://example.org/web";
const OWN = TrustDomain.parse("example.org");
const PARTNER = TrustDomain.parse("partner.example");
const HOUR_MS = 3_600_000;

let ca: TestCa;
let partnerCa: TestCa;
let feed: Feed<X509Answer>;
let server: WorkloadServer;
let clock: ManualClock;
let opened: { close(): Promise<void> }[];

type Svid = { spiffeId: string; x509Svid: Uint8Array; x509SvidKey: Uint8Array; bundle: Uint8Array; hint?: string };

async function svid(options: TestCertificateOptions = {}): Promise<Svid> {
  const { chainDer, privateKeyPkcs8 } = await ca.issue({ id: ID, ...options });
  return { spiffeId: options.id ?? ID, x509Svid: chainDer, x509SvidKey: privateKeyPkcs8, bundle: ca.certificateDer };
}

function open(options: X509SourceOptions = {}): X509Source {
  const source = new X509Source({ socket: server.socket, clock, ...options });
  opened.push(source);
  return source;
}

/** Closes a source and waits until the server knows. */
async function leave(source: X509Source): Promise<void> {
  await source.close();
  await eventually(() => feed.open === 0, "the stream was left");
}

const withTail = (bytes: Uint8Array) => Uint8Array.from([...bytes, 0]);
const denied = () => new ConnectError("no identity", Code.PermissionDenied);

before(async () => {
  ca = await TestCa.create({ trustDomain: "example.org", notAfter: new Date(Date.now() + 1000 * HOUR_MS) });
  partnerCa = await TestCa.create({ trustDomain: "partner.example" });
});

beforeEach(async () => {
  feed = new Feed();
  clock = new ManualClock();
  opened = [];
  server = await WorkloadServer.start({ fetchX509SVID: (_, context) => feed.stream(context) });
});

afterEach(async () => {
  for (const source of opened) await source.close();
  await server.close();
});

describe("X509Source", () => {
  it("[S-11] [A-14] [WL-11] drops each bad update, keeps the old snapshot whole, counts, and takes the next good one", async () => {
    const good = await svid();
    feed.push({ svids: [good] });
    const source = open();
    const held = await source.ready();
    const other = await svid({ id: "spiffe://example.org/other" });
    const bad: [X509Answer, string][] = [
      [{ svids: [{ ...good, x509SvidKey: other.x509SvidKey }] }, "x509.key-mismatch"],
      [{ svids: [{ ...other, spiffeId: ID }] }, "x509.id-mismatch"],
      [{ svids: [{ ...good, bundle: partnerCa.certificateDer }] }, "x509.no-path"],
      [{ svids: [{ ...good, x509Svid: withTail(good.x509Svid) }] }, "x509.malformed"],
      [{ svids: [good], federatedBundles: { "spiffe://partner.example": new Uint8Array() } }, "workload.field-missing"],
      [{ svids: [{ ...good, bundle: new Uint8Array() }] }, "workload.field-missing"],
      [{ svids: [] }, "workload.no-svid"],
      [{ svids: [await svid({ notBefore: new Date(0), notAfter: new Date(1_000) })] }, "x509.expired"],
    ];
    for (const [index, [message, reason]] of bad.entries()) {
      feed.push(message);
      await eventually(() => source.counters.invalid === index + 1, `update ${index} was dropped`);
      assert.equal(source.lastError?.reason, reason);
      assert.equal(source.lastError?.phase, "watch-x509");
      assert.equal(/clock/.test(source.lastError?.hint ?? ""), reason === "x509.expired");
      assert.equal(source.current, held);
      assert.equal(source.state, "stale");
      assert.equal(source.x509Svid().id.uri, ID);
    }
    feed.push({ svids: [await svid()] });
    await eventually(() => source.current !== held, "the good update was taken");
    assert.equal(source.state, "ready");
    assert.equal(source.current?.sequence, 2);
    assert.deepEqual(source.counters, { updates: 2, unchanged: 0, invalid: bad.length, streams: 1, denied: 0 });
  });

  it("[WL-05] [WL-09] a new message replaces everything: a bundle that is absent is gone", async () => {
    const good = await svid();
    feed.push({ svids: [good], federatedBundles: { "spiffe://partner.example": partnerCa.certificateDer } });
    const source = open();
    await source.ready();
    assert.ok(source.x509BundleFor(PARTNER)?.equals(partnerCa.x509Bundle()));
    feed.push({ svids: [good] });
    await eventually(() => source.counters.updates === 2, "the second update");
    assert.equal(source.x509BundleFor(PARTNER), undefined);
    assert.ok(source.x509BundleFor(OWN)?.equals(ca.x509Bundle()));
  });

  it("an update that says the same again changes nothing and wakes no reader", async () => {
    const good = await svid();
    const source = open();
    const seen: number[] = [];
    const reading = (async () => {
      for await (const { sequence } of source.updates()) seen.push(sequence);
    })();
    feed.push({ svids: [good] });
    const held = await source.ready();
    feed.push({ svids: [good] });
    await eventually(() => source.counters.unchanged === 1, "the same again");
    assert.equal(source.current, held);
    feed.push({ svids: [{ ...good, hint: "now with a hint" }] });
    await eventually(() => source.counters.updates === 2, "a real change");
    await source.close();
    await reading;
    assert.deepEqual(seen, [1, 2]);
  });

  it("[S-17] hands no SVID out after notAfter, whatever the agent does, and recovers with the next one", async () => {
    const notAfter = new Date(Math.floor(clock.now() / 1000) * 1000 + 60_000);
    feed.push({ svids: [await svid({ notAfter })] });
    const source = open();
    await source.ready();
    clock.step(notAfter.getTime() - clock.now());
    assert.equal(source.x509Svid().id.uri, ID);
    assert.equal(source.state, "ready");
    clock.step(1);
    assert.equal(source.state, "expired");
    assert.throws(() => source.x509Svid(), { code: "ERR_SPIFFE_EXPIRED", reason: "x509.expired" });
    feed.push({ svids: [await svid({ notAfter: new Date(clock.now() + HOUR_MS) })] });
    await eventually(() => source.state === "ready", "the renewal");
    assert.equal(source.x509Svid().id.uri, ID);
  });

  it("[S-17] [A-17] a jump of the wall clock expires the SVID at once, and a jump back brings it back", async () => {
    feed.push({ svids: [await svid()] });
    const source = open();
    await source.ready();
    for (const year of [1, 100]) {
      clock.step(year * 365 * 24 * HOUR_MS);
      assert.throws(() => source.x509Svid(), { code: "ERR_SPIFFE_EXPIRED" });
      clock.step(-year * 365 * 24 * HOUR_MS);
      assert.equal(source.x509Svid().id.uri, ID);
    }
  });

  it("[S-17] asks anew when most of an SVID's time is over and no newer one came; one that came in time asks nothing", async () => {
    const lasting = async (ms: number) => ({ svids: [await svid({ notAfter: new Date(clock.now() + ms) })] });
    feed.push(await lasting(60_000));
    const source = open();
    await source.ready();
    await clock.advance(40_000);
    feed.push(await lasting(60_000));
    await eventually(() => source.counters.updates === 2, "a renewal in time");
    await clock.advance(40_000);
    assert.equal(source.counters.streams, 1);
    await clock.advance(6_000);
    await eventually(() => feed.streams === 2, "the question");
    assert.deepEqual(
      [source.state, source.lastError?.code, source.lastError?.phase],
      ["stale", "ERR_SPIFFE_TIMEOUT", "watch-x509"],
    );
    assert.ok(source.lastError?.message.includes(server.path));
    assert.equal(source.x509Svid().id.uri, ID);
    await clock.advance(8_000);
    await eventually(() => feed.streams === 3, "another question, before the end");
    feed.push(await lasting(60_000));
    await eventually(() => source.state === "ready", "the answer");
    await clock.advance(40_000);
    assert.equal(feed.streams, 3);
  });

  it("[A-17] goes on asking for an SVID that expired, and never in a hot loop", async () => {
    feed.push({ svids: [await svid({ notAfter: new Date(clock.now() + 60_000) })] });
    const source = open();
    await source.ready();
    await clock.advance(600_000);
    assert.equal(source.state, "expired");
    assert.ok(feed.streams > 5 && feed.streams < 25, `${feed.streams} streams`);
    feed.push({ svids: [await svid({ notAfter: new Date(clock.now() + HOUR_MS) })] });
    // The longest wait between two streams.
    await clock.advance(31_000);
    await eventually(() => source.state === "ready", "the renewal");
  });

  it("[A-17] [S-17] steps of the wall clock by minutes and years make no hot loop and accept nothing expired", async () => {
    const good = await svid({ notAfter: new Date(clock.now() + HOUR_MS) });
    feed.push({ svids: [good] });
    const source = open();
    await source.ready();
    const year = 365 * 24 * HOUR_MS;
    for (const [step, isOver] of [
      [300_000, false],
      [-600_000, false],
      [300_000 + year, true],
      [-2 * year, false],
      [year, false],
    ] as const) {
      clock.step(step);
      assert.equal(source.state === "expired", isOver);
      // The agent answers a question with what it has, which may be over.
      feed.push({ svids: [good] });
      const { unchanged, invalid } = source.counters;
      await clock.advance(20_000);
      await eventually(() => source.counters.unchanged + source.counters.invalid > unchanged + invalid, "the answer");
      if (isOver) assert.throws(() => source.x509Svid(), { code: "ERR_SPIFFE_EXPIRED" });
      else assert.equal(source.x509Svid().id.uri, ID);
    }
    assert.ok(feed.streams < 20, `${feed.streams} streams`);
  });

  it("[S-17] a step of the wall clock that makes the renewal overdue asks within a second; another asks nothing", async () => {
    const lasting = async (ms: number) => ({ svids: [await svid({ notAfter: new Date(clock.now() + ms) })] });
    feed.push(await lasting(HOUR_MS));
    const source = open();
    await source.ready();
    for (const step of [-0.5 * HOUR_MS, 0.5 * HOUR_MS, 0.6 * HOUR_MS]) {
      clock.step(step);
      await clock.advance(2_000);
      assert.equal(feed.streams, 1);
    }
    clock.step(0.2 * HOUR_MS);
    // Up to a second until it is seen, then the wait before the next stream.
    await clock.advance(1_200);
    await eventually(() => feed.streams === 2, "the question");
    feed.push(await lasting(HOUR_MS));
    await eventually(() => source.state === "ready", "the answer");
  });

  it("[A-17] an SVID until the year 9999 sets off no timer at once", async () => {
    const far = await svid({ notAfter: new Date(Date.UTC(9999, 11, 31, 23, 59, 59)) });
    feed.push({ svids: [far] });
    const real = open({ clock: systemClock });
    await real.ready();
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    assert.deepEqual([real.state, feed.streams], ["ready", 1]);
  });

  it("[WE-16] a socket that appears ends the wait for it", async () => {
    const late = await WorkloadServer.prepare({ fetchX509SVID: (_, context) => feed.stream(context) });
    const source = open({ socket: late.socket });
    // Long enough for the waits between attempts to grow to many seconds.
    await clock.advance(120_000);
    assert.match(String(source.lastError?.message), /ENOENT/);
    feed.push({ svids: [await svid()] });
    await late.listen();
    await clock.advance(1_100);
    await eventually(() => source.state === "ready", "the connection within a second");
    await source.close();
    await late.close();
  });

  it("[WL-29] PermissionDenied on a live stream redacts SVID and bundles; a new identity ends that", async () => {
    feed.push({ svids: [await svid()] });
    const source = open();
    const states: X509Context[] = [];
    const reading = (async () => {
      for await (const state of source.updates()) states.push(state);
    })();
    await source.ready();
    feed.push(denied());
    await eventually(() => source.state === "revoked", "the redaction");
    assert.equal(source.current, undefined);
    assert.equal(source.x509BundleFor(OWN), undefined);
    assert.throws(() => source.x509Svid(), { code: "ERR_SPIFFE_REVOKED", reason: "workload.revoked" });
    assert.equal(source.lastError?.code, "ERR_SPIFFE_NO_IDENTITY");
    feed.push({ svids: [await svid()] });
    const back = source.ready();
    await clock.advance(1_000);
    await back;
    assert.equal(source.x509Svid().id.uri, ID);
    assert.equal(source.state, "ready");
    await source.close();
    await reading;
    assert.deepEqual(
      states.map(({ svids, bundles, sequence }) => [sequence, svids.length, bundles.size]),
      [
        [1, 1, 1],
        [2, 0, 0],
        [3, 1, 1],
      ],
    );
  });

  it("[WL-28] a workload without identity waits, is not revoked, and starts when it has one", async () => {
    feed.push(denied(), denied());
    const source = open();
    const ready = source.ready();
    await eventually(() => source.counters.denied === 1, "the first refusal");
    assert.equal(source.state, "starting");
    assert.throws(() => source.x509Svid(), { code: "ERR_SPIFFE_NOT_READY" });
    await clock.advance(1_000);
    await eventually(() => source.counters.denied === 2, "the second refusal");
    feed.push({ svids: [await svid()] });
    await clock.advance(2_000);
    assert.equal((await ready).svids[0]?.id.uri, ID);
  });

  it("[WE-16] an outage leaves the snapshot in use as stale, and the agent's return makes it ready", async () => {
    const good = await svid();
    feed.push({ svids: [good] });
    const source = open();
    const held = await source.ready();
    feed.push(new ConnectError("restarting", Code.Unavailable), { svids: [good] });
    await eventually(() => source.state === "stale", "the outage");
    assert.equal(source.lastError?.reason, "workload.unavailable");
    assert.equal(source.x509Svid().id.uri, ID);
    await clock.advance(200);
    await eventually(() => source.state === "ready", "the return");
    assert.equal(source.current, held);
  });

  for (const [id, code] of [
    ["WE-19", Code.Unimplemented],
    ["WE-15", Code.InvalidArgument],
  ] as const) {
    it(`[${id}] ${Code[code]} ends the watch: ready and updates throw, and no stream follows`, async () => {
      feed.push(new ConnectError("scripted", code), { svids: [await svid()] });
      const source = open();
      await assert.rejects(source.ready(), { code: "ERR_SPIFFE_WORKLOAD_API", retryable: false });
      await assert.rejects(source.updates().next(), { code: "ERR_SPIFFE_WORKLOAD_API" });
      await clock.advance(60_000);
      assert.equal(feed.streams, 1);
      assert.throws(() => source.x509Svid(), { code: "ERR_SPIFFE_NOT_READY" });
      const twin = open();
      await twin.ready();
    });
  }

  it("takes the SVID with the wanted hint, and none when there is none", async () => {
    const external = { ...(await svid({ id: "spiffe://example.org/external" })), hint: "external" };
    const svids = [{ ...(await svid()), hint: "internal" }, external];
    feed.push({ svids });
    const source = open({ hint: "external" });
    await source.ready();
    assert.equal(source.x509Svid().id.path, "/external");
    assert.equal(source.state, "ready");
    await leave(source);
    feed.push({ svids });
    const lost = open({ hint: "nothing" });
    await lost.ready();
    assert.throws(() => lost.x509Svid(), {
      code: "ERR_SPIFFE_NO_IDENTITY",
      message: /"nothing".*"internal".*"external"/,
    });
    assert.deepEqual([source.state, lost.state], ["closed", "revoked"]);
    await leave(lost);
    feed.push({ svids });
    const first = open();
    await first.ready();
    assert.equal(first.x509Svid().id.path, "/web");
  });

  it("takes the SVID with the wanted ID, or the one that the program picks", async () => {
    const other = { ...(await svid({ id: "spiffe://example.org/other" })), hint: "other" };
    const svids = [await svid(), other];
    const chosen = async (options: X509SourceOptions) => {
      feed.push({ svids });
      const source = open(options);
      await source.ready();
      try {
        return source.x509Svid().id.path;
      } catch (error) {
        return error as { code: string; cause: unknown; message: string };
      } finally {
        await leave(source);
      }
    };
    feed.push({ svids });
    const earlier = open();
    const [elsewhere] = (await earlier.ready()).svids;
    await leave(earlier);
    assert.equal(await chosen({ id: "spiffe://example.org/other" }), "/other");
    assert.equal(await chosen({ id: SpiffeId.parse(ID) }), "/web");
    assert.equal(await chosen({ pick: (all) => all.at(-1) }), "/other");
    const none = await chosen({ id: "spiffe://example.org/third" });
    assert.ok(typeof none === "object" && none.code === "ERR_SPIFFE_NO_IDENTITY", String(none));
    assert.match(none.message, /third.*web.*other/);
    const foreign = await chosen({ pick: () => elsewhere });
    assert.ok(typeof foreign === "object" && foreign.code === "ERR_SPIFFE_NO_IDENTITY", String(foreign));
    const cause = new Error("the program's own");
    const thrown = await chosen({
      pick() {
        throw cause;
      },
    });
    assert.ok(typeof thrown === "object" && thrown.cause === cause, String(thrown));
    assert.throws(() => open({ hint: "other", id: ID }), { code: "ERR_SPIFFE_USAGE" });
    assert.throws(() => open({ id: "example.org/web" }), { code: "ERR_SPIFFE_ID" });
  });

  it("closing ends stream and readers, drops the state, and may be done twice", async () => {
    feed.push({ svids: [await svid()] });
    const source = open();
    await source.ready();
    const readers = [source.updates(), source.updates()];
    for (const reader of readers) assert.equal((await reader.next()).value?.sequence, 1);
    const ends = readers.map((reader) => reader.next());
    await Promise.all([source.close(), source.close()]);
    for (const end of ends) assert.equal((await end).done, true);
    assert.equal(source.state, "closed");
    assert.equal(source.current, undefined);
    assert.throws(() => source.x509Svid(), { code: "ERR_SPIFFE_CLOSED" });
    await assert.rejects(source.ready(), { code: "ERR_SPIFFE_CLOSED" });
  });

  it("ends with the client it shares, which it leaves open itself", async () => {
    const client = new WorkloadApiClient({ socket: server.socket, clock });
    opened.push(client);
    feed.push({ svids: [await svid()] });
    const first = open({ client });
    await first.ready();
    await leave(first);
    feed.push({ svids: [await svid()] });
    const second = open({ client });
    await second.ready();
    await client.close();
    await eventually(() => second.state === "closed", "the source is closed");
  });

  it("a client leaves the stream of a single fetch, and of a watch that its reader leaves", async () => {
    const client = new WorkloadApiClient({ socket: server.socket, clock });
    opened.push(client);
    const good = await svid();
    feed.push({ svids: [good] });
    await client.fetchX509Context();
    await eventually(() => feed.streams === 1 && feed.open === 0, "the fetch's stream was left");
    feed.push({ svids: [good] });
    for await (const _ of client.watchX509Context()) break;
    await eventually(() => feed.streams === 2 && feed.open === 0, "the watch's stream was left");
    feed.push("end");
    await assert.rejects(client.fetchX509Context(), { reason: "workload.unavailable", phase: "fetch-x509" });
    const late = assert.rejects(client.fetchX509Context({ timeoutMs: 1_000 }), { code: "ERR_SPIFFE_TIMEOUT" });
    await eventually(() => feed.open === 1, "the fetch that gets no answer");
    await clock.advance(1_000);
    await late;
    await eventually(() => feed.open === 0, "its stream was left");
  });

  it("a wait for readiness ends with its signal, and the source goes on", async () => {
    const source = open();
    const abort = new AbortController();
    const ready = source.ready(abort.signal);
    abort.abort();
    await assert.rejects(ready, { code: "ERR_SPIFFE_ABORTED" });
    feed.push({ svids: [await svid()] });
    await source.ready();
  });

  it("open says socket, phase and last error when nothing came in time", async () => {
    const openUntil = async (streams: number) => {
      const opening = X509Source.open({ socket: server.socket, clock, timeoutMs: 5_000 });
      const settled = opening.then(leave, (error) => error);
      while (feed.streams < streams) await clock.advance(10);
      await clock.advance(5_000);
      return settled;
    };
    feed.push(denied());
    const refused = await openUntil(2);
    assert.equal(refused.code, "ERR_SPIFFE_TIMEOUT");
    assert.ok(refused.message.includes(server.path), refused.message);
    assert.match(refused.message, /5000 ms.*ERR_SPIFFE_NO_IDENTITY.*watch-x509.*PermissionDenied/);
    assert.equal(refused.cause.code, "ERR_SPIFFE_NO_IDENTITY");
    feed = new Feed();
    const silent = await openUntil(1);
    assert.match(silent.message, /accepted the call and sent nothing/);
    feed = new Feed();
    feed.push({ svids: [await svid()] });
    const opening = X509Source.open({ socket: server.socket, clock, timeoutMs: 5_000 });
    await opening.then(leave);
  });
});
