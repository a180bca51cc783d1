/** Every public function that takes options refuses names that it does not know: a misspelt one must not mean the default. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import grpc from "@grpc/grpc-js";
import { validateJwtSvid } from "spiffe-edge";
import { WasmVerifier } from "spiffe-edge/crypto/wasm";
import * as gateway from "spiffe-edge/gateway";
import * as testing from "spiffe-edge/testing";
import * as tls from "spiffe-edge/tls";
import * as api from "spiffe-edge/workload";
import { type OptionEntry, PORTABLE_ENTRIES, triedOptions } from "./support/option-entries.ts";
import { FUNCTIONS_WITHOUT_OPTIONS, publicFunctions } from "./support/public-functions.ts";

const [ORDERS, WEB] = ["spiffe://example.org/orders", "spiffe://example.org/web"] as const;
const LOOPBACK = { address: "127.0.0.1", port: 0 } as const;
const BUNDLES = '{"trust_domains":{"example.org":{"keys":[]}}}';

let authority: testing.Authority;
let ca: testing.TestCa;
let client: api.WorkloadApiClient;
let fake: testing.FakeWorkloadApi;
let folder: string;
let identity: testing.StaticIdentity;
let jwtKey: testing.TestJwtKey;
let workload: api.Workload;

before(async () => {
  const entries = [
    { id: WEB, socket: "web", hint: "external" },
    { id: ORDERS, socket: "web", hint: "internal" },
  ];
  authority = await testing.Authority.start({ trustDomain: "example.org", entries });
  workload = await api.Workload.open({ socket: authority.socketFor("web") });
  client = new api.WorkloadApiClient({ socket: authority.socketFor("web") });
  fake = await testing.FakeWorkloadApi.start();
  ca = await testing.TestCa.create();
  identity = await testing.staticIdentity({ svid: await ca.issue({ id: WEB }), bundles: ca.x509Bundle() });
  jwtKey = await testing.testJwtKey();
  folder = await mkdtemp(join(tmpdir(), "options-"));
  await writeFile(join(folder, "map.json"), BUNDLES);
  await workload.x509.x509Svid().save(join(folder, "svid.pem"), join(folder, "key.pem"));
  await authority.x509Bundle().save(join(folder, "bundle.pem"));
});

after(async () => {
  await Promise.all([client?.close(), workload?.close(), fake?.close()]);
  await authority?.close();
  if (folder !== undefined) await rm(folder, { recursive: true });
});

const file = (name: string): string => join(folder, name);
const socket = (): string => authority.socketFor("web");
const handler = (_: unknown, response: { end(): void }): void => response.end();
const app = { fetch: () => new Response("hello") };
/** Adds what only exists once the tests run. */
const having = (options: unknown, more: object): unknown =>
  // what is no object, or has a prototype of its own, has to arrive as it is
  typeof options === "object" &&
  options !== null &&
  !Array.isArray(options) &&
  !(options instanceof Map) &&
  !(options instanceof Promise)
    ? Object.defineProperties(Object.create(Object.getPrototypeOf(options)), {
        ...Object.getOwnPropertyDescriptors(options),
        ...Object.getOwnPropertyDescriptors(more),
      })
    : options;

