import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, describe, it } from "node:test";
import { Hono } from "hono";
import { canonicalTarget } from "../policy/request-line.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import { authorize, type SpiffeEnv, spiffe } from "./middleware/index.ts";
import { proxy } from "./proxy.ts";
import { outcomeOf, type RawClient, type RawField, raw1, raw2 } from "./raw.testing.ts";
import { serve } from "./serve.ts";
import { servePlain } from "./serve-plain.ts";
import {
  type Changeable,
  type CountingUpstream,
  countingUpstream,
  GATEWAY,
  idOf,
  requestLog,
  until,
  World,
} from "./world.testing.ts";

const hex = (byte: number) => byte.toString(16).padStart(2, "0");
const bytes = Array.from({ length: 256 }, (_, byte) => byte);

/** Every byte and every escape within a path, and every byte within a query. */
const SWEEP: readonly string[] = [
  ...bytes.map((byte) => `/orders/a${String.fromCharCode(byte)}z`),
  ...bytes.map((byte) => `/orders/a%${hex(byte)}z`),
  ...bytes.map((byte) => `/orders/a?b${String.fromCharCode(byte)}z`),
];

/** What the rule names, one by one, and ways to a place that the caller may not go to. */
const ODD: readonly string[] = [
  ...["//orders/1", "/orders//1", "/orders/../admin/1", "/orders/%2e%2e/admin/1", "/orders/%2E./admin/1", "/orders/."],
  ...["/orders/..", "/./orders", "/orders/%2e", "/orders/.%2e/admin/1", "/orders/a/..;/../admin/1", "/orders;/1"],
  ...["/orders%2f1", "/orders%2F..%2Fadmin", "/orders%5c..%5cadmin", "/orders\\..\\admin", "\\admin\\1", "/\\admin/1"],
  ...["/orders/%00", "/orders/1%00/../admin", "/orders/%zz", "/orders/%4", "/orders/%", "/orders/%u0061"],
  ...["/orders/%252e%252e/admin/1", "/orders/%25%32%65", "/orders/%2525", "/orders/%c0%ae%c0%ae/admin/1"],
  ...["/orders/%c0%af", "/orders/%ed%a0%80", "/orders/%f4%90%80%80", "/orders/\u00c3\u00a9", "/orders/\u00e9"],
  ...["/orders/1#x", "/orders/1?a#x", "#", "/orders/1;x=/../admin", "/orders/1;jsessionid=a"],
  ...[
    "https://edge.example/orders/1",
    "http://edge.example/admin/1",
    "http://evil.example/orders/1",
    "//evil.example/",
  ],
  ...["https:/orders/1", "edge.example/orders/1", "edge.example:443", "*", "?a", "orders/1", ""],
  ...["/orders/1?%4", "/orders/1?%zz", "/orders/1?\u00e9", "/orders/1?a b", "/orders/1\t", "/orders/1\u000b"],
];

/** Written in another way than they go on. */
const CANONICAL: readonly (readonly [target: string, canonical: string])[] = [
  ["/orders/1", "/orders/1"],
  ["/%6frders/%31", "/orders/1"],
  ["/orders/%e2%82%ac", "/orders/%E2%82%AC"],
  ["/orders/%3b%23%3f", "/orders/%3B%23%3F"],
  ["/orders/...", "/orders/..."],
  ["/orders/a.b/.c", "/orders/a.b/.c"],
  ["/orders/1?a=%2f%2e&b=//../;%00", "/orders/1?a=%2f%2e&b=//../;%00"],
  ["/orders/1?", "/orders/1?"],
];

