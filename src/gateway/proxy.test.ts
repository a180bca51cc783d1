/** What `proxy()` reads ahead: no more than the other side takes; and how it ends what one side gives up. */
import assert from "node:assert/strict";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { Hono, type MiddlewareHandler } from "hono";
import { ManualClock } from "../authority/testing.ts";
import { spiffe } from "./middleware/index.ts";
import { asPeer } from "./middleware/peer-env.ts";
import { proxy } from "./proxy.ts";
import { idOf, until, World } from "./world.testing.ts";

/** Far more than the buffers of a connection hold. */
const CHUNK = new Uint8Array(65_536);
const CHUNKS = 1_024;

describe("proxy() between two sides of which one does not go on", () => {
  let server: Server;
  let app: Hono;
  let written = 0;
  let heads = 0;

  /** Writes as fast as it is read, and the end with the last chunk. */
  function pour(response: ServerResponse): void {
    while (written < CHUNKS) {
      written++;
      if (!response.write(CHUNK)) return void response.once("drain", () => pour(response));
    }
    response.end();
  }

  before(async () => {
    server = createServer((request, response) => {
      heads++;
      request.on("error", () => {});
      response.on("error", () => {});
      // a body to /sink is read by nobody
      if (request.url === "/pour") pour(response);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const workload = await (await World.create()).identity("gateway");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    app = new Hono();
    app.use(spiffe(workload) as MiddlewareHandler).all("*", proxy(workload, { url, timeoutMs: 60_000 }));
    app.onError((error, c) => c.text(error.name, 500));
  });
  after(() => {
    server.close();
    server.closeAllConnections();
  });

  /** More than is needed to move everything where nothing holds it back. */
  const turns = async () => {
    for (let i = 0; i < 100; i++) await new Promise((resolve) => setTimeout(resolve, 5));
  };

  it("reads no more of a body than the upstream takes", async () => {
    let pulled = 0;
    const body = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          pulled++;
          controller.enqueue(new Uint8Array(CHUNK));
          if (pulled === CHUNKS) controller.close();
        },
      },
      { highWaterMark: 0 },
    );
    const leaving = new AbortController();
    const init = { method: "POST", body, duplex: "half", signal: leaving.signal } as RequestInit;
    const answer = app.request("/sink", init, asPeer(idOf("web")));
    await until(() => heads === 1 && pulled > 0);
    await turns();
    assert.ok(pulled < CHUNKS / 2, `${pulled} chunks`);
    leaving.abort();
    assert.equal(await (await answer).text(), "AbortError");
  });

  it("reads no more of an answer than its reader takes, and then all of it", async () => {
    const answer = await app.request("/pour", {}, asPeer(idOf("web")));
    await turns();
    assert.ok(written < CHUNKS / 2, `${written} chunks`);
    assert.equal((await answer.arrayBuffer()).byteLength, CHUNKS * CHUNK.byteLength);
  });
});

describe("proxy() of what one side gives up", () => {
  const clock = new ManualClock();
  /** What the upstream has heard of each request, in order. */
  const heard: { body: string; whole: boolean; closed: boolean; response: ServerResponse }[] = [];
  let server: Server;
  let app: Hono;

  before(async () => {
    server = createServer((request, response) => {
      const one = { body: "", whole: false, closed: false, response };
      heard.push(one);
      for (const side of [request, response]) side.on("error", () => {});
      request.on("data", (chunk: Uint8Array) => {
        one.body += new TextDecoder().decode(chunk);
      });
      request.on("end", () => {
        one.whole = true;
      });
      response.on("close", () => {
        one.closed = true;
      });
      if (request.url === "/ok") response.end("ok");
      if (request.url === "/begun") response.write("begun");
      if (request.url === "/odd") response.writeHead(600).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const workload = await (await World.create()).identity("gateway");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    app = new Hono();
    app.use(spiffe(workload) as MiddlewareHandler).all("*", proxy(workload, { url, timeoutMs: 2_000, clock }));
    app.onError((error, c) => c.text(error.message, 500));
  });
  after(() => {
    server.close();
    server.closeAllConnections();
  });

  const ask = (path: string, init: RequestInit = {}) => app.request(path, init, asPeer(idOf("web")));
  /** The last request, once it is there. */
  async function asked(count: number): Promise<(typeof heard)[number]> {
    await until(() => heard.length === count);
    return heard[count - 1]!;
  }

  it("an upstream that does not answer in time, and one whose answer no Response can have", async () => {
    const { length } = heard;
    const late = ask("/silent");
    const one = await asked(length + 1);
    await clock.advance(2_100);
    assert.equal((await late).status, 504);
    await until(() => one.closed);
    assert.equal((await ask("/odd")).status, 502);
    assert.equal(await (await ask("/ok")).text(), "ok");
  });

  it("a reader that gives an answer up, and a caller that has left before", async () => {
    const { length } = heard;
    const answer = await ask("/begun");
    const one = await asked(length + 1);
    // the time was for its beginning
    await clock.advance(2_100);
    one.response.write(" more");
    const reader = answer.body!.getReader();
    let text = "";
    while (text !== "begun more") text += new TextDecoder().decode((await reader.read()).value);
    assert.equal(one.closed, false);
    await reader.cancel();
    await until(() => one.closed);
    const refused = await ask("/ok", { signal: AbortSignal.abort(new Error("left")) });
    assert.equal(await refused.text(), "left");
    assert.equal(await (await ask("/ok")).text(), "ok");
    assert.equal(heard.length, length + 2);
  });

  it("a body whose source fails is no whole one for the upstream", async () => {
    const { length } = heard;
    let fail = (_error: Error) => {};
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(new TextEncoder().encode("first"));
        fail = (error) => controller.error(error);
      },
    });
    const answer = ask("/silent", { method: "POST", body, duplex: "half" } as RequestInit);
    const one = await asked(length + 1);
    await until(() => one.body === "first");
    fail(new Error("the source broke"));
    assert.equal(await (await answer).text(), "the source broke");
    await until(() => one.closed);
    assert.equal(one.whole, false);
    assert.equal(await (await ask("/ok", { method: "POST", body: "all" })).text(), "ok");
    await until(() => heard.at(-1)?.whole === true);
    assert.equal(heard.at(-1)?.body, "all");
  });
});
