import assert from "node:assert/strict";
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import * as http2 from "node:http2";
import { connect } from "node:net";
import { after, before, describe, it } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { skipWhen } from "../../test/support/skip.ts";
import {
  JWTBundlesRequestSchema,
  JWTBundlesResponseSchema,
  JWTSVIDRequestSchema,
  JWTSVIDResponseSchema,
  ValidateJWTSVIDRequestSchema,
  ValidateJWTSVIDResponseSchema,
  X509BundlesRequestSchema,
  X509BundlesResponseSchema,
  X509SVIDRequestSchema,
  X509SVIDResponseSchema,
} from "../gen/workload/workload_pb.js";
import { Certificate } from "../x509/index.ts";
import { call, callRaw, first, framed, SECURITY } from "./grpc-call.testing.ts";
import { Authority } from "./testing.ts";

const OK = 0;
const INVALID_ARGUMENT = 3;
const RESOURCE_EXHAUSTED = 8;
const UNIMPLEMENTED = 12;
const INTERNAL = 13;

const X509 = { input: X509SVIDRequestSchema, output: X509SVIDResponseSchema };
const X509_BUNDLES = { input: X509BundlesRequestSchema, output: X509BundlesResponseSchema };
const JWT = { input: JWTSVIDRequestSchema, output: JWTSVIDResponseSchema };
const JWT_BUNDLES = { input: JWTBundlesRequestSchema, output: JWTBundlesResponseSchema };
const VALIDATE = { input: ValidateJWTSVIDRequestSchema, output: ValidateJWTSVIDResponseSchema };

const web = { id: "spiffe://example.org/web", socket: "web" };
const api = { id: "spiffe://example.org/api", socket: "api" };

/** Sends bytes and gives the gRPC status, or that there was none. */
async function statusOf(
  endpoint: string,
  body: Uint8Array,
  options: { path?: string; headers?: Record<string, string> } = {},
): Promise<number | "none"> {
  const { path = "/SpiffeWorkloadAPI/FetchJWTSVID", headers = {} } = options;
  const stream = callRaw(endpoint, { path, body, headers: { ...SECURITY, ...headers } }, (message) => message);
  return stream.end.then(
    ({ status }) => status,
    () => "none",
  );
}

/** Sends bytes under a content type, and gives the HTTP status and the length of the answer. */
async function posted(endpoint: string, type: string, body: Uint8Array): Promise<{ status: number; length: number }> {
  const session = http2.connect("http://localhost", {
    createConnection: () => connect(endpoint.slice("unix://".length)),
  });
  try {
    const path = "/SpiffeWorkloadAPI/FetchJWTSVID";
    const stream = session.request({ ":method": "POST", ":path": path, "content-type": type, ...SECURITY });
    const status = new Promise<number>((resolve, reject) => {
      stream.once("response", (headers) => resolve(Number(headers[":status"])));
      stream.once("error", reject);
    });
    stream.end(body);
    let length = 0;
    for await (const chunk of stream) length += (chunk as Uint8Array).length;
    return { status: await status, length };
  } finally {
    session.close();
  }
}

/** Ports that this process listens on, by the kernel's tables. */
function listeningPorts(): string[] {
  const inodes = new Set(
    readdirSync("/proc/self/fd").map((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1];
      } catch {
        return undefined;
      }
    }),
  );
  const LISTEN = "0A";
  return ["/proc/self/net/tcp", "/proc/self/net/tcp6"].flatMap((table) => {
    const rows = readFileSync(table, "utf8")
      .split("\n")
      .slice(1)
      .map((line) => line.trim().split(/\s+/));
    return rows.filter((row) => row[3] === LISTEN && inodes.has(row[9])).map((row) => row[1] ?? "");
  });
}

