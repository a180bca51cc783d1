/** From outside: what the harness makes of an agent that fails, withdraws, and comes back. The times are the contract's. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { FakeWorkloadApi, type GrpcCode, type SeenCall } from "../../src/authority/testing.ts";
import { eventually } from "../support/eventually.ts";
import { endHarnesses, Harness, launch, type Shown } from "./harness-process.ts";

const TRUST_DOMAIN = "example.org";
const A = `spiffe://${TRUST_DOMAIN}/a`;
const B = `spiffe://${TRUST_DOMAIN}/b`;
const CLIENT = `spiffe://${TRUST_DOMAIN}/client`;
/** The mean time between two tries is at least this. */
const GAP_MS = 50;
/** Within this time a final code may bring two calls of a method at most. */
const WINDOW_MS = 5_000;
/** For so long it is watched whether something that must not be taken is. */
const LOOK_MS = 150;

/** An agent, a harness on it, and a client that the harness takes. */
class Scene {
  readonly fake: FakeWorkloadApi;
  readonly harness: Harness;
  readonly client: Shown;

  private constructor(fake: FakeWorkloadApi, harness: Harness, client: Shown) {
    this.fake = fake;
    this.harness = harness;
    this.client = client;
  }

  static async open(): Promise<Scene> {
    const fake = await openFake();
    const { certPem, keyPem } = await fake.ca.issue({ id: CLIENT });
    return new Scene(fake, await Harness.start(fake.socket), { cert: certPem, key: keyPem });
  }

  /** Whether a client that is in order is let in now. */
  async serves(): Promise<boolean> {
    const { line } = await this.harness.probe(this.client);
    assert.ok(line === "" || line === `${CLIENT}\n`, line);
    return line !== "";
  }

  /** The ID that is presented now. */
  presents(): Promise<string | undefined> {
    return this.harness.presents(this.client);
  }

  async serial(): Promise<string | undefined> {
    return (await this.harness.probe(this.client)).chain[0]?.serialNumber;
  }

  /** Requires that the newest SVID is presented to a client that is let in, within the window. */
  async assertRenewed(): Promise<void> {
    await eventually(async () => (await this.serial()) === this.fake.serials[0] && (await this.serves()));
  }

  async close(): Promise<void> {
    await this.harness.end();
    await this.fake.close();
  }
}

function openFake(): Promise<FakeWorkloadApi> {
  return FakeWorkloadApi.start({ trustDomain: TRUST_DOMAIN, identities: [{ id: A }] });
}

function meanGap(calls: readonly SeenCall[]): number {
  return (calls.at(-1)!.at - calls[0]!.at) / (calls.length - 1);
}

after(endHarnesses);

describe("harness: retries", () => {
  const codes: GrpcCode[] = ["Unavailable", "PermissionDenied", "Internal", "Canceled", "ResourceExhausted", "Unknown"];

  it("[WE-16] [WE-18] keep a mean gap of 50 ms or more, for each code that may pass, and come to an end", async () => {
    await Promise.all(
      codes.map(async (code) => {
        const fake = await openFake();
        fake.fail(code);
        const program = launch(fake.socket);
        const tries = () => fake.calls("FetchX509SVID");
        await eventually(() => tries().length >= 3, `three tries after ${code}`);
        assert.ok(meanGap(tries()) >= GAP_MS, `${code}: ${meanGap(tries())} ms`);
        assert.equal(program.stdout, "", code);
        await fake.heal();
        await (await Harness.ready(program)).end();
        await fake.close();
      }),
    );
  });

  it("[WL-04] keep it after streams that end cleanly, too", async () => {
    const scene = await Scene.open();
    const before = scene.fake.calls("FetchX509SVID").length;
    scene.fake.endAfterAnswer();
    const tries = () => scene.fake.calls("FetchX509SVID").slice(before);
    await eventually(() => tries().length >= 5, "five streams");
    assert.ok(meanGap(tries()) >= GAP_MS, `${meanGap(tries())} ms`);
    assert.ok(await scene.serves());
    await scene.close();
  });
});

describe("harness: final codes", () => {
  const finals: GrpcCode[] = ["InvalidArgument", "Unimplemented"];
  /** Calls of each method since a number of calls. */
  const perMethod = (fake: FakeWorkloadApi, since: number) =>
    Map.groupBy(fake.calls().slice(since), ({ method }) => method);
  const assertFew = (fake: FakeWorkloadApi, since: number, code: string) => {
    const methods = perMethod(fake, since);
    for (const [method, calls] of methods) assert.ok(calls.length <= 2, `${code}: ${calls.length} × ${method}`);
  };

  it("[WE-15] [WE-19] bring two calls of a method at most in five seconds: at the start, without READY, and later", async () => {
    const atStart = async (code: GrpcCode) => {
      const fake = await openFake();
      fake.fail(code);
      const program = launch(fake.socket);
      await eventually(() => fake.calls("FetchX509SVID").length > 0, "a call");
      await wait(WINDOW_MS);
      assertFew(fake, 0, code);
      assert.equal(program.stdout, "", code);
      await fake.heal();
      await (await Harness.start(fake.socket)).end();
      await fake.close();
    };
    const later = async (code: GrpcCode) => {
      const scene = await Scene.open();
      assert.ok(await scene.serves());
      const before = scene.fake.calls().length;
      scene.fake.fail(code);
      await wait(WINDOW_MS);
      assertFew(scene.fake, before, code);
      await scene.close();
    };
    await Promise.all(finals.flatMap((code) => [atStart(code), later(code)]));
  });
});

