import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { eventually } from "../../test/support/eventually.ts";
import { untilLeft, WorkloadServer } from "../../test/support/workload-server.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { SpiffeError } from "../base/errors.ts";
import { accept, refuse } from "../base/verdict.ts";
import type { X509BundlesResponse } from "../gen/workload/workload_pb.js";
import { silentLogger } from "../telemetry/logger.ts";
import { Connection, type Profile } from "./connection.ts";
import { parseEndpoint } from "./endpoint.ts";
import type { Content, Snapshot } from "./snapshot.ts";
import { Watch, type WatchOptions } from "./watch.ts";

const closing: (() => Promise<void> | void)[] = [];
after(async () => {
  for (const close of closing.reverse()) await close();
});

/** Messages are names in a map; `bad` breaks a rule. */
const NAMES: Profile<X509BundlesResponse, Snapshot & { names: string[] }> = {
  name: "names",
  open: (api, options) => api.fetchX509Bundles({}, options),
  async decode({ bundles }) {
    const names = Object.keys(bundles);
    return names.includes("bad") ? refuse("bundle.trust-domain", "bad") : accept({ names });
  },
  same: () => false,
  empty: { names: [] },
};

type Names = Content<Snapshot & { names: string[] }>;

function watching(
  connection: Connection,
  clock: Clock,
): Omit<WatchOptions<X509BundlesResponse, Names>, "signal" | "events"> {
  return {
    open: (signal) => connection.stream(NAMES, signal),
    decode: (message) => NAMES.decode(message, clock),
    failure: (error) => connection.failure(error, "watch-names"),
    phase: "watch-names",
    socket: connection.socket,
    clock,
  };
}

type Script = (context: HandlerContext) => AsyncGenerator<string>;

/** Watches a server that plays one script per stream and then keeps silent; sleeps are noted, not slept. */
async function play(...scripts: Script[]): Promise<{ events: string[]; sleeps: number[]; thrown?: SpiffeError }> {
  const events: string[] = [];
  const sleeps: number[] = [];
  const stop = new AbortController();
  let streams = 0;
  let elapsed = 0;
  const server = await WorkloadServer.start({
    async *fetchX509Bundles(_, context) {
      const script = scripts[streams++];
      if (script === undefined) {
        stop.abort();
        return;
      }
      let said: string | undefined;
      for await (const name of script(context)) {
        if (name.startsWith("+")) {
          await eventually(() => said === undefined || events.includes(`update ${said}`), "the update was seen");
          elapsed += Number(name);
        } else {
          said = name;
          yield { bundles: { [name]: new Uint8Array(1) } };
        }
      }
    },
  });
  closing.push(() => server.close());
  const clock: Clock = {
    now: systemClock.now,
    monotonic: () => elapsed,
    async sleep(ms) {
      sleeps.push(ms);
    },
  };
  const endpoint = parseEndpoint(server.socket);
  const connection = new Connection({ endpoint, timeoutMs: 10_000, clock, logger: silentLogger });
  closing.push(() => connection.close());
  try {
    await new Watch({
      ...watching(connection, clock),
      signal: stop.signal,
      random: () => 1,
      events: {
        opening: () => void events.push("open"),
        update: ({ names }) => void events.push(`update ${names}`),
        invalid: (error) => void events.push(`invalid ${error.reason}`),
        denied: (error) => void events.push(`denied ${error.code}`),
        disconnected: (error) => void events.push(error === undefined ? "ended" : `lost ${error.code}`),
      },
    }).run();
  } catch (thrown) {
    assert.ok(thrown instanceof SpiffeError);
    return { events, sleeps, thrown };
  }
  return { events, sleeps };
}

const saying = (...names: string[]): Script =>
  async function* () {
    yield* names;
  };
const failing = (code: Code, ...names: string[]): Script =>
  async function* () {
    yield* names;
    throw new ConnectError("scripted", code);
  };