const call = { timeoutMs: 10_000, signal: undefined };
const ENTRIES: readonly OptionEntry[] = [
  { name: "WasmVerifier", right: { schedule: undefined }, wrong: "scheduler", call: (o) => new WasmVerifier(o) },

  {
    name: "Workload.open",
    right: { timeoutMs: 10_000, hint: "internal" },
    wrong: "hints",
    call: (o) => api.Workload.open(having(o, { socket: socket() }) as api.WorkloadOptions),
  },
  {
    name: "WorkloadApiClient",
    right: { socket: "unix:///nowhere.sock", timeoutMs: 5 },
    wrong: "timeout",
    call: (o) => new api.WorkloadApiClient(o),
  },
  ...(["fetchX509Context", "fetchX509Bundles", "fetchJwtBundles"] as const).map((name) => ({
    name: `WorkloadApiClient.${name}`,
    right: call,
    wrong: "timeout",
    call: async (o: object) => void (await client[name](o)),
  })),
  ...(["watchX509Context", "watchX509Bundles", "watchJwtBundles"] as const).map((name) => ({
    name: `WorkloadApiClient.${name}`,
    right: { signal: undefined },
    wrong: "abort",
    call: (o: object) => void client[name](o),
  })),
  ...(["fetchJwtSvids", "fetchJwtSvid"] as const).map((name) => ({
    name: `WorkloadApiClient.${name}`,
    right: { ...call, audience: ORDERS },
    wrong: "audiences",
    call: (o: api.JwtSvidOptions) => client[name](o),
  })),
  {
    name: "WorkloadApiClient.validateJwtSvid",
    right: { ...call, audience: ORDERS, token: "e30.e30.AA" },
    wrong: "audiences",
    call: (o) => client.validateJwtSvid(o),
  },
  {
    name: "X509Source",
    right: { socket: "unix:///nowhere.sock", hint: "internal" },
    wrong: "hints",
    call: (o) => new api.X509Source(o),
  },
  {
    name: "X509Source.open",
    right: { timeoutMs: 10_000, id: ORDERS },
    wrong: "ids",
    call: (o) => api.X509Source.open(having(o, { client }) as object),
  },
  {
    name: "JwtSource",
    right: { socket: "unix:///nowhere.sock" },
    wrong: "identities",
    call: (o) => new api.JwtSource(o),
  },
  {
    name: "JwtSource.open",
    right: { timeoutMs: 10_000 },
    wrong: "identities",
    call: (o) => api.JwtSource.open(having(o, { client }) as object),
  },
  {
    name: "JwtSource.fetch",
    right: { audience: ORDERS, fresh: true },
    wrong: "ID",
    call: (o) => workload.jwt.fetch(o),
  },
  {
    name: "BundleSource.open",
    right: { timeoutMs: 10_000 },
    wrong: "timeout",
    call: (o) => api.BundleSource.open(having(o, { client }) as object),
  },
  {
    name: "BundleSource.fromJson",
    right: { trustDomain: undefined },
    wrong: "domain",
    call: (o) => api.BundleSource.fromJson(BUNDLES, o),
  },
  {
    name: "BundleSource.fromFile",
    right: { trustDomain: undefined, timeoutMs: 10_000 },
    wrong: "domain",
    call: (o) => api.BundleSource.fromFile(file("map.json"), o),
  },
  {
    name: "BundleSource.fromUrl",
    right: { trustDomain: "example.org", fetch: async () => new Response('{"keys":[]}') },
    wrong: "maxAge",
    call: (o) => api.BundleSource.fromUrl("https://example.org/", o),
  },
  {
    name: "FileSource.open",
    right: { timeoutMs: 10_000 },
    wrong: "bundle",
    call: (o) =>
      api.FileSource.open(
        having(o, {
          certificates: file("svid.pem"),
          privateKey: file("key.pem"),
          bundles: { "example.org": file("bundle.pem") },
        }) as api.FileSourceOptions,
      ),
  },
  { name: "jwtSvid", right: { audience: ORDERS }, wrong: "aud", call: (o) => void api.jwtSvid(workload, o) },
  {
    name: "createJwtFetch",
    right: { audience: ORDERS, origin: "https://orders.example" },
    wrong: "origins",
    call: (o) => api.createJwtFetch(workload, o),
  },
  {
    name: "clientAssertion",
    right: { issuer: "https://login.example" },
    wrong: "audience",
    call: (o) => api.clientAssertion(workload, o),
  },
  {
    name: "tokenExchange",
    right: { issuer: "https://login.example", endpoint: "https://login.example/token", fetch: app.fetch },
    wrong: "clients",
    call: (o) => api.tokenExchange(workload, o),
  },
  {
    name: "tokenExchange({ subject })",
    partOf: "tokenExchange",
    right: { token: "t", type: "urn:ietf:params:oauth:token-type:access_token" },
    wrong: "actor",
    call: (subject) =>
      api.tokenExchange(workload, { issuer: "https://login.example", endpoint: "ftp://login.example", subject }),
  },

  {
    name: "connect",
    right: { path: "/nowhere.sock", peer: ORDERS },
    wrong: "authorize",
    call: (o) => tls.connect(identity, o),
  },
  ...[tls.createAgent, tls.createFetch, tls.streamFactory, tls.tlsOptions].map((make) => ({
    name: make.name,
    right: { peer: ORDERS, connectTimeoutMs: 1_000 },
    wrong: "peers",
    call: (o: tls.FetchOptions) => make(identity, o),
  })),
  {
    name: "grpcCredentials",
    right: { peer: ORDERS },
    wrong: "peers",
    call: (o) => void tls.grpcCredentials(grpc, identity, o),
  },
  {
    name: "http2Options",
    right: { peer: ORDERS, baseUrl: "https://127.0.0.1:8443" },
    wrong: "peers",
    call: (o) => tls.http2Options(identity, o),
  },
  {
    name: "peer",
    partOf: "createFetch",
    right: { trustDomain: "example.org" },
    wrong: "path",
    otherForms: true,
    call: (peer) => tls.createFetch(identity, { peer }),
  },
  {
    name: "listen",
    right: { ...LOOPBACK, handler },
    wrong: "authorise",
    call: (o) => tls.listen(identity, o),
  },
  {
    name: "svid",
    partOf: "listen",
    right: { hint: "internal" },
    wrong: "hints",
    call: (svid) => tls.listen(workload, { ...LOOPBACK, handler, svid }),
  },
  {
    name: "throttle",
    partOf: "listen",
    right: { refusals: 5 },
    wrong: "refused",
    call: (throttle) => tls.listen(identity, { ...LOOPBACK, handler, throttle }),
  },
  {
    name: "proxyProtocol",
    partOf: "listen",
    right: { from: ["10.0.0.0/8"] },
    wrong: "to",
    call: (proxyProtocol) => tls.listen(identity, { ...LOOPBACK, handler, proxyProtocol }),
  },
  {
    name: "onConnect",
    partOf: "listen",
    right: { http1: handler, http2: handler },
    wrong: "http3",
    call: (onConnect) => tls.listen(identity, { ...LOOPBACK, handler, onConnect }),
  },
  {
    name: "close",
    partOf: "listen",
    right: { deadlineMs: 0 },
    wrong: "deadline",
    call: async (o) => {
      await using server = await tls.listen(identity, { ...LOOPBACK, handler });
      await server.close(o);
    },
  },

  { name: "spiffe()", right: { clock: undefined }, wrong: "audience", call: (o) => gateway.spiffe(workload, o) },
  {
    name: "spiffe({ jwt })",
    partOf: "spiffe()",
    right: { audience: ORDERS },
    wrong: "audiences",
    call: (jwt) => gateway.spiffe(workload, { jwt }),
  },
  { name: "authorize()", right: { via: "jwt" }, wrong: "id", call: (o) => gateway.authorize(o) },
  { name: "proxy()", right: { url: "http://127.0.0.1:1" }, wrong: "timeout", call: (o) => gateway.proxy(identity, o) },
  {
    name: "serve",
    right: { ...LOOPBACK, signals: [] },
    wrong: "authorise",
    call: (o) => gateway.serve(app, having(o, { workload: identity }) as gateway.ServeOptions),
  },
  {
    name: "close",
    partOf: "serve",
    right: { deadlineMs: 0 },
    wrong: "deadline",
    call: async (o) => {
      await using server = await gateway.serve(app, { workload: identity, ...LOOPBACK, signals: [] });
      await server.close(o);
    },
  },
  {
    name: "servePlain",
    right: { ...LOOPBACK, signals: [] },
    wrong: "host",
    call: (o) => gateway.servePlain(app, o),
  },
  {
    name: "close",
    partOf: "servePlain",
    right: { deadlineMs: 0 },
    wrong: "deadline",
    call: async (o) => {
      await using server = await gateway.servePlain(app, { ...LOOPBACK, signals: [] });
      await server.close(o);
    },
  },
  {
    name: "createGateway",
    right: { worker: undefined },
    wrong: "workers",
    call: (o) => gateway.createGateway({} as gateway.GatewayInput, o),
  },
  {
    name: "close",
    partOf: "createGateway",
    right: { deadlineMs: 0, delayMs: 0 },
    wrong: "delay",
    call: async (o) => {
      await using server = await gateway.createGateway(
        {
          status: { port: 0 },
          listen: LOOPBACK,
          upstreams: { hello: { url: "http://127.0.0.1:1" } },
          routes: [{ name: "hello", path: "/**", upstream: "hello" }],
          policy: [{ rule: "web", allow: { ids: [WEB] } }],
        },
        { workload },
      );
      await server.close(o);
    },
  },
  {
    name: "parseGatewayConfig",
    right: { file: "gateway.yaml" },
    wrong: "environment",
    call: (o) => gateway.parseGatewayConfig("{}", o),
  },
  {
    name: "loadGatewayConfig",
    right: { env: {} },
    wrong: "file",
    call: (o) => gateway.loadGatewayConfig(file("nowhere.yaml"), o),
  },

  {
    name: "Authority.start",
    right: { trustDomain: "example.org", entries: [] },
    wrong: "ttlMs",
    call: (o) => testing.Authority.start(o),
  },
  {
    name: "entries[0]",
    partOf: "Authority.start",
    right: { id: WEB, socket: "web" },
    wrong: "hints",
    call: (entry) => testing.Authority.start({ trustDomain: "example.org", entries: [entry] }),
  },
  {
    name: "FakeWorkloadApi.start",
    right: { trustDomain: "example.org" },
    wrong: "rotateMs",
    call: (o) => testing.FakeWorkloadApi.start(o),
  },
  {
    name: "an identity",
    of: "FakeWorkloadApi.setIdentities",
    right: { id: WEB },
    wrong: "hints",
    call: (one) => fake.setIdentities([one]),
  },
  {
    name: "FakeWorkloadApi.fail",
    right: { calls: 0 },
    wrong: "times",
    call: (o) => fake.fail("Unavailable", o),
  },
  {
    name: "TestCa.create",
    right: { trustDomain: "example.org", pathLength: 1 },
    wrong: "domain",
    call: (o) => testing.TestCa.create(o),
  },
  { name: "TestCa.issue", right: { id: WEB }, wrong: "uri", call: (o) => ca.issue(o) },
  { name: "TestCa.intermediate", right: { pathLength: 0 }, wrong: "depth", call: (o) => ca.intermediate(o) },
  { name: "TestCa.crossSign", right: { pathLength: 0 }, wrong: "depth", call: (o) => ca.crossSign(ca, o) },
  {
    name: "signTestJwt",
    right: { claims: { sub: WEB } },
    wrong: "payload",
    call: (o) => testing.signTestJwt(having(o, { key: jwtKey }) as testing.TestJwtOptions),
  },
  { name: "staticIdentity", right: { svid: null }, wrong: "svids", call: (o) => testing.staticIdentity(o) },
];

