import assert from "node:assert/strict";
import { connect } from "node:net";
import { afterEach, before, beforeEach, describe, it } from "node:test";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { eventually } from "../../test/support/eventually.ts";
import { FakeWorkloadApi, TestCa } from "../authority/testing.ts";
import { type ErrorCode, SpiffeError } from "../base/index.ts";
import { WorkloadApiClient } from "./client.ts";

const WEB = "spiffe://example.org/web";
const API = "spiffe://example.org/api";
const BOTH = `${WEB} ${API}`;

let partner: TestCa;
let fake: FakeWorkloadApi;
let client: WorkloadApiClient;
/** A token that the fake has issued. */
let token: string;

before(async () => {
  partner = await TestCa.create({ trustDomain: "partner.example" });
});

beforeEach(async () => {
  fake = await FakeWorkloadApi.start({ identities: [{ id: WEB }, { id: API, hint: "api" }] });
  fake.federate(partner);
  client = new WorkloadApiClient({ socket: fake.socket });
  token = (await client.fetchJwtSvid({ audience: "a" })).token;
});

afterEach(async () => {
  await client.close();
  await fake.close();
});

/** Every form of every call; each gives what it found, as text. */
const FORMS: Readonly<Record<string, (options: { signal?: AbortSignal; timeoutMs?: number }) => Promise<string>>> = {
  fetchX509Context: async (options) => (await client.fetchX509Context(options)).svids.map(({ id }) => id).join(" "),
  fetchX509Bundles: async (options) => [...(await client.fetchX509Bundles(options)).bundles.keys()].join(" "),
  fetchJwtBundles: async (options) => [...(await client.fetchJwtBundles(options)).bundles.keys()].join(" "),
  fetchJwtSvids: async (options) =>
    (await client.fetchJwtSvids({ audience: "a", ...options })).map(({ id }) => id).join(" "),
  "fetchJwtSvids of one": async (options) =>
    (await client.fetchJwtSvids({ audience: ["a", "b"], id: API, ...options })).map(({ id }) => id).join(" "),
  fetchJwtSvid: async (options) => (await client.fetchJwtSvid({ audience: "a", ...options })).id.uri,
  validateJwtSvid: async (options) => (await client.validateJwtSvid({ token, audience: "a", ...options })).id.uri,
};

const FOUND: Readonly<Record<string, string>> = {
  fetchX509Context: BOTH,
  fetchX509Bundles: "example.org partner.example",
  fetchJwtBundles: "example.org",
  fetchJwtSvids: BOTH,
  "fetchJwtSvids of one": API,
  fetchJwtSvid: WEB,
  validateJwtSvid: WEB,
};

const STREAMS: Readonly<Record<string, (signal: AbortSignal) => AsyncIterable<{ sequence: number }>>> = {
  watchX509Context: (signal) => client.watchX509Context({ signal }),
  watchX509Bundles: (signal) => client.watchX509Bundles({ signal }),
  watchJwtBundles: (signal) => client.watchJwtBundles({ signal }),
};

async function failure(promise: Promise<unknown>): Promise<SpiffeError> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof SpiffeError, String(error));
    return error;
  }
  throw new assert.AssertionError({ message: "it was accepted" });
}

