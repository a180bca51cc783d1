import assert from "node:assert/strict";
import type { IncomingMessage, ServerResponse } from "node:http";
import { after, before, describe, it } from "node:test";
import { Hono } from "hono";
import { ManualClock } from "../authority/testing.ts";
import { createFetch, listen, type TlsListener } from "../tls/index.ts";
import type { UpstreamInput } from "./config-types.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import { asPeer } from "./middleware/peer-env.ts";
import { spiffe } from "./middleware/spiffe.ts";
import { proxy } from "./proxy.ts";
import { Upstream, type UpstreamState } from "./upstream.ts";
import { parseUpstreamUrl } from "./upstream-url.ts";
import {
  type Changeable,
  type CountingUpstream,
  countingUpstream,
  GATEWAY,
  http2Once,
  idOf,
  until,
  World,
} from "./world.testing.ts";

let world: World;
let web: Changeable;
let identity: Changeable;

before(async () => {
  world = await World.create();
  web = await world.identity("web");
  identity = await world.identity("gateway");
});

/** A gateway with one upstream behind `/up`, a caller, and the state that its status port shows. */
async function start(upstream: UpstreamInput, clock?: ManualClock, timeout = "60s") {
  const gateway: Gateway = await createGateway(
    {
      status: { port: 0 },
      listen: { address: "127.0.0.1", port: 0 },
      upstreams: { up: upstream },
      routes: [{ name: "up", path: "/**", upstream: "up", timeout }],
      policy: [{ rule: "web", allow: { ids: [idOf("web")] } }],
    },
    { workload: identity, clock },
  );
  const { port } = gateway.listeners[0]!;
  const send = createFetch(web, { peer: GATEWAY });
  /** Status, and the reason or the text of the answer. */
  const call = async (
    method = "GET",
    body?: string | Uint8Array | ReadableStream<Uint8Array>,
    path = "/x",
    signal?: AbortSignal,
  ): Promise<string> => {
    const init = { method, signal, ...(body === undefined ? {} : { body, duplex: "half" }) } as RequestInit;
    const response = await send(`https://127.0.0.1:${port}${path}`, init);
    const text = await response.text();
    return `${response.status} ${text.startsWith("{") ? JSON.parse(text).reason : text}`;
  };
  const state = async (): Promise<UpstreamState> => {
    const response = await fetch(`http://127.0.0.1:${gateway.status.port}/status`);
    return ((await response.json()) as { upstreams: UpstreamState[] }).upstreams[0]!;
  };
  const end = async () => void (await gateway.close({ deadlineMs: 0 }));
  return { port, call, state, [Symbol.asyncDispose]: end };
}

