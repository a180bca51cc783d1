import assert from "node:assert/strict";
import { createServer, type Server, type ServerResponse } from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { ManualClock } from "../authority/testing.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import { type Changeable, http2Client, idOf, until, World } from "./world.testing.ts";

const MIB = 1_048_576;
const WHOLE = 160 * MIB;
/** What buffers along the way may hold: those of two connections in the kernel, up to 36 MiB each, and windows of streams. */
const HELD = 96 * MIB;
const CHUNK = new Uint8Array(MIB);

describe("a side that does not read", () => {
  let world: World;
  let web: Changeable;
  let gateway: Gateway;
  let plain: Server;
  let h2: http2.Http2Server;
  /** Bytes that the upstream could send, and that it received. */
  let sent = 0;
  let received = 0;
  let waiting: { resume(): unknown } | undefined;

  const pour = async (response: {
    write(chunk: Uint8Array): boolean;
    once: ServerResponse["once"];
    end(): unknown;
  }) => {
    for (let left = WHOLE; left > 0; left -= MIB) {
      const room = response.write(CHUNK);
      sent += MIB;
      if (!room) await new Promise((resolve) => response.once("drain", resolve as () => void));
    }
    response.end();
  };
  type Body = { resume(): unknown; pause(): unknown; on(event: "data", take: (chunk: Uint8Array) => void): unknown };
  const hold = (request: Body) => {
    request.on("data", (chunk) => {
      received += chunk.byteLength;
    });
    request.pause();
    waiting = request;
  };

  before(async () => {
    world = await World.create();
    web = await world.identity("web");
    plain = createServer((request, response) => {
      if (request.method === "GET") return void pour(response);
      hold(request);
      request.on("end", () => response.end("ok"));
    });
    h2 = http2.createServer();
    h2.on("session", (session: http2.ServerHttp2Session) => session.on("error", () => {}));
    h2.on("stream", (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
      stream.on("error", () => {});
      if (headers[":method"] === "GET") {
        stream.respond({ ":status": 200 });
        return void pour(stream as never);
      }
      hold(stream);
      stream.on("end", () => {
        stream.respond({ ":status": 200 });
        stream.end("ok");
      });
    });
    for (const server of [plain, h2]) await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = (server: { address(): unknown }) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    gateway = await createGateway(
      {
        status: { port: 0 },
        listen: { address: "127.0.0.1", port: 0 },
        upstreams: { plain: { url: url(plain) }, h2: { url: url(h2), protocol: "h2" } },
        routes: ["plain", "h2"].map((name) => ({ name, path: `/${name}/**`, upstream: name })),
        policy: [{ rule: "web", allow: { ids: [idOf("web")] } }],
        limits: { body: "300MiB" },
      },
      // an upload may take a busy machine longer than a route waits for an answer
      { workload: await world.identity("gateway"), clock: new ManualClock() },
    );
  });
  after(async () => {
    await gateway?.close({ deadlineMs: 0 });
    plain?.close();
    plain?.closeAllConnections();
    h2?.close();
  });

  /** Waits until nothing moves any more. */
  const still = async (count: () => number) => {
    for (let last = -1; last !== count(); ) {
      last = count();
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
  };

  for (const name of ["plain", "h2"]) {
    it(`[A-9] a caller with a full window stops an upstream (${name}), and gets all of 160 MiB once it reads`, async () => {
      sent = 0;
      const session = await http2Client(web, gateway.listeners[0]!.port);
      try {
        const stream = session.request({ ":path": `/${name}/x` });
        let bytes = 0;
        await until(() => sent > 0);
        await still(() => sent);
        assert.ok(sent <= HELD, `${sent} bytes went on`);
        stream.on("data", (chunk: Uint8Array) => {
          bytes += chunk.byteLength;
        });
        await new Promise((resolve) => stream.once("end", resolve));
        assert.equal(bytes, WHOLE);
      } finally {
        session.destroy();
      }
    });

    it(`[A-9] an upstream (${name}) that does not read stops a caller, and gets all of 160 MiB once it does`, async () => {
      received = 0;
      waiting = undefined;
      let taken = 0;
      const session = await http2Client(web, gateway.listeners[0]!.port);
      try {
        const stream = session.request({ ":path": `/${name}/x`, ":method": "POST" }, { endStream: false });
        let text = "";
        stream.on("data", (chunk: Uint8Array) => {
          text += new TextDecoder().decode(chunk);
        });
        const upload = (async () => {
          for (let left = WHOLE; left > 0; left -= MIB) {
            const room = stream.write(CHUNK);
            taken += MIB;
            if (!room) await new Promise((resolve) => stream.once("drain", resolve));
          }
          stream.end();
        })();
        await until(() => waiting !== undefined);
        await still(() => taken);
        assert.ok(taken <= HELD, `${taken} bytes went on`);
        waiting!.resume();
        await upload;
        await new Promise((resolve) => stream.once("end", resolve));
        assert.equal(`${text} ${received}`, `ok ${WHOLE}`);
      } finally {
        session.destroy();
      }
    });
  }
});
