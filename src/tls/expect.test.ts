/** Requests with `Expect`, by what the listener says itself and by `onExpect`. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { TestCa } from "../authority/test-ca.ts";
import { isSpiffeError } from "../base/errors.ts";
import type { Handler } from "./entries.ts";
import { type ListenOptions, listen } from "./listen.ts";
import {
  http1Get,
  http2Requests,
  http2Told,
  identityOf,
  Opened,
  rawExchange,
  rawOptions,
  shown,
} from "./wire.testing.ts";

const opened = new Opened();
let ca: TestCa;
/** Which of the two took a request. */
let taken: string[] = [];

const taking =
  (name: string): Handler =>
  (_request, response) => {
    taken.push(name);
    response.end();
  };

/** What a listener says to a request with that expectation, and over which protocol it heard it. */
async function said(alpn: "http/1.1" | "h2", expect: string, options: Partial<ListenOptions>): Promise<string> {
  const { port } = opened.add(
    await listen(await identityOf("spiffe://example.org/orders", ca), {
      address: "127.0.0.1",
      port: 0,
      handler: taking("handler"),
      ...options,
    }),
  );
  taken = [];
  const told = (seen: Buffer) =>
    alpn === "h2"
      ? http2Told(seen, 1)
      : [...seen.toString("latin1").matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => String(status));
  const bytes = alpn === "h2" ? http2Requests(1, [["expect", expect]]) : http1Get("/", [`expect: ${expect}`]);
  const show = shown(await ca.issue({ id: "spiffe://example.org/web" }));
  const { bytes: seen } = await rawExchange(rawOptions(port, show, alpn), bytes, (so) =>
    told(so).some((each) => each !== "100"),
  );
  return [...told(seen), ...taken].join(" ");
}

describe("requests with Expect", () => {
  before(async () => {
    ca = await TestCa.create();
  });
  after(() => opened.close());

  for (const alpn of ["http/1.1", "h2"] as const) {
    it(`are told to go on at once, or that it is not understood (${alpn})`, async () => {
      assert.equal(await said(alpn, "100-continue", {}), "100 200 handler");
      assert.equal(await said(alpn, "x", {}), "417");
    });

    it(`go to onExpect, which says itself whether to go on (${alpn})`, async () => {
      const onExpect: Handler = (request, response) => {
        if (request.headers.expect === "100-continue") response.writeContinue();
        else response.statusCode = 403;
        return taking("onExpect")(request, response);
      };
      assert.equal(await said(alpn, "100-continue", { onExpect: taking("onExpect") }), "200 onExpect");
      assert.equal(await said(alpn, "100-continue", { onExpect }), "100 200 onExpect");
      assert.equal(await said(alpn, "x", { onExpect }), "403 onExpect");
    });
  }

  it("onExpect stands beside a handler of requests, and is a function", async () => {
    const usage = (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_USAGE");
    const identity = await identityOf("spiffe://example.org/orders", ca);
    const onExpect = taking("onExpect");
    await assert.rejects(listen(identity, { port: 0, onConnection: () => {}, onExpect }), usage);
    await assert.rejects(listen(identity, { port: 0, handler: onExpect, onExpect: "no" as never }), usage);
  });
});
