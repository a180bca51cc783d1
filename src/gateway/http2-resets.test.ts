import assert from "node:assert/strict";
import http2 from "node:http2";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { after, before, beforeEach, describe, it } from "node:test";
import { http2Frame, serveFrames } from "../../test/support/http2-frames.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import {
  type Changeable,
  GATEWAY,
  http2Client,
  idOf,
  rawExchange,
  rawRequest,
  requestLog,
  until,
  World,
} from "./world.testing.ts";

const { constants } = http2;
const CANCEL = constants.NGHTTP2_CANCEL;
/** ":status: 200" of the static table. */
const OK = Buffer.from([0x88]);
const head = (stream: number, whole = false) => http2Frame(1, whole ? 5 : 4, stream, OK);
const data = (stream: number, text: string, last = false) => http2Frame(0, last ? 1 : 0, stream, Buffer.from(text));
const reset = (stream: number, code: number) => http2Frame(3, 0, stream, [0, 0, 0, code]);
const goaway = (last: number, code: number) => http2Frame(7, 0, 0, [0, 0, 0, last, 0, 0, 0, code]);

let world: World;
let web: Changeable;
let gateway: Gateway;
let server: Server;
const log = requestLog();
const sockets = new Set<Socket>();
/** Streams that the upstream was asked on, and the codes by which the gateway reset them. */
const asked: number[] = [];
const resets: number[] = [];
/** What the upstream does with the head of a request; bodies are passed over. */
let answer: (socket: Socket, stream: number) => void;

