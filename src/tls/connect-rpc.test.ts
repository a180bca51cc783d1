import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";
import type { StaticIdentity } from "../authority/static-identity.ts";
import { TestCa } from "../authority/test-ca.ts";
import { SpiffeWorkloadAPI } from "../gen/workload/workload_pb.js";
import type { Handler } from "./entries.ts";
import { http2Options } from "./http2-options.ts";
import { listen, type TlsListener } from "./listen.ts";
import { identityOf } from "./wire.testing.ts";

const ORDERS = "spiffe://example.org/orders";

let web: StaticIdentity;
let server: TlsListener;

function client(peer: string) {
  const nodeOptions = http2Options(web, { peer });
  const baseUrl = `https://127.0.0.1:${server.port}`;
  return createClient(SpiffeWorkloadAPI, createGrpcTransport({ baseUrl, nodeOptions }));
}

describe("gRPC over http2Options and listen", () => {
  before(async () => {
    const ca = await TestCa.create();
    web = await identityOf("spiffe://example.org/web", ca);
    const handler = connectNodeAdapter({
      routes: (router) =>
        router.service(SpiffeWorkloadAPI, {
          validateJWTSVID: (request) => ({ spiffeId: `seen ${request.audience}` }),
          async *fetchX509Bundles() {
            for (let i = 0; i < 3; i++) yield { bundles: { [`td${i}`]: new Uint8Array(50_000) } };
          },
        }),
    });
    server = await listen(await identityOf(ORDERS, ca), { port: 0, address: "127.0.0.1", handler: handler as Handler });
  });
  after(() => server.close({ deadlineMs: 0 }));

  it("[S-5] unary and server-streaming calls reach the expected peer", async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => client(ORDERS).validateJWTSVID({ audience: `a${i}`, svid: "x" })),
    );
    assert.deepEqual(answers.map(({ spiffeId }) => spiffeId), answers.map((_, i) => `seen a${i}`));
    let messages = 0;
    for await (const { bundles } of client(ORDERS).fetchX509Bundles({})) {
      assert.equal(bundles[`td${messages++}`]?.length, 50_000);
    }
    assert.equal(messages, 3);
  });

  it("[S-5] a call to another peer fails and is never seen by the server", async () => {
    const refused = client(`${ORDERS}2`).validateJWTSVID({ audience: "a", svid: "x" });
    await assert.rejects(refused, (error) => error instanceof ConnectError && error.code !== Code.Unimplemented);
  });
});