describe("Workload API endpoint of the authority", () => {
  let authority: Authority;
  let endpoint: string;
  /** A request that is answered, without its prefix. */
  let good: Uint8Array;

  before(async () => {
    authority = await Authority.start({ trustDomain: "example.org", entries: [web, api] });
    endpoint = authority.socketFor("web");
    good = toBinary(JWTSVIDRequestSchema, create(JWTSVIDRequestSchema, { audience: ["orders"] }));
  });
  after(() => authority.close());

  it("[WE-01] [WE-07] [WL-03] speaks gRPC in plain HTTP/2, by paths without a package", async () => {
    const { status, headers } = await call(endpoint, "FetchJWTSVID", JWT, { audience: ["orders"] }).end;
    assert.equal(status, OK);
    assert.match(String(headers["content-type"]), /^application\/grpc/);
    assert.equal(await statusOf(endpoint, framed(good)), OK);
    for (const path of ["/spiffe.workload.SpiffeWorkloadAPI/FetchJWTSVID", "/SpiffeWorkloadAPI/fetchJWTSVID"]) {
      assert.ok(["none", UNIMPLEMENTED].includes(await statusOf(endpoint, framed(good), { path })), path);
    }
  });

  it("[WE-01] answers no other protocol on these paths", async () => {
    const json = new TextEncoder().encode('{"audience":["orders"]}');
    // each is a right request of its protocol, so that whoever spoke it would answer with a token
    for (const [type, body] of [
      ["application/json", json],
      ["application/proto", good],
      ["application/grpc-web+proto", framed(good)],
      ["text/plain", framed(good)],
    ] as const) {
      assert.deepEqual(await posted(endpoint, type, body), { status: 415, length: 0 }, type);
    }
    const { status, length } = await posted(endpoint, "application/grpc+proto", framed(good));
    assert.ok(status === 200 && length > good.length);
  });

  it("closes though a client keeps its half of a connection open", async () => {
    const short = await Authority.start({ trustDomain: "example.org", entries: [web] });
    const path = short.socketFor("web").slice("unix://".length);
    const client = connect({ path, allowHalfOpen: true }).on("error", () => {});
    await new Promise((resolve) => client.once("connect", resolve));
    await short.close();
    assert.equal(existsSync(path), false);
    client.destroy();
  });

  it("[WE-03] is a unix socket that only its user may open", () => {
    const path = endpoint.slice("unix://".length);
    assert.ok(endpoint.startsWith("unix:///") && lstatSync(path).isSocket());
    assert.equal(lstatSync(path).mode & 0o777, 0o600);
    assert.equal(lstatSync(authority.directory).mode & 0o777, 0o700);
  });

  const noTcp = "[WE-02] [WE-04] [S-28] opens no TCP port";
  it(noTcp, skipWhen(noTcp, process.platform === "linux" ? undefined : "only Linux tells by /proc"), async () => {
    const ports = listeningPorts();
    const another = await Authority.start({ trustDomain: "example.org", entries: [web] });
    assert.deepEqual(listeningPorts(), ports);
    await another.close();
    // The look finds a port that is open.
    const { createServer } = await import("node:net");
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    assert.equal(listeningPorts().length, ports.length + 1);
    await new Promise((resolve) => server.close(resolve));
  });

  it("[WE-12] [WE-13] [WE-14] knows the caller by its socket; neither a certificate nor a token is asked for", async () => {
    for (const [socket, id] of [
      ["web", web.id],
      ["api", api.id],
    ] as const) {
      const { svids } = await first(call(authority.socketFor(socket), "FetchX509SVID", X509, {}));
      assert.deepEqual(
        svids.map(({ spiffeId }) => spiffeId),
        [id],
      );
    }
    // What a caller says of itself changes nothing.
    const claimed = { ...SECURITY, authorization: "Bearer x", "x-spiffe-id": api.id };
    const { svids } = await first(call(endpoint, "FetchX509SVID", X509, {}, claimed));
    assert.equal(svids[0]?.spiffeId, web.id);
  });

  it("[WE-21] [WL-01] [WL-02] offers the X.509 and the JWT profile whole", async () => {
    assert.equal((await first(call(endpoint, "FetchX509SVID", X509, {}))).svids.length, 1);
    assert.equal(Object.keys((await first(call(endpoint, "FetchX509Bundles", X509_BUNDLES, {}))).bundles).length, 1);
    assert.equal(Object.keys((await first(call(endpoint, "FetchJWTBundles", JWT_BUNDLES, {}))).bundles).length, 1);
    const { svids } = await first(call(endpoint, "FetchJWTSVID", JWT, { audience: ["orders"] }));
    const request = { audience: "orders", svid: svids[0]?.svid ?? "" };
    assert.equal((await first(call(endpoint, "ValidateJWTSVID", VALIDATE, request))).spiffeId, web.id);
  });

  it("[WL-10] calls a request with an empty mandatory field invalid, and the same with it right", async () => {
    const { svids } = await first(call(endpoint, "FetchJWTSVID", JWT, { audience: ["orders"] }));
    const svid = svids[0]?.svid ?? "";
    for (const [stream, expected] of [
      [call(endpoint, "FetchJWTSVID", JWT, {}), INVALID_ARGUMENT],
      [call(endpoint, "FetchJWTSVID", JWT, { audience: ["orders"] }), OK],
      [call(endpoint, "ValidateJWTSVID", VALIDATE, { svid }), INVALID_ARGUMENT],
      [call(endpoint, "ValidateJWTSVID", VALIDATE, { audience: "orders" }), INVALID_ARGUMENT],
      [call(endpoint, "ValidateJWTSVID", VALIDATE, { audience: "orders", svid }), OK],
    ] as const) {
      assert.equal((await stream.end).status, expected);
    }
  });

  it("[WL-18] [WL-23] [WL-25] sends DER, one certificate after the other and nothing else", async () => {
    const { svids, crl } = await first(call(endpoint, "FetchX509SVID", X509, {}));
    assert.deepEqual(crl, []);
    for (const { x509Svid, x509SvidKey, bundle } of svids) {
      for (const der of [x509Svid, bundle]) assert.equal(Certificate.parse(der).der.length, der.length);
      // A PrivateKeyInfo: SEQUENCE, its length, INTEGER 0.
      assert.deepEqual(
        [x509SvidKey[0], ...x509SvidKey.subarray(x509SvidKey.length > 129 ? 3 : 2).subarray(0, 3)],
        [0x30, 2, 1, 0],
      );
    }
  });

  it("reads over fields that it does not know", async () => {
    const unknown = Uint8Array.of(0xa2, 0x06, 0x03, 1, 2, 3);
    assert.equal(await statusOf(endpoint, framed(Uint8Array.from([...good, ...unknown]))), OK);
  });

  it("answers bytes that are no request with a status, and the next request as ever", async () => {
    const cases: Record<string, Uint8Array> = {
      "a message that is none": framed(Uint8Array.of(0x0a, 0x7f, 0x00)),
      "a frame that breaks off": framed(good).subarray(0, 8),
      "a prefix alone": Uint8Array.of(0, 0, 0, 0, 9),
      "a compressed message without a compression": Uint8Array.from([1, ...framed(good).subarray(1)]),
      "no message": new Uint8Array(),
      "two messages": Uint8Array.from([...framed(good), ...framed(good)]),
    };
    for (const [title, body] of Object.entries(cases)) {
      const status = await statusOf(endpoint, body);
      assert.ok([INVALID_ARGUMENT, INTERNAL, UNIMPLEMENTED].includes(status as number), `${title}: ${status}`);
      assert.equal(await statusOf(endpoint, framed(good)), OK);
    }
  });

  it("refuses a request above 4 MiB before it is read whole, and takes one below", async () => {
    const padded = (bytes: number) => {
      const size = [
        0xa2,
        0x06,
        (bytes & 0x7f) | 0x80,
        ((bytes >> 7) & 0x7f) | 0x80,
        ((bytes >> 14) & 0x7f) | 0x80,
        bytes >> 21,
      ];
      const whole = new Uint8Array(good.length + size.length + bytes);
      whole.set(good);
      whole.set(size, good.length);
      return framed(whole);
    };
    assert.equal(await statusOf(endpoint, padded(4_194_304)), RESOURCE_EXHAUSTED);
    assert.equal(await statusOf(endpoint, padded(4_000_000)), OK);
  });
});
