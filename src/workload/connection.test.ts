import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { after, describe, it } from "node:test";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { eventually } from "../../test/support/eventually.ts";
import { type Handlers, untilLeft, WorkloadServer } from "../../test/support/workload-server.ts";
import { systemClock } from "../base/clock.ts";
import { SpiffeError } from "../base/errors.ts";
import { silentLogger } from "../telemetry/logger.ts";
import { Connection } from "./connection.ts";
import { parseEndpoint } from "./endpoint.ts";

const closing: (() => Promise<void> | void)[] = [];
after(async () => {
  for (const close of closing.reverse()) await close();
});

function connect(socket: string, timeoutMs = 10_000): Connection {
  const endpoint = parseEndpoint(socket);
  const connection = new Connection({ endpoint, timeoutMs, clock: systemClock, logger: silentLogger });
  closing.push(() => connection.close());
  return connection;
}

async function serve(handlers: Handlers): Promise<WorkloadServer> {
  const server = await WorkloadServer.start(handlers);
  closing.push(() => server.close());
  return server;
}

async function refusal(promise: Promise<unknown>): Promise<SpiffeError> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof SpiffeError, String(error));
    return error;
  }
  throw new assert.AssertionError({ message: "it was accepted" });
}

const fetchToken = (connection: Connection, options: { signal?: AbortSignal; timeoutMs?: number } = {}) =>
  connection.call("fetch-jwt", options, (api, rpc) => api.fetchJWTSVID({ audience: ["a"] }, rpc));

