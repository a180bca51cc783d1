import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, beforeEach, describe, it } from "node:test";
import { Hono } from "hono";
import { isSpiffeError } from "../base/index.ts";
import { capabilities } from "../runtime/capabilities.ts";
import { silentLogger } from "../telemetry/logger.ts";
import { Opened } from "../tls/wire.testing.ts";
import { authorize, type SpiffeEnv, spiffe } from "./middleware/index.ts";
import { asPeer } from "./middleware/peer-env.ts";
import { type PlainServer, servePlain } from "./serve-plain.ts";
import { type Changeable, GATEWAY, idOf, rawRequest, statusOf, until, World } from "./world.testing.ts";

const CRON = idOf("cron");
const options = { port: 0, signals: [] };
let world: World;
let workload: Changeable;
let token: string;
let folder: string;
/** Closed at the end, also after a failure. */
const opened = new Opened();
after(() => opened.close());
before(async () => {
  world = await World.create();
  workload = await world.identity("gateway");
  token = await world.token("cron");
  folder = await mkdtemp(join(tmpdir(), "plain-"));
});
after(() => rm(folder, { recursive: true }));

/** Everything that comes back for these bytes until the other side closes. */
function exchange(to: { port: number; address: string }, text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = to.port === 0 ? connect(to.address) : connect(to.port, to.address);
    let answer = "";
    socket.on("data", (chunk: Uint8Array) => {
      answer += new TextDecoder().decode(chunk);
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(answer));
    socket.write(text, "latin1");
  });
}
const bearer = (text = token) => `Authorization: Bearer ${text}`;

/** What a router, a policy and a handler go by. */
interface Sighting {
  readonly router: string;
  readonly policy: string;
  readonly handler: string;
  readonly host: string;
  readonly method: string;
}

