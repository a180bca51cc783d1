import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { eventually } from "../../test/support/eventually.ts";
import { ManualClock } from "../authority/testing.ts";
import type { Decision } from "../policy/index.ts";
import type { Room } from "./room.ts";
import { type RunningRequest, RunningRequests } from "./running.ts";
import type { Upstream } from "./upstream.ts";

const ALLOW: Decision = { verdict: "allow", reason: "policy.allowed", mode: "enforce" };
const DENY: Decision = { verdict: "deny", reason: "policy.default-deny", mode: "enforce" };
const upstream = {} as Upstream;
const room = () => ({}) as Room;

/** A request that is ended where its verdict is to deny, and notes by whom. */
function request(name: string, ended: string[], verdict: () => Decision): RunningRequest {
  const confirm = (_room: Room, decision: Decision) => Promise.resolve(decision);
  return { listener: "mesh", upstream, judge: verdict, confirm, end: () => void ended.push(name) };
}

describe("running requests", () => {
  it("are those that entered and have not left, in whatever order they leave", async () => {
    const running = new RunningRequests();
    const ended: string[] = [];
    const leave = Array.from({ length: 40 }, (_, i) => running.enter(request(`${i}`, ended, () => DENY)));
    // from both ends, the middle, and some of them twice
    for (const i of [39, 0, 20, 20, 0, 7, 38, 21, 1]) leave[i]?.();
    assert.equal(running.size, 33);
    const gone = [0, 1, 7, 20, 21, 38, 39];
    const left = leave.map((_, i) => i).filter((i) => !gone.includes(i));
    assert.equal(await running.rejudge(room), 33);
    assert.deepEqual(
      ended.map(Number).sort((a, b) => a - b),
      left,
    );
    for (const one of leave) one();
    assert.equal(running.size, 0);
  });

  it("[S-26] that left while others were judged again are left alone, those that stayed are ended", async () => {
    const running = new RunningRequests();
    const ended: string[] = [];
    const leave: (() => void)[] = [];
    leave.push(
      running.enter(
        request("first", ended, () => {
          leave[1]?.();
          return ALLOW;
        }),
      ),
    );
    leave.push(running.enter(request("gone", ended, () => DENY)));
    leave.push(running.enter(request("stayed", ended, () => DENY)));
    assert.equal(await running.rejudge(room), 1);
    assert.deepEqual(ended, ["stayed"]);
  });

  it("[S-26] that cannot be judged are denied, and the others judged all the same", async () => {
    const running = new RunningRequests();
    const ended: string[] = [];
    const why: Decision[] = [];
    const fails = () => {
      throw new Error("no verdict");
    };
    const rejudged = (by: (listener: string) => Room) => running.rejudge(by).catch(String);
    const broken = { ...request("broken", ended, fails), end: (decision: Decision) => void why.push(decision) };
    running.enter(broken);
    running.enter(request("allowed", ended, () => ALLOW));
    running.enter(request("denied", ended, () => DENY));
    assert.equal(await rejudged(room), 2);
    assert.deepEqual([why, ended], [[DENY], ["denied"]]);
    // nor is there a listener that it came by
    const gone = (listener: string) => (listener === "gone" ? fails() : room());
    running.enter({ ...request("of no listener", ended, () => ALLOW), listener: "gone" });
    assert.equal(await rejudged(gone), 3);
    assert.deepEqual([why.length, ended], [2, ["denied", "denied", "of no listener"]]);
  });

  it("[S-8] [S-26] that fail while they are ended keep no other one alive", async () => {
    const running = new RunningRequests();
    const ended: string[] = [];
    const end = () => {
      throw new Error("in no state to be ended");
    };
    const asking = { clock: new ManualClock(), authorizer: {} } as unknown as Room;
    const confirm = (_: Room, decision: Decision) => Promise.resolve({ ...decision, verdict: "deny" as const });
    for (const verdict of [DENY, ALLOW]) {
      running.enter({ ...request("stuck", ended, () => verdict), confirm, end });
      running.enter({ ...request(verdict.verdict, ended, () => verdict), confirm });
    }
    assert.equal(await running.rejudge(() => asking).catch(String), 4);
    assert.deepEqual(ended, ["deny", "allow"]);
  });

  it("[S-26] of whom the authorizer is asked again: who leaves meanwhile is left alone, who stays is ended", async () => {
    const running = new RunningRequests();
    const ended: string[] = [];
    const asking = { clock: new ManualClock(), authorizer: {} } as unknown as Room;
    const answers: (() => void)[] = [];
    const confirm = () => new Promise<Decision>((resolve) => answers.push(() => resolve(DENY)));
    const leave = ["gone", "stayed"].map((name) => running.enter({ ...request(name, ended, () => ALLOW), confirm }));
    const rejudged = running.rejudge(() => asking);
    await eventually(() => answers.length === 2);
    leave[0]!();
    for (const answer of answers) answer();
    assert.equal(await rejudged, 1);
    assert.deepEqual(ended, ["stayed"]);
  });

  it("are judged a part at a time: others are served in between", async () => {
    const running = new RunningRequests();
    let turns = 0;
    const seen: number[] = [];
    const judge = () => {
      seen.push(turns);
      return ALLOW;
    };
    for (let i = 0; i < 600; i++) running.enter(request(`${i}`, [], judge));
    const turning = async () => {
      while (seen.length < 600) {
        await new Promise((resolve) => setImmediate(resolve));
        turns++;
      }
    };
    await Promise.all([turning(), running.rejudge(room)]);
    const [first, last] = [seen[0]!, seen.at(-1)!];
    assert.ok(last >= first + 2, `${first} ${last}`);
  });

  it("hold their upstream until the last of them is over", async () => {
    const running = new RunningRequests();
    const first = running.enter(request("first", [], () => ALLOW));
    const second = running.enter(request("second", [], () => ALLOW));
    let alone = false;
    const waiting = running.leftAlone(upstream).then(() => {
      alone = true;
    });
    first();
    first();
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(alone, false);
    second();
    await waiting;
    await running.leftAlone(upstream);
  });
});