describe("watch", () => {
  it("[WL-05] hands on every full state in order, and [WL-04] reconnects when the server ends the stream", async () => {
    const { events, sleeps } = await play(saying("a", "b"), saying("c"));
    assert.deepEqual(events, ["open", "update a", "update b", "ended", "open", "update c", "ended", "open"]);
    assert.deepEqual(sleeps, [50, 100]);
  });

  it("[WL-04] reconnects at once after a stream of a second that ended cleanly, the first time", async () => {
    const { sleeps } = await play(saying("a", "+1000"), saying("b", "+1000"), saying("c", "+10000"));
    assert.deepEqual(sleeps, [0, 50, 0]);
    assert.deepEqual((await play(saying("a", "+999"))).sleeps, [50]);
  });

  it("[WL-11] drops an update that breaks a rule, and the stream goes on", async () => {
    const { events } = await play(saying("a", "bad", "c"));
    assert.deepEqual(events.slice(0, 4), ["open", "update a", "invalid bundle.trust-domain", "update c"]);
  });

  it("[WE-16] backs off while the agent is unavailable, and an update that lasted starts that over", async () => {
    const unavailable = failing(Code.Unavailable);
    const { events, sleeps } = await play(
      unavailable,
      unavailable,
      failing(Code.Unavailable, "a"),
      failing(Code.Unavailable, "b", "+10000"),
      unavailable,
    );
    assert.deepEqual(sleeps, [200, 400, 800, 200, 400]);
    assert.equal(events.filter((event) => event === "lost ERR_SPIFFE_WORKLOAD_API").length, 5);
  });

  it("[WE-16] a stream that brings updates again and again starts the waits over as one that brought a single one", async () => {
    const unavailable = failing(Code.Unavailable);
    const busy = failing(Code.Unavailable, "a", "+500", "b", "+500", "c");
    const { sleeps } = await play(unavailable, unavailable, busy, unavailable);
    assert.deepEqual(sleeps, [200, 400, 200, 400]);
  });

  for (const [id, code] of [
    ["WE-15", Code.InvalidArgument],
    ["WE-19", Code.Unimplemented],
  ] as const) {
    it(`[${id}] ${Code[code]} ends it, at the start and on a live stream; Internal does not`, async () => {
      for (const names of [[], ["a"]]) {
        const { events, thrown } = await play(failing(code, ...names), saying("b"));
        assert.equal(thrown?.retryable, false);
        assert.ok(thrown.message.includes(Code[code]));
        assert.equal(events.filter((event) => event === "open").length, 1);
        const twin = await play(failing(Code.Internal, ...names), saying("b"));
        assert.equal(twin.thrown, undefined);
        assert.ok(twin.events.includes("update b"));
      }
    });
  }

  it("[WL-29] [WE-18] PermissionDenied is told apart, and asked again more slowly", async () => {
    const denied = failing(Code.PermissionDenied);
    const { events, sleeps } = await play(failing(Code.PermissionDenied, "a"), denied, saying("b"));
    assert.deepEqual(events.slice(0, 6), [
      "open",
      "update a",
      "denied ERR_SPIFFE_NO_IDENTITY",
      "open",
      "denied ERR_SPIFFE_NO_IDENTITY",
      "open",
    ]);
    assert.deepEqual(sleeps.slice(0, 2), [1000, 2000]);
    assert.ok(events.includes("update b"));
  });

  it("stops at its signal while a stream is open, and the agent learns of it", async () => {
    let left = () => {};
    const gone = new Promise<void>((resolve) => {
      left = resolve;
    });
    const server = await WorkloadServer.start({
      async *fetchX509Bundles(_, context) {
        yield { bundles: { a: new Uint8Array(1) } };
        await untilLeft(context);
        left();
      },
    });
    closing.push(() => server.close());
    const endpoint = parseEndpoint(server.socket);
    const connection = new Connection({ endpoint, timeoutMs: 10_000, clock: systemClock, logger: silentLogger });
    closing.push(() => connection.close());
    const stop = new AbortController();
    const ignored = () => {};
    await new Watch({
      ...watching(connection, systemClock),
      signal: stop.signal,
      events: {
        opening: ignored,
        update: () => stop.abort(),
        invalid: ignored,
        denied: ignored,
        disconnected: ignored,
      },
    }).run();
    await gone;
  });

  it("hands on nothing that was judged after its signal, and gives up an open stream alone, once", async () => {
    const stop = new AbortController();
    const lost = new SpiffeError("ERR_SPIFFE_TIMEOUT", "given up");
    const [events, givenUp]: [string[], boolean[]] = [[], []];
    const watch: Watch<string, string> = new Watch({
      async *open(signal) {
        yield* events.length === 1 ? ["a", "b"] : ["c", "last", "d"];
        if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
      async decode(message) {
        if (message === "last") stop.abort();
        return accept(message);
      },
      failure: () => ({ kind: "transient", error: new SpiffeError("ERR_SPIFFE_INTERNAL", "unexpected") }),
      phase: "watch-names",
      socket: "unix:///none",
      clock: { now: () => 0, monotonic: () => 0, sleep: async () => {} },
      signal: stop.signal,
      events: {
        opening: () => void events.push("open"),
        update(name) {
          events.push(name);
          if (name === "b") givenUp.push(watch.abandon(lost), watch.abandon(lost));
        },
        invalid: () => {},
        denied: () => {},
        disconnected(error) {
          events.push(error === lost ? "lost" : "ended");
          givenUp.push(watch.abandon(lost));
        },
      },
    });
    assert.equal(watch.abandon(lost), false);
    await watch.run();
    assert.deepEqual(events, ["open", "a", "b", "lost", "open", "c"]);
    assert.deepEqual(givenUp, [true, false, false]);
    assert.equal(watch.abandon(lost), false);
  });
});
