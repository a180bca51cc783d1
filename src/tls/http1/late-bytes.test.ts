/** Bodies that an upstream sends behind answers that have none: nobody else's request is answered by them. */
import assert from "node:assert/strict";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { after, before, beforeEach, describe, it } from "node:test";
import { ManualClock } from "../../authority/testing.ts";
import { until } from "../../gateway/world.testing.ts";
import { Http1Pool } from "./pool.ts";

/** Milliseconds that a connection rests which may have more to say. */
const REST_MS = 100;
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const EVIL = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
const LENGTH = `Content-Length: ${EVIL.length}`;

describe("bytes behind an answer that has no body", () => {
  let server: Server;
  let sockets: Socket[] = [];
  /** Answers in the order of the requests, of one connection after the other; plain ones behind them. */
  let answers: readonly (readonly string[])[] = [];
  let clock: ManualClock;
  let pool: Http1Pool;

  before(async () => {
    server = createServer((socket) => {
      let next = 0;
      const own = sockets.push(socket) - 1;
      socket.on("error", () => {});
      socket.on("data", () => socket.write(answers[own]?.[next++] ?? OK));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  beforeEach(() => {
    for (const socket of sockets) socket.destroy();
    sockets = [];
    clock = new ManualClock();
    const { port } = server.address() as AddressInfo;
    const open = () =>
      new Promise<Socket>((resolve, reject) => {
        const socket = connect(port, "127.0.0.1", () => resolve(socket)).once("error", reject);
      });
    pool = new Http1Pool(open, clock);
  });
  after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  const ask = (method = "GET") =>
    new Promise<string>((resolve) => {
      let text = "";
      pool.begin(
        { method, target: "/", fields: [["host", "a"]], withBody: false },
        {
          connected() {},
          drained() {},
          unwanted() {},
          head: (_call, status) => void (text = `${status} `),
          data: (_call, chunk) => void (text += Buffer.from(chunk).toString()),
          ended: () => resolve(text),
          failed: (_call, error) => resolve(`failed: ${(error as Error).message}`),
        },
      );
    });

  for (const [title, method, head] of [
    ["to HEAD, with a length", "HEAD", `HTTP/1.1 200 OK\r\n${LENGTH}\r\n\r\n`],
    ["to HEAD, in chunks", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
    ["304, with a length", "GET", `HTTP/1.1 304 Not Modified\r\n${LENGTH}\r\n\r\n`],
  ] as const) {
    it(`[S-24] ${title}: they end the connection, and it carries nothing until they would have come`, async () => {
      const status = head.slice(9, 13);
      answers = [[head, EVIL], [], [head]];
      assert.equal(await ask(method), status);
      assert.equal(await ask(), "200 ok");
      assert.equal(sockets.length, 2);
      sockets[0]!.write(EVIL);
      await until(() => sockets[0]!.destroyed);
      pool.dropIdle();
      // the twin: nothing comes, and it carries the next
      assert.equal(await ask(method), status);
      await clock.advance(REST_MS);
      assert.equal(await ask(), "200 ok");
      assert.equal(sockets.length, 3);
    });
  }

  it("[S-24] 204 that states a body ends the connection, one that states none does not", async () => {
    const none = (field: string) => `HTTP/1.1 204 No Content\r\n${field}\r\n\r\n`;
    answers = [
      [none(LENGTH), EVIL],
      [none("Transfer-Encoding: chunked"), EVIL],
      [none("A: b"), none("Content-Length: 0")],
    ];
    assert.equal(await ask(), "204 ");
    await clock.advance(REST_MS);
    assert.equal(await ask(), "204 ");
    await clock.advance(REST_MS);
    for (const told of ["204 ", "204 ", "200 ok"]) assert.equal(await ask(), told);
    assert.equal(sockets.length, 3);
  });

  it("[S-24] an answer with its body leaves the connection to the next request at once", async () => {
    answers = [[OK, "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 304 Not Modified\r\n\r\n"]];
    assert.equal(await ask(), "200 ok");
    assert.equal(await ask("HEAD"), "200 ");
    assert.equal(await ask(), "304 ");
    assert.equal(await ask(), "200 ok");
    assert.equal(sockets.length, 1);
  });
});
