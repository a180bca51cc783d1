import assert from "node:assert/strict";
import { createServer, type Http2Server, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { after, before, beforeEach, describe, it } from "node:test";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";
import { Authority } from "../authority/testing.ts";
import { systemClock } from "../base/clock.ts";
import { SpiffeWorkloadAPI } from "../gen/workload/workload_pb.js";
import { safeValidateJwtSvid } from "../jwt/index.ts";
import { jwtSvid } from "./interceptor.ts";
import { Workload } from "./workload.ts";

/** Any gRPC service does for these tests; this one is at hand. */
describe("jwtSvid interceptor", () => {
  const audience = "spiffe://example.org/orders";
  let authority: Authority;
  let workload: Workload;
  let servers: Http2Server[];
  let seen: string[];
  let rejectFirst: number;
  /** How far the agent's clock is ahead: tokens of one second may be equal where signatures are deterministic. */
  let aheadMs = 0;

  async function serve(): Promise<string> {
    const server = createServer(
      connectNodeAdapter({
        routes: (router) => {
          router.service(SpiffeWorkloadAPI, {
            fetchJWTSVID(_, { requestHeader }) {
              seen.push(requestHeader.get("authorization") ?? "");
              if (rejectFirst-- > 0) {
                aheadMs += 1_000;
                throw new ConnectError("try another", Code.Unauthenticated);
              }
              return {};
            },
          });
        },
      }),
    );
    return listening(server);
  }

  async function listening(server: Http2Server): Promise<string> {
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  function client(baseUrl: string, interceptor = jwtSvid(workload, { audience })) {
    return createClient(SpiffeWorkloadAPI, createGrpcTransport({ baseUrl, interceptors: [interceptor] }));
  }

  before(async () => {
    servers = [];
    authority = await Authority.start({
      trustDomain: "example.org",
      clock: { ...systemClock, now: () => systemClock.now() + aheadMs },
      entries: [{ id: "spiffe://example.org/web", socket: "web" }],
    });
    workload = await Workload.open({ socket: authority.socketFor("web") });
  });

  beforeEach(() => {
    seen = [];
    rejectFirst = 0;
  });

  after(async () => {
    await workload.close();
    await authority.close();
    for (const server of servers) server.close();
  });

  it("[JWT-17] sends a valid token for the audience, and the same one while it lasts", async () => {
    const calls = client(await serve());
    await calls.fetchJWTSVID({});
    await calls.fetchJWTSVID({});
    assert.equal(seen[0], seen[1]);
    const [scheme, token = ""] = seen[0]!.split(" ");
    assert.equal(scheme, "Bearer");
    const verdict = await safeValidateJwtSvid(token, workload.bundles, { audience });
    assert.ok(verdict.ok && verdict.value.id.uri === "spiffe://example.org/web");
  });

  it("[S-20] tries once more after Unauthenticated, with a fresh token, and no more than once", async () => {
    const calls = client(await serve());
    rejectFirst = 1;
    await calls.fetchJWTSVID({});
    assert.equal(seen.length, 2);
    assert.notEqual(seen[0], seen[1]);
    rejectFirst = 2;
    await assert.rejects(calls.fetchJWTSVID({}), { code: Code.Unauthenticated });
    assert.equal(seen.length, 4);
  });

  it("[S-20] [S-24] sends a call again only if it is unary, was not authenticated, and there is another token", async () => {
    const [one, two] = [await workload.jwt.fetch({ audience }), await workload.jwt.fetch({ audience: `${audience}2` })];
    const sent = async (code: Code, { stream = false, other = two } = {}) => {
      const tokens: string[] = [];
      const next = async (request: { header: Headers }) => {
        tokens.push(request.header.get("authorization") ?? "");
        throw new ConnectError("no", code);
      };
      const jwt = { fetch: async ({ fresh }: { fresh?: true | undefined }) => (fresh ? other : one) };
      const call = jwtSvid({ jwt }, { audience }) as (next: unknown) => (request: unknown) => Promise<unknown>;
      const { signal } = new AbortController();
      const request = { url: "https://orders.internal/x", header: new Headers(), signal, stream };
      await assert.rejects(call(next)(request), { code });
      return tokens;
    };
    const [first, second] = [`Bearer ${one.token}`, `Bearer ${two.token}`];
    assert.deepEqual(await sent(Code.Unauthenticated), [first, second]);
    assert.deepEqual(await sent(Code.Unauthenticated, { stream: true }), [first]);
    assert.deepEqual(await sent(Code.Unauthenticated, { other: one }), [first]);
    for (const code of [Code.PermissionDenied, Code.Unavailable, Code.Unknown])
      assert.deepEqual(await sent(code), [first], Code[code]);
  });

  it("[S-20] nothing but a single call that was refused as unauthenticated is sent twice", async () => {
    type Api = ReturnType<typeof client>;
    const single = (api: Api) => api.fetchJWTSVID({});
    const stream = async (api: Api) => {
      for await (const _ of api.fetchJWTBundles({}));
    };
    for (const [call, status, sent] of [
      [single, Code.Unauthenticated, 2],
      [single, Code.PermissionDenied, 1],
      [single, Code.Unavailable, 1],
      [stream, Code.Unauthenticated, 1],
    ] as const) {
      seen = [];
      // refuses at once, in the head of its answer
      const server = createServer();
      server.on("stream", (stream: ServerHttp2Stream, headers) => {
        seen.push(headers.authorization ?? "");
        aheadMs += 1_000;
        stream.on("error", () => {});
        const answer = { ":status": 200, "content-type": "application/grpc", "grpc-status": String(status) };
        stream.respond(answer, { endStream: true });
      });
      await assert.rejects(call(client(await listening(server))), { code: status });
      assert.equal(seen.length, sent, `${call.name} ${status}`);
      assert.equal(new Set(seen).size, sent);
    }
  });

  it("[S-20] serves one origin: a second one gets no token", async () => {
    const [first, second] = [await serve(), await serve()];
    const interceptor = jwtSvid(workload, { audience });
    await client(first, interceptor).fetchJWTSVID({});
    await assert.rejects(client(second, interceptor).fetchJWTSVID({}), /serves http:\/\/127\.0\.0\.1/);
    assert.equal(seen.length, 1);
    await client(second).fetchJWTSVID({});
    assert.equal(seen.length, 2);
  });

  it("[S-18] [S-20] [JWT-19] sends no token over plaintext to another host", async () => {
    let reached: string | null = "nothing";
    const run = (url: string) => {
      const next = (request: { header: Headers }) => {
        reached = request.header.get("authorization");
        return Promise.resolve({});
      };
      const request = { url, header: new Headers(), signal: new AbortController().signal, stream: false };
      const call = jwtSvid(workload, { audience }) as (next: unknown) => (request: unknown) => Promise<unknown>;
      return call(next)(request);
    };
    await assert.rejects(run("http://orders.internal:8443/x"), { code: "ERR_SPIFFE_USAGE" });
    assert.equal(reached, "nothing");
    await run("https://orders.internal:8443/x");
    assert.match(reached, /^Bearer /);
  });
});
