import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import { cut } from "./cut.ts";

/** Lets so many turns of queued callbacks go by. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise<void>((resolve) => process.nextTick(resolve));
}

describe("a cut connection", () => {
  let server: Server;
  const accepted: Socket[] = [];
  before(async () => {
    server = createServer({ allowHalfOpen: true }, (socket) => void accepted.push(socket));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  after(() => void server.close());

  /** Both ends of a connection; what the far one hears is told at its end. */
  async function pair(): Promise<{ near: Socket; heard: Promise<string> }> {
    const far = connect((server.address() as AddressInfo).port, "127.0.0.1");
    await once(far, "connect");
    while (accepted.length === 0) await new Promise((resolve) => setImmediate(resolve));
    let text = "";
    const heard = new Promise<string>((resolve) => {
      far.on("data", (chunk: Buffer) => {
        text += chunk.toString();
      });
      far.on("error", () => {});
      far.once("close", () => resolve(text));
    });
    return { near: accepted.pop()!, heard };
  }

  it("[S-9] is gone also when its end was on the way, and then what was said before arrives", async () => {
    for (let i = 0; i < 24; i++) {
      const { near, heard } = await pair();
      // one that stays open holds no process
      near.on("error", () => {}).unref();
      const closed = once(near, "close").then(() => "closed");
      near.write("all of it");
      if (i % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
      near.end();
      await turns(i % 6);
      cut(near);
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise((resolve) => {
        timer = setTimeout(resolve, 60_000, "never closed");
      });
      assert.equal(await Promise.race([closed, late]), "closed", `${i}`);
      clearTimeout(timer);
      const text = await heard;
      assert.ok(text === "all of it" || text === "", text);
    }
  });

  it("[S-9] is gone when nothing had ended it", async () => {
    const { near, heard } = await pair();
    near.on("error", () => {});
    const closed = once(near, "close");
    near.write("some of it");
    cut(near);
    await closed;
    await heard;
    cut(near);
  });
});
