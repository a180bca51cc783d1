import assert from "node:assert/strict";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { after, before, beforeEach, describe, it } from "node:test";
import { ManualClock } from "../authority/testing.ts";
import { TestAuthorizer } from "./authorizer.testing.ts";
import type { GatewayInput } from "./config-types.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import { grpcTimeout } from "./grpc-timeout.ts";
import { type Changeable, http2Client, http2Exchange, idOf, requestLog, until, World } from "./world.testing.ts";

describe("grpc-timeout, as it is written", () => {
  const judge = (values: readonly string[], type = "application/grpc", httpVersionMajor = 2) => {
    const raw = values.flatMap((value) => ["grpc-timeout", value]);
    const headers = { "content-type": type, ...(values[0] === undefined ? {} : { "grpc-timeout": values.join(", ") }) };
    const verdict = grpcTimeout({ headers, rawHeaders: raw, httpVersionMajor } as never);
    return verdict.ok ? verdict.value : verdict.reason;
  };
  for (const [value, ms] of [
    ["1H", 3_600_000],
    ["2M", 120_000],
    ["30S", 30_000],
    ["250m", 250],
    ["1500u", 1.5],
    ["99999999H", 359_999_996_400_000],
    ["00000001S", 1_000],
    ["0n", 0],
  ] as const)
    it(`${value}: ${ms} ms`, () => assert.equal(judge([value]), ms));
  const odd = [
    "",
    "1",
    "S",
    "1s",
    "1h",
    "-1S",
    "+1S",
    "1.5S",
    "123456789m",
    "1 S",
    " 1S",
    "1S ",
    "1S1S",
    "0x1S",
    "1S, 2S",
    "1e3m",
  ];
  for (const value of odd)
    it(`${JSON.stringify(value)} is refused`, () => assert.equal(judge([value]), "request.grpc-timeout"));
  it("two of them are refused, also when they are alike", () => {
    assert.equal(judge(["1S", "1S"]), "request.grpc-timeout");
    assert.equal(judge(["1S"]), 1_000);
  });
  it("is nothing to callers that speak something else", () => {
    assert.equal(judge(["junk"], "application/json"), undefined);
    assert.equal(judge(["junk"], "application/grpc", 1), undefined);
    assert.equal(judge(["junk"], "application/grpc-web+proto", 1), "request.grpc-timeout");
    assert.equal(judge([]), undefined);
  });
});