describe("connection", () => {
  it("[WE-05] sends workload.spiffe.io: true, once, with unary and streaming calls", async () => {
    const seen: (string | null)[] = [];
    const note = ({ requestHeader }: HandlerContext) => seen.push(requestHeader.get("workload.spiffe.io"));
    const server = await serve({
      fetchJWTSVID(_, context) {
        note(context);
        return {};
      },
      async *fetchX509Bundles(_, context) {
        note(context);
        yield {};
      },
    });
    const connection = connect(server.socket);
    await fetchToken(connection);
    await connection.call("fetch", {}, async (api, rpc) => {
      for await (const _ of api.fetchX509Bundles({}, rpc)) return;
    });
    assert.deepEqual(seen, ["true", "true"]);
  });

  for (const [id, code, kind, expected] of [
    ["WE-15", Code.InvalidArgument, "final", "ERR_SPIFFE_WORKLOAD_API"],
    ["WE-19", Code.Unimplemented, "final", "ERR_SPIFFE_WORKLOAD_API"],
    ["WE-18", Code.PermissionDenied, "denied", "ERR_SPIFFE_NO_IDENTITY"],
    ["WE-16", Code.Unavailable, "transient", "ERR_SPIFFE_WORKLOAD_API"],
    ["WE-16", Code.Canceled, "transient", "ERR_SPIFFE_WORKLOAD_API"],
    ["WE-16", Code.Internal, "transient", "ERR_SPIFFE_WORKLOAD_API"],
    ["WE-16", Code.DeadlineExceeded, "transient", "ERR_SPIFFE_TIMEOUT"],
  ] as const) {
    it(`[${id}] takes ${Code[code]} for ${kind}; the same call without it passes`, async () => {
      let fail = true;
      const server = await serve({
        fetchJWTSVID() {
          if (fail) throw new ConnectError("said so", code);
          return {};
        },
      });
      const connection = connect(server.socket);
      const error = await refusal(fetchToken(connection));
      assert.equal(error.code, expected);
      assert.equal(error.phase, "fetch-jwt");
      assert.match(error.message, new RegExp(`${server.path}.*${Code[code]}.*said so`));
      assert.equal(error.retryable, kind !== "final");
      assert.equal(/public socket/.test(error.hint ?? ""), code === Code.Unimplemented);
      assert.equal(connection.failure(error.cause, "x").kind, kind);
      fail = false;
      await fetchToken(connection);
    });
  }

  it("[WE-16] names the socket and phase connect when nothing is there, nothing listens, or it is no socket", async () => {
    const server = await WorkloadServer.prepare({ fetchJWTSVID: () => ({}) });
    closing.push(() => server.close());
    const connection = connect(server.socket);
    const absent = await refusal(fetchToken(connection));
    await writeFile(server.path, "");
    const deaf = await refusal(fetchToken(connection));
    for (const [error, code] of [
      [absent, "ENOENT"],
      [deaf, "ECONNREFUSED"],
    ] as const) {
      assert.equal(error.code, "ERR_SPIFFE_WORKLOAD_API");
      assert.equal(error.reason, "workload.unavailable");
      assert.equal(error.phase, "connect");
      assert.equal(error.retryable, true);
      assert.ok(error.message.includes(server.path) && error.message.includes(code), error.message);
    }
    const there = await serve({ fetchJWTSVID: () => ({}) });
    await fetchToken(connect(there.socket));
  });

  it("[WE-16] uses a server that came after the first attempt, and one that was restarted", async () => {
    const server = await WorkloadServer.prepare({ fetchJWTSVID: () => ({}) });
    closing.push(() => server.close());
    const connection = connect(server.socket);
    await refusal(fetchToken(connection));
    await server.listen();
    await fetchToken(connection);
    await server.stop();
    await refusal(fetchToken(connection));
    await server.listen();
    await fetchToken(connection);
  });

  it("gives up at its deadline, and the agent learns of it", async () => {
    let left = false;
    const server = await serve({
      async fetchJWTSVID(_, context) {
        await untilLeft(context);
        left = true;
        return {};
      },
    });
    const connection = connect(server.socket);
    // one whose time is over before it is sent reaches no agent
    await eventually(async () => {
      const error = await refusal(fetchToken(connection, { timeoutMs: 50 }));
      assert.equal(error.code, "ERR_SPIFFE_TIMEOUT");
      return left;
    }, "the call was left");
  });

  it("ends with the caller's signal, and as closed when the connection is closed", async () => {
    const server = await serve({
      async fetchJWTSVID(_, context) {
        await untilLeft(context);
        return {};
      },
    });
    const connection = connect(server.socket);
    const abort = new AbortController();
    const aborted = refusal(fetchToken(connection, { signal: abort.signal }));
    const closed = refusal(fetchToken(connection));
    abort.abort();
    assert.equal((await aborted).code, "ERR_SPIFFE_ABORTED");
    connection.close();
    assert.equal((await closed).code, "ERR_SPIFFE_CLOSED");
    assert.equal((await refusal(fetchToken(connection))).code, "ERR_SPIFFE_CLOSED");
  });

  it("refuses a message above 4 MiB and takes one below", async () => {
    let bytes = 0;
    const server = await serve({
      async *fetchX509Bundles() {
        yield { crl: [new Uint8Array(bytes)] };
      },
    });
    const connection = connect(server.socket);
    const first = () =>
      connection.call("fetch", {}, async (api, rpc) => {
        for await (const { crl } of api.fetchX509Bundles({}, rpc)) return crl[0]?.length;
      });
    bytes = 4_194_305;
    const error = await refusal(first());
    assert.equal(error.code, "ERR_SPIFFE_WORKLOAD_API");
    assert.equal(error.reason, "workload.too-large");
    bytes = 4_000_000;
    assert.equal(await first(), bytes);
  });

  it("keeps a token out of the error, even if the agent repeats it", async () => {
    const token = "aaaaaaaa.bbbbbbbb.cccccccc";
    let said = `cannot parse ${token}`;
    const server = await serve({
      validateJWTSVID() {
        throw new ConnectError(said, Code.InvalidArgument);
      },
    });
    const connection = connect(server.socket);
    const validate = () =>
      connection.call("validate-jwt", {}, (api, rpc) => api.validateJWTSVID({ svid: token }, rpc), token);
    const repeated = await refusal(validate());
    assert.equal(repeated.code, "ERR_SPIFFE_JWT_VERIFY");
    assert.ok(!`${repeated.message}${repeated.stack}${JSON.stringify(repeated)}`.includes("bbbbbbbb"));
    assert.equal(repeated.cause, undefined);
    said = "cannot parse it";
    assert.match((await refusal(validate())).message, /cannot parse it/);
  });
});
