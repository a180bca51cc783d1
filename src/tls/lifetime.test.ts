import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { eventually } from "../../test/support/eventually.ts";
import { ManualClock } from "../authority/manual-clock.ts";
import { type StaticIdentity, staticIdentity } from "../authority/static-identity.ts";
import { TestCa } from "../authority/test-ca.ts";
import type { Clock } from "../base/clock.ts";
import { accept, refuse } from "../base/verdict.ts";
import { chooseSyncVerifier } from "../crypto/index.ts";
import { TrustDomain } from "../id/index.ts";
import { X509Bundle } from "../x509/index.ts";
import { authorizeAny } from "./authorizers.ts";
import { type JudgedPeer, type Judgement, judgeChain } from "./judge.ts";
import { drainPoint, groundOf, keep, type Life } from "./lifetime.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const EXAMPLE = TrustDomain.parse("example.org");

let ca: TestCa;

/** An identity with a clock of its own, and connections of peers that it judged. */
async function world() {
  const clock = new ManualClock();
  const notAfter = new Date(Date.UTC(9999, 11, 31));
  const svid = await ca.issue({ id: "spiffe://example.org/own", notAfter });
  const identity = await staticIdentity({ svid, bundles: ca.x509Bundle() });
  const judgement: Judgement = { identity, authorize: authorizeAny(), clock, verifier: chooseSyncVerifier() };
  const ground = groundOf(identity, clock);
  const peer = async (notAfter: Date, from: TestCa = ca): Promise<JudgedPeer> => {
    const { chainDer } = await from.issue({
      id: "spiffe://example.org/web",
      notAfter,
      notBefore: new Date(clock.now()),
    });
    const verdict = judgeChain([chainDer], judgement);
    assert.ok(verdict.ok, JSON.stringify(verdict));
    return { verified: verdict.value, presented: [chainDer] };
  };
  return { clock, identity, judgement, ground, peer };
}

type World = Awaited<ReturnType<typeof world>>;

/** Keeps a connection that writes down what happens to it and when. */
function kept(of: World, terms: { peer?: JudgedPeer; ownEnd?: number; maxAgeMs?: number }) {
  const log: string[] = [];
  const times: number[] = [];
  const note = (what: string) => {
    log.push(what);
    times.push(of.clock.now());
  };
  const mortal = {
    drain: (reason: string) => note(`drain ${reason}`),
    end: ({ reason }: { reason: string }) => note(`end ${reason}`),
  };
  const { peer, ownEnd = Infinity, maxAgeMs = Infinity } = terms;
  const life: Life = keep(mortal, of.ground, { judgement: of.judgement, peer, ownEnd, maxAgeMs });
  return { log, times, life };
}

/** A clock that runs through a day as fast as promises allow, and counts its sleepers. */
class SwiftClock implements Clock {
  sleeps = 0;
  most = 0;
  waiting = 0;
  readonly #start = Date.now();
  #passed = 0;
  readonly #sleepers = new Map<() => void, number>();

  now(): number {
    return this.#start + this.#passed;
  }

