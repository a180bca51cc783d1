import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import { ManualClock } from "../authority/manual-clock.ts";
import type { StaticIdentity } from "../authority/static-identity.ts";
import { isSpiffeError } from "../base/errors.ts";
import { listen, type TlsListener } from "./listen.ts";
import { peerOf } from "./peer.ts";
import { type StreamOptions, streamFactory, type VerifiedStream } from "./verified-stream.ts";
import { identityOf } from "./wire.testing.ts";
import { HOME, makeWorld, WEB, type World } from "./wrong-peers.testing.ts";

let world: World;
let own: StaticIdentity;
let echo: TlsListener;
const servers: Server[] = [];
const sockets = new Set<Socket>();

/** A plain server that talks as the test wants. */
async function plain(talk: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    talk(socket);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as { port: number }).port;
}

function open(port: number, more: Partial<StreamOptions> = {}): VerifiedStream {
  return streamFactory(own, { peer: WEB, ...more })({ host: "127.0.0.1", port });
}

async function failure(stream: VerifiedStream): Promise<Error> {
  const [error] = await once(stream, "error");
  assert.equal(stream.destroyed, true);
  return error;
}

const usage = (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_USAGE");

describe("streamFactory", () => {
  before(async () => {
    world = await makeWorld("serverAuth");
    own = await identityOf(`spiffe://${HOME}/client`, world.home);
    echo = await listen(await identityOf(WEB, world.home), {
      port: 0,
      address: "127.0.0.1",
      onConnection: (socket) => void socket.pipe(socket),
    });
  });
  after(async () => {
    for (const socket of sockets) socket.destroy();
    for (const server of servers) server.close();
    await echo.close({ deadlineMs: 0 });
  });

  it("takes writes at once, and carries megabytes both ways with a slow reader", async () => {
    const stream = open(echo.port);
    assert.throws(
      () => peerOf(stream),
      (error) => isSpiffeError(error, "ERR_SPIFFE_NO_PEER"),
    );
    const sent = Buffer.alloc(3_000_000, "abcdefgh");
    stream.write(sent);
    const got: Buffer[] = [];
    let length = 0;
    for await (const chunk of stream) {
      if (got.length % 16 === 0) await new Promise((resolve) => setImmediate(resolve));
      got.push(chunk);
      length += chunk.length;
      if (length >= sent.length) stream.end();
    }
    assert.ok(Buffer.concat(got).equals(sent));
    assert.equal(peerOf(stream).id.uri, WEB);
  });

  it("is what drivers know of a socket: connect() once, events, settings before and after", async () => {
    const stream = streamFactory(own, { peer: WEB })();
    const events: string[] = [];
    for (const name of ["connect", "secureConnect", "end", "close"]) stream.once(name, () => events.push(name));
    assert.equal(stream.connecting, false);
    assert.equal(stream.setNoDelay(true).setKeepAlive(true, 1_000).setTimeout(60_000), stream);
    stream.connect(echo.port, "127.0.0.1");
    assert.equal(stream.connecting, true);
    await once(stream, "secureConnect");
    assert.equal(stream.connecting, false);
    assert.throws(() => stream.connect(echo.port, "127.0.0.1"), usage);
    stream.unref().ref().setTimeout(0);
    stream.resume().end();
    await once(stream, "close");
    assert.deepEqual(events, ["connect", "secureConnect", "end", "close"]);
  });

  it("ends with the error of the dial, and with the connection", async () => {
    const refused = await failure(open(echo.port, { peer: `${WEB}2` }));
    assert.ok(isSpiffeError(refused, "ERR_SPIFFE_PEER_REFUSED") && refused.reason === "peer.not-authorized");
    const port = await plain((socket) => void socket.end("no TLS here at all, sorry"));
    assert.ok(isSpiffeError(await failure(open(port)), "ERR_SPIFFE_TLS"));
    const stream = open(echo.port);
    await once(stream, "connect");
    const ended = failure(stream);
    await own.update({ svid: null });
    assert.ok(isSpiffeError(await ended));
    await own.update({ svid: await world.home.issue({ id: `spiffe://${HOME}/client` }) });
  });

  it("can be given up at any moment", async () => {
    const before = streamFactory(own, { peer: WEB })();
    before.end();
    before.destroy();
    assert.throws(() => before.connect(echo.port, "127.0.0.1"), usage);
    const silent = await plain(() => {});
    for (const startTls of [undefined, "postgres", "mysql"] as const) {
      const during = open(silent, startTls === undefined ? {} : { startTls });
      during.on("error", () => assert.fail("told about what it did itself"));
      during.write("never sent");
      during.destroy();
      await once(during, "close");
    }
    const stream = open(echo.port);
    stream.write("x");
    assert.equal(String((await once(stream, "data"))[0]), "x");
    stream.destroy();
  });

  it("has one time for the plain beginning and TLS", async () => {
    const silent = await plain(() => {});
    for (const startTls of ["postgres", "mysql"] as const) {
      const clock = new ManualClock();
      const stream = open(silent, { startTls, clock, connectTimeoutMs: 1_000 });
      const failed = failure(stream);
      await clock.advance(1_001);
      assert.ok(isSpiffeError(await failed, "ERR_SPIFFE_TIMEOUT"));
    }
  });

  it("[S-5] nothing but the request for TLS is sent in the clear, whatever the server says", async () => {
    const greeting = (flags: string) => {
      const payload = Buffer.from(`0a313000${"00".repeat(13)}${flags}21${"00".repeat(32)}`, "hex");
      return Buffer.concat([Buffer.from([payload.length, 0, 0, 0]), payload]);
    };
    const said: { startTls: "postgres" | "mysql"; answer: Buffer | string; error: RegExp }[] = [
      { startTls: "postgres", answer: "N", error: /to offer TLS; it does not/ },
      { startTls: "postgres", answer: "E", error: /to offer TLS; it does not/ },
      // A byte too many was put there by somebody who wants it taken for the server's.
      { startTls: "postgres", answer: "SX", error: /to offer TLS; it does not/ },
      { startTls: "mysql", answer: greeting("fff7"), error: /to offer TLS; it does not/ },
      { startTls: "mysql", answer: Buffer.from("0300000109aabb", "hex"), error: /to offer TLS; it does not/ },
      {
        startTls: "mysql",
        answer: Buffer.concat([greeting("ffff"), Buffer.of(0)]),
        error: /to offer TLS; it does not/,
      },
      { startTls: "mysql", answer: Buffer.alloc(5_000, 0xff), error: /does not begin like its protocol/ },
    ];
    for (const { startTls, answer, error } of said) {
      let seen = Buffer.alloc(0);
      const port = await plain((socket) => {
        socket.on("data", (chunk: Buffer) => {
          seen = Buffer.concat([seen, chunk]);
          if (startTls === "postgres") socket.write(answer);
        });
        if (startTls === "mysql") socket.write(answer);
      });
      const stream = open(port, { startTls });
      // Of a login as of anything else.
      stream.write(Buffer.concat([Buffer.from("4100000100020000", "hex"), Buffer.from(`a secret${" ".repeat(53)}`)]));
      assert.match((await failure(stream)).message, error, String(answer));
      assert.ok(seen.length <= 8 && seen.indexOf("secret") < 0);
    }
  });

  it("[S-5] a MySQL greeting of 4 KiB is read, a longer one is none, however it comes", async () => {
    const greeting = (length: number) => {
      const bytes = Buffer.alloc(length);
      bytes.writeUIntLE(length - 4, 0, 3);
      Buffer.from(`0a313000${"00".repeat(13)}ffff21`, "hex").copy(bytes, 4);
      return bytes;
    };
    /** What the driver gets to see, or why it does not. */
    const seenOf = async (bytes: Buffer, cut: number) => {
      const port = await plain((socket) => {
        socket.setNoDelay(true);
        socket.write(bytes.subarray(0, cut));
        setImmediate(() => socket.write(bytes.subarray(cut)));
      });
      const stream = open(port, { startTls: "mysql" });
      const got = new Promise<string>((resolve) => {
        let length = 0;
        stream.on("data", (chunk: Buffer) => {
          length += chunk.length;
          if (length === bytes.length) resolve(`${length} bytes`);
        });
        stream.once("error", (error) => resolve(error.message));
      });
      const seen = await got;
      stream.destroy();
      return seen;
    };
    for (const cut of [4, 4_090]) {
      assert.equal(await seenOf(greeting(4_096), cut), "4096 bytes");
      assert.match(await seenOf(greeting(4_097), cut), /does not begin like its protocol/);
    }
  });

  it("[S-5] of a MySQL login nothing leaves in the clear but what every login begins with", async () => {
    const greeting = Buffer.from(`4a0000000a313000${"00".repeat(13)}ffff21${"00".repeat(53)}`, "hex");
    greeting.writeUIntLE(greeting.length - 4, 0, 3);
    const login = (change: (payload: Buffer) => Buffer | undefined = () => undefined, number = 1) => {
      const plain = Buffer.concat([
        Buffer.from("8da68b000000000121", "hex"),
        Buffer.alloc(23),
        Buffer.from("root\0\x06secret"),
      ]);
      const payload = change(plain) ?? plain;
      const head = Buffer.from([payload.length, 0, 0, number]);
      return Buffer.concat([head, payload]);
    };
    const seenOf = async (written: Buffer, says?: RegExp) => {
      let seen = Buffer.alloc(0);
      const port = await plain((socket) => {
        socket.on("data", (chunk: Buffer) => {
          seen = Buffer.concat([seen, chunk]);
          socket.end();
        });
        socket.write(greeting);
      });
      const stream = open(port, { startTls: "mysql" });
      stream.once("data", () => stream.write(written));
      const { message } = await failure(stream);
      if (says !== undefined) assert.match(message, says);
      return seen;
    };
    const other = /by protocol 4\.1; it sent something else/;
    const old = Buffer.from("0500000000726f6f7400736563726574000000000000000000000000000000000000", "hex");
    for (const [what, written] of [
      ["a login of before 4.1", login(() => old)],
      ["the bit of 4.1 missing", login((payload) => void (payload[1]! &= ~0x02))],
      ["another packet number", login(undefined, 0)],
      ["a packet that is not whole", login().subarray(0, 40)],
    ] as [string, Buffer][]) {
      assert.equal((await seenOf(written, other)).length, 0, what);
    }
    // What a right login begins with, and the bit for TLS; then comes the handshake.
    const request = (await seenOf(login((payload) => void payload.write("memory", 20)))).subarray(0, 36);
    assert.equal(request.toString("hex"), `20000001${"8dae8b000000000121"}${"00".repeat(23)}`);
  });

  it("wants to know who shall answer, and nothing it does not know", () => {
    for (const options of [
      {},
      { peer: WEB, startTls: "smtp" },
      { peer: WEB, ca: "" },
      { peer: WEB, connectTimeoutMs: 0 },
    ]) {
      assert.throws(() => streamFactory(own, options as never), usage);
    }
    const stream = streamFactory(own, { peer: WEB, startTls: "mysql", connectTimeoutMs: 10_000 })();
    for (const port of [0, 65_536, Number.NaN]) assert.throws(() => stream.connect(port, "127.0.0.1"), usage);
    stream.connect(echo.port, "127.0.0.1").destroy();
  });
});
