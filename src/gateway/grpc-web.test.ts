/** gRPC-Web, whose calls come over HTTP/1.1 too and have their status in the head, and the time that a caller gives them. */
import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import type { ClientHttp2Session } from "node:http2";
import { after, before, beforeEach, describe, it } from "node:test";
import { ManualClock } from "../authority/testing.ts";
import { createFetch } from "../tls/index.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import {
  type Changeable,
  type CountingUpstream,
  countingUpstream,
  GATEWAY,
  http2Client,
  idOf,
  requestLog,
  until,
  World,
} from "./world.testing.ts";

/** A call whose answer has begun. */
interface Begun {
  readonly status: number;
  /** `grpc-status` and reason in the head. */
  readonly said: string;
  /** All of the body, or as much as came, and whether it broke off. */
  readonly whole: Promise<{ text: string; broken: boolean }>;
}

const TYPE = "application/grpc-web+proto";

describe("gRPC-Web calls with grpc-timeout", () => {
  const clock = new ManualClock();
  const log = requestLog();
  let web: Changeable;
  let upstream: CountingUpstream;
  let gateway: Gateway;
  let session: ClientHttp2Session;
  let answer: (response: ServerResponse) => void;

  before(async () => {
    const world = await World.create();
    web = await world.identity("web");
    upstream = await countingUpstream((_, response) => answer(response));
    gateway = await createGateway(
      {
        status: { port: 0 },
        listen: { address: "127.0.0.1", port: 0 },
        upstreams: { up: { url: upstream.url } },
        routes: [{ name: "up", path: "/**", upstream: "up", timeout: "1s" }],
        policy: [{ rule: "web", allow: { ids: [idOf("web")] } }],
      },
      { workload: await world.identity("gateway"), clock, logger: log },
    );
    session = await http2Client(web, gateway.listeners[0]!.port);
  });
  beforeEach(() => {
    log.lines.length = 0;
    upstream.heads = 0;
    answer = (response) => response.writeHead(200, { "content-type": TYPE }).end("whole");
  });
  after(async () => {
    session?.destroy();
    await gateway?.close({ deadlineMs: 0 });
    await upstream?.close();
  });

  const fields = (timeout: string) => ({ "content-type": TYPE, "grpc-timeout": timeout });
  const text = (chunk: Uint8Array) => new TextDecoder().decode(chunk);

  async function over1(timeout: string): Promise<Begun> {
    const url = `https://127.0.0.1:${gateway.listeners[0]!.port}/x.Y/Z`;
    const response = await createFetch(web, { peer: GATEWAY })(url, { method: "POST", headers: fields(timeout) });
    const { status, headers } = response;
    const read = async () => {
      const got = { text: "", broken: false };
      try {
        for await (const chunk of response.body ?? []) got.text += text(chunk as Uint8Array);
      } catch {
        got.broken = true;
      }
      return got;
    };
    return { status, said: `${headers.get("grpc-status")} ${headers.get("spiffe-reason")}`, whole: read() };
  }

  function over2(timeout: string): Promise<Begun> {
    return new Promise((resolve) => {
      const stream = session.request({ ":method": "POST", ":path": "/x.Y/Z", ...fields(timeout) });
      const got = { text: "", broken: false };
      stream.on("error", () => {}).end();
      stream.on("data", (chunk: Uint8Array) => {
        got.text += text(chunk);
      });
      const whole = new Promise<typeof got>((over) => {
        stream.once("close", () => over({ ...got, broken: stream.rstCode !== 0 }));
      });
      stream.once("response", (headers) => {
        const said = `${headers["grpc-status"] ?? null} ${headers["spiffe-reason"] ?? null}`;
        resolve({ status: Number(headers[":status"]), said, whole });
      });
    });
  }

  for (const [protocol, call] of [
    ["HTTP/1.1", over1],
    ["HTTP/2", over2],
  ] as const) {
    it(`${protocol}: an answer that does not begin in time is a status 4 in the head`, async () => {
      answer = () => {};
      const late = call("300m");
      await until(() => upstream.heads === 1);
      await clock.advance(300);
      const { status, said, whole } = await late;
      assert.deepEqual([status, said, await whole], [200, "4 upstream.timeout", { text: "", broken: false }]);
      await until(() => log.lines.length === 1);
      assert.deepEqual([log.lines[0]?.reason, log.lines[0]?.complete], ["upstream.timeout", true]);
      // the twin: the same call, answered
      answer = (response) => response.writeHead(200, { "content-type": TYPE }).end("whole");
      const twin = await call("300m");
      assert.deepEqual([twin.said, await twin.whole], ["null null", { text: "whole", broken: false }]);
    });

    it(`${protocol}: an answer that is not through in time breaks off, as no status can follow it`, async () => {
      let running: ServerResponse | undefined;
      answer = (response) => {
        running = response;
        response.writeHead(200, { "content-type": TYPE });
        response.write("first ");
      };
      const late = await call("5S");
      await clock.advance(5_000);
      assert.deepEqual([late.said, await late.whole], ["null null", { text: "first ", broken: true }]);
      await until(() => log.lines.length === 1);
      assert.deepEqual([log.lines[0]?.status, log.lines[0]?.complete], [200, false]);
      await until(() => running!.destroyed);
      // the twin: it ends in time
      const twin = await call("5S");
      await clock.advance(4_999);
      running!.end("last");
      assert.deepEqual([twin.said, await twin.whole], ["null null", { text: "first last", broken: false }]);
    });

    it(`${protocol}: time that is over already reaches no upstream, over a kept connection neither`, async () => {
      assert.equal((await (await call("1S")).whole).text, "whole");
      const { connections } = upstream;
      for (let i = 0; i < 3; i++) {
        const { said, whole } = await call("0n");
        assert.deepEqual([said, await whole], ["4 upstream.timeout", { text: "", broken: false }]);
      }
      assert.equal((await (await call("1S")).whole).text, "whole");
      assert.deepEqual([upstream.heads, upstream.connections], [2, connections]);
    });

    it(`${protocol}: one of another form is a status 3 in the head, and reaches no upstream`, async () => {
      const { said, whole } = await call("1s");
      assert.deepEqual([said, await whole], ["3 request.grpc-timeout", { text: "", broken: false }]);
      assert.equal(upstream.heads, 0);
      assert.equal((await (await call("1S")).whole).text, "whole");
    });
  }
});
