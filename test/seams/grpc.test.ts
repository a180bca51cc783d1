/** `@grpc/grpc-js` by `grpcCredentials`. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as grpc from "@grpc/grpc-js";
import { isSpiffeError } from "../../src/base/index.ts";
import { grpcCredentials, listen, peerOf, type TlsListener } from "../../src/tls/index.ts";
import { assertOnlyTheExpectedPeer, openWorld, SERVER, type World } from "./world.ts";

let world: World;
let listener: TlsListener;
const tokens: unknown[] = [];
const clients: grpc.Client[] = [];

function open(port: number, credentials = grpcCredentials(grpc, world.app, { peer: SERVER })): grpc.Client {
  // Without a pool of its own, a client would get a connection of an earlier one with equal credentials.
  const client = new grpc.Client(`127.0.0.1:${port}`, credentials, { "grpc.use_local_subchannel_pool": 1 });
  clients.push(client);
  return client;
}

const same = (bytes: Buffer) => bytes;

function call(client: grpc.Client, message = "a secret"): Promise<string> {
  return new Promise((resolve, reject) => {
    const metadata = new grpc.Metadata();
    metadata.set("x-secret", "hush");
    const deadline = { deadline: Date.now() + 60_000 };
    client.makeUnaryRequest("/orders/Echo", same, same, Buffer.from(message), metadata, deadline, (error, answer) => {
      if (error === null) resolve(String(answer));
      else reject(error);
    });
  });
}

async function callOnce(port: number, credentials?: grpc.ChannelCredentials): Promise<string> {
  const client = open(port, credentials);
  try {
    return await call(client);
  } finally {
    client.close();
  }
}

describe("@grpc/grpc-js with grpcCredentials", () => {
  before(async () => {
    world = await openWorld();
    listener = await listen(world.server, {
      port: 0,
      address: "127.0.0.1",
      handler: (req, res) => {
        tokens.push(req.headers.authorization);
        const parts: Buffer[] = [];
        req.on("data", (part: Buffer) => void parts.push(part));
        req.once("end", () => {
          const text = Buffer.from(`${peerOf(req).id} ${req.socket.remotePort} ${Buffer.concat(parts).subarray(5)}`);
          const head = Buffer.alloc(5);
          head.writeUInt32BE(text.length, 1);
          res.writeHead(200, { "content-type": "application/grpc" });
          res.write(Buffer.concat([head, text]));
          res.addTrailers({ "grpc-status": "0" });
          res.end();
        });
      },
    });
  });
  after(async () => {
    for (const client of clients) client.close();
    await listener.close();
    await world.close();
  });

  it("[S-5] [A-5] a wrong peer of the same domain gets no byte, the expected one does", async () => {
    await assertOnlyTheExpectedPeer(world, (port) => callOnce(port), { alpn: ["h2"] });
  });

  it("[S-5] a call is made with the own SVID, and not where another peer is expected", async () => {
    assert.match(await callOnce(listener.port), /^spiffe:\/\/seams\.example\/app \d+ a secret$/);
    const other = grpcCredentials(grpc, world.app, { peer: `${SERVER}2` });
    await assert.rejects(callOnce(listener.port, other), (error: grpc.ServiceError) => {
      assert.equal(error.code, grpc.status.UNAVAILABLE);
      return /is not who was expected/.test(error.message);
    });
  });

  it("call credentials are sent to the expected peer", async () => {
    const add = (_: unknown, done: (error: null, metadata: grpc.Metadata) => void) => {
      const metadata = new grpc.Metadata();
      metadata.set("authorization", "Bearer token");
      done(null, metadata);
    };
    const channel = grpcCredentials(grpc, world.app, { peer: SERVER });
    const calls = grpc.credentials.createFromMetadataGenerator(add);
    await callOnce(listener.port, grpc.credentials.combineChannelCredentials(channel, calls));
    assert.equal(tokens.at(-1), "Bearer token");
  });

  it("[S-6] channels share a connection where their credentials are the same, and only there", async () => {
    const credentials = grpcCredentials(grpc, world.app, { peer: SERVER });
    const connection = async (from: grpc.ChannelCredentials) => {
      const client = new grpc.Client(`127.0.0.1:${listener.port}`, from);
      clients.push(client);
      return (await call(client)).split(" ")[1];
    };
    const first = await connection(credentials);
    assert.equal(await connection(credentials), first);
    assert.notEqual(await connection(grpcCredentials(grpc, world.app, { peer: SERVER })), first);
  });

  it("a channel goes on through a rotation, and new ones use the new SVIDs", async () => {
    const client = open(listener.port);
    await call(client);
    await world.rotate();
    assert.match(await call(client), /^spiffe:\/\/seams\.example\/app /);
    assert.match(await callOnce(listener.port), /^spiffe:\/\/seams\.example\/app /);
  });

  it("is used as docs/seams.md shows it", async () => {
    const [workload, peer, host, { port }] = [world.app, SERVER, "127.0.0.1", listener];
    const credentials = grpcCredentials(grpc, workload, { peer });
    const client = new grpc.Client(`${host}:${port}`, credentials);
    clients.push(client);
    assert.match(await call(client), /^spiffe:/);
  });

  it("wants the module, and to know who shall answer", () => {
    const usage = (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_USAGE");
    assert.throws(() => grpcCredentials({} as never, world.app, { peer: SERVER }), usage);
    assert.throws(() => grpcCredentials(grpc, world.app, {} as never), usage);
    assert.throws(() => grpcCredentials(grpc, world.app, { peer: SERVER, rejectUnauthorized: false } as never), usage);
    assert.ok(grpcCredentials(grpc, world.app, { peer: SERVER }) instanceof grpc.ChannelCredentials);
  });
});
