/** Spans of the gateway as an SDK gets them, and that there are none without one. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import {
  AlwaysOffSampler,
  BasicTracerProvider,
  InMemorySpanExporter,
  ParentBasedSampler,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { ManualClock } from "../authority/testing.ts";
import { createFetch, type Handler, listen } from "../tls/index.ts";
import { Opened } from "../tls/wire.testing.ts";
import type { GatewayInput } from "./config-types.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import { RequestTrace } from "./request-trace.ts";
import {
  type Changeable,
  type CountingUpstream,
  closeUpstreams,
  countingUpstream,
  GATEWAY,
  http2Once,
  idOf,
  rawExchange,
  until,
  valuesOf,
  World,
} from "./world.testing.ts";

const PARENT = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" };
const TRACEPARENT = `00-${PARENT.traceId}-${PARENT.spanId}-01`;

let world: World;
let web: Changeable;
let upstream: CountingUpstream;
/** Closed at the end, also after a failure. */
const opened = new Opened();
const exporter = new InMemorySpanExporter();

before(async () => {
  world = await World.create();
  web = await world.identity("web");
  upstream = await countingUpstream((request, response) => {
    response.statusCode = Number(/^\/api\/status\/(\d+)/.exec(request.url ?? "")?.[1] ?? 200);
    response.end("ok");
  });
});
after(async () => {
  await opened.close();
  await closeUpstreams();
  trace.disable();
});
beforeEach(() => {
  trace.disable();
  exporter.reset();
});

/** As docs/gateway.md says it. */
function register(): void {
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  trace.setGlobalTracerProvider(provider);
}

const config = (more: Partial<GatewayInput> = {}): GatewayInput => ({
  status: { port: 0 },
  listen: { address: "127.0.0.1", port: 0 },
  upstreams: { up: { url: upstream.url } },
  routes: [{ name: "up", path: "/api/**", audience: [GATEWAY], upstream: "up", timeout: "5s" }],
  policy: [{ rule: "web-reads", allow: { ids: [idOf("web")] }, methods: ["GET"] }],
  ...more,
});

async function withGateway(input: GatewayInput, use: (gateway: Gateway, clock: ManualClock) => Promise<void>) {
  const clock = new ManualClock();
  const gateway = await createGateway(input, { workload: await world.identity("gateway"), clock });
  try {
    await use(gateway, clock);
  } finally {
    await gateway.close({ deadlineMs: 0 });
  }
}

async function ask(gateway: Gateway, path: string, init: RequestInit = {}, who = web): Promise<number> {
  const url = `https://127.0.0.1:${gateway.listeners[0]!.port}${path}`;
  const answer = await createFetch(who, { peer: GATEWAY })(url, init);
  await answer.text();
  return answer.status;
}

/** The spans of one request, once all are over: of the server, and of tries in turn. */
async function spans(count: number): Promise<{ server: ReadableSpan; tries: ReadableSpan[] }> {
  await until(() => exporter.getFinishedSpans().length >= count);
  const all = exporter.getFinishedSpans();
  assert.equal(all.length, count);
  const [server, ...others] = all.filter((span) => span.kind === SpanKind.SERVER);
  assert.ok(server !== undefined && others.length === 0);
  return { server, tries: all.filter((span) => span.kind === SpanKind.CLIENT) };
}

/** What an upstream was told of the trace by its newest request. */
const told = (name: string) => valuesOf(upstream.seen.at(-1)!.raw, name);

