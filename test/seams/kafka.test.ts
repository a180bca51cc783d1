/** `kafkajs` by `streamFactory`, against as much of a broker as its admin client asks for. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { TLSSocket } from "node:tls";
import { type Admin, type ISocketFactory, Kafka, type KafkaConfig, logLevel } from "kafkajs";
import { listen, peerOf, streamFactory, type TlsListener } from "../../src/tls/index.ts";
import { assertOnlyTheExpectedPeer, openWorld, SERVER, type World } from "./world.ts";

const API_VERSIONS = 18;
const METADATA = 3;

const int16 = (n: number) => Buffer.from([(n >> 8) & 0xff, n & 0xff]);
const int32 = (n: number) => Buffer.concat([int16(n >>> 16), int16(n)]);
const text = (s: string) => Buffer.concat([int16(s.length), Buffer.from(s)]);

const QUICK: Partial<KafkaConfig> = { retry: { retries: 0 }, connectionTimeout: 60_000, requestTimeout: 60_000 };

let world: World;
let listener: TlsListener;
const callers: string[] = [];

/** Answers requests for versions and metadata: one broker, one topic. */
function broker(socket: TLSSocket): void {
  callers.push(peerOf(socket).id.uri);
  let seen: Buffer = Buffer.alloc(0);
  socket.on("error", () => {});
  socket.on("data", (chunk: Buffer) => {
    seen = Buffer.concat([seen, chunk]);
    while (seen.length >= 4 && seen.length >= 4 + seen.readInt32BE(0)) {
      const [key, version, correlation] = [seen.readInt16BE(4), seen.readInt16BE(6), seen.readInt32BE(8)];
      seen = seen.subarray(4 + seen.readInt32BE(0));
      const body = answer(key, version);
      socket.write(Buffer.concat([int32(4 + body.length), int32(correlation), body]));
    }
  });
}

function answer(key: number, version: number): Buffer {
  if (key === API_VERSIONS) {
    const known = [
      [API_VERSIONS, 0, 2],
      [METADATA, 0, 0],
    ].flatMap((row) => row.map(int16));
    return Buffer.concat([int16(0), int32(2), ...known, ...(version > 0 ? [int32(0)] : [])]);
  }
  assert.equal(key, METADATA);
  const brokers = [int32(1), int32(1), text("127.0.0.1"), int32(listener.port)];
  const partition = [int16(0), int32(0), int32(1), int32(1), int32(1), int32(1), int32(1)];
  return Buffer.concat([...brokers, int32(1), int16(0), text("orders"), int32(1), ...partition]);
}

/** A client that tries once. */
function open(at: number, peer: string): Admin {
  const streams = streamFactory(world.app, { peer });
  const socketFactory: ISocketFactory = ({ host, port, onConnect }) =>
    streams({ host, port }).once("connect", onConnect) as never;
  return new Kafka({ brokers: [`127.0.0.1:${at}`], socketFactory, logLevel: logLevel.NOTHING, ...QUICK }).admin();
}

/** A client as docs/seams.md shows it. */
function shown(at: number, peer = SERVER): Admin {
  const [workload, brokers] = [world.app, [`127.0.0.1:${at}`]];
  const streams = streamFactory(workload, { peer });
  const socketFactory: ISocketFactory = ({ host, port, onConnect }) =>
    streams({ host, port }).once("connect", onConnect) as never;
  const kafka = new Kafka({ clientId: "app", brokers, socketFactory });
  return kafka.admin();
}

async function topics(port: number, peer = SERVER, admin = open(port, peer)): Promise<string[]> {
  try {
    await admin.connect();
    return await admin.listTopics();
  } finally {
    await admin.disconnect();
  }
}

describe("kafkajs with streamFactory", () => {
  before(async () => {
    world = await openWorld();
    listener = await listen(world.server, { port: 0, address: "127.0.0.1", onConnection: broker });
  });
  after(async () => {
    await listener.close();
    await world.close();
  });

  it("[S-5] [A-5] a wrong peer of the same domain gets no byte, the expected one does", async () => {
    await assertOnlyTheExpectedPeer(world, (port) => topics(port));
  });

  it("[S-5] a broker is used with the own SVID, and refused where another peer is expected", async () => {
    callers.length = 0;
    assert.deepEqual(await topics(listener.port), ["orders"]);
    assert.deepEqual(await topics(listener.port, SERVER, shown(listener.port)), ["orders"]);
    assert.deepEqual([...new Set(callers)], ["spiffe://seams.example/app"]);
    await assert.rejects(topics(listener.port, `${SERVER}2`), /is not who was expected/);
  });

  it("a client goes on through a rotation, and new ones use the new SVIDs", async () => {
    const admin = open(listener.port, SERVER);
    await admin.connect();
    assert.deepEqual(await admin.listTopics(), ["orders"]);
    await world.rotate();
    assert.deepEqual(await admin.listTopics(), ["orders"]);
    assert.deepEqual(await topics(listener.port), ["orders"]);
    await admin.disconnect();
  });
});
