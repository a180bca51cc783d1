import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "../authority/testing.ts";
import { SpiffeId } from "../id/index.ts";
import { createFetch } from "../tls/index.ts";
import { parseGatewayConfig } from "./config.ts";
import { createGateway } from "./gateway.ts";
import { MAX_ROWS, RateLimits } from "./rate-limits.ts";
import { countingUpstream, GATEWAY, idOf, requestLog, until, World } from "./world.testing.ts";

const id = (name: string, domain = "example.org") => SpiffeId.parse(idOf(name, domain));

/** How many of so many requests at once are let through. */
function passing(limits: RateLimits, who: SpiffeId, count: number): number {
  let passed = 0;
  for (let i = 0; i < count; i++) if (limits.take(who).ok) passed++;
  return passed;
}

describe("rate limits", () => {
  it("[S-27] a burst at once, then the rate, each identity for itself", async () => {
    const clock = new ManualClock();
    const limits = new RateLimits({ rate: 10, burst: 5 }, clock);
    assert.equal(passing(limits, id("a"), 10), 5);
    assert.equal(passing(limits, id("b"), 10), 5);
    assert.deepEqual(limits.take(id("a")), { ok: false, shared: false, waitMs: 100 });
    await clock.advance(99);
    assert.equal(limits.take(id("a")).ok, false);
    await clock.advance(1);
    assert.equal(passing(limits, id("a"), 3), 1);
    await clock.advance(60_000);
    assert.equal(passing(limits, id("a"), 10), 5);
    // the wall clock has no say
    clock.step(3_600_000);
    assert.equal(limits.take(id("a")).ok, false);
  });

  it("[S-27] who finds no room shares the bucket of its trust domain; a row is given up only when it is full again", async () => {
    const clock = new ManualClock();
    const limits = new RateLimits({ rate: 1, burst: 4 }, clock, 2);
    assert.equal(passing(limits, id("a"), 5), 4);
    assert.equal(passing(limits, id("b"), 5), 4);
    assert.equal(passing(limits, id("c"), 3), 3);
    assert.equal(passing(limits, id("d"), 3), 1);
    assert.deepEqual(limits.take(id("e")), { ok: false, shared: true, waitMs: 1_000 });
    // another domain is none the worse for it
    assert.equal(passing(limits, id("a", "partner.example"), 5), 4);
    // an identity that used up its own bucket does not get another one by letting others in between
    assert.equal(limits.take(id("a")).ok, false);
    assert.equal(limits.rows, 2);
    await clock.advance(4_000);
    // one row after the other, and none that is in use
    for (const [name, shared] of [
      ["c", false],
      ["d", false],
      ["e", true],
    ] as const)
      assert.deepEqual(limits.take(id(name)), { ok: true, shared }, name);
    assert.equal(passing(limits, id("c"), 5), 3);
    assert.equal(limits.rows, 2);
  });

  it("[A-21] 100,000 identities in turn: beyond the rows nobody gets more than the trust domain's bucket", () => {
    const clock = new ManualClock();
    const burst = 3;
    const limits = new RateLimits({ rate: 1, burst }, clock);
    const all = Array.from({ length: 100_000 }, (_, i) => id(`w/${i}`));
    let passed = 0;
    let beyond = 0;
    for (let round = 0; round < 2 * burst; round++) {
      for (const [i, one] of all.entries()) {
        if (!limits.take(one).ok) continue;
        passed++;
        if (i >= MAX_ROWS) beyond++;
      }
    }
    assert.equal(limits.rows, MAX_ROWS);
    assert.equal(beyond, burst);
    assert.equal(passed, MAX_ROWS * burst + burst);
    // a trust domain apart from it is served
    assert.equal(passing(limits, id("web", "partner.example"), 10), burst);
  });

  it("are read from the configuration", () => {
    const read = (perIdentity: { rate: string; burst?: number }) =>
      parseGatewayConfig({
        listen: { port: 8443 },
        upstreams: { a: { url: "http://127.0.0.1:1" } },
        routes: [{ name: "a", path: "/**", upstream: "a" }],
        policy: [{ rule: "r", allow: { ids: [idOf("web")] } }],
        limits: { perIdentity },
      }).limits.perIdentity;
    assert.deepEqual(read({ rate: "50/s", burst: 100 }), { rate: 50, burst: 100 });
    assert.deepEqual(read({ rate: "50/s" }), { rate: 50, burst: 50 });
    assert.deepEqual(read({ rate: "30/m" }), { rate: 0.5, burst: 1 });
  });

  it("[S-27] at the gateway: 429 with a time, counted, and nothing upstream; denied requests count, strangers have no row", async () => {
    const world = await World.create();
    const log = requestLog();
    const upstream = await countingUpstream();
    const clock = new ManualClock();
    await using gateway = await createGateway(
      {
        status: { port: 0 },
        listen: { address: "127.0.0.1", port: 0 },
        upstreams: { up: { url: upstream.url } },
        routes: [{ name: "up", path: "/**", upstream: "up" }],
        policy: [{ rule: "web", allow: { ids: [idOf("web"), idOf("cron")] }, methods: ["GET"] }],
        limits: { perIdentity: { rate: "1/s", burst: 2 } },
      },
      { workload: await world.identity("gateway"), logger: log, clock },
    );
    const url = `https://127.0.0.1:${gateway.listeners[0]!.port}/x`;
    const [web, cron] = [await world.identity("web"), await world.identity("cron")];
    const call = (who: typeof web, method = "GET") => createFetch(who, { peer: GATEWAY })(url, { method });
    try {
      assert.equal((await call(web, "DELETE")).status, 403);
      assert.equal((await call(web)).status, 200);
      const refused = await call(web);
      assert.equal(`${refused.status} ${refused.headers.get("retry-after")}`, "429 1");
      assert.equal(((await refused.json()) as { reason: string }).reason, "request.rate-limited");
      assert.equal((await call(cron)).status, 200);
      assert.equal(upstream.heads, 2);
      await clock.advance(1_000);
      assert.equal((await call(web)).status, 200);
      const shown = async (path: string) => (await fetch(`http://127.0.0.1:${gateway.status.port}${path}`)).text();
      const secret = { headers: { "x-note": "s3cret-note", cookie: "s3cret-cookie" } };
      assert.equal((await createFetch(cron, { peer: GATEWAY })(url, secret)).status, 200);
      assert.doesNotMatch(`${await shown("/status")}${await shown("/metrics")}`, /s3cret|x-note/);
      const metrics = await shown("/metrics");
      assert.match(metrics, /spiffe_edge_rate_limited_total\{bucket="identity"\} 1/);
      await until(() => log.lines.some(({ status }) => status === 429));
      assert.equal(log.lines.find(({ status }) => status === 429)?.reason, "request.rate-limited");
    } finally {
      await gateway.close({ deadlineMs: 0 });
      await upstream.close();
    }
  });
});