describe("harness: withdrawal", () => {
  it("[WL-29] PermissionDenied on the stream takes the identity away, until it is back", async () => {
    const scene = await Scene.open();
    assert.ok(await scene.serves());
    scene.fake.fail("PermissionDenied", { method: "FetchX509SVID" });
    await eventually(async () => !(await scene.serves()));
    const server = await scene.fake.ca.issue({ id: B });
    const dialled = await scene.harness.dials({ cert: server.certPem, key: server.keyPem });
    assert.notEqual(dialled.status, "ok");
    await scene.fake.heal();
    await eventually(() => scene.serves());
    assert.equal((await scene.harness.dials({ cert: server.certPem, key: server.keyPem })).status, "ok");
    await scene.close();
  });

  it("[WL-29] PermissionDenied on the JWT bundles makes every token refused", async () => {
    const scene = await Scene.open();
    const fetched = await scene.harness.ask("/v1/jwt/fetch", { audience: ["conformance"], spiffe_id: "" });
    const [{ token }] = fetched.svids as [{ token: string }];
    assert.equal((await scene.harness.validate(token)).status, "ok");
    scene.fake.fail("PermissionDenied", { method: "FetchJWTBundles" });
    await eventually(async () => (await scene.harness.validate(token)).status === "rejected");
    await scene.fake.heal();
    await eventually(async () => (await scene.harness.validate(token)).status === "ok");
    await scene.close();
  });

  it("[WL-09] an SVID that a newer answer leaves out is used no more", async () => {
    const scene = await Scene.open();
    await scene.fake.setIdentities([{ id: A }, { id: B }]);
    await scene.assertRenewed();
    assert.equal(await scene.presents(), A);
    await scene.fake.setIdentities([{ id: B }]);
    await eventually(async () => (await scene.presents()) === B);
    await scene.close();
  });

  it("[WL-43] a token is not fetched from what was fetched before, once the agent denies it", async () => {
    const scene = await Scene.open();
    const fetch = () => scene.harness.ask("/v1/jwt/fetch", { audience: ["conformance"], spiffe_id: A });
    assert.equal((await fetch()).status, "ok");
    scene.fake.fail("PermissionDenied", { method: "FetchJWTSVID" });
    assert.equal((await fetch()).status, "error");
    await scene.fake.heal();
    assert.equal((await fetch()).status, "ok");
    await scene.close();
  });
});

describe("harness: reconnecting", () => {
  let scene: Scene;

  before(async () => {
    scene = await Scene.open();
  });

  after(() => scene.close());

  const losses: [name: string, lose: () => void | Promise<void>][] = [
    ["the server ends the stream", () => scene.fake.end()],
    ["the stream ends with Unavailable", () => scene.fake.fail("Unavailable", { calls: 0 })],
    ["the stream is reset", () => scene.fake.reset()],
    ["the connection is told to go away", () => scene.fake.goAway()],
    ["the connection breaks", () => scene.fake.cut()],
    ["the agent is gone for a while", () => scene.fake.stop()],
  ];
  for (const [name, lose] of losses) {
    it(`[WL-04] gets the newest SVID after ${name}, and serves with the old until then`, async () => {
      await scene.assertRenewed();
      await lose();
      assert.ok(await scene.serves());
      await scene.fake.rotate();
      await scene.fake.heal();
      await scene.assertRenewed();
    });
  }
});

describe("harness: answers that break a rule", () => {
  let scene: Scene;

  before(async () => {
    scene = await Scene.open();
  });

  after(() => scene.close());

  const fields = ["svids", "spiffe_id", "x509_svid", "x509_svid_key", "bundle"].map((empty) => ({ empty }));
  for (const fault of [...fields, "wrong-key", "trailing-byte"] as const) {
    const name = typeof fault === "string" ? fault : `an empty ${fault.empty}`;
    it(`[WL-11] [S-11] ${name}: dropped, and the old state serves until the next`, async () => {
      await scene.assertRenewed();
      const held = await scene.serial();
      assert.equal(scene.fake.spoil(fault), 1);
      const end = performance.now() + LOOK_MS;
      while (performance.now() < end) {
        assert.equal(await scene.serial(), held);
        assert.ok(await scene.serves());
      }
      // Streams keep order: once a later answer has come, the spoilt one was judged before.
      await scene.fake.rotate();
      await eventually(async () => {
        const serial = await scene.serial();
        assert.ok(serial === held || serial === scene.fake.serials[0]);
        assert.ok(await scene.serves());
        return serial !== held;
      });
    });
  }

  it("[WL-15] two SVIDs with one hint: the first counts", async () => {
    await scene.fake.setIdentities([
      { id: B, hint: "one" },
      { id: A, hint: "two" },
    ]);
    await eventually(async () => (await scene.presents()) === B);
    assert.equal(scene.fake.spoil("duplicate-hint"), 1);
    await scene.fake.rotate();
    await scene.assertRenewed();
    assert.equal(await scene.presents(), B);
  });
});