/** Bytes that stand in a path, and in a query, as they are. */
const PATH_BYTES = /^[A-Za-z0-9\-._~!$&'()*+,=:@/?]$/;
const QUERY_BYTES = /^[A-Za-z0-9\-._~!$&'()*+,;=:@/?[\]|]$/;

/** Whether a target of the sweep is one that goes on. */
function passes(target: string): boolean {
  const query = target.startsWith("/orders/a?b");
  const odd = target.slice(query ? 11 : 9, -1);
  if (odd.length === 1) return (query ? QUERY_BYTES : PATH_BYTES).test(odd);
  const byte = Number.parseInt(odd.slice(1), 16);
  return byte >= 0x20 && byte < 0x7f && byte !== 0x2f && byte !== 0x5c;
}

/** Outcomes of a request that nobody acted on: refused here, or by the HTTP of the runtime before it became one. */
const REFUSED = ["400 request.target", "400 request.method", "400 request.authority", "400", "505", "0"];

const shown = (target: string) => JSON.stringify(target).replace(/[^ -~]/g, (one) => `\\x${hex(one.charCodeAt(0))}`);

let world: World;
let web: Changeable;
let upstream: CountingUpstream;

before(async () => {
  world = await World.create();
  web = await world.identity("web");
  upstream = await countingUpstream();
});
after(() => upstream?.close());

describe("[S-22] [A-10] targets in raw bytes, through the gateway", () => {
  let gateway: Gateway;
  const log = requestLog();

  before(async () => {
    gateway = await createGateway(
      {
        status: { port: 0 },
        accessLog: { everyRefusal: true },
        listen: { address: "127.0.0.1", port: 0 },
        upstreams: { up: { url: upstream.url } },
        routes: [
          { name: "orders", path: "/orders/**", upstream: "up" },
          { name: "inner", path: "/orders/inner/**", upstream: "up" },
          { name: "admin", path: "/admin/**", upstream: "up" },
        ],
        policy: [
          { rule: "web", allow: { ids: [idOf("web")] }, path: "/orders/**" },
          { rule: "secret", deny: { via: ["x509"] }, path: "/orders/secret/**" },
        ],
      },
      { workload: await world.identity("gateway"), logger: log },
    );
  });
  after(() => gateway?.close({ deadlineMs: 0 }));

  /** What policy, router and upstream made of a target. */
  async function judged(
    client: RawClient,
    target: string,
    method = "GET",
  ): Promise<{ outcome: string; sent?: string }> {
    upstream.seen.length = 0;
    upstream.heads = 0;
    log.lines.length = 0;
    const outcome = outcomeOf(await client.ask(target, undefined, method));
    if (outcome !== "200") {
      assert.equal(upstream.heads, 0, shown(target));
      return { outcome };
    }
    assert.equal(upstream.seen.length, 1, shown(target));
    const sent = upstream.seen[0]!.url;
    // lines of requests before may still come
    const own = ({ path }: Record<string, unknown>) => path === sent.split("?")[0];
    await until(() => log.lines.some(own));
    const line = log.lines.find(own);
    assert.equal(line?.route, "orders", shown(target));
    assert.equal(line?.rule, "web", shown(target));
    const again = canonicalTarget(sent);
    assert.equal(again.ok && again.value.target, sent, shown(target));
    return { outcome, sent };
  }

  for (const [protocol, make] of [
    ["HTTP/1.1", raw1],
    ["HTTP/2", raw2],
  ] as const) {
    const client = () => make(web, gateway.listeners[0]!.port);

    it(`${protocol}: every byte and every escape is 400, or the same for policy, router and upstream`, async () => {
      const one = client();
      const passed: string[] = [];
      for (const target of SWEEP) {
        const { outcome } = await judged(one, target);
        if (outcome === "200") passed.push(target);
        else assert.ok(REFUSED.includes(outcome), `${shown(target)} ${outcome}`);
      }
      assert.deepEqual(passed.map(shown), SWEEP.filter(passes).map(shown));
      one.close();
    });

    it(`${protocol}: odd targets are refused, a plain one after each is served`, async () => {
      const one = client();
      for (const target of ODD) {
        const { outcome } = await judged(one, target);
        assert.ok(REFUSED.includes(outcome), `${shown(target)} ${outcome}`);
        assert.equal((await judged(one, "/orders/1")).sent, "/orders/1");
      }
      for (const [target, canonical] of CANONICAL)
        assert.equal((await judged(one, target)).sent, canonical, shown(target));
      // blanks before a target, which some parsers pass over, are no part of it for anybody
      const { outcome, sent } = await judged(one, "  /orders/1");
      assert.ok(REFUSED.includes(outcome) || sent === "/orders/1", outcome);
      one.close();
    });

    it(`${protocol}: CONNECT, TRACE and methods that are none are refused`, async () => {
      const one = client();
      for (const method of ["CONNECT", "TRACE", "get", "GET\t", "G ET", "G\u00c4T", "GET,POST"]) {
        const { outcome } = await judged(one, "/orders/1", method);
        assert.ok([...REFUSED, "405", "-1"].includes(outcome), `${shown(method)} ${outcome}`);
        assert.equal((await judged(one, "/orders/1")).outcome, "200");
      }
      one.close();
    });

    it(`${protocol}: no spelling leads past a deny rule or into another route`, async () => {
      const one = client();
      const written = (name: string) =>
        [...name].map((letter, i) => `${name.slice(0, i)}%${hex(letter.charCodeAt(0))}${name.slice(i + 1)}`);
      for (const name of ["secret", ...written("secret"), "%73%65%63%72%65%74"]) {
        assert.equal((await judged(one, `/orders/${name}/1`)).outcome, "403 policy.denied", name);
      }
      for (const name of ["inner", ...written("inner")]) {
        log.lines.length = 0;
        assert.equal(outcomeOf(await one.ask(`/orders/${name}/1`)), "200");
        await until(() => log.lines.at(-1)?.route === "inner");
      }
      // names with other letters are other names
      for (const name of ["Secret", "secret%20", "%C5%BFecret"])
        assert.equal((await judged(one, `/orders/${name}/1`)).outcome, "200", name);
      one.close();
    });
  }
});

describe("[S-22] [A-10] targets in raw bytes, to an app", () => {
  const sightings: string[][] = [];
  let admins = 0;
  let token = "";
  let workload: Changeable;
  const servers: { close(options: { deadlineMs: number }): Promise<unknown> }[] = [];
  const ports: Record<"serve" | "plain", number> = { serve: 0, plain: 0 };

  before(async () => {
    workload = await world.identity("gateway");
    token = await world.token("web");
    const app = new Hono<SpiffeEnv>()
      .use(spiffe(workload, { jwt: { audience: GATEWAY } }))
      .use("/admin/*", authorize({ ids: [idOf("admin")] }))
      .use(async (c, next) => {
        sightings.push([c.req.path, c.req.raw.url.replace(/^https?:\/\/[^/]*/, "")]);
        await next();
      })
      .use("/admin/*", () => {
        admins++;
        throw new Error("nobody comes here");
      })
      .all("*", authorize({ ids: [idOf("web")] }), proxy(workload, { url: upstream.url }));
    const served = await serve(app, { workload, address: "127.0.0.1", port: 0, signals: [] });
    const plain = await servePlain(app, { port: 0, signals: [] });
    servers.push(served, plain);
    Object.assign(ports, { serve: served.port, plain: plain.port });
  });
  after(async () => {
    for (const server of servers) await server.close({ deadlineMs: 0 });
  });

  const host: RawField = ["Host", "edge.example"];
  const ways: readonly (readonly [title: string, client: () => RawClient, fields: () => RawField[]])[] = [
    ["serve() over HTTP/1.1", () => raw1(web, ports.serve), () => [host]],
    ["serve() over HTTP/2", () => raw2(web, ports.serve), () => [[":authority", "edge.example"]]],
    [
      "servePlain()",
      () =>
        raw1(web, 0, async () => {
          const socket = connect(ports.plain, "127.0.0.1");
          socket.on("error", () => {});
          return socket;
        }),
      () => [host, ["Authorization", `Bearer ${token}`]],
    ],
  ];
  for (const [title, client, fields] of ways) {
    it(`${title}: each is refused, or authorize(), router, handler and upstream go by the same bytes`, async () => {
      const one = client();
      let served = 0;
      for (const target of [...SWEEP, ...ODD, ...CANONICAL.map(([written]) => written), "/admin/1", "/%61dmin/1"]) {
        sightings.length = 0;
        upstream.seen.length = 0;
        upstream.heads = 0;
        const outcome = outcomeOf(await one.ask(target, fields()));
        assert.equal(admins, 0, shown(target));
        if (outcome !== "200") {
          assert.ok([...REFUSED, "403 policy.default-deny"].includes(outcome), `${shown(target)} ${outcome}`);
          assert.equal(upstream.heads, 0, shown(target));
          continue;
        }
        served++;
        const sent = upstream.seen[0]!.url;
        const [router, handler] = sightings[0]!;
        // Hono shows paths decoded, but for the percent sign: one to one, as they are canonical
        const decoded = decodeURI(sent.split("?")[0]!.replaceAll("%25", "%2525"));
        assert.deepEqual(
          [sightings.length, upstream.seen.length, router, handler],
          [1, 1, decoded, sent],
          shown(target),
        );
        const again = canonicalTarget(sent);
        assert.equal(again.ok && again.value.target, sent, shown(target));
      }
      assert.ok(served >= SWEEP.filter(passes).length, String(served));
      assert.equal(outcomeOf(await one.ask("/admin/1", fields())), "403 policy.default-deny");
      one.close();
    });
  }
});
