import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { after, before, beforeEach, describe, it } from "node:test";
import { eventually } from "../../../test/support/eventually.ts";
import { ManualClock } from "../../authority/testing.ts";
import { type Field, Unsendable, type UpstreamCall } from "./call.ts";
import { Http1Pool, isDialFailure } from "./pool.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

describe("connections to an upstream", () => {
  let server: Server;
  let sockets: Socket[] = [];
  let dialled: Socket[] = [];
  let received = "";
  /** What is sent for each chunk that comes. */
  let answer: (socket: Socket, text: string) => void;
  const clock = new ManualClock();
  let pool: Http1Pool;

  before(async () => {
    server = createServer((socket) => {
      sockets.push(socket);
      socket.on("error", () => {});
      socket.on("data", (chunk) => {
        received += chunk.toString("latin1");
        answer(socket, chunk.toString("latin1"));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  beforeEach(() => {
    for (const socket of sockets) socket.destroy();
    sockets = [];
    dialled = [];
    received = "";
    answer = (socket) => socket.write(OK);
    const { port } = server.address() as AddressInfo;
    const open = () =>
      new Promise<Socket>((resolve, reject) => {
        const socket = connect(port, "127.0.0.1");
        dialled.push(socket);
        socket.setNoDelay(true);
        socket.once("connect", () => resolve(socket));
        socket.once("error", reject);
      });
    pool = new Http1Pool(open, clock);
  });
  after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  interface Asked {
    readonly call: UpstreamCall;
    readonly outcome: Promise<string>;
    connected: boolean;
    unwanted: boolean;
  }
  const ask = (fields: readonly Field[] = [["host", "a"]], withBody = false, method = "GET", target = "/"): Asked => {
    const seen = { connected: false, unwanted: false };
    const { promise: outcome, resolve } = Promise.withResolvers<string>();
    let text = "";
    const call = pool.begin(
      { method, target, fields, withBody },
      {
        connected() {
          seen.connected = true;
        },
        drained() {},
        unwanted() {
          seen.unwanted = true;
        },
        head(_call, status) {
          text += `${status} `;
        },
        data(_call, chunk) {
          text += Buffer.from(chunk).toString();
        },
        ended: () => resolve(text),
        failed: (_call, error) => resolve(`${text}failed: ${(error as Error).message}`),
      },
    );
    return Object.assign(seen, { call, outcome });
  };

  it("carry one request after another", async () => {
    for (let i = 0; i < 3; i++) assert.equal(await ask().outcome, "200 ok");
    assert.equal(sockets.length, 1);
    const both = [ask(), ask()];
    assert.deepEqual(await Promise.all(both.map(({ outcome }) => outcome)), ["200 ok", "200 ok"]);
    assert.equal(sockets.length, 2);
    assert.equal(both.filter(({ call }) => call.reused).length, 1);
  });

  it("hold the process while they carry a request, and not while they are idle", async () => {
    const { port } = server.address() as AddressInfo;
    const held: string[] = [];
    const counted = new Http1Pool(async () => {
      const socket = connect(port, "127.0.0.1");
      await once(socket, "connect");
      const noting = (what: string, own: () => Socket) => () => {
        held.push(what);
        return own.call(socket);
      };
      return Object.assign(socket, { ref: noting("held", socket.ref), unref: noting("left", socket.unref) });
    }, clock);
    const none = () => {};
    const request = { method: "GET", target: "/", fields: [["host", "a"]] as Field[], withBody: false };
    const asked = () =>
      new Promise<void>((resolve, reject) => {
        const failed = (_call: UpstreamCall, error: unknown) => reject(error);
        const events = { connected: none, drained: none, unwanted: none, head: none, data: none, failed };
        counted.begin(request, { ...events, ended: () => resolve() });
      });
    await asked();
    await eventually(() => held.length > 0);
    assert.deepEqual(held, ["left"]);
    await asked();
    await eventually(() => held.length > 2);
    assert.deepEqual(held, ["left", "held", "left"]);
    counted.destroy();
  });

  it("[S-24] that say more than one answer carry nothing more", async () => {
    answer = (socket) => socket.write(`${OK}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`);
    assert.equal(await ask().outcome, "200 ok");
    await eventually(() => sockets[0]?.destroyed === true);
    answer = (socket) => socket.write(OK);
    assert.equal(await ask().outcome, "200 ok");
    // also when it comes later, while nobody asks
    sockets[1]?.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    await eventually(() => sockets[1]?.destroyed === true);
    assert.equal(await ask().outcome, "200 ok");
    assert.equal(sockets.length, 3);
    // the twin
    assert.equal(await ask().outcome, "200 ok");
    assert.equal(sockets.length, 3);
  });

  it("end with an answer that says so, that has no length, or that is none", async () => {
    answer = (socket) => socket.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    assert.equal(await ask().outcome, "200 ok");
    answer = (socket) => socket.end("HTTP/1.1 200 OK\r\n\r\nok");
    assert.equal(await ask().outcome, "200 ok");
    answer = (socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok");
    assert.equal(await ask().outcome, "200 okfailed: The upstream closed the connection");
    answer = (socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok");
    assert.equal(await ask().outcome, "failed: The upstream's answer has no one length");
    assert.equal(sockets.length, 4);
  });

  it("that the upstream ends soon are left alone in time", async () => {
    answer = (socket) => socket.write("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok");
    assert.equal(await ask().outcome, "200 ok");
    await clock.advance(3_900);
    assert.equal(await ask().outcome, "200 ok");
    assert.equal(sockets.length, 1);
    await clock.advance(4_100);
    assert.equal(await ask().outcome, "200 ok");
    assert.equal(sockets.length, 2);
  });

  it("[A-11] send no field, method or target that could be read as another", async () => {
    const table: [Field[], string?, string?][] = [
      [[["x", "a\r\nx-spiffe-id: spiffe://example.org/admin"]]],
      [[["x", "a\nb"]]],
      [[["x", "a\0b"]]],
      [[["x", "\u010d\u010a"]]],
      [[["x y", "a"]]],
      [[["x:", "a"]]],
      [[["", "a"]]],
      [[], "GET\r\n", "/"],
      [[], "GET", "/ HTTP/1.1\r\nx: y\r\n\r\n"],
      [[], "GET", ""],
    ];
    for (const [fields, method, target] of table) {
      assert.throws(() => ask(fields, false, method, target), JSON.stringify([fields, method, target]));
    }
    assert.equal(received, "");
    assert.equal(await ask([["x", "a\tb \xe4"]]).outcome, "200 ok");
    assert.equal(received, "GET / HTTP/1.1\r\nx: a\tb \xe4\r\n\r\n");
  });

  it("[S-24] send bodies of the stated length alone, or in chunks with trailers", async () => {
    answer = (socket, text) => void (/DONE|0\r\n/.test(text) && socket.write(OK));
    const length: Field[] = [["content-length", "8"]];
    const chunked: Field[] = [["transfer-encoding", "chunked"]];
    const right = ask(length, true, "POST");
    await eventually(() => right.connected);
    right.call.write(Buffer.from("bodyDONE"));
    right.call.end([]);
    assert.equal(await right.outcome, "200 ok");
    for (const body of ["bodyDONE!", "DONE"]) {
      answer = () => {};
      const wrong = ask(length, true, "POST");
      await eventually(() => wrong.connected);
      wrong.call.write(Buffer.from(body));
      wrong.call.end([]);
      assert.equal(await wrong.outcome, "failed: The request body is not as long as its Content-Length says");
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
    assert.ok(!received.includes("!"));
    received = "";
    answer = (socket, text) => void (/0\r\n/.test(text) && socket.write(OK));
    const parts = ask(chunked, true, "POST");
    await eventually(() => parts.connected);
    parts.call.write(Buffer.from("body"));
    parts.call.end([["x-sum", "4"]]);
    assert.equal(await parts.outcome, "200 ok");
    assert.equal(received, "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 4\r\n\r\n");
  });

  it("are not used again while a body is on its way, and an upstream that goes says so", async () => {
    const early = ask([["content-length", "8"]], true, "POST");
    await eventually(() => early.connected);
    assert.equal(await early.outcome, "200 ok");
    assert.equal(await ask().outcome, "200 ok");
    assert.equal(sockets.length, 2);
    sockets[0]?.destroy();
    await eventually(() => early.unwanted);
  });

  it("[S-24] that are gone before a body begins are replaced by others", async () => {
    assert.equal(await ask().outcome, "200 ok");
    const late = ask([["host", "a"]], true, "POST");
    // in the same turn: the kept connection goes, the call is still to begin
    dialled[0]!.destroy();
    await eventually(() => late.connected);
    late.call.end([]);
    assert.equal(await late.outcome, "200 ok");
    assert.equal(sockets.length, 2);
  });

  it("a stated length that is no plain number is not sent, a plain one is", async () => {
    for (const length of ["0x2", "1e1", "+2", " 2", "2, 2", "", "-0"]) {
      assert.throws(() => ask([["content-length", length]], true, "POST"), Unsendable, JSON.stringify(length));
    }
    assert.equal(sockets.length, 0);
    const plain = ask([["content-length", "0"]], true, "POST");
    await eventually(() => plain.connected);
    plain.call.end([]);
    assert.equal(await plain.outcome, "200 ok");
  });

  it("that cannot be opened fail as dials, those that break do not", async () => {
    const failures: boolean[] = [];
    const events = {
      connected() {},
      drained() {},
      unwanted() {},
      head() {},
      data() {},
      ended() {},
      failed: (_call: UpstreamCall, error: unknown) => void failures.push(isDialFailure(error)),
    };
    const request = { method: "GET", target: "/", fields: [], withBody: false };
    new Http1Pool(() => Promise.reject(new Error("no")), clock).begin(request, events);
    await eventually(() => failures.length === 1);
    answer = (socket) => socket.destroy();
    pool.begin(request, events);
    await eventually(() => failures.length === 2);
    assert.deepEqual(failures, [true, false]);
  });

  it("end with the pool: idle ones at once, busy ones with their answer or at once", async () => {
    assert.equal(await ask().outcome, "200 ok");
    let requests = 0;
    answer = () => void requests++;
    const busy = ask();
    const other = ask();
    await eventually(() => sockets.length === 2 && requests === 2);
    pool.retire();
    sockets[0]?.write(OK);
    assert.equal(await busy.outcome, "200 ok");
    await eventually(() => sockets[0]?.destroyed === true);
    pool.destroy();
    assert.equal(await other.outcome, "failed: The connection to the upstream was ended");
  });
});
