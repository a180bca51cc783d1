/** Bodies that stand still: each is ended after the time that it may, in either direction, and none before. */
import assert from "node:assert/strict";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import { ManualClock } from "../authority/testing.ts";
import { connect } from "../tls/index.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import { type Changeable, GATEWAY, idOf, requestLog, statusOf, until, World } from "./world.testing.ts";

const IDLE_MS = 2_000;
/** Less than the idle time, and twice as long as more than that. */
const PAUSE_MS = 1_500;

/** One connection at the upstream. */
interface Asked {
  readonly socket: Socket;
  text: string;
  closed: boolean;
}

describe("[A-9] a body that stands still", () => {
  const clock = new ManualClock();
  const log = requestLog();
  const asked: Asked[] = [];
  const callers: Socket[] = [];
  let server: Server;
  let web: Changeable;
  let gateway: Gateway;

  before(async () => {
    const world = await World.create();
    web = await world.identity("web");
    server = createServer((socket) => {
      const one: Asked = { socket, text: "", closed: false };
      asked.push(one);
      socket.on("error", () => {});
      socket.on("data", (chunk: Uint8Array) => {
        one.text += new TextDecoder().decode(chunk);
      });
      socket.on("close", () => {
        one.closed = true;
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    gateway = await createGateway(
      {
        status: { port: 0 },
        listen: { address: "127.0.0.1", port: 0 },
        upstreams: { one: { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` } },
        routes: [{ name: "one", path: "/**", upstream: "one", timeout: "1h" }],
        policy: [{ rule: "web", allow: { ids: [idOf("web")] } }],
        limits: { idle: `${IDLE_MS / 1_000}s` },
      },
      { workload: await world.identity("gateway"), logger: log, clock },
    );
  });
  after(async () => {
    await gateway?.close({ deadlineMs: 0 });
    for (const socket of [...callers, ...asked.map(({ socket }) => socket)]) socket.destroy();
    server?.close();
  });

  /** A caller that has sent this; gives what the upstream has of it and what comes back. */
  async function call(text: string): Promise<{ socket: Socket; heard: () => Asked; text: string; closed: boolean }> {
    const { length } = asked;
    log.lines.length = 0;
    const { socket } = await connect(web, {
      host: "127.0.0.1",
      port: gateway.listeners[0]!.port,
      peer: GATEWAY,
      alpn: ["http/1.1"],
    });
    callers.push(socket);
    const caller = { socket, heard: () => asked[length]!, text: "", closed: false };
    socket.on("error", () => {});
    socket.on("data", (chunk: Uint8Array) => {
      caller.text += new TextDecoder().decode(chunk);
    });
    socket.on("close", () => {
      caller.closed = true;
    });
    socket.write(text);
    await until(() => asked.length > length && /\r\n\r\n/.test(asked[length]!.text));
    return caller;
  }

  const post = "POST /a HTTP/1.1\r\nHost: edge.example\r\nContent-Length: 6\r\n\r\n";
  const get = "GET /a HTTP/1.1\r\nHost: edge.example\r\n\r\n";
  const begun = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\n";

  it("of a request is answered with 504 and goes no further; one that moves now and then does", async () => {
    const still = await call(`${post}ab`);
    await until(() => still.heard().text.endsWith("ab"));
    await clock.advance(PAUSE_MS);
    still.socket.write("cd");
    await until(() => still.heard().text.endsWith("cd"));
    await clock.advance(IDLE_MS + 100);
    await until(() => still.text !== "");
    assert.equal(statusOf(still.text), 504);
    await until(() => still.heard().closed && log.lines.length === 1);

    const slow = await call(`${post}ab`);
    await until(() => slow.heard().text.endsWith("ab"));
    for (const [more, whole] of [
      ["cd", "abcd"],
      ["ef", "abcdef"],
    ] as const) {
      await clock.advance(PAUSE_MS);
      slow.socket.write(more);
      await until(() => slow.heard().text.endsWith(whole));
    }
    // now it is the upstream that takes its time, which is another
    await clock.advance(3 * IDLE_MS);
    assert.equal(slow.heard().closed, false);
    slow.heard().socket.write(`${begun}answer`);
    await until(() => slow.text.endsWith("answer"));
    assert.equal(statusOf(slow.text), 200);
  });

  it("of an answer breaks off on both sides; one that moves now and then comes whole", async () => {
    const still = await call(get);
    still.heard().socket.write(`${begun}an`);
    await until(() => still.text.endsWith("an"));
    await clock.advance(PAUSE_MS);
    still.heard().socket.write("sw");
    await until(() => still.text.endsWith("answ"));
    await clock.advance(IDLE_MS + 100);
    await until(() => still.closed && still.heard().closed);
    assert.ok(still.text.endsWith("answ"));
    await until(() => log.lines.length === 1);
    assert.match(String(log.lines[0]?.error), /stood still/);

    const slow = await call(get);
    slow.heard().socket.write(`${begun}an`);
    await until(() => slow.text.endsWith("an"));
    for (const [more, whole] of [
      ["sw", "answ"],
      ["er", "answer"],
    ] as const) {
      await clock.advance(PAUSE_MS);
      slow.heard().socket.write(more);
      await until(() => slow.text.endsWith(whole));
    }
    await until(() => log.lines.length === 1);
    assert.equal(log.lines[0]?.error, undefined);
  });

  it("of a request whose answer is there already is given up", async () => {
    const early = await call(`${post}ab`);
    await until(() => early.heard().text.endsWith("ab"));
    early.heard().socket.write(`${begun}answer`);
    await until(() => early.text.endsWith("answer"));
    assert.equal(early.heard().closed, false);
    await clock.advance(IDLE_MS + 100);
    await until(() => early.heard().closed);
    assert.equal(statusOf(early.text), 200);
  });
});
