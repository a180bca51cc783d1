import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import { outcomeOf, type RawClient, type RawField, raw1, raw2 } from "./raw.testing.ts";
import {
  type Changeable,
  type CountingUpstream,
  countingUpstream,
  GATEWAY,
  http2Once,
  idOf,
  rawExchange,
  requestLog,
  until,
  valuesOf,
  World,
} from "./world.testing.ts";

let world: World;
let web: Changeable;
let upstream: CountingUpstream;
let gateway: Gateway;
const log = requestLog();
const port = (name: string) => gateway.listeners.find((listener) => listener.name === name)!.port;

before(async () => {
  world = await World.create();
  web = await world.identity("web");
  upstream = await countingUpstream();
  gateway = await createGateway(
    {
      status: { port: 0 },
      accessLog: { everyRefusal: true },
      listen: [
        { name: "mesh", address: "127.0.0.1", port: 0 },
        { name: "side", address: "127.0.0.1", port: 0 },
      ],
      upstreams: { up: { url: upstream.url } },
      routes: [
        { name: "main", listen: ["mesh"], hosts: ["main.example", "*.wide.example"], path: "/**", upstream: "up" },
        {
          name: "side",
          listen: ["side"],
          hosts: ["side.example", "own.wide.example", "[2001:db8::1]", "192.0.2.1"],
          path: "/**",
          upstream: "up",
        },
        { name: "both", hosts: ["both.example"], path: "/both", upstream: "up" },
        { name: "any", path: "/any/**", upstream: "up", websocket: true, audience: [GATEWAY] },
      ],
      policy: [
        { rule: "web", allow: { ids: [idOf("web")] } },
        { rule: "not-there", deny: { ids: [idOf("web")] }, hosts: ["[2001:db8::2]", "192.0.2.2"] },
      ],
    },
    { workload: await world.identity("gateway"), logger: log },
  );
});
beforeEach(() => {
  upstream.seen.length = 0;
  upstream.heads = 0;
  log.lines.length = 0;
});
after(async () => {
  await gateway?.close({ deadlineMs: 0 });
  await upstream?.close();
});

/** The three ways a request can name its host. */
const WAYS: readonly [title: string, client: typeof raw1, field: (host: string) => RawField][] = [
  ["Host of HTTP/1.1", raw1, (host) => ["Host", host]],
  [":authority of HTTP/2", raw2, (host) => [":authority", host]],
  ["host of HTTP/2", raw2, (host) => ["host", host]],
];

/** Spellings of one host. */
const spellings = (host: string) => [
  host,
  host.toUpperCase(),
  `${host}.`,
  `${host}:8443`,
  `${host[0]!.toUpperCase()}${host.slice(1)}.:1`,
];

async function withClient<T>(make: typeof raw1, listener: string, act: (client: RawClient) => Promise<T>): Promise<T> {
  const client = make(web, port(listener));
  try {
    return await act(client);
  } finally {
    client.close();
  }
}

