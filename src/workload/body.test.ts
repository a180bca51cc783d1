import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readBody } from "./body.ts";

describe("readBody", () => {
  it("reads what fits, to the last byte", async () => {
    assert.deepEqual(await readBody(new Response("abc"), 3), new TextEncoder().encode("abc"));
    assert.deepEqual(await readBody(new Response(null), 3), new Uint8Array());
    assert.equal(await readBody(new Response("abcd"), 3), undefined);
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
