/** Requests with `Expect`, by what the listener says itself and by `onExpect`. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { http2Frame } from "../../test/support/http2-frames.ts";
import { TestCa } from "../authority/test-ca.ts";
import { isSpiffeError } from "../base/errors.ts";
import type { Handler } from "./entries.ts";
import type { FetchHandler } from "./fetch-handler.ts";
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

/** Answers once the body is read, with what it is. */
const reading: Handler = (request, response) => {
  let body = "";
  request.on("data", (chunk: Uint8Array) => {
    body += new TextDecoder().decode(chunk);
  });
  request.on("end", () => {
    taken.push(`read ${body}`);
    response.end();
  });
};

/** A request whose body of two bytes is held back. */
function request(alpn: "http/1.1" | "h2", expect: string): Uint8Array {
  const fields = [
    ["expect", expect],
    ["content-length", "2"],
  ] as const;
  if (alpn === "http/1.1") {
    const bytes = http1Get(
      "/",
      fields.map((field) => field.join(": ")),
    );
    return Buffer.from(bytes.toString().replace(/^GET/, "POST"));
  }
  const bytes = Buffer.from(http2Requests(1, fields, "POST"));
  // its head does not end the stream
  bytes[http2Requests(0).length + 4] = 4;
  return bytes;
}

/** What a listener says to a request with that expectation, whose body comes once it is asked for, and who took it. */
async function said(alpn: "http/1.1" | "h2", expect: string, options: Partial<ListenOptions>): Promise<string> {
  const { port } = opened.add(
    await listen(await identityOf("spiffe://example.org/orders", ca), {
      address: "127.0.0.1",
      port: 0,
      ...(options.fetch === undefined ? { handler: taking("handler") } : {}),
      ...options,
    }),
  );
  taken = [];
  const told = (seen: Buffer) =>
    alpn === "h2"
      ? http2Told(seen, 1).filter((each) => each !== "reset")
      : [...seen.toString("latin1").matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => String(status));
  const show = shown(await ca.issue({ id: "spiffe://example.org/web" }));
  let send = () => {};
  const enough = (seen: Buffer) => {
    const now = told(seen);
    if (now.includes("100")) send();
    return now.some((each) => each !== "100");
  };
  const { bytes: seen } = await rawExchange(rawOptions(port, show, alpn), request(alpn, expect), enough, (socket) => {
    send = () => {
      send = () => {};
      socket.write(alpn === "h2" ? http2Frame(0, 1, 1, Buffer.from("hi")) : "hi");
    };
  });
  return [...told(seen), ...taken].join(" ");
}

describe("requests with Expect", () => {
  before(async () => {
    ca = await TestCa.create();
  });
  after(() => opened.close());

  for (const alpn of ["http/1.1", "h2"] as const) {
    it(`[A-6] are told to go on when the body is read, and who is answered before is not (${alpn})`, async () => {
      assert.equal(await said(alpn, "100-continue", {}), "200 handler");
      assert.equal(await said(alpn, "100-continue", { handler: reading }), "100 200 read hi");
      assert.equal(await said(alpn, "x", {}), "417");
    });

    it(`[A-6] are told so by a handler in the form of fetch too (${alpn})`, async () => {
      const closed: FetchHandler = () => new Response(null, { status: 403 });
      const open: FetchHandler = async (each) => {
        taken.push(await each.text());
        return new Response();
      };
      assert.equal(await said(alpn, "100-continue", { fetch: closed }), "403");
      assert.equal(await said(alpn, "100-continue", { fetch: open }), "100 200 hi");
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
