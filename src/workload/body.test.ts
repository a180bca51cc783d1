import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readBody } from "./body.ts";

describe("readBody", () => {
  it("reads what fits, to the last byte", async () => {
    assert.deepEqual(await readBody(new Response("abc"), 3), new TextEncoder().encode("abc"));
    assert.deepEqual(await readBody(new Response(null), 3), new Uint8Array());
    assert.equal(await readBody(new Response("abcd"), 3), undefined);
  });

  it("keeps no piece of it, however small they are", async () => {
    const text = new TextEncoder().encode("0123456789".repeat(2_000));
    let before = new Uint8Array();
    let sent = 0;
    const drip = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          // What was read already is the sender's again.
          before.fill(0);
          if (sent === text.length) return controller.close();
          before = text.slice(sent, ++sent);
          controller.enqueue(before);
        },
      },
      { highWaterMark: 0 },
    );
    assert.deepEqual(await readBody(new Response(drip), text.length), text);
  });

  it("does not read on once there is too much", async () => {
    let pulled = 0;
    let cancelled = false;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        pulled++;
        controller.enqueue(new Uint8Array(1_000));
      },
      cancel() {
        cancelled = true;
      },
    });
    assert.equal(await readBody(new Response(endless), 10_000), undefined);
    assert.ok(cancelled && pulled < 20, `${pulled} pulled`);
  });
});