const ALL: readonly OptionEntry[] = [...PORTABLE_ENTRIES, ...ENTRIES];

const USAGE = { code: "ERR_SPIFFE_USAGE" };

describe("options of every public function", () => {
  it("each public function, method and constructor is tried below or known to take none", async () => {
    const tried = ALL.filter(({ partOf }) => partOf === undefined).map(({ name, of }) => of ?? name.replace("()", ""));
    assert.deepEqual([...tried, ...FUNCTIONS_WITHOUT_OPTIONS].sort(), (await publicFunctions()).sort());
  });

  for (const entry of ALL) {
    const { name, partOf } = entry;
    it(`${partOf === undefined ? "" : `${partOf}, `}${name}: known options are taken, other names and other things are refused`, async () => {
      assert.deepEqual(await triedOptions(entry), []);
    });
  }

  it("without options that are needed the sentence says so", async () => {
    for (const call of [
      () => tls.listen(identity, undefined as never),
      () => tls.createFetch(identity, undefined as never),
      () => validateJwtSvid("e30.e30.AA", { jwtBundleFor: () => undefined }, undefined as never),
      () => workload.jwt.fetch(undefined as never),
    ]) {
      await assert.rejects(async () => call(), {
        ...USAGE,
        message: /^Expected an object of options for \S+; got none$/,
      });
    }
  });
});