describe("an app behind servePlain()", () => {
  let server: PlainServer;
  let local: PlainServer;
  let seen: Sighting[] = [];

  before(async () => {
    let policy = "";
    const app = new Hono<SpiffeEnv>()
      .use(spiffe(workload, { jwt: { audience: GATEWAY } }))
      .use((c, next) => {
        policy = c.req.path;
        return next();
      })
      .get("/fields", (c) => c.json([...c.req.raw.headers.keys()].sort()))
      .get("/cron", authorize({ ids: [CRON] }), (c) => c.text(`${c.var.peer.via} ${c.var.peer.id}`))
      .get("/web", authorize({ ids: [idOf("web")] }), (c) => c.text("never"))
      .get("/certificate", authorize({ via: "x509" }), (c) => c.text("never"))
      .all("*", async (c) => {
        const { pathname, hostname } = new URL(c.req.raw.url);
        seen.push({ router: c.req.path, policy, handler: pathname, host: hostname, method: c.req.method });
        return c.text(`${c.req.path} ${(await c.req.text()).length}`);
      });
    server = opened.add(await servePlain(app, options));
    local = opened.add(await servePlain(app, { path: join(folder, "app.sock"), signals: [] }));
  });
  beforeEach(() => {
    seen = [];
  });
  after(async () => {
    await server?.close({ deadlineMs: 0 });
    await local?.close({ deadlineMs: 0 });
  });
  const status = async (text: string) => statusOf(await exchange(server, text));
  const good = () => status(rawRequest("/a", [bearer()]));

  it("[S-18] a token is the only way in, on loopback and on a unix socket", async () => {
    for (const to of [server, local]) {
      const ask = (path: string, fields: string[]) => exchange(to, rawRequest(path, fields));
      const none = await ask("/cron", []);
      assert.equal(statusOf(none), 401);
      assert.match(none, /www-authenticate: Bearer realm="spiffe"/i);
      assert.equal(statusOf(await ask("/cron", [bearer(`${token.slice(0, -4)}AAAA`)])), 401);
      assert.equal(statusOf(await ask("/cron", [`X-Spiffe-Id: ${CRON}`, `X-Forwarded-Client-Cert: URI=${CRON}`])), 401);
      assert.equal(statusOf(await ask("/web", [bearer()])), 403);
      assert.equal(statusOf(await ask("/certificate", [bearer()])), 403);
      const accepted = await ask("/cron", [bearer()]);
      assert.equal(statusOf(accepted), 200);
      assert.ok(accepted.includes(`jwt ${CRON}`));
    }
    assert.deepEqual([local.address, local.port], [join(folder, "app.sock"), 0]);
  });

  it("[S-18] two Authorization fields: 400, whatever they hold", async () => {
    const pairs = [
      [bearer(), bearer()],
      [bearer(), "Authorization: Basic eA=="],
      ["Authorization: Basic eA==", bearer()],
      ["Authorization: Basic eA==", "authorization: Basic eA=="],
      ['Authorization: Digest username="a, Bearer b"', bearer()],
      [`${bearer()}, Bearer ${token}`],
    ];
    for (const fields of pairs) assert.equal(await status(rawRequest("/a", fields)), 400, fields[0]!.slice(0, 30));
    assert.deepEqual(seen, []);
    assert.equal(await status(rawRequest("/a", ['Authorization: Digest username="a, Bearer b", realm="c"'])), 401);
    assert.equal(await good(), 200);
  });

  it("[S-21] identity fields of a caller do not reach the app", async () => {
    const names = ["X-Spiffe-Id", "X_Spiffe_Id", "X-Forwarded-Client-Cert", "x_forwarded_client_cert", "X-Kept"];
    const answer = await exchange(server, rawRequest("/fields", [bearer(), ...names.map((name) => `${name}: a`)]));
    const fields = JSON.parse(answer.slice(answer.indexOf("["), answer.lastIndexOf("]") + 1)) as string[];
    assert.deepEqual(
      fields.filter((name) => /^x/.test(name)),
      ["x-kept"],
    );
  });

  const targets = [
    "/public/../orders",
    "/public/%2e%2e/orders",
    "/public/%2E%2e/orders",
    "/./a",
    "//orders",
    "/a//b",
    "/a\\b",
    "/a\\..\\b",
    "/a%5cb",
    "/a%00",
    "/a%2fb",
    "/a;b",
    "/a#b",
    "/a?b#c",
    "/%",
    "/%zz",
    "/a?%zz",
    "/%252e",
    "/\u00e9",
    "/a?\u00e9",
    "/a\tb",
    "/a b",
    "http://edge.example/orders",
    "http://edge.example/public/../orders",
    "http://other.example/orders",
    "https://edge.example/orders",
    "*",
    "orders",
    "?a",
    "",
  ];
  for (const target of targets) {
    it(`[A-10] [S-22] ${JSON.stringify(target).replace(/[^ -~]/g, "?")} is 400, or one and the same for all`, async () => {
      const answer = statusOf(await exchange(server, rawRequest(target, [bearer()])));
      if (answer === 200) {
        assert.notEqual(capabilities.plainServer.value, "node");
        const { router, policy, handler, host } = seen[0]!;
        // Hono shows the path decoded, which is one to one for a canonical path
        const path = decodeURI(handler);
        assert.deepEqual([router, policy, host], [path, path, "edge.example"]);
        // what was resolved by the server holds nothing more to resolve
        assert.doesNotMatch(handler, /\/\.{1,2}(?:\/|$)|\/\/|[\\;#]|%(?:2e|2f|5c|00|25)/i);
        assert.equal(seen.length, 1);
      } else {
        // one runtime closes without a word
        assert.ok([0, 400, 505].includes(answer), String(answer));
        assert.deepEqual(seen, []);
      }
      assert.equal(await good(), 200);
    });
  }

  it("[A-10] what passes is what the app sees", async () => {
    for (const [target, path] of [
      ["/%61?x=%2e%2e//", "/a"],
      ["/a/b.c/...", "/a/b.c/..."],
      ["/a%20b", "/a%20b"],
      ["/100%25", "/100%25"],
    ] as const) {
      assert.equal(await status(rawRequest(target, [bearer()])), 200, target);
      assert.equal(seen.at(-1)?.handler, path);
    }
  });

  it("[A-10] [S-23] hosts that are two, none or odd do not reach the app", async () => {
    const hosts: [string, string[]][] = [
      ["Host: edge.example", ["Host: other.example"]],
      ["Host: edge.example", ["Host: edge.example"]],
      ["Host: a, b", []],
      ["Host: a@b", []],
      ["Host: a/b", []],
      ["Host: a?b", []],
      ["Host: a#b", []],
      ["Host: a b", []],
      ["Host:", []],
      ["Host: http://a", []],
      ["Host: a:b", []],
      ["Host: [::1", []],
      ["", []],
    ];
    for (const [host, more] of hosts) {
      const text = rawRequest("/a", [...more, bearer()], "GET", host);
      assert.equal(await status(text), 400, `${host} ${more}`);
    }
    assert.deepEqual(seen, []);
    for (const host of [
      "edge.example",
      "EDGE.example",
      "edge.example.",
      "edge.example:80",
      "127.0.0.1:8080",
      "[::1]:1",
    ])
      assert.equal(await status(rawRequest("/a", [bearer()], "GET", `Host: ${host}`)), 200, host);
  });

  it("[A-10] methods and lengths that are read in two ways do not reach the app", async () => {
    const refused = [
      rawRequest("/a", [bearer()], "get"),
      rawRequest("/a", [bearer()], "TRACE"),
      rawRequest("edge.example:443", [bearer()], "CONNECT"),
      rawRequest("/a", [bearer()], "CONNECT"),
      `${rawRequest("/a", [bearer(), "Content-Length: 3", "Transfer-Encoding: chunked"], "POST")}0\r\n\r\n`,
      `${rawRequest("/a", [bearer(), "Content-Length: 1", "Content-Length: 1"], "POST")}a`,
      `${rawRequest("/a", [bearer(), "Content-Length: 1", "Content-Length: 2"], "POST")}ab`,
      `${rawRequest("/a", [bearer(), "Transfer-Encoding: xchunked"], "POST")}0\r\n\r\n`,
      `${rawRequest("/a", [bearer(), "Content-Length: +1"], "POST")}a`,
    ];
    for (const text of refused) {
      const answer = await status(text);
      assert.ok([0, 400, 405].includes(answer), `${text.slice(0, 30)} ${answer}`);
    }
    assert.deepEqual(seen, []);
    assert.equal(await status(`${rawRequest("/a", [bearer(), "Content-Length: 1"], "POST")}a`), 200);
    assert.equal(
      await status(`${rawRequest("/a", [bearer(), "Transfer-Encoding: chunked"], "POST")}1\r\na\r\n0\r\n\r\n`),
      200,
    );
  });

  it("[S-18] no trailer is a credential", async () => {
    const chunked = rawRequest("/a", ["Transfer-Encoding: chunked", "Trailer: Authorization"], "POST");
    assert.equal(await status(`${chunked}1\r\na\r\n0\r\n${bearer()}\r\n\r\n`), 401);
    assert.deepEqual(seen, []);
  });

  it("an assumed peer is ignored on a real connection", async () => {
    const app = new Hono().use(spiffe(workload, { jwt: { audience: GATEWAY } })).get("/", (c) => c.text("in"));
    const wrapped = { fetch: (request: Request, env: object) => app.fetch(request, { ...env, ...asPeer(CRON) }) };
    const sly = opened.add(await servePlain(wrapped, options));
    try {
      assert.equal(statusOf(await exchange(sly, rawRequest("/"))), 401);
      assert.equal(statusOf(await exchange(sly, rawRequest("/", [bearer()]))), 200);
    } finally {
      await sly.close({ deadlineMs: 0 });
    }
  });

  it("a handler that throws is 500 without its words", async () => {
    for (const fetch of [() => Promise.reject(new Error("secret")), () => assert.fail("secret")]) {
      const broken = opened.add(await servePlain({ fetch }, options));
      try {
        const answer = await exchange(broken, rawRequest("/"));
        assert.equal(statusOf(answer), 500);
        assert.doesNotMatch(answer, /secret/);
      } finally {
        await broken.close({ deadlineMs: 0 });
      }
    }
  });
});

describe("where servePlain() may listen, and how it ends", () => {
  const app = { fetch: () => new Response("ok") };
  const refused = async (wrong: object) => {
    const server = await servePlain(app, { signals: [], port: 0, ...wrong }).catch((error: unknown) => error as Error);
    if (!(server instanceof Error)) await server.close({ deadlineMs: 0 });
    assert.ok(isSpiffeError(server, "ERR_SPIFFE_USAGE"), JSON.stringify(wrong));
  };
  const code = (wanted: string) => (error: unknown) => isSpiffeError(error, wanted as never);

  it("[S-18] loopback and unix sockets only", async () => {
    const addresses = [
      "0.0.0.0",
      "::",
      "192.0.2.1",
      "localhost",
      "127.0.0.1.example.org",
      "",
      "::ffff:192.0.2.1",
      "1270.0.0.1",
    ];
    for (const address of addresses) await refused({ address });
    for (const wrong of [
      { path: "", port: undefined },
      { path: "\0a", port: undefined },
      { path: "/a", port: 1 },
      { port: -1 },
      { tls: true },
      { drainMs: -1 },
    ])
      await refused(wrong);
    const server = opened.add(await servePlain(app, { ...options, address: "127.0.0.2" }));
    assert.equal(statusOf(await exchange(server, rawRequest("/"))), 200);
    await server.close({ deadlineMs: 0 });
  });

  it("a taken port and a live socket are said so, an abandoned socket is taken over", async () => {
    const first = opened.add(await servePlain(app, options));
    await assert.rejects(
      servePlain(app, { ...options, port: first.port }),
      (error: unknown) => code("ERR_SPIFFE_PORT_IN_USE")(error) && (error as Error).message.includes(`${first.port}`),
    );
    await first.close({ deadlineMs: 0 });
    const path = join(folder, "live.sock");
    const live = createServer((socket) => socket.on("error", () => {}).end("mine"));
    await new Promise<void>((resolve) => live.listen(path, resolve));
    await assert.rejects(servePlain(app, { path, signals: [] }), code("ERR_SPIFFE_PORT_IN_USE"));
    assert.equal(await exchange({ port: 0, address: path }, "hello"), "mine");
    live.close();
    const file = join(folder, "file");
    await writeFile(file, "kept");
    await assert.rejects(servePlain(app, { path: file, signals: [] }), code("ERR_SPIFFE_PORT_IN_USE"));
  });

  it("[A-6] who is refused is not asked for a body that is held back, where the server leaves that to the app", async () => {
    const app = new Hono<SpiffeEnv>()
      .use(spiffe(workload, { jwt: { audience: GATEWAY } }))
      .post("/", authorize({ ids: [CRON] }), async (c) => c.text(await c.req.text()));
    const server = opened.add(await servePlain(app, options));
    const early = capabilities.plainContinue.value ? "" : "100 ";
    try {
      for (const [sent, expected] of [
        [await world.token("guest"), `${early}403`],
        [token, "100 200"],
      ] as const) {
        const head = ["POST / HTTP/1.1", "host: orders", "expect: 100-continue", "content-length: 2", bearer(sent)];
        const told = await new Promise<string>((resolve) => {
          const socket = connect(server.port, "127.0.0.1");
          let [seen, asked] = ["", false];
          socket.on("data", (chunk: Uint8Array) => {
            seen += new TextDecoder().decode(chunk);
            const now = [...seen.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => status);
            if (now[0] === "100" && !asked) {
              asked = true;
              socket.write("hi");
            }
            if (now.some((status) => status !== "100")) {
              resolve(now.join(" "));
              socket.destroy();
            }
          });
          socket.on("error", () => {});
          socket.write(`${head.join("\r\n")}\r\n\r\n`);
        });
        assert.equal(told, expected);
      }
    } finally {
      await server.close();
    }
  });

  it("[S-8] a logger that throws does not keep a signal from draining", async () => {
    const info = () => {
      throw new Error("no space");
    };
    for (const logger of [silentLogger, { ...silentLogger, info }]) {
      const server = opened.add(
        await servePlain({ fetch: () => new Response("ok") }, { port: 0, signals: ["SIGHUP"], logger }),
      );
      process.emit("SIGHUP");
      await server.closed;
    }
  });

  it("a signal drains: running requests finish, then closed settles and the handlers are gone", async () => {
    let finish: (() => void) | undefined;
    const slow = {
      fetch: async () => {
        await new Promise<void>((resolve) => {
          finish = resolve;
        });
        return new Response("finished");
      },
    };
    const count = () => process.listenerCount("SIGHUP");
    const before = count();
    const server = opened.add(await servePlain(slow, { port: 0, signals: ["SIGHUP"] }));
    assert.equal(count(), before + 1);
    const answer = exchange(server, rawRequest("/"));
    await until(() => finish !== undefined);
    process.kill(process.pid, "SIGHUP");
    await until(() => count() === before);
    assert.equal(await exchange(server, rawRequest("/")), "");
    finish!();
    assert.match(await answer, /finished/);
    await server.closed;
    assert.deepEqual(await server.close(), { cut: 0 });
  });

  it("what is left at the deadline is cut", async () => {
    let begun = 0;
    const stuck = {
      fetch: () => {
        begun++;
        return new Promise<Response>(() => {});
      },
    };
    const server = opened.add(await servePlain(stuck, { ...options, drainMs: 20 }));
    const answer = exchange(server, rawRequest("/"));
    await until(() => begun === 1);
    assert.deepEqual(await server.close(), { cut: 1 });
    // one runtime can not break a connection, and answers for the handler
    assert.equal(statusOf(await answer), capabilities.plainServer.value === "deno" ? 503 : 0);
    await server.closed;
  });
});