describe("calls with grpc-timeout", () => {
  const clock = new ManualClock();
  const log = requestLog();
  let world: World;
  let web: Changeable;
  let server: http2.Http2Server;
  let gateway: Gateway;
  let session: http2.ClientHttp2Session;
  let answer: (stream: http2.ServerHttp2Stream) => void;
  const seen: http2.ServerHttp2Stream[] = [];
  const sessions: http2.ServerHttp2Session[] = [];

  before(async () => {
    world = await World.create();
    web = await world.identity("web");
    server = http2.createServer();
    server.on("session", (one) => sessions.push(one.on("error", () => {})));
    server.on("stream", (stream: http2.ServerHttp2Stream) => {
      stream.on("error", () => {}).resume();
      seen.push(stream);
      answer(stream);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    gateway = await createGateway(config(), { workload: await world.identity("gateway"), clock, logger: log });
    session = await http2Client(web, gateway.listeners[0]!.port);
  });
  beforeEach(() => {
    seen.length = 0;
    log.lines.length = 0;
    answer = () => {};
  });
  after(async () => {
    session?.destroy();
    await gateway?.close({ deadlineMs: 0 });
    for (const one of sessions) one.destroy();
    server?.close();
  });

  const config = (authorizer?: { url: string; timeout: string }): GatewayInput => ({
    status: { port: 0 },
    listen: { address: "127.0.0.1", port: 0 },
    upstreams: { up: { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, protocol: "h2" } },
    routes: [{ name: "up", path: "/**", upstream: "up", timeout: "1s" }],
    policy: {
      rules: [{ rule: "web", allow: { ids: [idOf("web")] } }],
      ...(authorizer === undefined ? {} : { authorizer }),
    },
  });

  /** Tries of requests at the upstream so far. */
  const allTries = async () => {
    const text = await (await fetch(`http://127.0.0.1:${gateway.status.port}/metrics`)).text();
    const counts = [...text.matchAll(/^spiffe_edge_upstream_tries_total\{[^}]*\} (\d+)$/gm)];
    assert.ok(counts.length > 0);
    return counts.reduce((sum, [, count]) => sum + Number(count), 0);
  };

  const call = (timeout?: string, more: http2.OutgoingHttpHeaders = {}) =>
    http2Exchange(
      session,
      {
        ":method": "POST",
        ":path": "/x.Y/Z",
        "content-type": "application/grpc",
        te: "trailers",
        ...(timeout === undefined ? {} : { "grpc-timeout": timeout }),
        ...more,
      },
      "request",
    );
  const statusOf = (result: Awaited<ReturnType<typeof call>>) =>
    `${result.text} ${result.trailers["grpc-status"] ?? result.headers["grpc-status"]} ${result.trailers["spiffe-reason"]}`;
  /** Whether the gateway has told the upstream that nobody waits any more. */
  const cancelled = () => until(() => seen[0]?.closed === true && seen[0].rstCode === http2.constants.NGHTTP2_CANCEL);
  const arrived = () => until(() => seen.length > 0);

  it("an answer that does not begin in time is grpc-status 4, and the upstream's stream is cancelled", async () => {
    const result = call("300m");
    await arrived();
    await clock.advance(299);
    assert.equal(seen[0]!.closed, false);
    await clock.advance(1);
    assert.equal(statusOf(await result), " 4 upstream.timeout");
    await cancelled();
    await until(() => log.lines.length === 1);
    assert.equal(log.lines[0]?.reason, "upstream.timeout");
    // the twin: the same call, answered
    answer = (stream) => stream.respond({ ":status": 200, "grpc-status": "0" }, { endStream: true });
    assert.equal(statusOf(await call("300m")), " 0 undefined");
  });

  it("an answer that is not through in time ends with grpc-status 4 behind what has come", async () => {
    answer = (stream) => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" });
      stream.write("first");
    };
    const result = call("5S");
    await arrived();
    await until(() => seen[0]!.headersSent);
    // the route's own time ends with the head of the answer
    for (let i = 0; i < 49; i++) await clock.advance(100);
    assert.equal(seen[0]!.closed, false);
    await clock.advance(100);
    assert.equal(statusOf(await result), "first 4 upstream.timeout");
    await cancelled();
  });

  it("never makes the route's time longer", async () => {
    const result = call("1H");
    await arrived();
    await clock.advance(999);
    assert.equal(seen[0]!.closed, false);
    await clock.advance(1);
    assert.equal(statusOf(await result), " 4 upstream.timeout");
    await cancelled();
  });

  it("time that is over already reaches no upstream, and says nothing against it", async () => {
    for (let i = 0; i < 12; i++) assert.equal(statusOf(await call("0n")), " 4 upstream.timeout");
    for (let i = 0; i < 12; i++) {
      const before = seen.length;
      const result = call("1m");
      await until(() => seen.length > before);
      await clock.advance(1);
      assert.equal(statusOf(await result), " 4 upstream.timeout");
    }
    assert.equal(seen.length, 12);
    // no breaker has opened
    answer = (stream) => stream.respond({ ":status": 200, "grpc-status": "0" }, { endStream: true });
    assert.equal(statusOf(await call("1S")), " 0 undefined");
  });

  it("time that went by while it was judged counts, and what it has used up begins no try", async () => {
    const authorizer = await TestAuthorizer.start();
    const held = authorizer.hold();
    try {
      await gateway.reload(config(authorizer.at()));
      answer = (stream) => stream.respond({ ":status": 200, "grpc-status": "0" }, { endStream: true });
      const earlier = await allTries();
      for (const [ms, said, tries] of [
        [150, " 0 undefined", 1],
        [250, " 4 upstream.timeout", 1],
        [200, " 4 upstream.timeout", 1],
        [199, " 0 undefined", 2],
      ] as const) {
        const result = call("200m");
        await until(() => held.length === 1);
        await clock.advance(ms);
        held.pop()!.say(true);
        assert.equal(statusOf(await result), said, `${ms} ms`);
        assert.equal(seen.length, tries);
        assert.equal((await allTries()) - earlier, tries);
      }
    } finally {
      await gateway.reload(config());
      await authorizer.close();
    }
  });

  it("a malformed one is refused before the upstream; without gRPC it is a field like others", async () => {
    answer = (stream) => stream.respond({ ":status": 200, "grpc-status": "0" }, { endStream: true });
    assert.equal(statusOf(await call("1s")), " 3 request.grpc-timeout");
    assert.equal(seen.length, 0);
    assert.equal(statusOf(await call("1S")), " 0 undefined");
    assert.equal((await call("1s", { "content-type": "text/plain" })).status, 200);
  });
});