describe("[S-23] [A-10] hosts of listeners, in raw bytes", () => {
  for (const [title, make, field] of WAYS) {
    it(`${title}: a host of the other listener is 421 in every spelling, one's own is served`, async () => {
      for (const [here, other] of [
        ["mesh", ["side.example", "own.wide.example"]],
        ["side", ["main.example", "a.wide.example"]],
      ] as const) {
        const there = here === "mesh" ? "side" : "mesh";
        for (const spelling of other.flatMap(spellings)) {
          upstream.heads = 0;
          const ask = (client: RawClient) => client.ask("/x", [field(spelling)]);
          assert.equal(outcomeOf(await withClient(make, here, ask)), "421 request.misdirected", `${here} ${spelling}`);
          assert.equal(upstream.heads, 0);
          await until(() => log.lines.at(-1)?.reason === "request.misdirected");
          assert.equal(outcomeOf(await withClient(make, there, ask)), "200", `${there} ${spelling}`);
          assert.equal(upstream.heads, 1);
        }
      }
    });

    it(`${title}: a host of no listener is for routes of any host, one of several listeners for each`, async () => {
      for (const listener of ["mesh", "side"]) {
        await withClient(make, listener, async (client) => {
          const table: [target: string, host: string, outcome: string, route: string | undefined][] = [
            ["/any/1", "other.example", "200", "any"],
            ["/x", "other.example", "404 request.no-route", undefined],
            ["/both", "both.example", "200", "both"],
            ["/both", "BOTH.example.:9", "200", "both"],
            ["/any/1", "both.example", "200", "any"],
            ["/both", "other.example", "404 request.no-route", undefined],
            // one label more is what a star stands for
            ["/any/1", "a.b.wide.example", "200", "any"],
            ["/any/1", "wide.example", "200", "any"],
            [
              "/any/1",
              listener === "mesh" ? "main.example" : "side.example",
              "200",
              listener === "mesh" ? "main" : "side",
            ],
          ];
          for (const [target, host, outcome, route] of table) {
            assert.equal(outcomeOf(await client.ask(target, [field(host)])), outcome, `${listener} ${target} ${host}`);
            await until(() => log.lines.at(-1)?.route === route);
          }
        });
      }
    });
  }

  for (const [title, make, field] of WAYS) {
    it(`${title}: an address is one host in every form of it, for routes, rules and the upstream`, async () => {
      const forms = (last: number): [host: string, form: string][] => [
        [`[2001:db8::${last}]`, `[2001:db8::${last}]`],
        [`[2001:db8::${last}]`, `[2001:0DB8:0:0:0:0:0:${last}]:8443`],
        [`[2001:db8::${last}]`, `[2001:db8::0.0.0.${last}]`],
        [`192.0.2.${last}`, `192.0.2.${last}.`],
        [`192.0.2.${last}`, `192.0.${512 + last}:8443`],
        [`192.0.2.${last}`, `0xC0.0.02.${last}`],
        [`192.0.2.${last}`, `${0xc0000200 + last}`],
      ];
      await withClient(make, "mesh", async (client) => {
        const ask = async (form: string) => outcomeOf(await client.ask("/any/1", [field(form)]));
        for (const [, form] of forms(1)) assert.equal(await ask(form), "421 request.misdirected", form);
        for (const [, form] of forms(2)) {
          assert.equal(await ask(form), "403 policy.denied", form);
          assert.equal(log.lines.at(-1)?.rule, "not-there");
        }
        assert.equal(upstream.heads, 0);
        for (const [host, form] of forms(3)) {
          assert.equal(await ask(form), "200", form);
          assert.equal(log.lines.at(-1)?.host, host);
          const told = valuesOf(upstream.seen.at(-1)!.raw, "x-forwarded-host").join();
          assert.equal(told.replace(":8443", ""), host, form);
        }
        for (const form of ["192.0.2.256", "192.0.2.1.1", "x.1", "[2001:db8::1::]", "[192.0.2.1]"])
          assert.ok(["400 request.authority", "400", "0"].includes(await ask(form)), form);
      });
      await withClient(make, "side", async (client) => {
        for (const [, form] of forms(1)) {
          assert.equal(outcomeOf(await client.ask("/any/1", [field(form)])), "200", form);
          assert.equal(log.lines.at(-1)?.route, "side", form);
        }
      });
    });
  }

  it("421 comes before any question of who calls", async () => {
    const guest = await world.identity("guest");
    const client = raw1(guest, port("mesh"));
    const ask = (host: string) => client.ask("/x", [["Host", host]]);
    assert.equal(outcomeOf(await ask("side.example")), "421 request.misdirected");
    assert.equal(outcomeOf(await ask("main.example")), "403 policy.default-deny");
    client.close();
  });

  it("421 is told in the caller's protocol", async () => {
    const grpc = { ":method": "POST", ":path": "/any/s", "content-type": "application/grpc", te: "trailers" };
    const wrong = await http2Once(web, port("mesh"), { ...grpc, ":authority": "side.example" }, "x");
    assert.equal(`${wrong.trailers["grpc-status"]} ${wrong.trailers["spiffe-reason"]}`, "12 request.misdirected");
    assert.equal((await http2Once(web, port("side"), { ...grpc, ":authority": "side.example" }, "x")).text, "ok");
    const connect = { ...grpc, "content-type": "application/json", "connect-protocol-version": "1" };
    const refused = await http2Once(web, port("mesh"), { ...connect, ":authority": "side.example" }, "{}");
    assert.equal((JSON.parse(refused.text) as { code: string }).code, "unimplemented");
    const plain = await http2Once(web, port("mesh"), { ":path": "/any/1", ":authority": "side.example" });
    assert.equal(`${plain.status} ${plain.headers["content-type"]}`, "421 application/problem+json");
    const upgrade = (host: string) =>
      [
        ...["GET /any/ws HTTP/1.1", `Host: ${host}`, "Connection: Upgrade", "Upgrade: websocket"],
        ...["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "", ""],
      ].join("\r\n");
    upstream.heads = 0;
    assert.match(await rawExchange(web, port("mesh"), upgrade("side.example")), /^HTTP\/1\.1 421 /);
    assert.equal(upstream.heads, 0);
    // the upstream here knows no WebSocket: its own answer is what the twin gets
    assert.match(await rawExchange(web, port("mesh"), upgrade("other.example")), /^HTTP\/1\.1 200 /);
    assert.equal(upstream.heads, 1);
  });
});

describe("[S-23] [A-10] one authority per request, in raw bytes", () => {
  const HOST = "main.example";
  const odd = ["a@main.example", "u:p@main.example", "main.example/x", "main.example?x", "main.example, side.example"];
  const more = [
    "main.example#x",
    "main example",
    "main.ex\u00e4mple",
    "",
    "[::1",
    "main.example:x",
    "main..example",
    "*",
  ];
  const one: Record<string, readonly RawField[][]> = {
    h1: [
      [],
      [
        ["Host", HOST],
        ["Host", "side.example"],
      ],
      [
        ["Host", HOST],
        ["host", HOST],
      ],
      ...[...odd, ...more].map((host): RawField[] => [["Host", host]]),
    ],
    h2: [
      [],
      [
        [":authority", HOST],
        [":authority", HOST],
      ],
      [
        [":authority", HOST],
        ["host", "side.example"],
      ],
      [
        [":authority", "side.example"],
        ["host", HOST],
      ],
      [
        [":authority", HOST],
        ["host", `${HOST}:1`],
      ],
      [
        ["host", HOST],
        ["host", HOST],
      ],
      [
        [":authority", HOST],
        ["host", HOST],
        ["host", HOST],
      ],
      ...[...odd, ...more].flatMap((host): RawField[][] => [[[":authority", host]], [["host", host]]]),
    ],
  };
  const good: Record<string, readonly RawField[][]> = {
    h1: [[["Host", HOST]], [["host", "MAIN.example.:8443"]]],
    h2: [
      [[":authority", HOST]],
      [["host", HOST]],
      [
        [":authority", "MAIN.example."],
        ["host", HOST],
      ],
    ],
  };
  for (const [protocol, make] of [
    ["h1", raw1],
    ["h2", raw2],
  ] as const) {
    it(`${protocol}: two, differing and odd hosts are 400 or no request at all; each plain one after them is served`, async () => {
      await withClient(make, "mesh", async (client) => {
        for (const fields of one[protocol]!) {
          upstream.heads = 0;
          const told = JSON.stringify(fields);
          const outcome = outcomeOf(await client.ask("/x", fields));
          // what the runtime's HTTP refuses by itself never becomes a request
          assert.ok(["400 request.authority", "400", "0"].includes(outcome), `${told} ${outcome}`);
          const lines = outcome === "400 request.authority" ? 1 : 0;
          await until(() => log.lines.length >= lines);
          assert.equal(log.lines.length, lines, told);
          assert.equal(upstream.heads, 0, told);
          for (const [i, plain] of good[protocol]!.entries()) {
            assert.equal(outcomeOf(await client.ask("/x", plain)), "200", JSON.stringify(plain));
            await until(() => log.lines.length === lines + i + 1);
            assert.equal(log.lines.at(-1)?.host, HOST);
          }
          log.lines.length = 0;
        }
      });
    });
  }

  it("h2: an odd host beside a plain :authority is 400, or is gone before anybody sees it", async () => {
    await withClient(raw2, "mesh", async (client) => {
      for (const host of [...odd, ...more]) {
        const outcome = outcomeOf(
          await client.ask("/x", [
            [":authority", HOST],
            ["host", host],
          ]),
        );
        if (outcome === "200") {
          // what the HTTP/2 of the runtime takes for no host at all: policy and upstream see the other one
          await until(() => log.lines.at(-1)?.host === HOST);
          const { raw } = upstream.seen.at(-1)!;
          assert.deepEqual(valuesOf(raw, "x-forwarded-host"), [HOST], host);
          assert.equal(valuesOf(raw, "host").join(), new URL(upstream.url).host, host);
        } else assert.ok(["400 request.authority", "0"].includes(outcome), `${host} ${outcome}`);
      }
      assert.equal(outcomeOf(await client.ask("/x", [[":authority", HOST]])), "200");
    });
  });
});