  monotonic(): number {
    return this.#passed;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    assert.ok(ms < 2 ** 31);
    this.sleeps++;
    this.waiting++;
    this.most = Math.max(this.most, this.waiting);
    return new Promise((resolve, reject) => {
      const over = (go: () => void) => () => {
        this.#sleepers.delete(wake);
        this.waiting--;
        signal?.removeEventListener("abort", onAbort);
        go();
      };
      const wake = over(resolve);
      const onAbort = over(() => reject(new Error("aborted")));
      this.#sleepers.set(wake, this.#passed + ms);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  async run(ms: number): Promise<void> {
    const end = this.#passed + ms;
    for (;;) {
      const [next] = [...this.#sleepers].filter(([, at]) => at <= end).sort(([, a], [, b]) => a - b);
      this.#passed = next?.[1] ?? end;
      if (next === undefined) return;
      next[0]();
      for (let turn = 0; turn < 4; turn++) await undefined;
    }
  }
}

async function bundles(identity: StaticIdentity, ...cas: TestCa[]): Promise<void> {
  const authorities = cas.flatMap((each) => each.x509Bundle().authorities);
  await identity.update({ bundles: new X509Bundle(EXAMPLE, authorities) });
}

describe("keep", () => {
  before(async () => {
    ca = await TestCa.create({ notAfter: new Date(Date.now() + 400 * DAY_MS) });
  });

  it("[S-9] drains in the last tenth and ends at the end of either certificate, at most a second late", async () => {
    const of = await world();
    const start = of.clock.now();
    const end = start + 60_000 - (start % 1_000);
    const byPeer = kept(of, { peer: await of.peer(new Date(end)) });
    const byOwn = kept(of, { ownEnd: end, peer: await of.peer(new Date(end + HOUR_MS)) });
    const twin = kept(of, { ownEnd: end + HOUR_MS, peer: await of.peer(new Date(end + HOUR_MS)) });
    await of.clock.advance(62_000);
    assert.deepEqual(byPeer.log, ["drain x509.expired", "end x509.expired"]);
    assert.deepEqual(byOwn.log, ["drain peer.own-expired", "end peer.own-expired"]);
    for (const { times } of [byPeer, byOwn]) {
      assert.ok(times[0]! >= end - (end - start) * 0.1 && times[0]! <= end + 500);
      assert.ok(times[1]! >= end && times[1]! <= end + 1_000, `${times[1]! - end} ms late`);
    }
    assert.deepEqual(twin.log, []);
    twin.life.release();
  });

  it("[S-9] ends with the first certificate of the verified path, whichever that is", async () => {
    const of = await world();
    const start = of.clock.now();
    const between = async (ms: number) => {
      const from = await ca.intermediate({ notBefore: new Date(start), notAfter: new Date(start + ms) });
      const options = {
        id: "spiffe://example.org/web",
        notBefore: new Date(start),
        notAfter: new Date(start + HOUR_MS),
      };
      const presented = (await from.issue(options)).certificatesDer;
      const verdict = judgeChain(presented, of.judgement);
      assert.ok(verdict.ok, JSON.stringify(verdict));
      return kept(of, { peer: { verified: verdict.value, presented } });
    };
    const [short, long] = [await between(20_000), await between(HOUR_MS)];
    await of.clock.advance(21_000);
    assert.deepEqual(short.log, ["drain x509.expired", "end x509.expired"]);
    assert.deepEqual(long.log, []);
    long.life.release();
  });

  it("[S-9] drains and ends at the greatest age, by the monotonic clock", async () => {
    const of = await world();
    const old = kept(of, { maxAgeMs: 60_000 });
    const young = kept(of, { maxAgeMs: 120_000 });
    of.clock.step(HOUR_MS);
    await of.clock.advance(53_000);
    assert.deepEqual(old.log, []);
    await of.clock.advance(8_000);
    assert.deepEqual(old.log, ["drain peer.max-age", "end peer.max-age"]);
    assert.deepEqual(young.log, []);
    young.life.release();
  });

  it("[S-9] [A-15] ends what an authority vouched for that left while others stay, and nothing else", async () => {
    const of = await world();
    const other = await TestCa.create();
    await bundles(of.identity, ca, other);
    const end = new Date(of.clock.now() + HOUR_MS / 2);
    const [gone, stays] = [kept(of, { peer: await of.peer(end, other) }), kept(of, { peer: await of.peer(end) })];
    await of.clock.advance(5_000);
    assert.deepEqual([gone.log, stays.log], [[], []]);
    await bundles(of.identity, ca);
    await of.clock.advance(1_000);
    assert.deepEqual([gone.log, stays.log], [["end x509.no-path"], []]);
    await bundles(of.identity, other);
    await of.clock.advance(1_000);
    assert.deepEqual(stays.log, ["end x509.no-path"]);
  });

  it("[S-9] a source that throws when it is asked for a bundle vouches for nobody of it, and for others as before", async () => {
    const of = await world();
    const partner = await TestCa.create({ trustDomain: "partner.example" });
    const { x509 } = of.identity;
    const { x509BundleFor } = x509;
    let broken = false;
    x509.x509BundleFor = (trustDomain) => {
      if (trustDomain.name !== "partner.example") return x509BundleFor(trustDomain);
      if (broken) throw new Error("no bundles today");
      return partner.x509Bundle();
    };
    const { chainDer } = await partner.issue({ id: "spiffe://partner.example/web" });
    const verdict = judgeChain([chainDer], of.judgement);
    assert.ok(verdict.ok);
    const gone = kept(of, { peer: { verified: verdict.value, presented: [chainDer] } });
    const stays = kept(of, { peer: await of.peer(new Date(of.clock.now() + HOUR_MS / 2)) });
    await of.clock.advance(1_000);
    assert.deepEqual([gone.log, stays.log], [[], []]);
    broken = true;
    await of.clock.advance(1_000);
    assert.deepEqual([gone.log, stays.log], [["end peer.internal"], []]);
    stays.life.release();
  });

  it("[S-9] [A-17] a clock that jumps, and ends in the year 9999: no early end, no late one", async () => {
    const of = await world();
    const minute = 60_000;
    const far = kept(of, { ownEnd: Date.UTC(9999, 11, 31, 23, 59, 59) });
    const day = kept(of, { ownEnd: of.clock.now() + DAY_MS });
    for (const step of [5 * minute, -5 * minute]) {
      of.clock.step(step);
      await of.clock.advance(1_000);
      assert.deepEqual([far.log, day.log], [[], []]);
    }
    of.clock.step(-365 * DAY_MS);
    await of.clock.advance(1_000);
    assert.deepEqual([far.log, day.log], [[], []]);
    of.clock.step(2 * 365 * DAY_MS);
    await of.clock.advance(500);
    assert.deepEqual(day.log, ["end peer.own-expired"]);
    assert.deepEqual(far.log, []);
    far.life.release();
  });

  it("[S-9] [S-10] ends everything when the own identity is lost, by revocation and by an empty bundle", async () => {
    for (const loss of [{ svid: null }, { bundles: new X509Bundle(EXAMPLE, []) }, { bundles: [] }]) {
      const of = await world();
      const end = new Date(of.clock.now() + HOUR_MS / 2);
      const [named, nameless] = [kept(of, { peer: await of.peer(end) }), kept(of, {})];
      await of.clock.advance(5_000);
      assert.deepEqual([named.log, nameless.log], [[], []]);
      await of.identity.update(loss);
      await of.clock.advance(1_000);
      assert.deepEqual([named.log, nameless.log], [["end peer.own-identity-lost"], ["end peer.own-identity-lost"]]);
    }
  });

  it("[S-9] [S-17] ends every connection when the clock tells no time", async () => {
    const of = await world();
    const far = kept(of, { ownEnd: of.clock.now() + DAY_MS });
    await of.clock.advance(1_000);
    assert.deepEqual(far.log, []);
    of.clock.now = () => Number.NaN;
    await of.clock.advance(500);
    assert.equal(far.log.length, 1);
  });

  it("[S-9] [S-17] a clock that fails keeps nothing alive: neither its waiting nor its counting", async () => {
    for (const fail of ["sleep", "monotonic"] as const) {
      const of = await world();
      const peer = await of.peer(new Date(of.clock.now() + HOUR_MS));
      const { log } = kept(of, { peer });
      await of.clock.advance(1_000);
      assert.deepEqual(log, [], fail);
      const failing = () => {
        throw new Error("no clock");
      };
      if (fail === "monotonic") {
        of.clock.monotonic = failing;
        await of.clock.advance(1_000).catch(() => {});
      } else {
        of.clock.sleep = async () => failing();
        of.clock.step(2 * HOUR_MS);
        await of.clock.advance(1_000);
      }
      // By real time now, as the clock's own is of no use.
      await eventually(() => log.length > 0);
      assert.equal(log[0], fail === "monotonic" ? "end peer.max-age" : "end x509.expired", fail);
    }
  });

  it("[S-9] judges again on request, by the authorizer and by a decision of the caller", async () => {
    const of = await world();
    const peer = await of.peer(new Date(of.clock.now() + HOUR_MS / 2));
    let welcome = true;
    const authorize = () => (welcome ? accept(peer.verified.id) : refuse("peer.not-authorized", "no more"));
    const life = keep({ drain() {}, end() {} }, of.ground, {
      judgement: { ...of.judgement, authorize },
      peer,
      ownEnd: Infinity,
      maxAgeMs: Infinity,
    });
    assert.equal(life.judgeAgain(), undefined);
    assert.equal(
      life.judgeAgain(() => accept(1)),
      undefined,
    );
    assert.equal(life.judgeAgain(() => refuse("policy.denied", "no"))?.reason, "policy.denied");
    assert.equal(life.judgeAgain(() => undefined as never)?.reason, "peer.internal");
    assert.equal(
      life.judgeAgain(() => {
        throw new Error("broken");
      })?.reason,
      "peer.internal",
    );
    welcome = false;
    assert.equal(life.judgeAgain()?.reason, "peer.not-authorized");
    life.release();
  });

  it("[S-9] 10,000 connections over a day of virtual time: each ends within a second, one timer serves them all", async () => {
    const { judgement, identity } = await world();
    const clock = new SwiftClock();
    const ground = groundOf(identity, clock);
    const count = 10_000;
    let open = 0;
    let drained = 0;
    let [early, late] = [0, 0];
    for (let i = 0; i < count; i++) {
      const ownEnd = clock.now() + Math.ceil(((i + 1) * DAY_MS) / count);
      const end = () => {
        open--;
        const by = clock.now() - ownEnd;
        if (by < 0) early++;
        late = Math.max(late, by);
      };
      keep({ drain: () => void drained++, end }, ground, { judgement, peer: undefined, ownEnd, maxAgeMs: Infinity });
      open++;
    }
    await clock.run(DAY_MS / 2);
    assert.equal(open, count / 2);
    await clock.run(DAY_MS / 2 + 1_000);
    assert.equal(open, 0);
    assert.equal(early, 0);
    assert.ok(late <= 1_000, `${late} ms late`);
    assert.ok(drained > count * 0.99, `${drained} drained before their end`);
    assert.equal(clock.most, 1, "timers at a time");
    assert.ok(clock.sleeps <= (2 * DAY_MS) / 1_000 + 2, `${clock.sleeps} timers in a day`);
    assert.equal(clock.waiting, 0, "no timer is left");
  });

  it("[S-9] 10,000 connections at a change of authorities: those end within a second, and others get their turns between", async () => {
    const of = await world();
    const other = await TestCa.create();
    await bundles(of.identity, ca, other);
    const notAfter = new Date(of.clock.now() + HOUR_MS / 2);
    const terms = { judgement: of.judgement, ownEnd: Infinity, maxAgeMs: Infinity };
    const count = 10_000;
    const [gone, stays] = [await of.peer(notAfter, other), await of.peer(notAfter)];
    const ended = new Set<number>();
    const lives = Array.from({ length: count }, (_, name) => {
      const peer = name % 10 === 0 ? stays : gone;
      return keep({ drain() {}, end: () => void ended.add(name) }, of.ground, { ...terms, peer });
    });
    await of.clock.advance(1_000);
    assert.equal(ended.size, 0);
    await bundles(of.identity, ca);
    let over = false;
    const looked = of.clock.advance(500).then(() => (over = true));
    let [seen, most, turns, idle] = [0, 0, 0, 0];
    // The last of them closes by itself before it is judged. Virtual time stands still: one look ends them all.
    while (ended.size < count * 0.9 - 1) {
      await new Promise((resolve) => setImmediate(resolve));
      if (ended.size > 0) lives.at(-1)?.release();
      most = Math.max(most, ended.size - seen);
      if (ended.size > seen) turns++;
      idle = over && ended.size === seen ? idle + 1 : 0;
      assert.ok(idle < 2_000, `${ended.size} ended, and no more do`);
      seen = ended.size;
    }
    await looked;
    assert.ok(most <= 128, `${most} ended in one turn`);
    assert.ok(turns >= count / 256, `${turns} turns`);
    await of.clock.advance(1_000);
    assert.equal(ended.size, count * 0.9 - 1);
    for (const name of ended) assert.ok(name % 10 !== 0 && name !== count - 1, `${name} ended`);
    for (const life of lives) life.release();
  });

  it("[S-8] what the owner of one connection throws leaves the others to their end", async () => {
    const of = await world();
    const ownEnd = of.clock.now() + 60_000;
    const fail = () => {
      throw new Error("owner");
    };
    const terms = { judgement: of.judgement, peer: undefined, ownEnd, maxAgeMs: Infinity };
    keep({ drain: fail, end: fail }, of.ground, terms);
    const next = kept(of, { ownEnd });
    await of.clock.advance(61_000);
    assert.deepEqual(next.log, ["drain peer.own-expired", "end peer.own-expired"]);
  });

  it("leaves released connections alone and starts anew after the last one", async () => {
    const of = await world();
    const gone = kept(of, { ownEnd: of.clock.now() + 1_000 });
    gone.life.release();
    gone.life.release();
    const next = kept(of, { ownEnd: of.clock.now() + 1_000 });
    await of.clock.advance(1_600);
    assert.deepEqual(gone.log, []);
    assert.equal(next.log.at(-1), "end peer.own-expired");
  });
});

describe("drainPoint", () => {
  it("[S-9] lies in the last tenth of the life, spread", () => {
    const points = new Set<number>();
    for (let i = 0; i < 1_000; i++) {
      const point = drainPoint(1_000, 11_000);
      assert.ok(point >= 10_000 && point <= 11_000);
      points.add(point);
    }
    assert.ok(points.size > 900);
    assert.equal(drainPoint(0, Infinity), Infinity);
  });
});