describe("WorkloadApiClient", () => {
  it("[WE-01] [WE-05] [WE-23] [WL-03] [WL-61] makes each call, with the header, and no other than these", async () => {
    for (const [form, call] of Object.entries(FORMS)) assert.equal(await call({}), FOUND[form], form);
    for (const [form, watch] of Object.entries(STREAMS)) {
      const abort = new AbortController();
      for await (const { sequence } of watch(abort.signal)) {
        assert.equal(sequence, 1, form);
        abort.abort();
      }
    }
    const methods = ["FetchJWTBundles", "FetchJWTSVID", "FetchX509Bundles", "FetchX509SVID", "ValidateJWTSVID"];
    assert.deepEqual([...new Set(fake.calls().map(({ method }) => method))].sort(), methods);
    for (const { metadata } of fake.calls()) {
      assert.equal(metadata["workload.spiffe.io"], "true");
      assert.match(String(metadata[":path"]), /^\/SpiffeWorkloadAPI\/[A-Za-z0-9]+$/);
      assert.match(String(metadata["content-type"]), /^application\/grpc/);
    }
    assert.equal(fake.connections.accepted, 1);
    await eventually(() => fake.openStreams() === 0, "every stream was left");
  });

  it("each call has its deadline and its signal, and errors that say so; the same call without them passes", async () => {
    // connected before, as a call that is late while it connects has another phase
    await client.fetchX509Context();
    fake.delay(150);
    for (const [form, call] of Object.entries(FORMS)) {
      const late = await failure(call({ timeoutMs: 20 }));
      assert.equal(late.code, "ERR_SPIFFE_TIMEOUT" satisfies ErrorCode, form);
      assert.ok(late.message.includes(fake.path) && late.retryable, late.message);
      assert.match(String(late.phase), /^(?:fetch|validate)-/);
      const abort = new AbortController();
      const aborted = failure(call({ signal: abort.signal }));
      abort.abort();
      assert.equal((await aborted).code, "ERR_SPIFFE_ABORTED", form);
      assert.equal((await failure(call({ signal: AbortSignal.abort() }))).code, "ERR_SPIFFE_ABORTED", form);
      assert.equal((await failure(call({ timeoutMs: 0 }))).code, "ERR_SPIFFE_USAGE", form);
      assert.equal(await call({ timeoutMs: 5_000, signal: new AbortController().signal }), FOUND[form], form);
    }
  });

  it("a closed client calls nothing any more", async () => {
    const { length } = fake.calls();
    await Promise.all([client.close(), client.close()]);
    for (const [form, call] of Object.entries(FORMS)) {
      assert.equal((await failure(call({}))).code, "ERR_SPIFFE_CLOSED", form);
    }
    assert.equal(fake.calls().length, length);
  });

  it("[WE-05] takes a transport from outside, adds the header above it, and leaves it open", async () => {
    const transport = createGrpcTransport({
      baseUrl: "http://localhost",
      nodeOptions: { createConnection: () => connect(fake.path) },
    });
    assert.throws(() => new WorkloadApiClient({ transport, socket: fake.socket }), { code: "ERR_SPIFFE_USAGE" });
    for (let round = 0; round < 2; round++) {
      const own = new WorkloadApiClient({ transport });
      assert.equal((await own.fetchX509Context()).svids.length, 2);
      const error = await failure(own.fetchJwtSvid({ audience: "a", id: "spiffe://example.org/nobody" }));
      assert.equal(error.code, "ERR_SPIFFE_NO_IDENTITY");
      assert.ok(error.message.includes("the given transport"), error.message);
      await own.close();
    }
    for (const { metadata } of fake.calls()) assert.equal(metadata["workload.spiffe.io"], "true");
    fake.cut();
  });

  it("[WL-28] [WL-43] says when the agent has no identity for this process, or not the one asked for", async () => {
    fake.redact();
    for (const [form, call] of Object.entries(FORMS)) {
      const error = await failure(call({}));
      assert.deepEqual(
        [error.code, error.reason, error.retryable],
        ["ERR_SPIFFE_NO_IDENTITY", "workload.no-svid", true],
        form,
      );
      assert.match(error.message, /PermissionDenied/);
      assert.match(String(error.hint), /[Rr]egister/);
    }
    await fake.heal();
    for (const [form, call] of Object.entries(FORMS)) assert.equal(await call({}), FOUND[form], form);
  });

  it("refuses times that are none", () => {
    const { socket } = fake;
    for (const wrong of [0, -1, Number.NaN]) {
      assert.throws(() => new WorkloadApiClient({ socket, timeoutMs: wrong }), { code: "ERR_SPIFFE_USAGE" });
      assert.throws(() => new WorkloadApiClient({ socket, keepaliveMs: wrong }), { code: "ERR_SPIFFE_USAGE" });
    }
    new WorkloadApiClient({ socket, timeoutMs: Number.POSITIVE_INFINITY, keepaliveMs: Number.POSITIVE_INFINITY });
  });
});