describe("spans", () => {
  it("of a request: the server's in the caller's trace, the client's below it, the upstream told of the client's", async () => {
    register();
    await withGateway(config(), async (gateway) => {
      const headers = { traceparent: TRACEPARENT, tracestate: "vendor=a" };
      assert.equal(await ask(gateway, "/api/orders?page=2", { headers }), 200);
      const { server, tries } = await spans(2);
      const [client] = tries;
      assert.equal(server.name, "GET /api/**");
      assert.equal(server.spanContext().traceId, PARENT.traceId);
      assert.equal(server.parentSpanContext?.spanId, PARENT.spanId);
      assert.equal(server.parentSpanContext?.isRemote, true);
      assert.equal(client?.parentSpanContext?.spanId, server.spanContext().spanId);
      assert.deepEqual(told("traceparent"), [`00-${PARENT.traceId}-${client?.spanContext().spanId}-01`]);
      assert.deepEqual(told("tracestate"), ["vendor=a"]);
      const { "client.address": address, "spiffe_edge.request_id": requestId, ...rest } = server.attributes;
      assert.match(String(address), /127\.0\.0\.1$/);
      assert.deepEqual(told("x-request-id"), [requestId]);
      assert.deepEqual(rest, {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/api/**",
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": gateway.listeners[0]!.port,
        "spiffe.peer.id": idOf("web"),
        "spiffe.peer.via": "x509",
        "spiffe_edge.listener": "main",
        "spiffe_edge.reason": "policy.allowed",
        "spiffe_edge.rule": "web-reads",
        "spiffe_edge.verdict": "allow",
        "url.path": "/api/orders",
        "url.scheme": "https",
      });
      assert.equal(server.status.code, SpanStatusCode.UNSET);
      assert.deepEqual(client?.attributes, {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": upstream.port,
        "spiffe_edge.upstream": "up",
        "url.full": `${upstream.url}/api/orders`,
        "url.path": "/api/orders",
      });
    });
  });

  it("hold no query, no token and no header value", async () => {
    register();
    await withGateway(
      config({ listen: { address: "127.0.0.1", port: 0, clientCertificate: "optional" } }),
      async (gateway) => {
        const headers = {
          authorization: `Bearer ${await world.token("web")}`,
          cookie: "s3cret=1",
          "x-note": "s3cret",
          "user-agent": "s3cret",
        };
        assert.equal(await ask(gateway, "/api/a?token=s3cret#s3cret", { headers }), 200);
        const { server, tries } = await spans(2);
        const shown = JSON.stringify(
          [server, ...tries].map(({ name, attributes, events, links, status }) => [
            name,
            attributes,
            events,
            links,
            status,
          ]),
        );
        assert.doesNotMatch(shown, /s3cret|eyJ/);
        assert.match(shown, /spiffe:\/\/example\.org\/web/);
      },
    );
  });

  it("of refusals and failures: the status, the reason, no client's where nothing was asked", async () => {
    register();
    await withGateway(config(), async (gateway) => {
      assert.equal(await ask(gateway, "/api/a", { method: "DELETE" }), 403);
      const denied = await spans(1);
      assert.equal(denied.server.attributes["spiffe_edge.reason"], "policy.default-deny");
      assert.equal(denied.server.attributes["http.response.status_code"], 403);
      // to a server a refusal is no error
      assert.deepEqual([denied.server.status.code, denied.server.attributes["error.type"]], [0, undefined]);
      exporter.reset();
      assert.equal(await ask(gateway, "/api/status/503"), 503);
      const failed = await spans(2);
      for (const span of [failed.server, failed.tries[0]!]) {
        assert.equal(span.attributes["http.response.status_code"], 503);
        assert.deepEqual([span.attributes["error.type"], span.status.code], ["503", SpanStatusCode.ERROR]);
      }
      exporter.reset();
      assert.equal(await ask(gateway, "/elsewhere"), 404);
      const { server } = await spans(1);
      assert.deepEqual([server.name, server.attributes["http.route"]], ["GET", undefined]);
    });
  });

  it("of tries: one for each, the last with the reason", async () => {
    register();
    const nobody = await countingUpstream();
    await nobody.close();
    const url = [nobody.url, `http://localhost:${nobody.port}`];
    await withGateway(config({ upstreams: { up: { url, retries: { max: 1, budget: "100%" } } } }), async (gateway) => {
      assert.equal(await ask(gateway, "/api/a"), 502);
      const { server, tries } = await spans(3);
      assert.deepEqual(
        tries.map(({ attributes }) => [attributes["http.request.resend_count"], attributes["error.type"]]),
        [
          [undefined, "_OTHER"],
          [1, "upstream.unreachable"],
        ],
      );
      assert.equal(server.attributes["error.type"], "upstream.unreachable");
      assert.equal(new Set(tries.map((span) => span.spanContext().spanId)).size, 2);
    });
  });

  it("of mutual TLS: the upstream's ID where it was proven, and none where somebody else answered", async () => {
    register();
    const handler: Handler = (_, response) => void response.end("ok");
    const orders = opened.add(await listen(await world.identity("orders"), { handler, port: 0, address: "127.0.0.1" }));
    const url = `https://127.0.0.1:${orders.port}`;
    await withGateway(config({ upstreams: { up: { url, id: idOf("orders") } } }), async (gateway) => {
      assert.equal(await ask(gateway, "/api/a?q=1"), 200);
      const { attributes } = (await spans(2)).tries[0]!;
      assert.deepEqual([attributes["spiffe.peer.id"], attributes["url.full"]], [idOf("orders"), `${url}/api/a`]);
    });
    exporter.reset();
    const other = { url, id: idOf("other"), retries: { max: 0 } };
    await withGateway(config({ upstreams: { up: other } }), async (gateway) => {
      assert.equal(await ask(gateway, "/api/a"), 502);
      const { attributes } = (await spans(2)).tries[0]!;
      assert.deepEqual([attributes["spiffe.peer.id"], attributes["error.type"]], [undefined, "upstream.identity"]);
    });
    await orders.close({ deadlineMs: 0 });
  });

  it("of an upgrade", async () => {
    register();
    const routes = [{ name: "up", path: "/api/**", upstream: "up", websocket: true as const }];
    await withGateway(config({ routes }), async (gateway) => {
      const fields = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="];
      const head = [
        "GET /api/ws?token=s3cret HTTP/1.1",
        "Host: edge.example",
        "Connection: Upgrade",
        ...fields,
        "",
        "",
      ];
      assert.match(await rawExchange(web, gateway.listeners[0]!.port, head.join("\r\n")), /^HTTP\/1\.1 200 /);
      const { server, tries } = await spans(2);
      assert.equal(server.attributes["url.path"], "/api/ws");
      assert.equal(tries[0]?.attributes["url.full"], `${upstream.url}/api/ws`);
      assert.match(told("traceparent").join(), new RegExp(`-${tries[0]?.spanContext().spanId}-01$`));
    });
  });

  it("of HTTP/2, and of a method that nobody knows", async () => {
    register();
    await withGateway(config(), async (gateway) => {
      const { port } = gateway.listeners[0]!;
      const ask = (method: string) =>
        http2Once(web, port, { ":method": method, ":path": "/api/a?q=1", ":authority": "edge.example" });
      assert.equal((await ask("GET")).status, 200);
      const { server } = await spans(2);
      assert.equal(server.attributes["network.protocol.version"], "2");
      assert.equal(server.attributes["server.address"], "edge.example");
      exporter.reset();
      assert.equal((await ask("PURGE")).status, 403);
      const other = await spans(1);
      assert.deepEqual([other.server.name, other.server.attributes["http.request.method"]], ["HTTP /api/**", "_OTHER"]);
    });
  });

  it("a broken trace of the caller begins a new one, and one that is not sampled is told on", async () => {
    const sampler = new ParentBasedSampler({ root: new AlwaysOffSampler() });
    trace.setGlobalTracerProvider(
      new BasicTracerProvider({ sampler, spanProcessors: [new SimpleSpanProcessor(exporter)] }),
    );
    await withGateway(config(), async (gateway) => {
      for (const broken of [`${TRACEPARENT}-more`, "00-zz", `ff${TRACEPARENT.slice(2)}`]) {
        assert.equal(await ask(gateway, "/api/a", { headers: { traceparent: broken } }), 200);
        assert.match(told("traceparent").join(), /^00-(?!0af7)[0-9a-f]{32}-[0-9a-f]{16}-00$/);
      }
      assert.equal(exporter.getFinishedSpans().length, 0);
      // the twin: whole, and sampled by the caller
      assert.equal(await ask(gateway, "/api/a", { headers: { traceparent: TRACEPARENT } }), 200);
      const { tries } = await spans(2);
      assert.deepEqual(told("traceparent"), [`00-${PARENT.traceId}-${tries[0]!.spanContext().spanId}-01`]);
    });
  });

  it("times are those of the gateway's clock", async () => {
    register();
    let pass = async () => {};
    const slow = await countingUpstream((_, response) => void pass().then(() => response.end("ok")));
    await withGateway(config({ upstreams: { up: { url: slow.url } } }), async (gateway, clock) => {
      clock.step(120_000);
      const start = clock.now();
      pass = () => clock.advance(250);
      assert.equal(await ask(gateway, "/api/a"), 200);
      const { server, tries } = await spans(2);
      for (const span of [server, ...tries]) {
        assert.equal(Math.round(span.startTime[0] * 1_000 + span.startTime[1] / 1e6), start);
        assert.deepEqual(span.duration, [0, 250_000_000]);
      }
    });
    await slow.close();
  });

  it("without an SDK there are none, and the caller's trace goes on as it is", async () => {
    const request = { method: "GET", rawHeaders: [], httpVersionMajor: 1 } as never;
    assert.equal(RequestTrace.begin(request, new ManualClock()), undefined);
    await withGateway(config(), async (gateway) => {
      assert.equal(await ask(gateway, "/api/a", { headers: { traceparent: TRACEPARENT } }), 200);
      assert.deepEqual(told("traceparent"), [TRACEPARENT]);
      // an SDK may be registered at any time
      register();
      assert.equal(await ask(gateway, "/api/a", { headers: { traceparent: TRACEPARENT } }), 200);
      await spans(2);
      assert.notDeepEqual(told("traceparent"), [TRACEPARENT]);
    });
    assert.ok(RequestTrace.begin(request, new ManualClock()) !== undefined);
  });

  it("an SDK that throws changes nothing", async () => {
    const broken = () => {
      throw new Error("of the SDK");
    };
    trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan: broken, startActiveSpan: broken }) } as never);
    await withGateway(config(), async (gateway) => {
      assert.equal(await ask(gateway, "/api/a", { headers: { traceparent: TRACEPARENT } }), 200);
      assert.deepEqual(told("traceparent"), [TRACEPARENT]);
    });
  });
});
