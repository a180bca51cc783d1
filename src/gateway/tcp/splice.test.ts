import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import { soon } from "../../../test/support/eventually.ts";
import { ManualClock } from "../../authority/testing.ts";
import { splice } from "./splice.ts";

describe("splice", () => {
  let server: Server;
  const open: Socket[] = [];
  before(async () => {
    server = createServer({ allowHalfOpen: true });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });

  /** A connection: this side of it, which nobody reads yet, and the far one. */
  async function pair(): Promise<{ near: Socket; far: Socket }> {
    const far = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", allowHalfOpen: true });
    const [near] = (await once(server, "connection")) as [Socket];
    near.pause();
    for (const socket of [near, far]) open.push(socket.on("error", () => {}));
    return { near, far };
  }

  for (const [name, ended] of [
    ["caller", "caller-aborted"],
    ["upstream", "upstream-aborted"],
  ] as const) {
    it(`ends both where the ${name} is over already, and carries bytes where it is not`, async () => {
      for (const over of [true, false]) {
        const [caller, upstream] = [await pair(), await pair()];
        const gone = name === "caller" ? caller : upstream;
        if (over) {
          gone.near.destroy();
          await once(gone.near, "close");
        }
        // no time passes: what waits for it waits for ever
        const spliced = splice(caller.near, upstream.near, { idleMs: 1_000, clock: new ManualClock() });
        if (!over) {
          caller.far.write("ping");
          assert.equal(String((await once(upstream.far, "data"))[0]), "ping");
          upstream.far.end("pong");
          assert.equal(String((await once(caller.far, "data"))[0]), "pong");
          caller.far.end();
        }
        const { ended: how, bytesIn, bytesOut } = await soon(spliced, "it is over");
        assert.deepEqual([how, bytesIn, bytesOut], over ? [ended, 0, 0] : ["done", 4, 4]);
        assert.ok(caller.near.destroyed && upstream.near.destroyed);
      }
    });
  }
});