/** Waits until so many health checks are over. */
async function checksDone(gateway: { state(): Promise<UpstreamState> }, count: number): Promise<void> {
  for (let i = 0; i < 1_000; i++) {
    const { passed, failed } = (await gateway.state()).counters.checks;
    if (passed + failed >= count) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.fail("the checks did not end");
}

const whole = (request: IncomingMessage, then: () => void) => void request.once("end", then).resume();
const reset = (request: IncomingMessage) => whole(request, () => request.socket.destroy());

/** An upstream that reads a request whole and resets, as often as the test says; then it answers. */
async function resetting(times: () => boolean): Promise<CountingUpstream> {
  return countingUpstream((request, response) => {
    if (times()) reset(request);
    else whole(request, () => response.end("ok"));
  });
}

describe("requests that are sent again", () => {
  it("[S-24] [A-22] only those whose repetition changes nothing, with the whole body, and no body above 64 KiB", async () => {
    let left = 0;
    const up = await resetting(() => left-- > 0);
    await using gateway = await start({ url: up.url, retries: { max: 1, budget: "100%" } });
    const large = new Uint8Array(65_537);
    const table = [
      ["GET", undefined, 2, "200 ok"],
      ["DELETE", undefined, 2, "200 ok"],
      ["PUT", "small", 2, "200 ok"],
      ["PUT", large.subarray(1), 2, "200 ok"],
      ["PUT", large, 1, "502 upstream.aborted"],
      ["POST", "pay", 1, "502 upstream.aborted"],
      ["POST", undefined, 1, "502 upstream.aborted"],
      ["PATCH", "pay", 1, "502 upstream.aborted"],
    ] as const;
    try {
      for (const [method, body, arrivals, outcome] of table) {
        up.seen.length = 0;
        left = 1;
        const title = `${method} ${body?.length}`;
        assert.equal(await gateway.call(method, body), outcome, title);
        assert.deepEqual(
          up.seen.map(({ method, bytes }) => `${method} ${bytes}`),
          Array(arrivals).fill(`${method} ${body?.length ?? 0}`),
          title,
        );
        left = 0;
        assert.equal(await gateway.call(method, body), "200 ok", title);
      }
      const { counters } = await gateway.state();
      assert.equal(counters.retries, 4);
      assert.deepEqual(counters.tries, { answered: 12, unreachable: 0, identity: 0, timeout: 0, aborted: 8 });
    } finally {
      await up.close();
    }
  });

  it("[S-24] HTTP/2: a body with trailers arrives whole a second time, a POST only once", async () => {
    let left = 1;
    const up = await resetting(() => left-- > 0);
    await using gateway = await start({ url: up.url });
    try {
      const put = { ":path": "/x", ":method": "PUT" };
      const { status } = await http2Once(web, gateway.port, put, "hello", { "x-sum": "5" });
      assert.equal(status, 200);
      assert.deepEqual(
        up.seen.map(({ bytes, trailers }) => `${bytes} ${trailers.join("=").toLowerCase()}`),
        ["5 x-sum=5", "5 x-sum=5"],
      );
      left = 1;
      up.seen.length = 0;
      const post = await http2Once(web, gateway.port, { ":path": "/x", ":method": "POST" }, "pay");
      assert.equal(`${post.status} ${JSON.parse(post.text).reason}`, "502 upstream.aborted");
      assert.equal(up.seen.length, 1);
    } finally {
      await up.close();
    }
  });

  it("[S-24] a request that no address has seen goes to the next one, POST as well; max: 0 sends nothing again", async () => {
    const up = await countingUpstream((request, response) => whole(request, () => response.end("ok")));
    const url = ["http://127.0.0.1:1", up.url];
    try {
      const clock = new ManualClock();
      await using gateway = await start({ url }, clock);
      const unreachable = async () => (await gateway.state()).counters.tries.unreachable;
      // after its first time the dead one stands back for a second
      for (let i = 0; i < 4; i++) assert.equal(await gateway.call("POST", "pay"), "200 ok");
      assert.equal(await unreachable(), 1);
      await clock.advance(1_000);
      for (let i = 0; i < 2; i++) assert.equal(await gateway.call("POST", "pay"), "200 ok");
      assert.equal(await unreachable(), 2);
      assert.deepEqual(
        up.seen.map(({ bytes }) => bytes),
        Array(6).fill(3),
      );
      await using once = await start({ url, retries: { max: 0 } });
      assert.equal(await once.call(), "502 upstream.unreachable");
      assert.equal(await once.call(), "200 ok");
    } finally {
      await up.close();
    }
  });

  it("[S-24] the budget ends retries, and grants one again a second later", async () => {
    const clock = new ManualClock();
    let arrivals = 0;
    const odd = () => ++arrivals % 2 === 1;
    const [a, b] = [await resetting(odd), await resetting(odd)];
    await using gateway = await start({ url: [a.url, b.url], retries: { max: 1, budget: "0%" } }, clock);
    try {
      for (let i = 0; i < 10; i++) assert.equal(await gateway.call(), "200 ok", `request ${i}`);
      assert.equal(arrivals, 20);
      assert.equal(await gateway.call(), "502 upstream.aborted");
      assert.equal(arrivals, 21);
      assert.equal((await gateway.state()).counters.retriesWithheld, 1);
      arrivals = 0;
      await clock.advance(1_000);
      assert.equal(await gateway.call(), "200 ok");
      assert.equal(arrivals, 2);
    } finally {
      await a.close();
      await b.close();
    }
  });

  it("[S-24] proxy() as well: a GET once more, a POST only where nobody has seen it", async () => {
    let left = 0;
    const up = await resetting(() => left-- > 0);
    const app = new Hono()
      .use(spiffe(identity))
      .all("/x", proxy(identity, { url: up.url }))
      .all("/half", proxy(identity, { url: ["http://127.0.0.1:1", up.url] }));
    const call = async (method: string, path = "/x", body?: string) => {
      const response = await app.request(path, { method, body: body ?? null }, asPeer(idOf("web")));
      const text = await response.text();
      return `${response.status} ${text.startsWith("{") ? JSON.parse(text).reason : text}`;
    };
    try {
      for (const [method, body, arrivals, outcome] of [
        ["GET", undefined, 2, "200 ok"],
        ["PUT", "body", 2, "200 ok"],
        ["POST", "pay", 1, "502 upstream.aborted"],
      ] as const) {
        up.seen.length = 0;
        left = 1;
        assert.equal(await call(method, "/x", body), outcome);
        assert.equal(up.seen.length, arrivals);
        assert.equal(await call(method, "/x", body), "200 ok");
      }
      up.seen.length = 0;
      assert.equal(await call("POST", "/half", "pay"), "200 ok");
      assert.deepEqual(
        up.seen.map(({ bytes }) => bytes),
        [3],
      );
    } finally {
      await up.close();
    }
  });
});

describe("time of one try", () => {
  let silent: CountingUpstream;
  let good: CountingUpstream;
  before(async () => {
    silent = await countingUpstream(() => {});
    good = await countingUpstream((request, response) => whole(request, () => response.end("ok")));
  });
  after(async () => {
    await silent?.close();
    await good?.close();
  });

  it("[S-24] a silent address costs a GET its try and a POST its answer", async () => {
    const clock = new ManualClock();
    await using gateway = await start({ url: [silent.url, good.url], tryTimeout: "100ms" }, clock);
    for (const [method, outcome] of [
      ["GET", "200 ok"],
      ["POST", "504 upstream.timeout"],
    ] as const) {
      silent.heads = 0;
      const answer = gateway.call(method);
      await until(() => silent.heads === 1);
      await clock.advance(100);
      assert.equal(await answer, outcome);
      assert.equal(silent.heads, 1);
      if (method === "GET") assert.equal(await gateway.call("POST"), "200 ok");
    }
    assert.equal((await gateway.state()).counters.tries.timeout, 2);
  });

  it("does not run while a body is on its way", async () => {
    const clock = new ManualClock();
    await using gateway = await start({ url: good.url, tryTimeout: "100ms" }, clock);
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const writer = writable.getWriter();
    good.heads = 0;
    const answer = gateway.call("POST", readable);
    await writer.write(new Uint8Array(10));
    await until(() => good.heads === 1);
    await clock.advance(5_000);
    await writer.close();
    assert.equal(await answer, "200 ok");
  });

  it("the time of the route holds over all tries", async () => {
    const clock = new ManualClock();
    const upstream = { url: silent.url, tryTimeout: "100ms", retries: { max: 10, budget: "100%" } };
    await using gateway = await start(upstream, clock, "150ms");
    silent.heads = 0;
    const answer = gateway.call();
    await until(() => silent.heads === 1);
    await clock.advance(150);
    assert.equal(await answer, "504 upstream.timeout");
    assert.ok(silent.heads <= 2);
  });
});

describe("an upstream that does not answer", () => {
  it("is left alone after five requests, and asked again with one at a time", async () => {
    const clock = new ManualClock();
    let mode: "reset" | "hang" | "answer" = "reset";
    let held: ServerResponse | undefined;
    const up = await countingUpstream((request, response) => {
      if (mode === "reset") reset(request);
      else if (mode === "hang") held = response;
      else response.end("ok");
    });
    await using gateway = await start({ url: up.url, retries: { max: 0 } }, clock);
    try {
      for (let i = 0; i < 5; i++) assert.equal(await gateway.call(), "502 upstream.aborted");
      assert.equal(await gateway.call(), "503 upstream.breaker-open");
      assert.equal(up.heads, 5);
      assert.equal((await gateway.state()).breaker, "open");
      await clock.advance(1_000);
      assert.equal(await gateway.call(), "502 upstream.aborted");
      await clock.advance(1_000);
      assert.equal(await gateway.call(), "503 upstream.breaker-open");
      assert.equal(up.heads, 6);
      await clock.advance(1_000);
      mode = "hang";
      const probe = gateway.call();
      await until(() => held !== undefined);
      assert.equal(await gateway.call(), "503 upstream.breaker-open");
      assert.equal(up.heads, 7);
      held?.end("ok");
      assert.equal(await probe, "200 ok");
      mode = "answer";
      assert.equal(await gateway.call(), "200 ok");
      const { breaker, counters } = await gateway.state();
      assert.equal(`${breaker} ${counters.refusedOpen}`, "closed 3");
    } finally {
      await up.close();
    }
  });

  it("answers of any status count as answers, and callers that leave count for nothing", async () => {
    let gone = 0;
    const up = await countingUpstream((request, response) => {
      response.statusCode = 500;
      if (request.url === "/hold") response.on("close", () => gone++);
      else whole(request, () => response.end("own trouble"));
    });
    await using gateway = await start({ url: up.url });
    try {
      for (let i = 0; i < 6; i++) assert.equal(await gateway.call(), "500 own trouble");
      for (let i = 1; i <= 6; i++) {
        const leaving = new AbortController();
        const answer = gateway.call("GET", undefined, "/hold", leaving.signal);
        await until(() => up.heads === 6 + i);
        leaving.abort();
        await assert.rejects(answer);
        await until(() => gone === i);
      }
      assert.equal((await gateway.state()).breaker, "closed");
      assert.equal(await gateway.call(), "500 own trouble");
    } finally {
      await up.close();
    }
  });
});

describe("several addresses behind one ID", () => {
  let right: TlsListener;
  let impostor: TlsListener;
  const served: string[] = [];
  before(async () => {
    const serve = async (name: string, address = "127.0.0.1", port = 0) =>
      listen(await world.identity(name), {
        address,
        port,
        handler: (request, response) => {
          served.push(`${name} ${request.url}`);
          (response as ServerResponse).end(name);
        },
      });
    right = await serve("orders");
    impostor = await serve("impostor", "127.0.0.2", right.port);
  });
  after(async () => {
    await right?.close({ deadlineMs: 0 });
    await impostor?.close({ deadlineMs: 0 });
  });
  const urls = () => [`https://127.0.0.1:${right.port}`, `https://127.0.0.2:${impostor.port}`];

  it("the pinned ID holds at each: an address where another answers gets nothing, not even a health check", async () => {
    served.length = 0;
    {
      const upstream = { url: urls(), id: idOf("orders"), health: { path: "/healthz", every: "1s" } };
      const clock = new ManualClock();
      await using gateway = await start(upstream, clock);
      for (let i = 0; i < 4; i++) assert.equal(await gateway.call("POST", "pay"), "200 orders");
      await checksDone(gateway, 2);
      await clock.advance(1_200);
      await checksDone(gateway, 4);
      const { addresses, counters } = await gateway.state();
      assert.ok(counters.tries.identity >= 1);
      assert.deepEqual(counters.checks, { passed: 2, failed: 2 });
      assert.deepEqual(
        addresses.map(({ healthy }) => healthy),
        [true, false],
      );
      assert.ok(
        served.every((line) => line.startsWith("orders ")),
        served.join(),
      );
    }
    await using only = await start({ url: urls()[1]!, id: idOf("orders") });
    assert.equal(await only.call(), "502 upstream.identity");
    await using other = await start({ url: urls()[1]!, id: idOf("impostor") });
    assert.equal(await other.call(), "200 impostor");
  });

  it("the pinned ID holds wherever a name leads", async () => {
    const target = parseUpstreamUrl(`https://orders.example:${right.port}`)!;
    let addresses = ["127.0.0.1"];
    const clock = new ManualClock();
    const config = {
      name: "up",
      targets: [target],
      protocol: "http1" as const,
      unsafePlain: false,
      tryTimeoutMs: undefined,
      retries: { max: 0, budget: 0 },
      health: undefined,
    };
    const resolve = async () => ({ addresses, ttlMs: 1_000 });
    const upstream = new Upstream({ ...config, id: idOf("orders") }, identity, clock, { resolve });
    const other = new Upstream({ ...config, id: idOf("impostor") }, identity, clock, { resolve });
    const ask = async (one: Upstream): Promise<string> => {
      await one.ready();
      const tries = one.enter();
      assert.ok(!("status" in tries));
      return new Promise((done) => {
        let text = "";
        const fields = [["host", target.authority]] as const;
        tries.endpoint.begin(
          { method: "GET", target: "/name", fields, withBody: false },
          {
            connected() {},
            drained() {},
            unwanted() {},
            head() {},
            data: (_, chunk) => {
              text += new TextDecoder().decode(chunk);
            },
            ended: () => done(text),
            failed: (_, error) => done((error as { code?: string }).code ?? "error"),
          },
        );
      });
    };
    assert.equal(await ask(upstream), "orders");
    assert.equal(await ask(other), "ERR_SPIFFE_PEER_REFUSED");
    addresses = ["127.0.0.2"];
    await clock.advance(10_000);
    served.length = 0;
    assert.equal(await ask(upstream), "ERR_SPIFFE_PEER_REFUSED");
    assert.deepEqual(served, []);
    assert.equal(await ask(other), "impostor");
    upstream.close();
    other.close();
  });
});

describe("health of addresses", () => {
  it("an address that fails two checks gets no requests until it passes one; none left is 503", async () => {
    const clock = new ManualClock();
    const well = { a: true, b: true };
    const make = (name: "a" | "b") =>
      countingUpstream((request, response) => {
        if (request.url === "/healthz?deep=1" && !well[name]) response.statusCode = 503;
        response.end(name);
      });
    const [a, b] = [await make("a"), await make("b")];
    const upstream = { url: [a.url, b.url], health: { path: "/healthz?deep=1", every: "5s" } };
    await using gateway = await start(upstream, clock);
    const rounds = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const before = (await gateway.state()).counters.checks;
        await clock.advance(5_500);
        await checksDone(gateway, before.passed + before.failed + 2);
      }
    };
    const healthy = async () => (await gateway.state()).addresses.map((one) => one.healthy);
    const four = async () => {
      const answers = new Set<string>();
      for (let i = 0; i < 4; i++) answers.add(await gateway.call());
      return [...answers].sort();
    };
    try {
      await checksDone(gateway, 2);
      assert.deepEqual(await four(), ["200 a", "200 b"]);
      well.a = false;
      await rounds(1);
      assert.deepEqual(await healthy(), [true, true]);
      await rounds(1);
      assert.deepEqual(await healthy(), [false, true]);
      assert.deepEqual(await four(), ["200 b"]);
      well.b = false;
      await rounds(2);
      const before = a.heads + b.heads;
      assert.deepEqual(await four(), ["503 upstream.unhealthy"]);
      assert.equal(a.heads + b.heads, before);
      well.a = true;
      await rounds(1);
      assert.deepEqual(await four(), ["200 a"]);
      assert.equal((await gateway.state()).counters.refusedUnhealthy, 4);
      const checks = a.seen.filter(({ url }) => url === "/healthz?deep=1");
      assert.ok(checks.length >= 5);
      assert.ok(checks.every(({ raw }) => !raw.some((text) => /x-spiffe-id/i.test(text))));
    } finally {
      await a.close();
      await b.close();
    }
  });

  it("an address that does not answer a check in time fails it", async () => {
    const clock = new ManualClock();
    let heads = 0;
    const up = await countingUpstream((request, response) => {
      if (request.url === "/healthz") heads++;
      else response.end("ok");
    });
    await using gateway = await start({ url: up.url, health: { path: "/healthz", every: "2s" } }, clock);
    try {
      for (let check = 1; check <= 2; check++) {
        await until(() => heads === check);
        assert.equal(await gateway.call(), "200 ok");
        await clock.advance(2_000);
        await clock.advance(2_200);
      }
      assert.equal(await gateway.call(), "503 upstream.unhealthy");
    } finally {
      await up.close();
    }
  });
});
