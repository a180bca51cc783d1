import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ListenerRequest } from "../tls/index.ts";
import { awaitsContinue, expectationFault } from "./expectation.ts";

describe("Expect of a request", () => {
  const request = (expect: string | undefined, httpVersion = "1.1") =>
    ({ headers: { expect }, httpVersion }) as unknown as ListenerRequest;
  const status = (of: ListenerRequest) => expectationFault(of)?.status;

  it("is 100-continue, or 417", () => {
    assert.deepEqual(
      [status(request(undefined)), status(request(" 100-Continue ")), status(request("x"))],
      [undefined, undefined, 417],
    );
    assert.deepEqual([awaitsContinue(request("100-continue")), awaitsContinue(request(undefined))], [true, false]);
  });

  it("is nothing to HTTP/1.0", () => {
    assert.equal(status(request("x", "1.0")), undefined);
    assert.equal(awaitsContinue(request("100-continue", "1.0")), false);
  });
});
