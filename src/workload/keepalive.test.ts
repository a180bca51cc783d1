import assert from "node:assert/strict";
import { connect, createServer, type Server, type Socket } from "node:net";
import { after, afterEach, beforeEach, describe, it } from "node:test";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { eventually } from "../../test/support/eventually.ts";
import { ClientFrames } from "../../test/support/http2-frames.ts";
import { FakeWorkloadApi } from "../authority/testing.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { isSpiffeError } from "../base/errors.ts";
import { SpiffeWorkloadAPI } from "../gen/workload/workload_pb.js";
import { parseEndpoint } from "./endpoint.ts";
import { type OpenTransport, openTransport } from "./transport.ts";

const HEADERS = { "workload.spiffe.io": "true" };
const PING = 6;

let fake: FakeWorkloadApi;
let opened: OpenTransport[];
let servers: Server[] = [];

/** Real time, thousandfold. */
const fastClock: Clock = {
  now: systemClock.now,
  monotonic: () => systemClock.monotonic() * 1_000,
  sleep: (ms, signal) => systemClock.sleep(ms / 1_000, signal),
};

function open(socket: string, keepaliveMs?: number, clock: Clock = systemClock): OpenTransport {
  const transport = openTransport(parseEndpoint(socket), { keepaliveMs, clock });
  opened.push(transport);
  return transport;
}

/** Reads a stream until it ends; gives the error. */
async function readOut({ transport }: OpenTransport, seen: unknown[] = []): Promise<unknown> {
  try {
    for await (const message of createClient(SpiffeWorkloadAPI, transport).fetchX509SVID({}, { headers: HEADERS })) {
      seen.push(message);
    }
    return undefined;
  } catch (error) {
    return error;
  }
}

function ownCause(error: unknown): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause) if (isSpiffeError(at)) return at.message;
  return undefined;
}

/** Hands on the bytes of each connection and counts the PINGs of the client. */
async function countingProxy(target: string): Promise<{ socket: string; pings: () => number }> {
  let pings = 0;
  const path = `${target}.count`;
  const server = createServer((client: Socket) => {
    const behind = connect(target);
    const frames = new ClientFrames();
    client.on("data", (bytes: Buffer) => {
      behind.write(bytes);
      for (const { type, flags } of frames.take(bytes)) if (type === PING && (flags & 1) === 0) pings++;
    });
    behind.on("data", (bytes) => client.write(bytes));
    client.on("error", () => {});
    behind.on("error", () => {});
    client.once("close", () => behind.destroy());
    behind.once("close", () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  servers.push(server);
  return { socket: `unix://${path}`, pings: () => pings };
}

beforeEach(async () => {
  opened = [];
  fake = await FakeWorkloadApi.start();
});

afterEach(async () => {
  for (const transport of opened) transport.close();
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
  await fake.close();
});

after(() => {
  servers = [];
});

describe("keepalive", () => {
  it("[WE-16] a connection that became silent ends with an error that says so, and the next call dials anew", async () => {
    const transport = open(fake.socket, 50);
    const seen: unknown[] = [];
    const ended = readOut(transport, seen);
    await eventually(() => seen.length === 1, "the first message");
    fake.halfOpen();
    const error = await ended;
    assert.match(String(ownCause(error)), new RegExp(`${fake.path} is silent: no answer to a PING \\(Unavailable\\)`));
    await fake.heal();
    const again: unknown[] = [];
    void readOut(transport, again);
    await eventually(() => again.length === 1, "the message on a new connection");
    assert.equal(fake.connections.accepted, 2);
  });

  it("[WE-16] whoever accepts and says nothing is found out within seconds, on a new connection", async () => {
    fake.halfOpen();
    const waits: number[] = [];
    const noting: Clock = {
      ...fastClock,
      sleep: (ms, signal) => {
        waits.push(ms);
        return fastClock.sleep(ms, signal);
      },
    };
    const error = await readOut(open(fake.socket, undefined, noting));
    assert.match(String(ownCause(error)), /no answer to a PING/);
    assert.ok(waits.length > 0 && waits.every((ms) => ms <= 10_000), `waited ${waits} ms, and not for the interval`);
  });

  it("a quiet connection that answers stays, and is asked no more than once in an interval", async () => {
    const proxy = await countingProxy(fake.path);
    const seen: unknown[] = [];
    void readOut(open(proxy.socket, 300), seen);
    await eventually(() => seen.length === 1, "the first message");
    await eventually(() => proxy.pings() >= 2, "two intervals");
    assert.ok(proxy.pings() <= 3, `${proxy.pings()} PINGs`);
    await fake.rotate();
    await eventually(() => seen.length === 2, "a message on the same stream");
    assert.equal(fake.connections.accepted, 1);
  });

  it("a live connection stays although the process stalls, and an answer is not read in its time", async () => {
    let sleeps = 0;
    let stalls = 0;
    const stalling: Clock = {
      ...systemClock,
      sleep(ms, signal) {
        const slept = systemClock.sleep(ms, signal);
        // both between the questions and behind one
        if (++sleeps % 3 > 0) return slept;
        for (const over = performance.now() + 110; performance.now() < over; );
        stalls++;
        return slept;
      },
    };
    const seen: unknown[] = [];
    void readOut(open(fake.socket, 100, stalling), seen);
    await eventually(() => seen.length === 1, "the first message");
    await eventually(() => stalls >= 8, "stalls");
    await fake.rotate();
    await eventually(() => seen.length === 2, "a message on the same stream");
    assert.equal(fake.connections.accepted, 1);
  });

  it("a suspicion asks at once: a live connection stays, a silent one ends", async () => {
    const proxy = await countingProxy(fake.path);
    const transport = open(proxy.socket, 1_000);
    const seen: unknown[] = [];
    const ended = readOut(transport, seen);
    await eventually(() => seen.length === 1, "the first message");
    transport.probe();
    await eventually(() => proxy.pings() === 1, "the question");
    await fake.rotate();
    await eventually(() => seen.length === 2, "a message on the same stream");
    fake.halfOpen();
    transport.probe();
    assert.match(String(ownCause(await ended)), /no answer to a PING/);
  });

  it("[WE-16] after GOAWAY a stream goes on, and a new call takes a new connection", async () => {
    const transport = open(fake.socket);
    const first: unknown[] = [];
    const ended = readOut(transport, first);
    await eventually(() => first.length === 1, "the first message");
    fake.goAway();
    const second: unknown[] = [];
    await eventually(() => {
      if (fake.connections.accepted === 1 && second.length === 0) void readOut(transport, second);
      return second.length > 0 && fake.connections.accepted === 2;
    }, "a call on a second connection");
    await fake.rotate();
    await eventually(() => first.length === 2, "the old stream's next message");
    fake.end();
    assert.equal(await ended, undefined);
  });

  it("closing ends what is open, as a cancelled call", async () => {
    const transport = open(fake.socket);
    const seen: unknown[] = [];
    const ended = readOut(transport, seen);
    await eventually(() => seen.length === 1, "the first message");
    transport.close();
    const error = await ended;
    assert.ok(error instanceof ConnectError && error.code === Code.Canceled, String(error));
  });
});
