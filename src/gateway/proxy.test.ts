/** What `proxy()` reads ahead: no more than the other side takes. */
import assert from "node:assert/strict";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { Hono, type MiddlewareHandler } from "hono";
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
