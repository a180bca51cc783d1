import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { createFetch } from "../tls/index.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import {
  type Changeable,
  type CountingUpstream,
  countingUpstream,
  GATEWAY,
  http2Once,
  idOf,
  World,
} from "./world.testing.ts";

let world: World;
let web: Changeable;
let upstream: CountingUpstream;
const gateways: Record<string, Gateway> = {};

before(async () => {
  world = await World.create();
  web = await world.identity("web");
  upstream = await countingUpstream();
  for (const explain of ["full", "code", "none"] as const) {
    gateways[explain] = await createGateway(
      {
        status: { port: 0 },
        listen: { address: "127.0.0.1", port: 0 },
        upstreams: { up: { url: upstream.url }, none: { url: "http://127.0.0.1:1" } },
        routes: [
          { name: "up", path: "/up/**", upstream: "up" },
          { name: "none", path: "/none/**", upstream: "none" },
        ],
        policy: [
          { rule: "web", allow: { ids: [idOf("web")] } },
          { rule: "no-pay", deny: { ids: [idOf("web")] }, path: "/up/pay/**" },
        ],
        explain,
      },
      { workload: await world.identity("gateway") },
    );
  }
});
after(async () => {
  for (const gateway of Object.values(gateways)) await gateway.close({ deadlineMs: 0 });
  await upstream?.close();
});

const port = (explain: string) => gateways[explain]!.listeners[0]!.port;
const call = (path: string, headers: Record<string, string> = {}, explain = "code", method = "POST") =>
  createFetch(web, { peer: GATEWAY })(`https://127.0.0.1:${port(explain)}${path}`, { method, headers });

describe("refusals", () => {
  it("tell the rule, the reason or nothing, as the gateway is set", async () => {
    const members: Record<string, string[]> = {};
    for (const explain of ["full", "code", "none"]) {
      const response = await call("/up/pay/1", {}, explain);
      assert.equal(response.status, 403);
      assert.equal(response.headers.get("content-type"), "application/problem+json");
      const problem = (await response.json()) as Record<string, unknown>;
      assert.equal(problem.requestId, response.headers.get("x-request-id"));
      members[explain] = Object.keys(problem).sort();
      if (explain === "full") assert.equal(problem.rule, "no-pay");
    }
    const none = ["requestId", "status", "title", "type"];
    assert.deepEqual(members, {
      full: [...none, "code", "detail", "reason", "rule"].sort(),
      code: [...none, "code", "detail", "reason"].sort(),
      none,
    });
  });

  it("are a status in the trailers of a gRPC call", async () => {
    for (const [path, status, reason] of [
      ["/up/pay/1", "7", "policy.denied"],
      ["/none/x", "14", "upstream.unreachable"],
      ["/nowhere", "12", "request.no-route"],
    ] as const) {
      const headers = { ":method": "POST", ":path": path, "content-type": "application/grpc+proto", te: "trailers" };
      const result = await http2Once(web, port("full"), headers, "request");
      assert.equal(
        `${result.status} ${result.headers["content-type"]} ${result.text}`,
        "200 application/grpc+proto ",
        path,
      );
      assert.equal(`${result.trailers["grpc-status"]} ${result.trailers["spiffe-reason"]}`, `${status} ${reason}`);
      assert.match(String(result.trailers["grpc-message"]), /^[\x20-\x7e]+$/);
      assert.equal(result.trailers["spiffe-rule"], path === "/up/pay/1" ? "no-pay" : undefined);
    }
    const quiet = { ":method": "POST", ":path": "/up/pay/1", "content-type": "application/grpc" };
    const { trailers } = await http2Once(web, port("none"), quiet, "request");
    assert.deepEqual(
      Object.keys(trailers)
        .filter((name) => name !== "x-request-id")
        .sort(),
      ["grpc-message", "grpc-status"],
    );
    // the twin
    assert.equal((await http2Once(web, port("full"), { ...quiet, ":path": "/up/x" }, "request")).text, "ok");
  });

  it("are a status in the head for gRPC-Web, over HTTP/1.1 too", async () => {
    const response = await call("/up/pay/1", { "content-type": "application/grpc-web+proto" });
    assert.equal(`${response.status} ${response.headers.get("grpc-status")}`, "200 7");
    assert.equal(`${response.headers.get("spiffe-reason")} ${await response.text()}`, "policy.denied ");
    for (const [path, status, reason] of [
      ["/up/pay/1", "7", "policy.denied"],
      ["/none/x", "14", "upstream.unreachable"],
      ["/nowhere", "12", "request.no-route"],
    ] as const)
      for (const type of ["application/grpc-web", "application/grpc-web-text+proto", "application/grpc-web+json"]) {
        const head = { ":method": "POST", ":path": path, "content-type": type };
        const { status: http, headers, trailers, text } = await http2Once(web, port("full"), head, "request");
        assert.deepEqual([http, headers["content-type"], text, Object.keys(trailers)], [200, type, "", []], path);
        assert.deepEqual([headers["grpc-status"], headers["spiffe-reason"]], [status, reason]);
        assert.match(String(headers["grpc-message"]), /^[\x20-\x7e]+$/);
        assert.equal(headers["spiffe-rule"], path === "/up/pay/1" ? "no-pay" : undefined);
      }
    const quiet = await call("/up/pay/1", { "content-type": "application/grpc-web" }, "none");
    const said = [...quiet.headers.keys()].filter((name) => /^(?:grpc|spiffe)-/.test(name));
    assert.deepEqual(said.sort(), ["grpc-message", "grpc-status"]);
    // the twin
    const passed = await call("/up/x", { "content-type": "application/grpc-web" });
    assert.deepEqual([passed.headers.get("grpc-status"), await passed.text()], [null, "ok"]);
    // gRPC itself needs HTTP/2: over HTTP/1.1 its name gets what everybody gets
    assert.equal((await call("/up/pay/1", { "content-type": "application/grpc" })).status, 403);
  });

  it("are Connect's errors for Connect's calls", async () => {
    const unary = { "content-type": "application/json", "connect-protocol-version": "1" };
    for (const [path, status, code] of [
      ["/up/pay/1", 403, "permission_denied"],
      ["/none/x", 503, "unavailable"],
    ] as const) {
      const response = await call(path, unary);
      assert.equal(`${response.status} ${response.headers.get("content-type")}`, `${status} application/json`);
      assert.equal(((await response.json()) as { code: string }).code, code);
    }
    const get = await call("/up/pay/1?connect=v1&message=e30", {}, "code", "GET");
    assert.equal(((await get.json()) as { code: string }).code, "permission_denied");
    const stream = await call("/up/pay/1", { "content-type": "application/connect+proto" });
    assert.equal(`${stream.status} ${stream.headers.get("content-type")}`, "200 application/connect+proto");
    const body = new Uint8Array(await stream.arrayBuffer());
    assert.equal(body[0], 2);
    assert.equal(new DataView(body.buffer).getUint32(1), body.length - 5);
    const end = JSON.parse(new TextDecoder().decode(body.subarray(5))) as { error: { code: string } };
    assert.equal(end.error.code, "permission_denied");
    // plain JSON without the protocol's field is a problem document
    const plain = await call("/up/pay/1", { "content-type": "application/json" });
    assert.equal(plain.headers.get("content-type"), "application/problem+json");
    assert.equal((await call("/up/x", unary)).status, 200);
  });
});