before(async () => {
  world = await World.create();
  web = await world.identity("web");
  server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    serveFrames(socket, ({ type, stream, payload }) => {
      if (type === 3) resets.push(payload.readUInt32BE(0));
      if (type !== 1) return;
      asked.push(stream);
      answer(socket, stream);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  gateway = await createGateway(
    {
      status: { port: 0 },
      listen: { address: "127.0.0.1", port: 0 },
      upstreams: { up: { url, protocol: "h2", retries: { max: 1, budget: "100%" } } },
      routes: [{ name: "up", path: "/**", upstream: "up", timeout: "30s" }],
      policy: [{ rule: "web", allow: { ids: [idOf("web")] } }],
    },
    { workload: await world.identity("gateway"), logger: log },
  );
});
beforeEach(() => {
  asked.length = 0;
  resets.length = 0;
  log.lines.length = 0;
});
after(async () => {
  await gateway?.close({ deadlineMs: 0 });
  for (const socket of sockets) socket.destroy();
  server?.close();
});
const port = () => gateway.listeners[0]!.port;

/** One exchange: what came, whether it looked whole, and the code of the reset; `onPart` hears what has come so far. */
async function exchange(
  session: http2.ClientHttp2Session,
  onPart: (text: string) => void = () => {},
): Promise<{ text: string; code: number; ended: boolean }> {
  const stream = session.request({ ":path": "/x" });
  let [text, ended] = ["", false];
  stream.on("error", () => {});
  stream.on("data", (chunk: Uint8Array) => {
    text += new TextDecoder().decode(chunk);
    onPart(text);
  });
  stream.on("end", () => {
    ended = true;
  });
  await new Promise((resolve) => stream.once("close", resolve));
  return { text, code: stream.rstCode ?? 0, ended };
}

async function withSession<T>(act: (session: http2.ClientHttp2Session) => Promise<T>): Promise<T> {
  const session = await http2Client(web, port());
  try {
    return await act(session);
  } finally {
    session.destroy();
  }
}

describe("resets over HTTP/2", () => {
  for (const [name, code] of [
    ["CANCEL", CANCEL],
    ["INTERNAL_ERROR", constants.NGHTTP2_INTERNAL_ERROR],
    ["NO_ERROR", constants.NGHTTP2_NO_ERROR],
  ] as const) {
    for (const when of ["before the answer", "within it"]) {
      it(`a caller's ${name} ${when} is CANCEL to the upstream, and to that stream alone`, async () => {
        answer = (socket, stream) => {
          if (when === "within it") socket.write(Buffer.concat([head(stream), data(stream, "half")]));
        };
        await withSession(async (session) => {
          const other = session.request({ ":path": "/other" });
          other.on("error", () => {}).resume();
          await until(() => asked.length === 1);
          const stream = session.request({ ":path": "/x" });
          stream.on("error", () => {});
          let text = "";
          stream.on("data", (chunk: Uint8Array) => {
            text += new TextDecoder().decode(chunk);
          });
          await until(() => asked.length === 2 && (when !== "within it" || text === "half"));
          assert.deepEqual([...resets], []);
          stream.close(code);
          await until(() => resets.length === 1);
          assert.deepEqual([...resets], [CANCEL]);
          await until(() => log.lines.length === 1);
          assert.equal(log.lines[0]?.complete, false, JSON.stringify(log.lines));
        });
        // the other one goes with its connection
        await until(() => resets.length === 2 && log.lines.length === 2);
        assert.deepEqual([...resets], [CANCEL, CANCEL]);
      });
    }
  }

  const breaks: readonly (readonly [title: string, act: (socket: Socket, stream: number) => void])[] = [
    ["RST INTERNAL_ERROR", (socket, stream) => socket.write(reset(stream, 2))],
    ["RST CANCEL", (socket, stream) => socket.write(reset(stream, 8))],
    ["RST REFUSED_STREAM", (socket, stream) => socket.write(reset(stream, 7))],
    ["RST ENHANCE_YOUR_CALM", (socket, stream) => socket.write(reset(stream, 11))],
    ["RST NO_ERROR", (socket, stream) => socket.write(reset(stream, 0))],
    ["GOAWAY and the end", (socket, stream) => socket.end(goaway(stream, 0))],
    ["GOAWAY that did not see it", (socket) => socket.end(goaway(0, 2))],
    ["a cut", (socket) => socket.destroy()],
  ];
  for (const [title, act] of breaks) {
    it(`an answer that the upstream breaks off by ${title} is never whole, and never asked for again`, async () => {
      let breakOff: (() => void) | undefined;
      answer = (socket, stream) => {
        breakOff = () => act(socket, stream);
        socket.write(Buffer.concat([head(stream), data(stream, "half")]));
      };
      // once the half is through
      const onPart = (seen: string) => {
        if (!seen.includes("half")) return;
        breakOff?.();
        breakOff = undefined;
      };
      const { text, code } = await withSession((session) => exchange(session, onPart));
      assert.equal(text, "half");
      assert.notEqual(code, 0);
      const plain = await rawExchange(web, port(), rawRequest("/x"), GATEWAY, onPart);
      assert.match(plain, /^HTTP\/1\.1 200 /);
      assert.ok(!plain.endsWith("0\r\n\r\n"), plain);
      assert.equal(asked.length, 2);
      await until(() => log.lines.length === 2);
      assert.ok(log.lines.every((line) => line.complete === false && line.status === 200));
      // the twin: the same answer with its end
      answer = (socket, stream) =>
        socket.write(Buffer.concat([head(stream), data(stream, "half"), data(stream, "!", true)]));
      assert.deepEqual(await withSession(exchange), { text: "half!", code: 0, ended: true });
    });
  }

  it("a whole answer before the end of the request stays whole when NO_ERROR asks for no more of it", async () => {
    answer = (socket, stream) =>
      socket.write(Buffer.concat([head(stream), data(stream, "half"), data(stream, "!", true), reset(stream, 0)]));
    const early = rawRequest("/x", ["Content-Length: 4"], "POST");
    assert.match(await rawExchange(web, port(), `${early}body`), /^HTTP\/1\.1 200 .*half.*!/s);
    await until(() => log.lines.length === 1);
    assert.equal(log.lines[0]?.complete, true);
  });

  it("[S-24] REFUSED_STREAM, and streams above GOAWAY's last, are asked once more, the same for POST", async () => {
    for (const [title, act] of [
      ["REFUSED_STREAM", (socket: Socket, stream: number) => socket.write(reset(stream, 7))],
      ["GOAWAY", (socket: Socket) => socket.end(goaway(0, 0))],
      ["GOAWAY with an error", (socket: Socket) => socket.end(goaway(0, 11))],
    ] as const) {
      asked.length = 0;
      answer = (socket, stream) => {
        answer = (next, again) => next.write(head(again, true));
        act(socket, stream);
      };
      const post = rawRequest("/x", ["Content-Length: 0"], "POST");
      assert.match(await rawExchange(web, port(), post), /^HTTP\/1\.1 200 /, title);
      assert.equal(asked.length, 2, title);
    }
    // what it may have seen is not asked again
    for (const act of [
      (socket: Socket, stream: number) => socket.write(reset(stream, 8)),
      (socket: Socket, stream: number) => socket.end(goaway(stream, 0)),
    ]) {
      asked.length = 0;
      answer = act;
      const post = rawRequest("/x", ["Content-Length: 0"], "POST");
      assert.match(await rawExchange(web, port(), post), /^HTTP\/1\.1 502 /);
      assert.equal(asked.length, 1);
    }
  });
});
