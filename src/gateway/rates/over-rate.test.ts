import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "../../authority/testing.ts";
import type { Peer } from "../../id/index.ts";
import { SpiffeId } from "../../id/index.ts";
import { silentLogger } from "../../telemetry/logger.ts";
import type { Journey } from "../journey.ts";
import type { Room } from "../room.ts";
import { GATEWAY, idOf, World } from "../world.testing.ts";
import { overRate } from "./over-rate.ts";
import { Rates } from "./rates.ts";

describe("a request and its limit", () => {
  it("[S-27] is counted once, and what was said stays when it is judged again", async () => {
    const identity = await (await World.create()).identity("gateway");
    const clock = new ManualClock();
    const rates = Rates.after(undefined, { rate: 1, burst: 2 }, { identity, clock, logger: silentLogger });
    const counted: boolean[] = [];
    const room = { rates, metrics: { rateLimited: (shared: boolean) => counted.push(shared) } } as unknown as Room;
    const peer: Peer = { via: "x509", id: SpiffeId.parse(idOf("web")), expiresAt: new Date() };
    const begin = (): Journey => ({ requestId: GATEWAY, startedAt: 0, address: undefined });
    const [first, second, third] = [begin(), begin(), begin()];
    // the first takes one, however often the policy changes while it is judged
    for (let i = 0; i < 3; i++) assert.equal(await overRate(room, peer, first), undefined);
    assert.equal(await overRate(room, peer, second), undefined);
    const refused = await overRate(room, peer, third);
    assert.deepEqual([refused?.status, refused?.reason, refused?.retryAfter], [429, "request.rate-limited", 1]);
    await clock.advance(60_000);
    assert.deepEqual(await overRate(room, peer, third), refused);
    // also by a configuration without limits that came into force meanwhile
    assert.deepEqual(await overRate({ ...room, rates: undefined }, peer, third), refused);
    assert.equal(await overRate(room, peer, begin()), undefined);
    assert.deepEqual(counted, [false]);
    // one in ten seconds
    const slow = {
      ...room,
      rates: Rates.after(undefined, { rate: 0.1, burst: 1 }, { identity, clock, logger: silentLogger }),
    };
    assert.equal(await overRate(slow, peer, begin()), undefined);
    assert.equal((await overRate(slow, peer, begin()))?.retryAfter, 10);
  });
});
