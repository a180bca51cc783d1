import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, beforeEach, describe, it } from "node:test";
import { createFetch } from "../tls/index.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import { traceFields } from "./trace-context.ts";
import {
  type Changeable,
  type CountingUpstream,
  countingUpstream,
  GATEWAY,
  idOf,
  rawExchange,
  rawRequest,
  statusOf,
  valuesOf,
  World,
} from "./world.testing.ts";
import { formatXfcc, parseXfcc, type XfccElement } from "./xfcc.ts";

describe("x-forwarded-client-cert", () => {
  it("is read as it is written, quotes, several URIs and several hops included", () => {
    const table: [string, XfccElement[]][] = [
      ["By=spiffe://a/b", [[["By", "spiffe://a/b"]]]],
      [
        "by=a;HASH=b;uri=c;URI=d",
        [
          [
            ["By", "a"],
            ["Hash", "b"],
            ["URI", "c"],
            ["URI", "d"],
          ],
        ],
      ],
      [
        'Subject="CN=a,O=\\"b\\";c\\\\";DNS=x;DNS=y',
        [
          [
            ["Subject", 'CN=a,O="b";c\\'],
            ["DNS", "x"],
            ["DNS", "y"],
          ],
        ],
      ],
      [
        'Subject="";URI=a, By=b,By=c',
        [
          [
            ["Subject", ""],
            ["URI", "a"],
          ],
          [["By", "b"]],
          [["By", "c"]],
        ],
      ],
      ["URI=", [[["URI", ""]]]],
    ];
    for (const [text, elements] of table) {
      const parsed = parseXfcc(text);
      assert.deepEqual(parsed.ok && parsed.value, elements, text);
      const again = parseXfcc(formatXfcc(elements));
      assert.deepEqual(again.ok && again.value, elements, text);
    }
  });

  it("is refused when it could mean anything else", () => {
    for (const text of [
      "",
      "URI",
      "=a",
      "Name=a",
      " URI=a",
      "URI =a",
      "URI=a;",
      "URI=a,",
      ",URI=a",
      "URI=a;;By=b",
      "By=a;By=b",
      "Hash=a;hash=b",
      'URI="a',
      'URI="a"b',
      'URI=a"b"',
      "URI=a=b",
      "URI=a b",
      "URI=a\\b",
      'URI="a\tb"',
      'URI="\xe4"',
      `URI=${"a".repeat(70_000)}`,
      Array(33).fill("URI=a").join(","),
    ]) {
      assert.equal(parseXfcc(text).ok, false, text.slice(0, 60));
    }
  });

  describe("at the gateway", () => {
    let world: World;
    let web: Changeable;
    let edge: Changeable;
    let upstream: CountingUpstream;
    let gateway: Gateway;
    before(async () => {
      world = await World.create();
      [web, edge] = [await world.identity("web"), await world.identity("edge")];
      upstream = await countingUpstream();
      gateway = await createGateway(
        {
          status: { port: 0 },
          listen: { address: "127.0.0.1", port: 0 },
          upstreams: { up: { url: upstream.url } },
          routes: [{ name: "up", path: "/**", upstream: "up" }],
          policy: [{ rule: "all", allow: { ids: [idOf("web"), idOf("edge")] } }],
          xfcc: { from: [idOf("edge")], chain: true },
        },
        { workload: await world.identity("gateway") },
      );
    });
    beforeEach(() => {
      upstream.seen.length = 0;
    });
    after(async () => {
      await gateway?.close({ deadlineMs: 0 });
      await upstream?.close();
    });
    const said = () => valuesOf(upstream.seen[0]!.raw, "x-forwarded-client-cert");
    const call = (who: Changeable, value?: string) =>
      createFetch(who, { peer: GATEWAY })(`https://127.0.0.1:${gateway.listeners[0]!.port}/x`, {
        headers: value === undefined ? {} : { "x-forwarded-client-cert": value },
      });

    it("[S-21] tells of the caller's certificate; what a caller says itself goes on from the list alone", async () => {
      const forged = `By=${GATEWAY};URI=${idOf("admin")}`;
      for (const [who, name, before] of [
        [web, "web", []],
        [
          edge,
          "edge",
          [
            [
              ["By", GATEWAY],
              ["URI", idOf("admin")],
            ],
          ],
        ],
      ] as const) {
        upstream.seen.length = 0;
        assert.equal((await call(who, forged)).status, 200);
        const [value, ...others] = said();
        assert.deepEqual(others, []);
        const parsed = parseXfcc(String(value));
        assert.ok(parsed.ok);
        assert.deepEqual(parsed.value.slice(0, -1), before);
        const own = Object.fromEntries(parsed.value.at(-1)!);
        const der = who.x509.x509Svid().certificates[0]!.der;
        assert.equal(own.Hash, createHash("sha256").update(der).digest("hex"));
        assert.equal(`${own.By} ${own.URI}`, `${GATEWAY} ${idOf(name)}`);
        assert.match(decodeURIComponent(String(own.Chain)), /^-----BEGIN CERTIFICATE-----/);
        assert.deepEqual(valuesOf(upstream.seen[0]!.raw, "x-spiffe-id"), [idOf(name)]);
      }
    });

    it("[A-11] other spellings, `Connection` and a field that is none", async () => {
      const port = gateway.listeners[0]!.port;
      const sly = rawRequest("/x", ["X_Forwarded_Client_Cert: URI=a", "X-Forwarded-Client-Cert: URI=b"]);
      assert.equal(statusOf(await rawExchange(edge, port, sly)), 200);
      const parsed = parseXfcc(String(said()[0]));
      assert.deepEqual(parsed.ok && parsed.value[0], [["URI", "b"]]);
      assert.equal(said().length, 1);
      assert.equal((await call(edge, "URI=a;;")).status, 400);
      assert.equal((await call(web, "URI=a;;")).status, 200);
    });
  });
});

describe("trace context", () => {
  const id = "0af76519-16cd-43dd-8448-eb211c80319c";
  const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const begun = [["traceparent", "00-0af7651916cd43dd8448eb211c80319c-8448eb211c80319c-00"]];

  it("goes on as it came, and begins where there is none or a broken one", () => {
    assert.deepEqual(
      traceFields(
        [
          ["Traceparent", good],
          ["tracestate", "a=1"],
        ],
        id,
      ),
      [
        ["traceparent", good],
        ["tracestate", "a=1"],
      ],
    );
    assert.deepEqual(traceFields([["traceparent", `cc${good.slice(2)}-more`]], id), [
      ["traceparent", `cc${good.slice(2)}-more`],
    ]);
    for (const received of [
      [],
      [["tracestate", "a=1"]],
      [
        ["traceparent", good],
        ["traceparent", good],
      ],
      [["traceparent", `${good}-more`]],
      [["traceparent", good.toUpperCase()]],
      [["traceparent", `ff${good.slice(2)}`]],
      [["traceparent", good.replace(/-0af\w+/, `-${"0".repeat(32)}`)]],
      [["traceparent", good.replace(/-b7\w+/, `-${"0".repeat(16)}`)]],
      [["trace_parent", good]],
    ] as [string, string][][]) {
      assert.deepEqual(traceFields(received, id), begun, JSON.stringify(received));
    }
  });
});
