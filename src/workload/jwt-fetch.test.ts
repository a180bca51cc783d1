import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after, afterEach, before, describe, it } from "node:test";
import { Authority } from "../authority/testing.ts";
import { systemClock } from "../base/clock.ts";
import { SpiffeError } from "../base/errors.ts";
import { safeValidateJwtSvid } from "../jwt/index.ts";
import { createFetch, listen } from "../tls/index.ts";
import { createJwtFetch, type SendRequest } from "./jwt-fetch.ts";
import { Workload } from "./workload.ts";

const AUDIENCE = "spiffe://example.org/orders";

/** A server that writes down what reached it. */
interface Recorder {
  readonly origin: string;
  readonly seen: { method: string; url: string; token: string; type: string; body: string }[];
  answer: (request: IncomingMessage, response: ServerResponse) => void;
}

describe("createJwtFetch", () => {
  let authority: Authority;
  let workload: Workload;
  let servers: Server[] = [];
  /** How far the agent's clock is ahead: tokens of one second may be equal where signatures are deterministic. */
  let aheadMs = 0;

  async function serve(): Promise<Recorder> {
    const recorder = { origin: "", seen: [] as Recorder["seen"], answer: (_, response) => response.end("ok") } as {
      origin: string;
      seen: Recorder["seen"];
      answer: Recorder["answer"];
    };
    const server = createServer(async (request, response) => {
      let body = "";
      for await (const chunk of request.setEncoding("utf8")) body += chunk;
      const { method = "", url = "", headers } = request;
      const token = headers.authorization?.replace(/^Bearer /, "") ?? "";
      recorder.seen.push({ method, url, token, type: headers["content-type"] ?? "", body });
      recorder.answer(request, response);
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    recorder.origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return recorder;
  }

  const redirectTo = (status: number, location: string) => (request: IncomingMessage, response: ServerResponse) => {
    if (request.url === "/moved") response.end("there");
    else response.writeHead(status, { location }).end("moved");
  };

  before(async () => {
    authority = await Authority.start({
      trustDomain: "example.org",
      clock: { ...systemClock, now: () => systemClock.now() + aheadMs },
      entries: [{ id: "spiffe://example.org/web", socket: "web" }],
    });
    workload = await Workload.open({ socket: authority.socketFor("web") });
  });

  afterEach(() => {
    for (const server of servers) server.close().closeAllConnections();
    servers = [];
  });

  after(async () => {
    await workload.close();
    await authority.close();
  });

  it("sends a valid token for the audience, and the same one while it lasts", async () => {
    const { origin, seen } = await serve();
    const call = createJwtFetch(workload, { audience: AUDIENCE, origin });
    assert.equal(await (await call(`${origin}/a`)).text(), "ok");
    await (await call(new URL(`${origin}/b`), { headers: { authorization: "Bearer of-the-caller" } })).text();
    await (await call(new Request(`${origin}/c`, { method: "PUT", body: "x" }))).text();
    assert.deepEqual(
      seen.map(({ method, url, body }) => `${method} ${url} ${body}`),
      ["GET /a ", "GET /b ", "PUT /c x"],
    );
    assert.equal(new Set(seen.map(({ token }) => token)).size, 1);
    const verdict = await safeValidateJwtSvid(seen[0]!.token, workload.bundles, { audience: AUDIENCE });
    assert.ok(verdict.ok && verdict.value.id.uri === "spiffe://example.org/web");
  });

  it("[S-20] is bound to its origins: another one gets no request", async () => {
    const [first, second, third] = [await serve(), await serve(), await serve()];
    const call = createJwtFetch(workload, { audience: AUDIENCE, origin: [first.origin, `${second.origin}/`] });
    await (await call(`${first.origin}/`)).text();
    await (await call(`${second.origin}/`)).text();
    await assert.rejects(call(`${third.origin}/`), { code: "ERR_SPIFFE_USAGE" });
    assert.deepEqual(
      [first, second, third].map(({ seen }) => seen.length),
      [1, 1, 0],
    );
  });

  it("[S-18] [S-20] sends no token over plaintext to another host, nor beside a password", async () => {
    const reached: string[] = [];
    const fetch: SendRequest = async (url) => {
      reached.push(String(url));
      return new Response("ok");
    };
    const make = (origin: string) => createJwtFetch(workload, { audience: AUDIENCE, origin, fetch });
    for (const origin of [
      "http://orders.internal:8443",
      "ws://127.0.0.1",
      "ftp://127.0.0.1",
      "https://u:p@orders.internal",
      "https://orders.internal/path",
      "https://orders.internal?x",
      "orders.internal",
      "unix:/run/orders.sock",
    ]) {
      assert.throws(() => make(origin), { code: "ERR_SPIFFE_USAGE" }, origin);
    }
    assert.throws(() => createJwtFetch(workload, { audience: AUDIENCE, origin: [] }), { code: "ERR_SPIFFE_USAGE" });
    const call = make("https://orders.internal:8443");
    for (const url of [
      "http://orders.internal:8443/",
      "https://u:p@orders.internal:8443/",
      "https://u@orders.internal:8443/",
      "https://:p@orders.internal:8443/",
      "/orders",
      "orders",
    ]) {
      await assert.rejects(call(url), { code: "ERR_SPIFFE_USAGE" }, url);
    }
    await call("https://orders.internal:8443/x");
    await make("http://localhost")("http://localhost/y");
    assert.deepEqual(reached, ["https://orders.internal:8443/x", "http://localhost/y"]);
  });

  it("[S-20] after 401 sends the request once more, with a fresh token, and no more than once", async () => {
    const { origin, seen, ...recorder } = await serve();
    const server = servers[0]!;
    let refuse = 1;
    server.removeAllListeners("request");
    server.on("request", async (request, response) => {
      let body = "";
      for await (const chunk of request.setEncoding("utf8")) body += chunk;
      seen.push({ method: request.method!, url: request.url!, token: request.headers.authorization!, type: "", body });
      if (refuse-- > 0) {
        aheadMs += 1_000;
        response.writeHead(401).end("no");
      } else recorder.answer(request, response);
    });
    const call = createJwtFetch(workload, { audience: AUDIENCE, origin });
    const bodies: (() => RequestInit["body"])[] = [
      () => "text",
      () => new TextEncoder().encode("text"),
      () => new TextEncoder().encode("text").buffer,
      () => new Blob(["text"]),
      () => new URLSearchParams({ text: "" }),
    ];
    for (const body of bodies) {
      seen.length = 0;
      refuse = 1;
      const answer = await call(`${origin}/`, { method: "POST", body: body() as never });
      assert.equal(answer.status, 200);
      await answer.text();
      assert.equal(seen.length, 2);
      assert.notEqual(seen[0]!.token, seen[1]!.token);
      assert.equal(seen[0]!.body, seen[1]!.body);
      assert.match(seen[1]!.body, /^text/);
    }
    seen.length = 0;
    refuse = 1;
    const fields = new FormData();
    fields.set("name", "text");
    assert.equal((await call(`${origin}/`, { method: "POST", body: fields })).status, 200);
    assert.ok(seen.length === 2 && seen.every(({ body }) => body.includes("text")));
    seen.length = 0;
    refuse = 2;
    const refused = await call(`${origin}/`);
    assert.equal(refused.status, 401);
    assert.equal(await refused.text(), "no");
    assert.equal(seen.length, 2);
  });

  it("[S-20] does not send a body again that can not be replayed", async () => {
    const { origin, seen } = await serve();
    servers[0]!.prependListener("request", (_, response) => {
      aheadMs += 1_000;
      response.statusCode = 401;
    });
    const call = createJwtFetch(workload, { audience: AUDIENCE, origin });
    const stream = () => new Blob(["once"]).stream();
    const init = { method: "POST", body: stream(), duplex: "half" } as RequestInit;
    assert.equal((await call(`${origin}/`, init)).status, 401);
    assert.equal((await call(new Request(`${origin}/`, { method: "POST", body: "once" }))).status, 401);
    assert.deepEqual(
      seen.map(({ body }) => body),
      ["once", "once"],
    );
    assert.equal((await call(`${origin}/`, { method: "POST", body: "twice" })).status, 401);
    assert.equal(seen.length, 4);
  });

  it("[S-20] after 401 takes a token that was renewed meanwhile, without asking the agent", async () => {
    const recorder = await serve();
    recorder.answer = (_, response) => response.writeHead(recorder.seen.length === 1 ? 401 : 200).end();
    const [old, renewed] = [
      await workload.jwt.fetch({ audience: AUDIENCE }),
      await workload.jwt.fetch({ audience: `${AUDIENCE}2` }),
    ];
    const asked: (boolean | undefined)[] = [];
    const jwt = {
      fetch: async ({ fresh }: { fresh?: true | undefined }) => {
        asked.push(fresh);
        return asked.length === 1 ? old : renewed;
      },
    };
    const call = createJwtFetch({ jwt }, { audience: AUDIENCE, origin: recorder.origin });
    assert.equal((await call(`${recorder.origin}/`)).status, 200);
    assert.deepEqual(asked, [undefined, undefined]);
    assert.deepEqual(
      recorder.seen.map(({ token }) => token),
      [old.token, renewed.token],
    );
  });

  it("leaves the 401 as it is when the agent has no other token", async () => {
    const recorder = await serve();
    recorder.answer = (_, response) => response.writeHead(401).end("no");
    const svid = await workload.jwt.fetch({ audience: AUDIENCE });
    const jwt = { fetch: async () => svid };
    const call = createJwtFetch({ jwt }, { audience: AUDIENCE, origin: recorder.origin });
    const answer = await call(`${recorder.origin}/`);
    assert.equal(await answer.text(), "no");
    assert.equal(recorder.seen.length, 1);
  });

  it("when no other token comes, the 401 stands, unless the caller gave up", async () => {
    const recorder = await serve();
    recorder.answer = (_, response) => response.writeHead(401).end("no");
    const svid = await workload.jwt.fetch({ audience: AUDIENCE });
    const callWith = (code: "ERR_SPIFFE_NO_IDENTITY" | "ERR_SPIFFE_ABORTED") => {
      let asked = 0;
      const jwt = {
        fetch: async () => {
          if (asked++ > 0) throw new SpiffeError(code, "scripted");
          return svid;
        },
      };
      return createJwtFetch({ jwt }, { audience: AUDIENCE, origin: recorder.origin })(`${recorder.origin}/`);
    };
    assert.equal(await (await callWith("ERR_SPIFFE_NO_IDENTITY")).text(), "no");
    await assert.rejects(callWith("ERR_SPIFFE_ABORTED"), { code: "ERR_SPIFFE_ABORTED" });
  });

  it("gives up what it does not read of an answer, and leaves the last one to its caller", async () => {
    const cancelled: string[] = [];
    const answers = [
      { status: 401, headers: {} },
      { status: 307, headers: { location: "/b" } },
      { status: 200, headers: {} },
    ];
    const fetch: SendRequest = async (input) => {
      const cancel = () => void cancelled.push(String(input));
      return new Response(new ReadableStream({ cancel }), answers.shift());
    };
    const jwt = {
      fetch: ({ fresh }: { fresh?: true | undefined }) => workload.jwt.fetch({ audience: fresh ? ["a", "b"] : "a" }),
    };
    const call = createJwtFetch({ jwt }, { audience: "a", origin: "https://orders.internal", fetch });
    assert.equal((await call("https://orders.internal/a")).status, 200);
    assert.deepEqual(cancelled, ["https://orders.internal/a", "https://orders.internal/a"]);
  });

  it("[A-13] [S-20] follows a redirect within the origin, and none that leads elsewhere", async () => {
    const [here, there] = [await serve(), await serve()];
    const call = createJwtFetch(workload, { audience: AUDIENCE, origin: [here.origin, there.origin] });
    for (const status of [301, 302, 303, 307, 308]) {
      here.answer = redirectTo(status, "/moved");
      assert.equal(await (await call(`${here.origin}/`)).text(), "there", `${status}`);
      for (const elsewhere of [
        `${there.origin}/moved`,
        here.origin.replace("127.0.0.1", "localhost"),
        "http://[",
        "",
      ]) {
        here.answer = redirectTo(status, elsewhere);
        const answer = await call(`${here.origin}/from`, { redirect: elsewhere === "" ? "manual" : "follow" });
        assert.equal(answer.status, status);
        assert.equal(answer.headers.get("location"), elsewhere);
        await answer.text();
      }
      for (const beside of ["user:password@", "user@", ":password@"]) {
        here.answer = redirectTo(status, here.origin.replace("http://", `http://${beside}`));
        assert.equal((await call(`${here.origin}/from`)).status, status);
      }
      here.answer = (_, response) => response.writeHead(status).end();
      assert.equal((await call(`${here.origin}/from`)).status, status, "nowhere to go");
    }
    for (const status of [200, 201, 300, 304, 404]) {
      here.answer = redirectTo(status, "/moved");
      assert.equal((await call(`${here.origin}/from`)).status, status, "no redirect");
    }
    assert.equal(there.seen.length, 0);
    assert.ok(here.seen.every(({ token }) => token !== ""));
    assert.equal(here.seen.filter(({ url }) => url === "/moved").length, 5);
  });

  it("[A-13] a redirect from TLS to plaintext brings no token there", async () => {
    const plain = await serve();
    const tokens: string[] = [];
    await using server = await listen(workload, {
      port: 0,
      address: "127.0.0.1",
      handler: (request, response) => {
        tokens.push(request.headers.authorization ?? "");
        if (request.url === "/ok") response.end("ok");
        else {
          response.writeHead(307, { location: `${plain.origin}/moved` });
          response.end();
        }
      },
    });
    const origin = `https://127.0.0.1:${server.port}`;
    const fetch = createFetch(workload, { peer: workload.id });
    const call = createJwtFetch(workload, { audience: AUDIENCE, origin: [origin, plain.origin], fetch });
    assert.equal((await call(`${origin}/redirect`)).status, 307);
    assert.equal(await (await call(`${origin}/ok`)).text(), "ok");
    assert.deepEqual(plain.seen, []);
    assert.ok(tokens.length === 2 && tokens.every((token) => token.startsWith("Bearer ")));
  });

  it("changes method and body at a redirect as the platform's fetch does", async () => {
    const here = await serve();
    const call = createJwtFetch(workload, { audience: AUDIENCE, origin: here.origin });
    for (const [status, method, becomes] of [
      [301, "POST", "GET  "],
      [302, "POST", "GET  "],
      [303, "POST", "GET  "],
      [303, "PUT", "GET  "],
      [301, "PUT", "PUT text/plain x"],
      [307, "POST", "POST text/plain x"],
      [308, "POST", "POST text/plain x"],
    ] as const) {
      here.seen.length = 0;
      here.answer = redirectTo(status, "/moved");
      const headers = { "content-type": "text/plain" };
      await (await call(`${here.origin}/`, { method, body: "x", headers })).text();
      const { method: then, type, body } = here.seen[1]!;
      assert.equal(`${then} ${type} ${body}`, becomes, `${status} ${method}`);
    }
    const stream = () => ({ method: "POST", body: new Blob(["x"]).stream(), duplex: "half" }) as RequestInit;
    here.answer = redirectTo(303, "/moved");
    assert.equal((await call(`${here.origin}/`, stream())).status, 200, "what becomes a GET needs it no more");
    here.answer = redirectTo(307, "/moved");
    assert.equal((await call(`${here.origin}/`, stream())).status, 307, "a stream can not be sent again");
  });

  it("takes method, headers and redirect of a Request, and a method in small letters", async () => {
    const here = await serve();
    const call = createJwtFetch(workload, { audience: AUDIENCE, origin: here.origin });
    const mine: unknown[] = [];
    const request = (init: RequestInit) => new Request(`${here.origin}/`, { headers: { "x-mine": "kept" }, ...init });
    here.answer = (incoming, response) => {
      mine.push(incoming.headers["x-mine"]);
      redirectTo(302, "/moved")(incoming, response);
    };
    assert.equal(await (await call(request({ method: "POST" }))).text(), "there");
    assert.deepEqual(mine, ["kept", "kept"]);
    assert.equal((await call(request({ redirect: "manual" }))).status, 302);
    await assert.rejects(call(request({ redirect: "error" })), { code: "ERR_SPIFFE_UPSTREAM" });
    await (await call(`${here.origin}/`, { method: "post", body: "x" })).text();
    assert.deepEqual(
      here.seen.map(({ method }) => method),
      ["POST", "GET", "GET", "GET", "POST", "GET"],
    );
  });

  it('ends a chain of redirects, and takes none with redirect: "error"', async () => {
    const here = await serve();
    const call = createJwtFetch(workload, { audience: AUDIENCE, origin: here.origin });
    here.answer = redirectTo(302, "/again");
    await assert.rejects(call(`${here.origin}/`), { code: "ERR_SPIFFE_UPSTREAM", message: /more than 5 times/ });
    assert.equal(here.seen.length, 6);
    await assert.rejects(call(`${here.origin}/`, { redirect: "error" }), { code: "ERR_SPIFFE_UPSTREAM" });
    assert.equal(here.seen.length, 7);
    assert.equal(await (await call(`${here.origin}/moved`, { redirect: "error" })).text(), "there");
  });

  it("ends when the caller's signal aborts", async () => {
    const { origin } = await serve();
    const call = createJwtFetch(workload, { audience: AUDIENCE, origin });
    const reason = AbortSignal.abort();
    await assert.rejects(call(`${origin}/`, { signal: reason }), { code: "ERR_SPIFFE_ABORTED" });
    await assert.rejects(call(new Request(`${origin}/`, { signal: reason })), { code: "ERR_SPIFFE_ABORTED" });
    await (await call(`${origin}/`, { signal: new AbortController().signal })).text();
    const signals: (AbortSignal | null | undefined)[] = [];
    const fetch: SendRequest = async (_, init) => {
      signals.push(init?.signal);
      return signals.length === 1 ? new Response(null, { status: 307, headers: { location: "/b" } }) : new Response();
    };
    const abort = new AbortController();
    const sent = new Request("https://orders.internal/", { signal: abort.signal });
    await createJwtFetch(workload, { audience: AUDIENCE, origin: "https://orders.internal", fetch })(sent);
    abort.abort();
    assert.equal(signals[1]?.aborted, true, "where a redirect led as well");
  });
});
